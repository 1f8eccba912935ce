"""The one edge where the SDKs' exceptions become ours (STYLE 6).

| what the SDK raises                                   | what we raise              |
|-------------------------------------------------------|----------------------------|
| 404, 409, 412 on a write                              | PreconditionFailedError    |
| 408, 429, 5xx, no connection, time-outs, cut answers  | StorageUnavailableError    |
| 401, 403, no token                                    | StorageUnavailableError    |
| anything else                                         | as it is: a fault of ours  |

401 and 403 count as unavailable because a role or a key that is being rotated comes back, and a
message that fails on them must be tried again rather than end its rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
    return None


@contextmanager
def translated() -> Iterator[None]:
    """Raise our error for every SDK error of the block."""
    try:
        yield
    except (AzureError, OSError, TimeoutError) as error:
        ours = translate(error)
        if ours is None:
            raise
        raise ours from error
