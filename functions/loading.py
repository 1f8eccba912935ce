"""Imports the services after the app is indexed, so that cold starts are short (docs/design.md#3).

The host needs only names, routes and queues to index the app. So a trigger imports the services
inside its function. Right after the indexing, a thread imports all of them
(`functions.late_imports`). Calls, messages and timers wait for that thread without blocking the
event loop.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING

import azure.functions as func

if TYPE_CHECKING:
    from shared.gateway import Gateway
    from shared.web.responses import FaultAnswers

Handler = Callable[[func.HttpRequest], Awaitable[func.HttpResponse]]


async def wait_until_loaded() -> None:
    """Wait until `functions.late_imports` is imported. Raises what its import raises."""
    loading = _start_loading()
    if not loading.done():
        await asyncio.shield(asyncio.wrap_future(loading))
    loading.result()


def load_in_background() -> None:
    """Load once the worker has answered the indexing, which it does in its event loop.

    Where no event loop runs, the first call loads.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    loop.call_soon(_start_loading)


_lock = Lock()
_loading: Future[ModuleType] | None = None


def _start_loading() -> Future[ModuleType]:
    """Load in a thread, once, and again where that has failed.

    One thread imports everything: two that import modules in different orders could get a module
    that is not complete.
    """
    global _loading  # noqa: PLW0603 (modules belong to the process too)
    with _lock:
        if _loading is None or (_loading.done() and _loading.exception() is not None):
            thread = ThreadPoolExecutor(1, "loading")
            _loading = thread.submit(importlib.import_module, "functions.late_imports")
            _loading.add_done_callback(_log_failure)
            thread.shutdown(wait=False)
        return _loading


def _log_failure(loading: Future[ModuleType]) -> None:
    error = loading.exception()
    if error is not None:
        from shared import log

        log.failure("modules.not_loaded", error)


async def gateway() -> Gateway:
    """The gateway of this process. Raises as `shared.bootstrap.gateway` does."""
    from shared import bootstrap

    return await bootstrap.gateway()


@asynccontextmanager
async def gateway_in_background() -> AsyncIterator[Gateway]:
    """The gateway for a message, a timer or a drop, which may wait longer for storage."""
    await wait_until_loaded()
    from shared.storage_time import BACKGROUND_SECONDS, storage_time

    with storage_time(BACKGROUND_SECONDS):
        yield await gateway()


def answered(handler: Handler) -> Handler:
    """Answer a call by `shared.web.responses.answer_call`: refusals, headers, a log line."""

    @functools.wraps(handler)
    async def answer(req: func.HttpRequest) -> func.HttpResponse:
        await wait_until_loaded()
        from shared.web.responses import answer_call

        return await answer_call(handler, req)

    return answer


def answered_with(load_answers: Callable[[], FaultAnswers]) -> Callable[[Handler], Handler]:
    """Like `answered`, for a contract with its own form of refusals and of the 202."""

    def decorate(handler: Handler) -> Handler:
        @functools.wraps(handler)
        async def answer(req: func.HttpRequest) -> func.HttpResponse:
            await wait_until_loaded()
            from shared.web.responses import answer_call

            return await answer_call(handler, req, load_answers())

        return answer

    return decorate
