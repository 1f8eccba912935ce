"""The one edge where the SDKs' exceptions become ours, and where their time is limited.

| what the SDK raises                                   | what we raise              |
|-------------------------------------------------------|----------------------------|
| 404, 409, 412                                         | PreconditionFailedError    |
| 408, 429, 5xx, no connection, time-outs, cut answers  | StorageUnavailableError    |
| 401, 403, no token                                    | StorageUnavailableError    |
| anything in reading an answer: not JSON, not XML, …   | StorageUnavailableError    |
| anything else                                         | as it is: a fault of ours  |

401 and 403 count as unavailable because a role or a key that is being rotated comes back, and a
message that fails on them must be tried again rather than end its rows.

The SDKs raise AttributeError, KeyError, TypeError and others where the body of an answer is not
what they expect. Where an error was raised decides, not its class: it was in the SDK, below our own
code, and after an answer had come in. A wrong argument of ours fails before that.
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

from shared.errors import GatewayError, PreconditionFailedError, StorageUnavailableError
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
_PASSING = frozenset({401, 403, 408, 429})
_SDK = "azure"
_OURS = frozenset({"cli", "functions", "local_host", "shared", "tests"})
_REQUEST_ID = "x-ms-request-id"
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/[0-9]+")


@dataclass(slots=True)
class _StorageCall:
    """What is known of a call of the SDK, which may send several requests."""

    timeout: asyncio.Timeout
    longest: float
    # The last response of the SDK's transport; None before the first.
    answer: Any = None


_RUNNING: ContextVar[_StorageCall | None] = ContextVar("storage_call", default=None)


def translate(error: BaseException) -> GatewayError | None:
    """Ours for one of theirs; None where the error is a fault of the code and must be seen."""
    if isinstance(error, _NO_ANSWER):
        return StorageUnavailableError(f"storage did not answer ({type(error).__name__})")
    if isinstance(error, (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError)):
        return PreconditionFailedError(type(error).__name__)
    status = error.status_code if isinstance(error, HttpResponseError) else None
    return None if status is None else meaning_of(status)


def meaning_of(status: int) -> GatewayError | None:
    """Ours for an HTTP status of storage; None where it is a fault of the code."""
    if status in _LOST_CONDITION:
        return PreconditionFailedError(f"storage answered {status}")
    if status in _PASSING or status >= 500:
        return StorageUnavailableError(f"storage answered {status}")
    if status < 300:
        return StorageUnavailableError(f"the answer of storage with {status} cannot be read")
    return None


@asynccontextmanager
async def storage_call(longest: float = math.inf) -> AsyncIterator[None]:
    """Run one call of an SDK: raise our error for its errors, and when it takes too long.

    `longest` is how long storage may take for an answer, in seconds; never longer than there is
    time. So an upload of many requests goes on as long as each of them is answered.
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
            ours = translate(error)
            # The SDK may raise once more while it handles a cut answer, which was never
            # noted as one.
            is_of_answer = call.answer is not None or isinstance(error.__context__, AzureError)
            if ours is None and is_of_answer and _has_no_status(error) and _is_raised_in_sdk(error):
                name = type(error).__name__
                ours = StorageUnavailableError(f"the answer of storage cannot be read ({name})")
            if ours is None:
                raise
            raise ours from error
        finally:
            _RUNNING.reset(token)
            if not is_read and call.answer is not None:
                # The SDK keeps the connection of a download that it did not read to its end,
                # for example after a time-out.
                call.answer.internal_response.close()


def keep_answer(response: Any) -> None:
    """Remember the response of the SDK's transport, so that `storage_call` can close it."""
    call = _RUNNING.get()
    if call is not None:
        call.answer = response


def check_answer(status: int, headers: Mapping[str, str]) -> None:
    """Refuse an answer that the SDKs would take for what it is not.

    Storage names each request in its answer: a page of a proxy must not pass for "there is no such
    record". A part of a blob has the length that it says. Raises ServiceResponseError.
    """
    is_meant = status < 400 or status in _LOST_CONDITION
    if is_meant and _REQUEST_ID not in headers:
        raise ServiceResponseError(f"an answer with {status} does not come from storage")
    part = _RANGE.fullmatch(headers.get("Content-Range", ""))
    length = headers.get("Content-Length", "")
    if part is not None and length and int(part[2]) - int(part[1]) + 1 != int(length):
        raise ServiceResponseError("a part of a blob has another length than it should have")


def note_answer(status: int, size: int) -> None:
    """An answer to a request of `size` bytes, both ways: storage is there."""
    call = _RUNNING.get()
    if status in _PASSING or status >= 500:
        return
    time = storage_time_now()
    time.note_answer(size)
    if call is not None and not call.timeout.expired():
        more = min(time.left, call.longest)
        call.timeout.reschedule(asyncio.get_running_loop().time() + more)


def _has_no_status(error: Exception) -> bool:
    """Whether storage has not said itself what is wrong with the request."""
    return not isinstance(error, HttpResponseError) or error.status_code is None


def _is_raised_in_sdk(error: BaseException) -> bool:
    """Whether the innermost code of either side that the error went through is the SDK's."""
    trace, innermost = error.__traceback__, ""
    while trace is not None:
        package = str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if package == _SDK or package in _OURS:
            innermost = package
        trace = trace.tb_next
    return innermost == _SDK
