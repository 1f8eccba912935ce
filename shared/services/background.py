"""Threads for work that would block the event loop over 50 ms (docs/design.md#1.1); keyed locks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal, ParamSpec, Protocol, TypeVar
from weakref import WeakValueDictionary

_P = ParamSpec("_P")
_T = TypeVar("_T")

# The size of a body that is read within 50 ms, even with rows of three bytes.
_SMALL = 8 * 1024


class Offload(Protocol):
    """Run `work(*args)`, which reads about `size` bytes, without blocking other calls."""

    async def __call__(
        self, size: int, work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Return the result of the work, or raise its error."""


async def to_thread_if_large(
    size: int, work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    """`Offload` for the event loop of the app."""
    if size <= _SMALL:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


# Locks within one process for calls that would conflict on the same entity.
#
# Correctness does not depend on the locks, since the writes are conditional. They only save
# attempts that would fail. So if storage does not answer the owner of a lock, and no call makes
# progress, the others continue without the lock.

# Seconds without progress after which a call continues without the lock.
_PATIENCE_SECONDS = 1.0


class KeyedLocks:
    """A lock for each name, which exists as long as a call holds it or waits for it."""

    def __init__(self) -> None:
        self._queues: WeakValueDictionary[str, _Queue] = WeakValueDictionary()

    @asynccontextmanager
    async def take(self, name: str) -> AsyncIterator[None]:
        """Wait for the lock of a name, in the order of arrival."""
        queue = self._queues.setdefault(name, _Queue())
        has_turn = await queue.wait()
        try:
            yield
        finally:
            queue.finished_turns += 1
            if has_turn:
                queue.lock.release()


class _Queue:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.finished_turns = 0

    async def wait(self) -> bool:
        """Wait for the lock. Returns False, without the lock, if no call makes progress."""
        if not self.lock.locked():
            return await self.lock.acquire()
        acquiring = asyncio.ensure_future(self.lock.acquire())
        try:
            while True:
                finished_before = self.finished_turns
                done, _ = await asyncio.wait((acquiring,), timeout=_PATIENCE_SECONDS)
                if done or finished_before == self.finished_turns:
                    break
        except asyncio.CancelledError:
            self._give_up(acquiring)
            raise
        if acquiring.done():
            return True
        self._give_up(acquiring)
        return False

    def _give_up(self, acquiring: asyncio.Future[Literal[True]]) -> None:
        if not acquiring.cancel():
            self.lock.release()
