"""Runs one invocation the way the Python worker does (docs/platform.md#7.3).

Async handlers are tasks on the one event loop, sync ones run in a thread pool. A failed invocation
is logged here, once, and raised to the caller as InvocationFailedError.
"""

import asyncio
import contextlib
import inspect
import logging
import os
import secrets
import threading
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakSet

import azure.functions as func
from azure.functions.meta import Datum

from local_host.app_settings import InvocationFailedError
from local_host.indexing import AppFunction, find_converter, wants_context, wants_raw

_log = logging.getLogger(__name__)
_thread_local = threading.local()


@dataclass(frozen=True, slots=True)
class TraceContext:
    """W3C trace context of an invocation."""

    trace_parent: str
    trace_state: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RetryContext:
    """The retry context. This host runs no retry policies, so the counts are always 0."""

    retry_count: int = 0
    max_retry_count: int = 0
    exception: None = None


@dataclass(frozen=True, slots=True)
class Context:
    """The context of an invocation, for handlers with a `context` parameter."""

    invocation_id: str
    function_name: str
    function_directory: str
    trace_context: TraceContext
    retry_context: RetryContext = RetryContext()
    thread_local_storage: threading.local = _thread_local


def decode_trigger(function: AppFunction, content: Datum, metadata: dict[str, Datum]) -> Any:
    """Make the handler's argument by the library's own converter, as the worker does."""
    if wants_raw(function.handler, function.parameter):
        return content.value
    return find_converter(function.kind).decode(content, trigger_metadata=metadata)


class Invoker:
    """Runs handlers. There is one invoker in the process."""

    def __init__(self, timeout: float | None) -> None:
        """`timeout` is host.json's functionTimeout in seconds."""
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(_thread_count(), "function")
        # Those that wait for the end of a pause are among the invocations, not among the started.
        self._invocations: dict[asyncio.Task[Any], tuple[AppFunction, Any]] = {}
        self._started: set[asyncio.Task[Any]] = set()
        self._may_start = asyncio.Event()
        self._may_start.set()
        self._broken_off: WeakSet[asyncio.Task[Any]] = WeakSet()

    async def run(self, function: AppFunction, argument: Any, trace_parent: str = "") -> Any:
        """Run a handler and return its result. Raises InvocationFailedError, which is logged."""
        parts = trace_parent.split("-")
        trace_id = parts[1] if len(parts) == 4 and len(parts[1]) == 32 else secrets.token_hex(16)
        context = Context(
            invocation_id=str(uuid.uuid4()),
            function_name=function.name,
            function_directory=str(Path(inspect.getfile(function.handler)).parent),
            trace_context=TraceContext(f"00-{trace_id}-{secrets.token_hex(8)}-01"),
        )
        started_at = time.perf_counter()
        outcome = "failed"
        limit = asyncio.timeout(self._timeout)
        call = asyncio.create_task(self._start(function, argument, context))
        self._invocations[call] = function, argument
        call.add_done_callback(self._forget)
        try:
            async with limit:
                result = await call
            if inspect.iscoroutine(result):
                result.close()
                raise TypeError(
                    "the handler returned a coroutine: a plain function hides an async one"
                )
            if function.route is None and result is not None:
                raise TypeError("a function without a $return binding returned a value")
            if function.route is not None and not isinstance(result, (func.HttpResponse, str)):
                raise TypeError(
                    f"an HTTP function returned {type(result).__name__}, not HttpResponse"
                )
            outcome = "succeeded"
            return result
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                outcome = "was stopped"
                raise
            if call in self._broken_off:
                outcome = "was broken off"
                raise InvocationFailedError(function.name) from None
            _log.exception("function %s was cancelled from inside", function.name)
            raise InvocationFailedError(function.name) from None
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                outcome = "timed out"
            else:
                _log.exception("function %s raised (%s)", function.name, context.invocation_id)
            raise InvocationFailedError(function.name) from error
        finally:
            _log.info(
                "function %s %s in %.0f ms (%s)",
                function.name,
                outcome,
                (time.perf_counter() - started_at) * 1000,
                context.invocation_id,
            )

    @property
    def running(self) -> Mapping[asyncio.Task[Any], tuple[AppFunction, Any]]:
        """The running handlers, each with its function and argument."""
        return {call: self._invocations[call] for call in self._started}

    @property
    def waiting(self) -> Mapping[asyncio.Task[Any], tuple[AppFunction, Any]]:
        """The handlers that start at the end of a pause, each with its function and argument."""
        return {call: each for call, each in self._invocations.items() if call not in self._started}

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Start no further handler during the block; what is to run waits."""
        self._may_start.clear()
        try:
            yield
        finally:
            self._may_start.set()

    async def break_off(self, running: Collection[asyncio.Task[Any]], seconds: float) -> None:
        """Cancel these handlers, running or waiting, and wait so long for their end."""
        self._broken_off.update(running)
        for call in running:
            call.cancel()
        if running:
            await asyncio.wait(running, timeout=seconds)

    async def wait_until_idle(self, seconds: float) -> None:
        """Wait until no handler runs, but at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._started:
                    await asyncio.wait(set(self._started))

    def close(self) -> None:
        """End the thread pool, although a sync handler may still use one of its threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _forget(self, call: asyncio.Task[Any]) -> None:
        del self._invocations[call]
        self._started.discard(call)

    async def _start(self, function: AppFunction, argument: Any, context: Context) -> Any:
        # A pause may have begun again since the event was set.
        while not self._may_start.is_set():
            await self._may_start.wait()
        task = asyncio.current_task()
        assert task is not None
        self._started.add(task)
        return await self._call(function, argument, context)

    async def _call(self, function: AppFunction, argument: Any, context: Context) -> Any:
        arguments = {function.parameter: argument}
        if wants_context(function.handler, function.parameter):
            arguments["context"] = context
        if inspect.iscoroutinefunction(function.handler):
            _thread_local.invocation_id = context.invocation_id
            return await function.handler(**arguments)
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._call_in_thread, function, arguments, context.invocation_id
        )

    def _call_in_thread(
        self, function: AppFunction, arguments: dict[str, Any], invocation_id: str
    ) -> Any:
        _thread_local.invocation_id = invocation_id
        return function.handler(**arguments)


def _thread_count() -> int:
    text = os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT", "")
    if text.isdecimal() and 1 <= int(text) <= 32:
        return int(text)
    return min(32, (os.cpu_count() or 1) + 4)
