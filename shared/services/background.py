"""Work that would hold up the event loop goes to a thread (over 50 ms: docs/design.md#1.1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal, ParamSpec, Protocol, TypeVar
from weakref import WeakValueDictionary

_P = ParamSpec("_P")
_T = TypeVar("_T")

# Bytes of a body that are read in 50 ms whatever they are: at worst rows of three bytes.
_SMALL = 8 * 1024


class Offload(Protocol):
    """Run `work(*args)`, which reads about `size` bytes, without holding up other calls."""

    async def __call__(
        self, size: int, work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """The result of the work; what it raises is raised."""


async def to_thread_if_large(
    size: int, work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    """`Offload` for the event loop of the app."""
    if size <= _SMALL:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


# Taking turns within one process, where calls would only contend for one thing in storage.
#
# Between processes the conditions of writes decide, as ever; turns save the tries that would be
# lost. So a turn is nothing to insist on: where nobody gets on because storage does not answer
# the one who has the turn, the others go ahead without it, and find out for themselves.

# How long nobody may get on before a call goes ahead without its turn.
_PATIENCE_SECONDS = 1.0


class KeyedLocks:
    """A queue for each name, kept as long as somebody is in it."""

    def __init__(self) -> None:
        self._queues: WeakValueDictionary[str, _Queue] = WeakValueDictionary()

    @asynccontextmanager
    async def take(self, name: str) -> AsyncIterator[None]:
        """Wait for the turn; the first to wait has the next one."""
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
        """True with the lock; False where nobody has got on for a while."""
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
