"""The refusals of an import call, each with its words, and which goes before which.

Order and wording: docs/contracts.md#0 (order of refusal) and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pytest

from tests.builders import a_worker, body_of
from tests.contract.conftest import Kind
from tests.contract.limits import MAX_BODY_BYTES, MAX_ROWS
from tests.contract.refusals import check_refusal
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.tenants import Sender

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Fault:
    """Something wrong with a call, and how it is refused; only one fault `about` a thing fits."""

    name: str
    status: int
    wording: str
    about: str = ""


FAULTS = (
    Fault("no key", 401, "X-Functions-Key", about="key"),
    Fault("unknown key", 401, "not known", about="key"),
    Fault("another software key", 403, "Key name does not match Software Key"),
    Fault("disabled", 403, "Integration missing for Software Key or disabled"),
    Fault("database not active", 403, "Pay and Bill Database not active"),
    Fault("unknown version", 501, "Message Type not found/implemented", about="version"),
    Fault("version no number", 400, "version", about="version"),
    Fault("old database", 400, "Invalid DB Version"),
    Fault("too many bytes", 413, str(MAX_BODY_BYTES)),
    Fault("encoded", 415, "Content-Encoding"),
    Fault("key of another call", 422, "Idempotency-Key"),
    Fault("not json", 400, "not valid JSON"),
    Fault("not only objects", 501, "Payload data not supported"),
    Fault("too many rows", 413, str(MAX_ROWS)),
)
"""In the order in which they are refused."""
USED = "used"
"""An Idempotency-Key that each sender has sent with a call of its own."""


def _send(
    gateway: GatewayProcess, senders: Mapping[Kind, Sender], faults: set[str]
) -> tuple[Answer, Sender]:
    """A call with these faults and no other."""
    version = 0 if "old database" in faults else 1
    sender = senders["disabled" not in faults, "database not active" not in faults, version]
    if "key of another call" in faults:
        gateway.post(sender, [], **{"Idempotency-Key": USED})
    answer = gateway.call("POST", _address(faults), _body(faults), _headers(sender, faults))
    return answer, sender


def _headers(sender: Sender, faults: set[str]) -> dict[str, str]:
    headers = {"Content-Type": "application/json", **sender.headers}
    if "no key" in faults:
        del headers["X-Functions-Key"]
    if "unknown key" in faults:
        headers["X-Functions-Key"] = "pig_nobody"
    if "another software key" in faults:
        headers["X-Software-Key"] += "x"
    if "encoded" in faults:
        headers["Content-Encoding"] = "gzip"
    if "key of another call" in faults:
        headers["Idempotency-Key"] = USED
    return headers


def _address(faults: set[str]) -> str:
    version = "2" if "unknown version" in faults else "1"
    version = "abc" if "version no number" in faults else version
    return f"/api/import/workers?version={version}"


def _body(faults: set[str]) -> bytes:
    rows: list[Any] = [a_worker("P1")] * (MAX_ROWS + 1 if "too many rows" in faults else 1)
    body = body_of([7, *rows] if "not only objects" in faults else rows)
    if "not json" in faults:
        body += b"}"
    return body + b" " * (MAX_BODY_BYTES if "too many bytes" in faults else 0)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_refused_in_its_own_words(
    gateway: GatewayProcess, senders: Mapping[Kind, Sender], fault: Fault
) -> None:
    answer, _ = _send(gateway, senders, {fault.name})
    check_refusal(answer, fault.status, fault.wording)


@pytest.mark.parametrize("first", FAULTS, ids=lambda fault: fault.name)
def test_of_two_faults_the_one_that_comes_first_is_refused(
    gateway: GatewayProcess, senders: Mapping[Kind, Sender], first: Fault
) -> None:
    pairs = [pair for pair in combinations(FAULTS, 2) if pair[0] is first]
    for _, second in pairs:
        if first.about and first.about == second.about:
            continue
        answer, _ = _send(gateway, senders, {first.name, second.name})
        message = check_refusal(answer, first.status, first.wording)
        assert second.wording in first.wording or second.wording not in message, second.name


def test_a_call_without_faults_goes_in(
    gateway: GatewayProcess, senders: Mapping[Kind, Sender]
) -> None:
    answer, _ = _send(gateway, senders, set())
    assert answer.status == 200


def test_no_refused_call_leaves_an_import(
    gateway: GatewayProcess, senders: Mapping[Kind, Sender]
) -> None:
    _, sender = _send(gateway, senders, set())
    before = gateway.get("/api/imports?pageSize=1000", sender).json["items"]
    for fault in FAULTS:
        _send(gateway, senders, {fault.name})
    assert gateway.get("/api/imports?pageSize=1000", sender).json["items"] == before


def test_a_missing_software_key_counts_as_a_missing_integration(
    gateway: GatewayProcess, sender: Sender
) -> None:
    headers = {"X-Functions-Key": sender.function_key}
    answer = gateway.call("POST", _address(set()), _body(set()), headers)
    check_refusal(answer, 403, "Integration missing for Software Key or disabled")


@pytest.mark.parametrize("address", ["licences", "workers2", "workers/more", "zz"])
def test_an_unknown_message_type_is_501(
    gateway: GatewayProcess, sender: Sender, address: str
) -> None:
    answer = gateway.call("POST", f"/api/import/{address}", b"[]", sender.headers)
    check_refusal(answer, 501, "Message Type not found/implemented")


def test_an_unknown_message_type_needs_a_key_first(gateway: GatewayProcess) -> None:
    check_refusal(gateway.call("POST", "/api/import/anything", b"[]"), 401)


@pytest.mark.parametrize("name", ["version", "Version", "VERSION"])
def test_the_name_of_the_version_parameter_matches_in_any_case(
    gateway: GatewayProcess, sender: Sender, name: str
) -> None:
    for version, status in (("1", 200), ("2", 501), ("x", 400)):
        address = f"/api/import/workers?{name}={version}"
        body = _body(set())
        assert gateway.call("POST", address, body, sender.headers).status == status


def test_a_missing_version_is_version_1(gateway: GatewayProcess, sender: Sender) -> None:
    answer = gateway.call("POST", "/api/import/workers", _body(set()), sender.headers)
    assert answer.status == 200


def test_a_callers_own_correlation_id_comes_back_if_it_is_a_plain_one(
    gateway: GatewayProcess,
) -> None:
    for sent, is_kept in (("abc-1.x_Y", True), ("a b", False), ("x" * 65, False)):
        answer = gateway.call("POST", "/api/import/workers", b"[]", {"X-Correlation-Id": sent})
        assert (answer.headers["x-correlation-id"] == sent) is is_kept
