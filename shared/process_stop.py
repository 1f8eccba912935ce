"""The announced end of this process: waiting calls answer, chunks in work are requeued.

SIGTERM announces the end. The local host gets it when it is stopped, and the Python worker of the
platform may get it when an instance is drained. Without a handler the signal ends a process in the
middle of its work; the handler here delays the end by `GATEWAY_STOP_SECONDS`. It also calls the
handler that was installed before.

Nothing depends on the announcement: if the process is killed, the sweep finds the same work.
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

# The share of the remaining time in which calls may still finish. The rest is for their answers.
_FOR_CALLS = 0.8


class ProcessStop:
    """Whether the end of the process has been announced. Safe to use from any thread."""

    def __init__(self) -> None:
        self._is_announced = False
        self._seconds = 0.0
        self._waiting: set[asyncio.Future[None]] = set()
        self._limits: set[_Limit] = set()

    @property
    def is_announced(self) -> bool:
        return self._is_announced

    def announce(self, seconds: float) -> None:
        """Announce the end in so many seconds; may be called from a signal handler."""
        self._seconds = seconds
        self._is_announced = True
        for waiting in tuple(self._waiting):
            _call_soon(waiting.get_loop(), waiting)
        for limit in tuple(self._limits):
            limit.set_soon(seconds * _FOR_CALLS)

    async def wait(self) -> None:
        """Wait until the end is announced."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            if not self._is_announced:
                await waiting
        finally:
            self._waiting.discard(waiting)

    async def wait_with(self, event: asyncio.Event, seconds: float) -> None:
        """Wait for `event` up to so many seconds, or until the end is announced."""
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
        """Let the entered `timeout` expire before an announced end."""
        limit = _Limit(timeout, asyncio.get_running_loop())
        self._limits.add(limit)
        try:
            if self._is_announced:
                limit.set_soon(self._seconds * _FOR_CALLS)
            yield
        finally:
            self._limits.discard(limit)


class _Limit:
    """A timeout, and the event loop in which it has to be rescheduled."""

    def __init__(self, timeout: asyncio.Timeout, loop: asyncio.AbstractEventLoop) -> None:
        self._timeout = timeout
        self._loop = loop
        self._is_over = False

    def set_soon(self, seconds: float) -> None:
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
    """Let SIGTERM announce the end to `stop`. Does nothing outside the main thread.

    If the signal had no handler before, the process ends after `seconds`, or immediately at a
    second signal.
    """
    previous_handler = signal.getsignal(signal.SIGTERM)
    is_default = previous_handler is signal.SIG_DFL
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not (is_default or callable(previous_handler)):
        return

    def on_terminate(number: int, frame: FrameType | None) -> None:
        stop.announce(seconds)
        if is_default:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            end = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM))
            end.daemon = True
            end.start()
        elif callable(previous_handler):
            previous_handler(number, frame)

    signal.signal(signal.SIGTERM, on_terminate)


# The instance of this process.
PROCESS_STOP = ProcessStop()
