"""The translation of the SDKs' exceptions into ours, and the time limit of their calls.

| the SDK raises                                        | the gateway raises         |
|-------------------------------------------------------|----------------------------|
| 404, 409, 412                                         | PreconditionFailedError    |
| 429, 500, 503                                         | StorageBusyError           |
| 408, other 5xx, no connection, time-outs, cut answers | StorageUnavailableError    |
| 401, 403, no token                                    | StorageUnavailableError    |
| anything in reading an answer: not JSON, not XML, …   | StorageUnavailableError    |
| anything else                                         | the same: a bug of ours    |

401 and 403 count as unavailable, because they are temporary while a role or a key is being rotated,
and a message that fails on them must be retried rather than end its rows.

The SDKs raise AttributeError, KeyError, TypeError and others if the body of an answer is not what
they expect. So the place of an error decides, not its class: it was raised in the SDK, called by
our own code, after an answer had arrived. A wrong argument of ours fails before that.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)

from shared.errors import (
    GatewayError,
    PreconditionFailedError,
    StorageBusyError,
    StorageUnavailableError,
)
from shared.storage_time import limited_wait, storage_time_now

_NO_ANSWER = (
    ServiceRequestError,
    ServiceResponseError,
    IncompleteReadError,
    ClientAuthenticationError,
    TimeoutError,
    OSError,
)
_LOST_CONDITION = frozenset({404, 409, 412})
_TRANSIENT = frozenset({401, 403, 408, 429})
# What the services answer past their targets, and while they move a partition.
_BUSY = frozenset({429, 500, 503})
_SDK = "azure"
_OWN_PACKAGES = frozenset({"cli", "functions", "local_host", "shared", "tests"})
_REQUEST_ID = "x-ms-request-id"
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/[0-9]+")


@dataclass(slots=True)
class _StorageCall:
    """The state of a call of the SDK, which may send several requests."""

    timeout: asyncio.Timeout
    longest: float
    # The last response of the SDK's transport; None before the first.
    answer: Any = None


_RUNNING: ContextVar[_StorageCall | None] = ContextVar("storage_call", default=None)


def translate(error: BaseException) -> GatewayError | None:
    """The gateway's error for an exception of the SDK; None for a bug, which must not be hidden."""
    if isinstance(error, _NO_ANSWER):
        return StorageUnavailableError(f"storage did not answer ({type(error).__name__})")
    if isinstance(error, (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError)):
        return PreconditionFailedError(type(error).__name__)
    status = error.status_code if isinstance(error, HttpResponseError) else None
    return None if status is None else error_for_status(status)


def error_for_status(status: int) -> GatewayError | None:
    """The gateway's error for an HTTP status of storage; None for a bug in the request."""
    if status in _LOST_CONDITION:
        return PreconditionFailedError(f"storage answered {status}")
    if status in _BUSY:
        return StorageBusyError(f"storage answered {status}")
    if status in _TRANSIENT or status >= 500:
        return StorageUnavailableError(f"storage answered {status}")
    if status < 300:
        return StorageUnavailableError(f"the answer of storage with {status} cannot be read")
    return None


@asynccontextmanager
async def storage_call(longest: float = math.inf) -> AsyncIterator[None]:
    """Run one call of an SDK, translate its errors, and limit its time.

    `longest` is the limit for one answer in seconds, within the remaining `StorageTime`. An upload
    of many requests may take longer, as long as each request is answered in time.
    """
    async with limited_wait(longest) as timeout:
        call = _StorageCall(timeout, longest)
        token = _RUNNING.set(call)
        is_read = False
        try:
            yield
            is_read = True
        except GatewayError:
            raise
        except Exception as error:
            translated = translate(error)
            # The SDK may raise another error while it handles a cut answer, for which
            # `call.answer` was not set.
            is_of_answer = call.answer is not None or isinstance(error.__context__, AzureError)
            # An error with a status is storage's own, and says what is wrong with the request.
            if (
                translated is None
                and is_of_answer
                and (not isinstance(error, HttpResponseError) or error.status_code is None)
                and _is_raised_in_sdk(error)
            ):
                name = type(error).__name__
                translated = StorageUnavailableError(
                    f"the answer of storage cannot be read ({name})"
                )
            if translated is None:
                raise
            raise translated from error
        finally:
            _RUNNING.reset(token)
            if not is_read and call.answer is not None:
                # The SDK does not release the connection of a download that was not read to its
                # end, for example after a time-out.
                call.answer.internal_response.close()


def remember_response(response: Any) -> None:
    """Remember the response of the SDK's transport, so that `storage_call` can close it."""
    call = _RUNNING.get()
    if call is not None:
        call.answer = response


def check_answer(status: int, headers: Mapping[str, str]) -> None:
    """Raise ServiceResponseError for an answer that the SDKs would misread.

    Storage puts a request id into each answer. Without this check, an error page of a proxy would
    count as "there is no such record". A part of a blob must have the length of its range.
    """
    needs_request_id = status < 400 or status in _LOST_CONDITION
    if needs_request_id and _REQUEST_ID not in headers:
        raise ServiceResponseError(f"an answer with {status} does not come from storage")
    content_range = _RANGE.fullmatch(headers.get("Content-Range", ""))
    length = headers.get("Content-Length", "")
    if (
        content_range is not None
        and length
        and int(content_range[2]) - int(content_range[1]) + 1 != int(length)
    ):
        raise ServiceResponseError("a part of a blob has another length than it should have")


def note_answer(status: int, size: int) -> None:
    """Extend the time of the call after an answer; `size` is the bytes of request and answer."""
    call = _RUNNING.get()
    if status in _TRANSIENT or status >= 500:
        return
    time = storage_time_now()
    time.note_answer(size)
    if call is not None and not call.timeout.expired():
        more = min(time.left, call.longest)
        call.timeout.reschedule(asyncio.get_running_loop().time() + more)


def _is_raised_in_sdk(error: BaseException) -> bool:
    """Whether the innermost frame of the traceback, among the SDK's and our own, is the SDK's."""
    traceback, innermost_package = error.__traceback__, ""
    while traceback is not None:
        package = str(traceback.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if package == _SDK or package in _OWN_PACKAGES:
            innermost_package = package
        traceback = traceback.tb_next
    return innermost_package == _SDK
