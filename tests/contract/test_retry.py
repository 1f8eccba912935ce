"""Retrying what failed: a child import at its own place in the order (docs/contracts.md#5)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import a_worker, body_of
from tests.contract.refusals import check_refusal
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.tenants import Sender, a_sender

pytestmark = pytest.mark.e2e


def _retry(
    gateway: GatewayProcess, sender: Sender, import_id: str, body: Any = b"", **headers: str
) -> Answer:
    sent = body if isinstance(body, bytes) else body_of(body)
    path = f"/api/imports/{import_id}/retry"
    return gateway.call("POST", path, sent, {**sender.headers, **headers})


def _outcomes(gateway: GatewayProcess, sender: Sender, import_id: str) -> list[tuple[str, Any]]:
    """Outcome and message ids of each row, in the order of the payload."""
    items = gateway.get(f"/api/imports/{import_id}/results", sender).json["items"]
    return [
        (item["outcome"], [message["errorID"] for message in item["messages"]])
        for item in sorted(items, key=lambda item: item["index"])
    ]


def _send(gateway: GatewayProcess, sender: Sender, *rows: Any) -> str:
    return gateway.post(sender, list(rows)).import_id


@pytest.fixture(name="parent")
def fixture_parent(gateway: GatewayProcess, sender: Sender) -> str:
    """The id of an import whose rows 1 and 2 failed: P2 and P3."""
    bad = [a_worker(name, Gender="x") for name in ("P2", "P3")]
    return _send(gateway, sender, a_worker("P1"), *bad)


def test_failed_rows_can_be_corrected_and_sent_back_as_they_came(
    gateway: GatewayProcess, sender: Sender, parent: str
) -> None:
    file = gateway.get(f"/api/imports/{parent}/failed-rows", sender).json
    for item in file:
        item["row"]["Gender"] = 1
    answer = _retry(gateway, sender, parent, file)
    assert answer.status == 200, answer.body
    child = answer.json
    assert answer.import_id == child["importId"]
    assert answer.headers["location"] == child["links"]["self"]
    assert (child["state"], child["parentId"]) == ("Completed", parent)
    assert (child["rows"]["total"], child["rows"]["new"]) == (2, 2)
    assert child["links"]["parent"] == f"/api/imports/{parent}"
    assert gateway.get(f"/api/imports/{parent}", sender).json["childIds"] == [child["importId"]]
    listed = gateway.get("/api/imports", sender).json["items"]
    assert [item["childIds"] for item in listed] == [[], [child["importId"]]]


def test_rows_without_a_correction_go_in_as_they_were_sent(
    gateway: GatewayProcess, sender: Sender
) -> None:
    """What failed because another record was missing goes in once that is there."""
    path = "/api/import/assignments?version=1"
    row = {
        "EmployerRef": "E1", "AssignmentRef": "A1", "ClientRef": "C1", "PersonnelRef": "P9",
        "DivisionRef": "D", "DepartmentRef": "D", "StartDate": "2026-01-01",
        "ExpectedEndDate": None, "ActualEndDate": None, "HolOverrideWeeks": 1.50,
    }  # fmt: skip
    parent = gateway.call("POST", path, body_of([row]), sender.headers).import_id
    assert _outcomes(gateway, sender, parent) == [("failed", [2001])]
    _send(gateway, sender, a_worker("P9"))
    child = _retry(gateway, sender, parent).json
    assert (child["type"], child["rows"]["new"]) == ("assignments", 1)


def test_a_row_as_it_was_sent_does_not_overwrite_a_later_import(
    gateway: GatewayProcess, sender: Sender, parent: str
) -> None:
    """P2 was changed since: as sent it fails with 1101, corrected it goes in."""
    _send(gateway, sender, a_worker("P2", Title="Dr"))
    first = _retry(gateway, sender, parent)
    assert _outcomes(gateway, sender, first.import_id) == [
        ("failed", [1002, 1101]),
        ("failed", [1002]),
    ]
    file = gateway.get(f"/api/imports/{first.import_id}/failed-rows", sender).json
    again = _retry(gateway, sender, first.import_id, file[::-1])
    assert _outcomes(gateway, sender, again.import_id)[0] == ("failed", [1002, 1101])
    corrected = [{"index": 0, "row": a_worker("P2", Gender=2)}]
    last = _retry(gateway, sender, again.import_id, corrected)
    assert _outcomes(gateway, sender, last.import_id)[0] == ("updated", [])


def test_a_retry_can_be_followed_from_far_and_is_made_once_for_a_key(
    gateway: GatewayProcess, sender: Sender, parent: str
) -> None:
    headers = {"Prefer": "respond-async", "Idempotency-Key": "again"}
    answers = [_retry(gateway, sender, parent, **headers) for _ in range(2)]
    assert {answer.import_id for answer in answers} == {answers[0].import_id}
    assert answers[0].status == 202
    assert answers[0].headers["location"] == f"/api/imports/{answers[0].import_id}"
    assert gateway.ended(sender, answers[0].import_id)["rows"]["failed"] == 2
    children = gateway.get(f"/api/imports/{parent}", sender).json["childIds"]
    assert children == [answers[0].import_id]


def test_what_cannot_be_retried_is_refused(
    gateway: GatewayProcess, sender: Sender, parent: str, storage: str
) -> None:
    clean = _send(gateway, sender, a_worker("P9"))
    check_refusal(_retry(gateway, sender, clean), 409, "nothing to retry")
    check_refusal(_retry(gateway, a_sender(storage), parent), 404)
    check_refusal(gateway.call("POST", f"/api/imports/{parent}/retry"), 401)
    for body, status, wording in (
        ([{"index": 0, "row": a_worker("P1")}], 400, "No failed row has the index 0"),
        ([{"index": 1, "row": "x"}], 400, "Item 0 "),
        (b"{", 400, "not valid JSON"),
        ({"index": 1}, 501, "array of objects"),
        (b"x" * 60_001, 413, "60000"),
    ):
        check_refusal(_retry(gateway, sender, parent, body), status, wording)
    dry = gateway.call("POST", f"/api/imports/{parent}/retry?dryRun=true", b"", sender.headers)
    check_refusal(dry, 400, "no dry run")
    assert gateway.get(f"/api/imports/{parent}", sender).json["childIds"] == []


@pytest.mark.parametrize(
    "media_type", ["application/x-www-form-urlencoded", "text/plain", "application/xml"]
)
def test_an_empty_retry_or_cancel_has_no_media_type_to_judge(
    gateway: GatewayProcess, sender: Sender, parent: str, media_type: str
) -> None:
    headers = {**sender.headers, "Content-Type": media_type, "Accept": "*; q=.2"}
    cancel = gateway.call("POST", f"/api/imports/{parent}/cancel", b"", headers)
    check_refusal(cancel, 409, "has ended")
    answer = _retry(gateway, sender, parent, **headers)
    assert (answer.status, answer.json["rows"]["total"]) == (200, 2)
    check_refusal(_retry(gateway, sender, parent, b"[]", **headers), 415, "application/json")


def test_an_import_that_has_ended_is_not_cancelled(
    gateway: GatewayProcess, sender: Sender, parent: str
) -> None:
    cancel = gateway.call("POST", f"/api/imports/{parent}/cancel", b"", sender.headers)
    check_refusal(cancel, 409, "has ended")
    check_refusal(gateway.call("POST", f"/api/imports/{parent}/cancel"), 401)
    assert gateway.get(f"/api/imports/{parent}", sender).json["state"] != "Cancelled"
