"""Answers to all calls: the status and body of each error (docs/contracts.md#0), logging."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import azure.functions as func

from shared import errors, log, telemetry
from shared.clock import RandomIds
from shared.errors import GatewayStoppingError, RefusedError, SettingsError
from shared.printable import printable
from shared.process_stop import PROCESS_STOP
from shared.services.import_log import acceptance_noted
from shared.services.status import ImportReport
from shared.storage_time import CALL_SECONDS, storage_time
from shared.web.imports import just_accepted, not_yet
from shared.web.query_names import DRY_RUN_HEADER, wants_dry_run

# The Retry-After of a call that failed because of storage, in seconds.
RETRY_AFTER = "5"

STATUS: dict[type[errors.GatewayError], int] = {
    errors.UnauthenticatedError: 401,
    errors.ExpiredKeyError: 401,
    errors.BearerTokenError: 401,
    errors.ExpiredTokenError: 401,
    errors.ForbiddenError: 403,
    errors.MissingScopeError: 403,
    errors.MissingPermissionError: 403,
    errors.WrongSoftwareKeyError: 403,
    errors.TokenRefusedError: 400,
    errors.NotBuiltError: 501,
    errors.UnknownMessageTypeError: 501,
    errors.InvalidRequestError: 400,
    errors.TooLargeError: 413,
    errors.NotAcceptableError: 406,
    errors.UnsupportedMediaTypeError: 415,
    errors.UnsupportedPayloadError: 501,
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.KeyReusedError: 422,
    errors.GoneError: 410,
    errors.TooManyRequestsError: 429,
}

UNAVAILABLE = "Storage does not answer at the moment and nothing was accepted: send the call again."
UNKNOWN_KEY = (
    "Storage does not answer at the moment: send the call again with the same Idempotency-Key, so "
    "that its import is accepted only once."
)
MAY_BE_ACCEPTED = (
    "Storage stopped answering while the import was accepted: ask for /api/imports/{import_id} "
    "before you send the call again."
)
UNREADABLE = (
    "{what} cannot be read, and trying again will not help: ask the operator of the gateway to "
    "check the stored records."
)
MAY_BE_STAGED = (
    "Storage stopped answering while the records were staged: ask for "
    "/api/admin/authdata/{file_log_id} before you send them again."
)
NO_DATA_KEY = (
    "The gateway has no key to seal sensitive data with, so nothing was accepted: ask its operator "
    "to read the log."
)
SEALED = (
    "What this call needs is sealed, and the gateway has no key that opens it: ask its operator to "
    "check the keys that are set."
)
NO_IDENTITY = (
    "The token cannot be checked, since Entra does not answer at the moment: send the call again."
)
STOPPING = (
    "The gateway is being restarted and has not finished this call: look in /api/imports for what "
    "it has accepted, or send the call again with the Idempotency-Key that it had."
)
UNEXPECTED = "The gateway failed unexpectedly: report the X-Correlation-Id of this answer."
MISCONFIGURED = (
    "The gateway's settings are wrong: ask its operator to read the log, which lists them."
)

# The messages of errors that are not the caller's, with their statuses.
FAULTS = (
    (503, UNAVAILABLE),
    (503, UNKNOWN_KEY),
    (503, MAY_BE_ACCEPTED),
    (503, MAY_BE_STAGED),
    (503, NO_DATA_KEY),
    (503, SEALED),
    (503, NO_IDENTITY),
    (503, STOPPING),
    (409, UNREADABLE),
    (500, MISCONFIGURED),
    (500, UNEXPECTED),
)


def refusal(error: BaseException) -> func.HttpResponse:
    """The answer to a call that failed with `error`; never with a stack trace or a value."""
    if isinstance(error, errors.RefusedError):
        return _answer(STATUS[type(error)], error.message, _headers(error))
    if isinstance(error, errors.AcceptanceUnknownError):
        message = MAY_BE_ACCEPTED.format(import_id=error.import_id)
        return _answer(503, message, {"Retry-After": RETRY_AFTER, "X-Import-Id": error.import_id})
    if isinstance(error, errors.StagingUnknownError):
        message = MAY_BE_STAGED.format(file_log_id=error.file_log_id)
        return _answer(503, message, {"Retry-After": RETRY_AFTER})
    if isinstance(error, errors.RepeatUnknownError):
        return _answer(503, UNKNOWN_KEY, {"Retry-After": RETRY_AFTER})
    if isinstance(error, errors.StorageUnavailableError):
        return _answer(503, UNAVAILABLE, {"Retry-After": RETRY_AFTER})
    if isinstance(error, errors.DataKeysNotSetError):
        return _answer(503, NO_DATA_KEY)
    if isinstance(error, errors.SealedDataError):
        return _answer(503, SEALED)
    if isinstance(error, errors.UnreadableDataError):
        return _answer(
            409, UNREADABLE.format(what=f"{error.subject[:1].upper()}{error.subject[1:]}")
        )
    if isinstance(error, errors.IdentityProviderUnavailableError):
        return _answer(503, NO_IDENTITY, {"Retry-After": RETRY_AFTER})
    if isinstance(error, errors.GatewayStoppingError):
        return _answer(503, STOPPING, {"Retry-After": RETRY_AFTER})
    if isinstance(error, errors.SettingsError):
        return _answer(500, MISCONFIGURED)
    return _answer(500, UNEXPECTED)


def _headers(error: errors.RefusedError) -> dict[str, str] | None:
    """The headers of a refusal: Retry-After, or how to authenticate (RFC 6750, 3)."""
    if isinstance(error, errors.TooManyRequestsError):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, errors.BearerTokenError):
        response_headers = ' error="invalid_token"' if error.is_sent else ""
        return {"WWW-Authenticate": f"Bearer{response_headers}"}
    if isinstance(error, errors.MissingScopeError):
        required = f'Bearer error="insufficient_scope", scope="{error.scope}"'
        return {"WWW-Authenticate": required}
    return None


def _answer(status: int, message: str, headers: dict[str, str] | None = None) -> func.HttpResponse:
    return func.HttpResponse(
        json.dumps({"message": message}, ensure_ascii=False),
        status_code=status,
        headers=headers,
        mimetype="application/json",
    )


# Every HTTP call goes through here: correlation id, caching, refusals, one log line.

CORRELATION_HEADER = "X-Correlation-Id"
_CORRELATION_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")

Handler = Callable[[func.HttpRequest], Awaitable[func.HttpResponse]]


@dataclass(frozen=True, slots=True)
class FaultAnswers:
    """The answers of a contract to a call that failed: refused, or after an import was accepted."""

    refuse: Callable[[func.HttpRequest, BaseException], func.HttpResponse]
    follow: Callable[[func.HttpRequest, ImportReport], func.HttpResponse]


# Those of the gateway's own contract.
FAULT_ANSWERS = FaultAnswers(
    refuse=lambda _req, error: refusal(error), follow=lambda _req, report: not_yet(report)
)


async def answer_call(
    handler: Handler, req: func.HttpRequest, answers: FaultAnswers = FAULT_ANSWERS
) -> func.HttpResponse:
    """Answer a call: run the handler, and add a correlation id (the caller's own, if it is valid).

    An error of the handler becomes a refusal, and only the class of an unexpected error is logged.
    If an import was accepted before the error, the answer is 202 with the address of the import.
    Storage may delay the call by `CALL_SECONDS` in total. Every answer to a dry run has a header
    that says so; `QueryNames` refuses dry runs at addresses without them.
    """
    started_at = time.perf_counter()
    header = req.headers.get(CORRELATION_HEADER, "")
    correlation_id = header if _CORRELATION_ID.fullmatch(header) else RandomIds().new()
    name = getattr(handler, "__name__", "")
    with (
        telemetry.call_span(name, req.headers.get("traceparent", "")) as call_span,
        storage_time(CALL_SECONDS),
        acceptance_noted() as acceptance,
    ):
        try:
            response = await _finish_before_stop(handler, req)
        except Exception as error:
            _log_failure(error, correlation_id, name)
            if acceptance.record is None:
                response = answers.refuse(req, error)
            else:
                response = answers.follow(req, just_accepted(acceptance.record))
        telemetry.note_answer(call_span, response.status_code, correlation_id)
    response.headers[CORRELATION_HEADER] = correlation_id
    # Most answers show what is stored of people; those that are public say so themselves.
    response.headers.setdefault("Cache-Control", "no-store")
    if wants_dry_run(req):
        response.headers[DRY_RUN_HEADER] = "true"
    seconds = time.perf_counter() - started_at
    log.event(
        "call.answered",
        function=name,
        status=response.status_code,
        correlation_id=correlation_id,
        seconds=round(seconds, 3),
    )
    telemetry.note(telemetry.CALL_DURATION, seconds, function=name, status=response.status_code)
    return response


async def _finish_before_stop(handler: Handler, req: func.HttpRequest) -> func.HttpResponse:
    """The handler's answer. Raises GatewayStoppingError if the process ends before it."""
    limit = asyncio.timeout(None)
    try:
        async with limit:
            with PROCESS_STOP.limiting(limit):
                return await handler(req)
    except TimeoutError:
        if limit.expired():
            raise GatewayStoppingError from None
        raise


def _log_failure(error: Exception, correlation_id: str, name: str) -> None:
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
