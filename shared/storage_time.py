"""How long storage may keep a call or a handler waiting.

This limits storage that does not answer, not the call: an import waits minutes for its rows, and a
large document takes as long as its link needs. A `StorageTime` runs down only while storage is
asked, and every answer gives some of it back. So a call on healthy storage never runs out, and one
whose storage hangs, trickles or refuses runs out after `CALL_SECONDS`, however many times its
services would try again.

The time travels in a context variable. A task that several calls share (a look-up, the building of
the gateway) gets a time of its own, so that it does not depend on the call that came first.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TypeVar

from shared.errors import StorageUnavailableError

Answer = TypeVar("Answer")

# For an HTTP call: with what else it does, its answer is there within ten seconds.
CALL_SECONDS = 8.0
# For a message, a timer, a command: they come back, or a person waits and sees.
BACKGROUND_SECONDS = 60.0
# For what a call still tidies up when its own time has run out.
CLEAN_UP_SECONDS = 1.0

_LONGEST_TRY = 20.0
# Before the second and the third attempt; what takes longer to pass is told to the caller.
_PAUSES = (0.1, 0.9)
# What an answer gives back: no answer of healthy storage takes longer.
_FREE_SECONDS = 0.25
# Bytes per second; a request with a large body gives that much more time back.
_SLOWEST_LINK = 128 * 1024


class StorageTime:
    """What is left of the time in which storage may not answer. One event loop uses it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._left = seconds
        self._waiting = 0
        self._counted_at = 0.0

    @property
    def left(self) -> float:
        """Seconds; 0 or less where storage has not answered for too long."""
        self._count()
        return self._left

    @property
    def longest_try(self) -> float:
        """How long one request may take: half, so that there is time for a second one."""
        return min(_LONGEST_TRY, self.seconds / 2)

    def note_answer(self, size: int) -> None:
        """Storage has answered a request of `size` bytes, both ways."""
        self._count()
        self._left = min(self.seconds, self._left + _FREE_SECONDS + size / _SLOWEST_LINK)

    def spend(self, seconds: float) -> None:
        """Somebody else has waited that long for this call; all of it: ask storage no more."""
        self._count()
        self._left -= seconds

    @contextmanager
    def counted(self) -> Iterator[None]:
        """The block waits for storage; several at once count once."""
        self._count()
        self._waiting += 1
        try:
            yield
        finally:
            self._count()
            self._waiting -= 1

    def _count(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._waiting:
            self._left -= now - self._counted_at
        self._counted_at = now


_CURRENT: ContextVar[StorageTime | None] = ContextVar("storage_time", default=None)


@contextmanager
def storage_time(seconds: float) -> Iterator[StorageTime]:
    """Give the block a time of its own."""
    time = StorageTime(seconds)
    token = _CURRENT.set(time)
    try:
        yield time
    finally:
        _CURRENT.reset(token)


def storage_time_now() -> StorageTime:
    """The time of this call or handler; a whole one where nobody has given it one."""
    return _CURRENT.get() or StorageTime(BACKGROUND_SECONDS)


async def retried(attempt: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer of storage to one of a few attempts, as long as there is time.

    Raises StorageUnavailableError where no attempt was answered.
    """
    with _some_time() as time:
        for pause in _PAUSES:
            try:
                return await attempt()
            except StorageUnavailableError:
                if time.left <= pause:
                    raise
            await asyncio.sleep(pause)
        return await attempt()


@contextmanager
def _some_time() -> Iterator[StorageTime]:
    """The time of this call, counted; a whole one for the block where there is none."""
    time = _CURRENT.get()
    if time is None:
        with storage_time(BACKGROUND_SECONDS) as time, time.counted():
            yield time
    else:
        with time.counted():
            yield time


@asynccontextmanager
async def limited_wait(longest: float = math.inf) -> AsyncIterator[asyncio.Timeout]:
    """Wait for storage, or for somebody else who waits for it, no longer than there is time.

    Raises StorageUnavailableError. The timeout may be rescheduled where there is progress.
    """
    time = storage_time_now()
    limit = min(time.left, longest)
    if limit <= 0:
        raise StorageUnavailableError("storage has not answered for too long")
    timeout = asyncio.timeout(limit)
    with time.counted():
        try:
            async with timeout:
                yield timeout
        except TimeoutError as error:
            if timeout.expired():
                raise StorageUnavailableError("storage did not answer in time") from error
            raise
