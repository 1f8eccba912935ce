"""The announced end of this process: calls that wait answer, chunks in work are handed on.

The announcement is SIGTERM. The local host gets it from whoever stops it, and the Python worker of
the platform may get it when an instance is drained. Without a handler the signal ends a process in
the middle of everything; here the end is put off for `GATEWAY_STOP_SECONDS`. A handler that was
there before is called as well.

Nothing depends on the announcement: a process that is killed leaves the same work to be found.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

# The part of the time before the end in which calls may still finish; the rest is to answer.
_FOR_CALLS = 0.8


class ProcessStop:
    """Whether the process has been told to end; safe to ask and to tell from any thread."""

    def __init__(self) -> None:
        self._is_announced = False
        self._seconds = 0.0
        self._waiting: set[asyncio.Future[None]] = set()
        self._limits: set[_Limit] = set()

    @property
    def is_announced(self) -> bool:
        """Whether the end has been announced."""
        return self._is_announced

    def announce(self, seconds: float) -> None:
        """The process ends after so many seconds; may be called from a signal handler."""
        self._seconds = seconds
        self._is_announced = True
        for waiting in tuple(self._waiting):
            _call_soon(waiting.get_loop(), waiting)
        for limit in tuple(self._limits):
            limit.set_soon(seconds * _FOR_CALLS)

    async def wait(self) -> None:
        """Until the end is announced."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            if not self._is_announced:
                await waiting
        finally:
            self._waiting.discard(waiting)

    async def wait_with(self, event: asyncio.Event, seconds: float) -> None:
        """Until `event`, for so many seconds; shorter where the end is announced meanwhile."""
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(event.wait())]
        if not self._is_announced:
            waits.append(asyncio.create_task(self.wait()))
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    @contextmanager
    def limiting(self, timeout: asyncio.Timeout) -> Iterator[None]:
        """Let `timeout`, which has been entered, expire in time before the end."""
        limit = _Limit(timeout, asyncio.get_running_loop())
        self._limits.add(limit)
        try:
            if self._is_announced:
                limit.set_soon(self._seconds * _FOR_CALLS)
            yield
        finally:
            self._limits.discard(limit)


class _Limit:
    """A timeout and the loop in which alone it may be changed."""

    def __init__(self, timeout: asyncio.Timeout, loop: asyncio.AbstractEventLoop) -> None:
        self._timeout = timeout
        self._loop = loop
        self._is_over = False

    def set_soon(self, seconds: float) -> None:
        """Let the timeout expire after so many seconds, unless its block is left before."""

        def reschedule() -> None:
            with suppress(RuntimeError):  # the block has been left
                self._timeout.reschedule(self._loop.time() + seconds)

        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(reschedule)


def _call_soon(loop: asyncio.AbstractEventLoop, waiting: asyncio.Future[None]) -> None:
    def finish() -> None:
        if not waiting.done():
            waiting.set_result(None)

    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(finish)


def announce_on_sigterm(stop: ProcessStop, seconds: float) -> None:
    """Let SIGTERM announce the end to `stop`; to be called in the main thread, else it is ignored.

    Where nothing handled the signal before, the process ends by it after `seconds`, and at once by
    a second one.
    """
    before = signal.getsignal(signal.SIGTERM)
    is_default = before is signal.SIG_DFL
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not (is_default or callable(before)):
        return

    def on_terminate(number: int, frame: FrameType | None) -> None:
        stop.announce(seconds)
        if is_default:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            end = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM))
            end.daemon = True
            end.start()
        elif callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, on_terminate)


# The announced end of this process, as calls and the gateway of the process know it.
PROCESS_STOP = ProcessStop()
