"""The error tree, what HTTP makes of it, and what becomes of storage's errors.

See docs/design.md#6.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from types import ModuleType

import azure.core.exceptions
import azure.data.tables
import pytest
from azure.core.exceptions import AzureError, HttpResponseError, IncompleteReadError
from azure.data.tables._error import _decode_error

from shared import errors
from shared.errors import GatewayError, PreconditionFailedError, StorageUnavailableError
from shared.storage.failures import storage_call, translate
from shared.web.responses import STATUS, refusal

UNAVAILABLE, LOST, FAULT = StorageUnavailableError, PreconditionFailedError, None
MEANINGS: dict[str, type[GatewayError] | None] = {
    # No answer, or half of one.
    "ServiceRequestError": UNAVAILABLE,
    "ServiceResponseError": UNAVAILABLE,
    "ServiceRequestTimeoutError": UNAVAILABLE,
    "ServiceResponseTimeoutError": UNAVAILABLE,
    "IncompleteReadError": UNAVAILABLE,
    # No token, or one that storage does not take: a role or a key that is being changed.
    "ClientAuthenticationError": UNAVAILABLE,
    # The state of the entity or the blob.
    "ResourceExistsError": LOST,
    "ResourceNotFoundError": LOST,
    "ResourceModifiedError": LOST,
    "ResourceNotModifiedError": FAULT,
    # What says nothing without a status; with one, the status decides.
    "AzureError": FAULT,
    "HttpResponseError": FAULT,
    "DecodeError": FAULT,
    "ODataV4Error": FAULT,
    "TooManyRedirectsError": FAULT,
    "TableTransactionError": FAULT,
    "RequestTooLargeError": FAULT,
    # Ours to mend.
    "SerializationError": FAULT,
    "DeserializationError": FAULT,
    "StreamConsumedError": FAULT,
    "StreamClosedError": FAULT,
    "ResponseNotReadError": FAULT,
}
"""Every error of the storage libraries, without a status."""

STATUSES = {
    **dict.fromkeys((401, 403, 408, 502, 504), UNAVAILABLE),
    **dict.fromkeys((429, 500, 503), errors.StorageBusyError),
    **dict.fromkeys((404, 409, 412), LOST),
    **dict.fromkeys((400, 405, 411, 413, 414, 416), FAULT),
}


def _classes(module: ModuleType) -> dict[str, type[BaseException]]:
    return {
        name: member
        for name, member in vars(module).items()
        if inspect.isclass(member) and issubclass(member, Exception)
    }


FOREIGN = {
    name: error
    for module in (azure.core.exceptions, azure.data.tables)
    for name, error in _classes(module).items()
    if error.__module__.startswith("azure.")
}


def test_the_table_of_meanings_is_complete() -> None:
    assert set(MEANINGS) == set(FOREIGN)


@pytest.mark.parametrize("name", MEANINGS)
def test_an_error_of_the_storage_libraries_becomes_ours(name: str) -> None:
    foreign = FOREIGN[name]
    error = foreign.__new__(foreign)
    if issubclass(foreign, HttpResponseError):
        HttpResponseError.__init__(error, "x")  # type: ignore[arg-type]
    elif issubclass(foreign, AzureError):
        AzureError.__init__(error, "x")  # type: ignore[arg-type]
    ours, meaning = translate(error), MEANINGS[name]
    assert (None if ours is None else type(ours)) is meaning


@pytest.mark.parametrize("status", STATUSES)
def test_the_status_of_an_answer_decides(status: int) -> None:
    error = HttpResponseError("x")
    error.status_code = status
    ours, meaning = translate(error), STATUSES[status]
    assert (None if ours is None else type(ours)) is meaning


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError(), OSError()])
def test_a_broken_connection_is_unavailable(error: OSError) -> None:
    assert isinstance(translate(error), StorageUnavailableError)


def test_an_error_of_the_sdk_while_it_handles_a_cut_answer_is_unavailable() -> None:
    """The tables library looks for the headers of an answer that never came whole, in an insert."""

    async def call() -> None:
        async with storage_call():
            try:
                raise IncompleteReadError("cut")
            except HttpResponseError as error:
                _decode_error(error.response, error.message)  # type: ignore[no-untyped-call]

    with pytest.raises(StorageUnavailableError):
        asyncio.run(call())


def test_an_error_of_the_gateway_is_not_translated() -> None:
    async def call() -> None:
        async with storage_call():
            raise AttributeError("ours")

    with pytest.raises(AttributeError):
        asyncio.run(call())


OURS = {name: error for name, error in _classes(errors).items() if issubclass(error, GatewayError)}
REFUSED = [error for error in OURS.values() if errors.RefusedError in error.__mro__[1:]]


def test_every_error_is_shown_in_the_tree_of_the_module() -> None:
    assert errors.__doc__ is not None
    assert [name for name in OURS if name not in errors.__doc__] == []


@pytest.mark.parametrize("error", REFUSED, ids=lambda error: error.__name__)
def test_every_refusal_has_a_status_and_one_shape(error: type[errors.RefusedError]) -> None:
    answer = refusal(error("Do this."))
    assert answer.status_code == STATUS[error]
    assert 400 <= answer.status_code < 600
    assert json.loads(answer.get_body()) == {"message": "Do this."}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StorageUnavailableError("at 10.0.0.1"), 503),
        (errors.SettingsError(["secret=1"]), 500),
        (PreconditionFailedError("key=1"), 500),
        (RuntimeError("secret"), 500),
    ],
)
def test_any_other_error_is_reported_without_its_text(error: Exception, status: int) -> None:
    answer = refusal(error)
    assert answer.status_code == status
    assert list(json.loads(answer.get_body())) == ["message"]
    assert str(error) not in answer.get_body().decode()
    assert ("Retry-After" in answer.headers) is (status == 503)
