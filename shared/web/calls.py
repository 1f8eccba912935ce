"""Every HTTP call goes through here: correlation id, caching, refusals, one log line."""

from __future__ import annotations

import asyncio
import functools
import re
import time
from collections.abc import Awaitable, Callable

import azure.functions as func

from shared import log
from shared.bootstrap import PROCESS_STOP
from shared.clock import RandomIds
from shared.errors import GatewayStoppingError, RefusedError, SettingsError
from shared.printable import printable
from shared.services.acceptance import acceptance_noted
from shared.services.reporting import ImportReport
from shared.storage_time import CALL_SECONDS, storage_time
from shared.web.import_views import just_accepted, not_yet
from shared.web.query_names import DRY_RUN_HEADER, wants_dry_run
from shared.web.refusals import refusal

CORRELATION_HEADER = "X-Correlation-Id"
_CORRELATION_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")

Handler = Callable[[func.HttpRequest], Awaitable[func.HttpResponse]]


Refuse = Callable[[func.HttpRequest, BaseException], func.HttpResponse]
Follow = Callable[[func.HttpRequest, ImportReport], func.HttpResponse]


def answered(handler: Handler) -> Handler:
    """Give the handler's answer a correlation id (the caller's own, if it is a plain one).

    What the handler raises becomes a refusal; only the class of an unforeseen error is logged.
    Where an import was accepted before, it becomes 202 and where to follow the import. Storage may
    keep the call waiting for `CALL_SECONDS`, all in all. Every answer to a dry run says that it is
    one: where a call has no dry run, `QueryNames` refuses it.
    """
    return answered_with(lambda _req, error: refusal(error), lambda _req, report: not_yet(report))(
        handler
    )


def answered_with(refuse: Refuse, follow: Follow) -> Callable[[Handler], Handler]:
    """`answered` for a contract whose refusals and whose 202 have a form of their own."""
    return functools.partial(_answered, refuse, follow)


def _answered(refuse: Refuse, follow: Follow, handler: Handler) -> Handler:
    @functools.wraps(handler)
    async def answer(req: func.HttpRequest) -> func.HttpResponse:
        started = time.perf_counter()
        correlation_id = _correlation_id(req)
        name = getattr(handler, "__name__", "")
        with storage_time(CALL_SECONDS), acceptance_noted() as acceptance:
            try:
                response = await _finish_before_stop(handler, req)
            except Exception as error:
                _tell(error, correlation_id, name)
                if acceptance.record is None:
                    response = refuse(req, error)
                else:
                    response = follow(req, just_accepted(acceptance.record))
        response.headers[CORRELATION_HEADER] = correlation_id
        # Most answers show what is stored of people; those that are public say so themselves.
        response.headers.setdefault("Cache-Control", "no-store")
        if wants_dry_run(req):
            response.headers[DRY_RUN_HEADER] = "true"
        log.event(
            "call.answered",
            function=name,
            status=response.status_code,
            correlation_id=correlation_id,
            seconds=round(time.perf_counter() - started, 3),
        )
        return response

    return answer


async def _finish_before_stop(handler: Handler, req: func.HttpRequest) -> func.HttpResponse:
    """The handler's answer. Raises GatewayStoppingError where the process ends before it."""
    limit = asyncio.timeout(None)
    try:
        async with limit:
            with PROCESS_STOP.limiting(limit):
                return await handler(req)
    except TimeoutError:
        if limit.expired():
            raise GatewayStoppingError from None
        raise


def _correlation_id(req: func.HttpRequest) -> str:
    sent = req.headers.get(CORRELATION_HEADER, "")
    return sent if _CORRELATION_ID.fullmatch(sent) else RandomIds().new()


def _tell(error: Exception, correlation_id: str, name: str) -> None:
    if isinstance(error, RefusedError):
        log.event(
            "call.refused",
            function=name,
            correlation_id=correlation_id,
            reason=type(error).__name__,
        )
        return
    log.failure("call.failed", error, function=name, correlation_id=correlation_id)
    if isinstance(error, SettingsError):
        for problem in error.problems:
            log.LOGGER.error("settings: %s", printable(problem))
