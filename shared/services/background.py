"""Work beside calls within one process: threads for work that would block the event loop over 50 ms
(docs/design.md#1.1), keyed locks, precedence of small imports, events of ended imports, errors of
upkeep.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Literal, ParamSpec, Protocol, TypeVar, Unpack
from weakref import WeakValueDictionary

from shared import log
from shared.errors import StorageUnavailableError
from shared.imports.results import RowResult

_P = ParamSpec("_P")
_T = TypeVar("_T")

# The size of a body that is read within 50 ms, even with rows of three bytes.
SMALL_BODY = 8 * 1024


class Offload(Protocol):
    """Run `work(*args)`, which reads about `size` bytes, without blocking other calls."""

    async def __call__(
        self, size: int, work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Return the result of the work, or raise its error."""


# About the factor by which a compressed body grows.
UNPACKED = 20


async def to_thread_if_large(
    size: int, work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    """`Offload` for the event loop of the app."""
    if size <= SMALL_BODY:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


def is_loop_thread() -> bool:
    """Whether the thread runs an event loop, so that it must not wait."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


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


# Precedence of small imports within one process.
#
# A large import keeps storage and the processor busy with transactions of a hundred rows. A small
# one takes about ten short requests, one after the other, and each would wait behind those
# transactions. So while small imports come, large work goes on step by step and in turn instead of
# several steps at a time: sending some messages of a large import, beginning one of its chunks, a
# commit, recording its results, a slice of a download. Each step is put off while a small import is
# accepted, processed or answered. The pause is short, so small imports without end slow large work
# down and do not stop it.
#
# Threads that read large bodies keep the interpreter from the event loop, which waits for it
# several times in each request. So they pause between two rows in the same way, and only one of
# them reads at a time.

_LONGEST_PAUSE = 0.5
_LONGEST_WAIT_FOR_TURN = 5.0
_LONGEST_WAIT_OF_THREAD = 1.0
# Seconds for which a small import is expected to be followed by another one.
_SMALL_IMPORTS_FOLLOW = 2.0


# To be awaited before each step of large work; returns whether small imports are expected, so that
# the step should be short.
NextTurn = Callable[[], Awaitable[bool]]


class SmallImportsFirst:
    """Which small imports this process is working on, and whose turn it is of the large ones."""

    def __init__(self) -> None:
        self._running = 0
        self._none_runs = asyncio.Event()
        self._last_at = -math.inf
        self._turn = asyncio.Lock()
        # The same for threads, and the loop's time, which they may ask for.
        self._none_runs_in_threads = threading.Event()
        self._none_runs_in_threads.set()
        self._loop_time: Callable[[], float] = lambda: 0.0
        self._turn_of_threads = threading.Lock()

    @contextmanager
    def working(self, *, is_small: bool) -> Iterator[None]:
        """Take precedence for the time of the block, if the import is small."""
        if not is_small:
            yield
            return
        self._loop_time = asyncio.get_running_loop().time
        self._running += 1
        self._none_runs.clear()
        self._none_runs_in_threads.clear()
        try:
            yield
        finally:
            self._running -= 1
            self._last_at = self._loop_time()
            if not self._running:
                self._none_runs.set()
                self._none_runs_in_threads.set()

    @contextmanager
    def turns(self, *, is_small: bool) -> Iterator[NextTurn]:
        """The turns of one handler or call. The last one ends with the block."""
        has_turn = False

        async def next_turn() -> bool:
            nonlocal has_turn
            if has_turn:
                has_turn = False
                self._turn.release()
            if is_small or not self._is_expected():
                return False
            with suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_WAIT_FOR_TURN):
                    has_turn = await self._turn.acquire()
            if self._running:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LONGEST_PAUSE):
                        await self._none_runs.wait()
            return True

        try:
            yield next_turn
        finally:
            if has_turn:
                self._turn.release()

    @contextmanager
    def turns_of_thread(self) -> Iterator[Callable[[], None]]:
        """The turns of a thread that reads a large body, to be asked for before each row.

        The last one ends with the block. A thread whose pause or wait was the longest one works for
        half a second without another.
        """
        has_turn = False
        works_until = -math.inf

        def next_turn() -> None:
            nonlocal has_turn, works_until
            if not self._running and (has_turn or not self._is_expected()):
                return
            if self._loop_time() < works_until:
                return
            if has_turn:
                has_turn = False
                self._turn_of_threads.release()
            has_paused = self._none_runs_in_threads.wait(_LONGEST_PAUSE)
            has_turn = self._turn_of_threads.acquire(timeout=_LONGEST_WAIT_OF_THREAD)
            if not has_paused or not has_turn:
                works_until = self._loop_time() + _LONGEST_PAUSE

        try:
            yield next_turn
        finally:
            if has_turn:
                self._turn_of_threads.release()

    def _is_expected(self) -> bool:
        return self._running > 0 or self._loop_time() - self._last_at < _SMALL_IMPORTS_FOLLOW


# Events within one process for the end of an import, as a shortcut for a waiting call.
#
# On some plans HTTP and queue functions run in different processes, so nothing depends on the
# events.


class Ending(asyncio.Event):
    """Set when an import ends in this process. `results` are its rows' results, if they are few."""

    results: Sequence[RowResult] | None = None


class Completions:
    """The events of the calls that wait, by import id."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, list[Ending]] = defaultdict(list)

    @contextmanager
    def listening(self, import_id: str) -> Iterator[Ending]:
        """An event that is set when the import ends in this process."""
        event = Ending()
        self._waiting[import_id].append(event)
        try:
            yield event
        finally:
            self._waiting[import_id].remove(event)
            if not self._waiting[import_id]:
                del self._waiting[import_id]

    def announce(self, import_id: str, results: Sequence[RowResult] | None = None) -> None:
        """Set the events of the calls that wait for the import. `results` are those of all rows."""
        for event in self._waiting.get(import_id, ()):
            event.results = results
            event.set()


# Error handling of upkeep: a failing tenant, import or batch does not block the others.

# So many storage errors in a row mean that storage is down for everything.
_MOST_IN_A_ROW = 5


class UpkeepFaults:
    """Logs the errors of one run under the name `action`."""

    def __init__(self, action: str) -> None:
        self._action = action
        self._in_a_row = 0

    def note(self, error: Exception, **ids: Unpack[log.Fields]) -> None:
        """Log an error with the ids of what failed. Raises it again if storage is down."""
        log.failure(self._action, error, **ids)
        if not isinstance(error, StorageUnavailableError):
            return
        self._in_a_row += 1
        if self._in_a_row >= _MOST_IN_A_ROW:
            raise error

    def note_success(self) -> None:
        """Note that storage answers, so that earlier errors do not count as an outage."""
        self._in_a_row = 0
