"""The time budget of a call or a handler for waiting for storage.

The budget limits storage that does not answer, not the call itself: an import waits minutes for its
rows, and a large document takes as long as its link needs. A `StorageTime` is spent only during
requests to storage, and every answer refunds a part. So a call on healthy storage never exhausts
its budget. If storage hangs, trickles or refuses, the budget is used up after `CALL_SECONDS`,
however often the services retry.

The budget is in a context variable. A task that several calls share (a look-up, the building of the
gateway) gets its own budget, so that it does not depend on the call that came first.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TypeVar

from shared import telemetry
from shared.clock import drawn_pause
from shared.errors import StorageBusyError, StorageUnavailableError

Answer = TypeVar("Answer")

# For an HTTP call. With its other work, the call is answered within ten seconds.
CALL_SECONDS = 8.0
# For a message, a timer or a command. Messages and timers are retried, and a person sees a command.
BACKGROUND_SECONDS = 60.0
# For the clean-up of a call whose budget is used up.
CLEAN_UP_SECONDS = 1.0

_LONGEST_TRY = 20.0
# The pauses before the second and the third attempt. A longer outage is reported to the caller.
_PAUSES = (0.1, 0.9)
# Work that no call waits for goes on while storage answers that it is busy. A message that failed
# instead would come back after half a minute, and after five times its rows would end. The pauses
# double from the shortest up to this one.
_LONGEST_BUSY_PAUSE = 2.0
_MOST_BUSY_TRIES = 20
# The refund for an answer. Healthy storage never takes longer for one.
_FREE_SECONDS = 0.25
# Bytes per second. A request with a large body gets a larger refund.
_SLOWEST_LINK = 128 * 1024


class StorageTime:
    """The budget of a call or handler. One event loop uses it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._left = seconds
        self._waiting = 0
        self._counted_at = 0.0

    @property
    def left(self) -> float:
        """The remaining seconds; 0 or less if the budget is used up."""
        self._count()
        return self._left

    @property
    def longest_try(self) -> float:
        """The limit for one request: half of the budget, so that a second one is possible."""
        return min(_LONGEST_TRY, self.seconds / 2)

    @property
    def is_background(self) -> bool:
        """Whether no call waits: the budget is that of a message, a timer or a command."""
        return self.seconds >= BACKGROUND_SECONDS

    def note_answer(self, size: int) -> None:
        """Refund for an answer; `size` is the bytes of the request and the answer."""
        self.refund(_FREE_SECONDS + size / _SLOWEST_LINK)

    def refund(self, seconds: float) -> None:
        """Give so many seconds back."""
        self._count()
        self._left = min(self.seconds, self._left + seconds)

    def spend(self, seconds: float) -> None:
        """Count a wait of that long that another task did for this call."""
        self._count()
        self._left -= seconds

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the time of the block. Blocks that run at the same time count once."""
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
    """Give the block its own budget."""
    time = StorageTime(seconds)
    token = _CURRENT.set(time)
    try:
        yield time
    finally:
        _CURRENT.reset(token)


def storage_time_now() -> StorageTime:
    """The budget of this call or handler; a new one if it has none."""
    return _CURRENT.get() or StorageTime(BACKGROUND_SECONDS)


async def retried(attempt: Callable[[], Awaitable[Answer]]) -> Answer:
    """Call `attempt` up to three times, as long as the budget lasts.

    Where storage answers that it is busy and no call waits, more often (`_MOST_BUSY_TRIES`). Raises
    StorageUnavailableError if no attempt was answered.
    """
    with _counted_time() as time:
        tries = 0
        while True:
            tries += 1
            try:
                return await attempt()
            except StorageUnavailableError as error:
                is_busy = isinstance(error, StorageBusyError)
                pause = _pause_after(tries, time, is_busy=is_busy)
                if pause is None or time.left <= pause:
                    raise
            telemetry.note(telemetry.RETRIES, 1)
            await asyncio.sleep(pause)
            if is_busy and time.is_background:
                time.refund(pause)


def _pause_after(tries: int, time: StorageTime, *, is_busy: bool) -> float | None:
    """The pause after so many attempts; None after the last one."""
    if is_busy and time.is_background:
        if tries == _MOST_BUSY_TRIES:
            return None
        return drawn_pause(min(_PAUSES[0] * 2.0 ** (tries - 1), _LONGEST_BUSY_PAUSE))
    return _PAUSES[tries - 1] if tries <= len(_PAUSES) else None


@contextmanager
def _counted_time() -> Iterator[StorageTime]:
    """Count the block against the budget of this call, or against a new one if it has none."""
    time = _CURRENT.get()
    if time is None:
        with storage_time(BACKGROUND_SECONDS) as time, time.counted():
            yield time
    else:
        with time.counted():
            yield time


@asynccontextmanager
async def limited_wait(longest: float = math.inf) -> AsyncIterator[asyncio.Timeout]:
    """Limit a wait for storage, or for a task that waits for it, to the remaining budget.

    Raises StorageUnavailableError. The block may reschedule the timeout if there is progress.
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
