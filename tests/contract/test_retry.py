"""Retrying what failed, and what an import shows of its retries (docs/contracts.md#5)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.builders import a_worker, body_of
from tests.contract import calls
from tests.contract.calls import check_refusal
from tests.contract.test_pay_and_bill import an_assignment
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.tenants import Sender, a_sender

pytestmark = pytest.mark.e2e


# Retrying what failed: a child import at its own place in the order (docs/contracts.md#5).


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


def test_rows_without_a_correction_are_imported_as_they_were_sent(
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


def test_an_import_that_cannot_be_retried_is_refused(
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


# What an import shows of its retries: the rows that they brought in, until none is out.


def retry(
    gateway: GatewayProcess, sender: Sender, import_id: str, rows: Mapping[int, Any] | None = None
) -> Answer:
    """A retry with the rows of these indexes in its body, or without a body."""
    body = b""
    if rows is not None:
        body = body_of([{"index": index, "row": row} for index, row in rows.items()])
    return gateway.call("POST", f"/api/imports/{import_id}/retry", body, sender.headers)


def standing(gateway: GatewayProcess, sender: Sender, import_id: str) -> tuple[str, int, int]:
    """State, failed and repaired rows; the list says the same as the import itself."""
    shown = gateway.get(f"/api/imports/{import_id}", sender).json
    listed = gateway.get("/api/imports?pageSize=100", sender).json["items"]
    assert shown in listed
    is_out = shown["rows"]["repaired"] < shown["rows"]["failed"]
    assert ("retry" in shown["links"]) is is_out
    assert ("failedRows" in shown["links"]) is is_out
    return shown["state"], shown["rows"]["failed"], shown["rows"]["repaired"]


def send(gateway: GatewayProcess, sender: Sender, *rows: Any) -> str:
    return gateway.post(sender, list(rows)).import_id


def bad(name: str) -> dict[str, Any]:
    return a_worker(name, Gender="x")


def good(name: str) -> dict[str, Any]:
    return a_worker(name, Gender=1)


def failed_indexes(gateway: GatewayProcess, sender: Sender, import_id: str) -> list[int]:
    rows = gateway.get(f"/api/imports/{import_id}/failed-rows", sender).json
    return sorted(row["index"] for row in rows)


def test_an_import_is_repaired_when_its_retries_have_brought_in_all_failed_rows(
    gateway: GatewayProcess, sender: Sender
) -> None:
    parent = send(gateway, sender, good("P0"), bad("P1"), bad("P2"), bad("P3"))
    assert standing(gateway, sender, parent) == ("CompletedWithErrors", 3, 0)

    child = retry(gateway, sender, parent, {2: good("P2")}).json
    assert (child["state"], child["rows"]["total"]) == ("CompletedWithErrors", 3)
    assert standing(gateway, sender, parent) == ("CompletedWithErrors", 3, 1)
    assert failed_indexes(gateway, sender, parent) == [1, 3]

    check_refusal(retry(gateway, sender, parent, {2: good("P2")}), 400, "index 2")
    check_refusal(retry(gateway, sender, parent, {0: good("P0")}), 400, "index 0")
    again = retry(gateway, sender, parent, {3: good("another key")}).json
    assert (again["rows"]["total"], again["rows"]["new"]) == (2, 1)
    assert standing(gateway, sender, parent) == ("CompletedWithErrors", 3, 2)

    last = retry(gateway, sender, parent, {1: good("P1")}).json
    assert (last["state"], last["rows"]["total"]) == ("Completed", 1)
    assert standing(gateway, sender, parent) == ("Repaired", 3, 3)
    assert failed_indexes(gateway, sender, parent) == []
    check_refusal(retry(gateway, sender, parent), 409, "imported all failed rows")
    only = gateway.get("/api/imports?state=repaired", sender).json["items"]
    assert [item["importId"] for item in only] == [parent]
    children = gateway.get(f"/api/imports/{parent}", sender).json["childIds"]
    assert children == [child["importId"], again["importId"], last["importId"]]
    failed = gateway.get(f"/api/imports/{parent}/results?outcome=failed", sender).json["items"]
    assert len(failed) == 3, "the results stay what they were"


def test_a_retry_of_a_retry_repairs_both_imports_above_it(
    gateway: GatewayProcess, sender: Sender
) -> None:
    first = send(gateway, sender, bad("P0"), good("P1"), bad("P2"), bad("P3"))
    second = retry(gateway, sender, first, {0: good("P0")}).json["importId"]
    assert failed_indexes(gateway, sender, second) == [1, 2]
    third = retry(gateway, sender, second, {2: good("P3")}).json["importId"]
    assert standing(gateway, sender, second) == ("CompletedWithErrors", 2, 1)
    assert standing(gateway, sender, first) == ("CompletedWithErrors", 3, 2)
    assert failed_indexes(gateway, sender, first) == [2]
    retry(gateway, sender, third, {0: good("P2")})
    assert standing(gateway, sender, third) == ("Repaired", 1, 1)
    assert standing(gateway, sender, second) == ("Repaired", 2, 2)
    assert standing(gateway, sender, first) == ("Repaired", 3, 3)
    assert gateway.get(f"/api/imports/{first}", sender).json["childIds"] == [second]


def test_a_row_that_another_retry_of_the_first_import_brought_in_is_not_sent_again(
    gateway: GatewayProcess, sender: Sender
) -> None:
    """The old row would go over its correction."""
    first = send(gateway, sender, bad("P1"), bad("P2"))
    second = retry(gateway, sender, first).json["importId"]
    brought_in = retry(gateway, sender, first, {0: good("P1"), 1: good("P2")})
    assert brought_in.json["rows"]["new"] == 2
    check_refusal(retry(gateway, sender, second), 409, "imported all failed rows")


def test_the_retries_of_an_import_are_no_later_imports_to_each_other(
    gateway: GatewayProcess, sender: Sender
) -> None:
    """Two failed rows of one worker: the first retry changes it, the second one may as well."""
    row = an_assignment("A1", "P9")
    path = "/api/import/assignments?version=1"
    rows = [row, {**row, "JobTitle": "Cook"}]
    parent = gateway.call("POST", path, body_of(rows), sender.headers).import_id
    send(gateway, sender, a_worker("P8"))
    corrected = {0: {**row, "PersonnelRef": "P8"}}
    retry(gateway, sender, parent, corrected)
    assert standing(gateway, sender, parent) == ("CompletedWithErrors", 2, 1)
    send(gateway, sender, a_worker("P9"))
    child = retry(gateway, sender, parent).json
    assert (child["state"], child["rows"]["updated"]) == ("Completed", 1)
    assert standing(gateway, sender, parent) == ("Repaired", 2, 2)


def test_a_later_import_of_the_same_record_still_keeps_an_old_row_out(
    gateway: GatewayProcess, sender: Sender
) -> None:
    parent = gateway.call(
        "POST", "/api/import/assignments?version=1", body_of([an_assignment("A1", "P9")]),
        sender.headers,
    ).import_id  # fmt: skip
    send(gateway, sender, a_worker("P9"))
    later = body_of([an_assignment("A1", "P9", JobTitle="Cook")])
    gateway.call("POST", "/api/import/assignments?version=1", later, sender.headers)
    assert retry(gateway, sender, parent).json["rows"]["failed"] == 1
    assert standing(gateway, sender, parent) == ("CompletedWithErrors", 1, 0)


def test_licenses_are_repaired_row_by_row(gateway: GatewayProcess, sender: Sender) -> None:
    rows = [calls.a_license("L1"), calls.a_license("L2")]
    parent = calls.send_licenses(gateway, sender, rows, "importAction=Update").import_id
    for number in (1, 0):
        calls.send_licenses(gateway, sender, [calls.a_license(f"L{number + 1}")])
        corrected = {number: calls.a_license(f"L{number + 1}", notes="corrected")}
        answer = retry(gateway, sender, parent, corrected)
        assert answer.json["rows"]["updated"] == 1, answer.body
    assert standing(gateway, sender, parent) == ("Repaired", 2, 2)


def test_authentication_data_is_repaired_by_the_records_that_are_sent(
    gateway: GatewayProcess, sender: Sender
) -> None:
    rows = [{"employeeId": name, "authValue1": name, "employeeStatus": 5} for name in "abc"]
    sent = calls.send_authdata(gateway, sender, rows)
    parent = sent.import_id
    assert standing(gateway, sender, parent) == ("CompletedWithErrors", 3, 0)
    for index in (2, 0, 1):
        row = {**rows[index], "employeeStatus": "A"}
        answer = retry(gateway, sender, parent, {index: row})
        assert (answer.status, answer.json["rows"]["failed"]) == (200, 0), answer.body
    assert standing(gateway, sender, parent) == ("Repaired", 3, 3)
    check_refusal(retry(gateway, sender, parent, {0: rows[0]}), 409, "imported all failed rows")


def test_the_published_contract_knows_repaired_imports(gateway: GatewayProcess) -> None:
    document = json.loads(gateway.call("GET", "/api/openapi.json").body)
    schemas = document["components"]["schemas"]
    fields = schemas["Import"]["properties"]
    assert fields["state"]["$ref"] == "#/components/schemas/ImportState"
    assert "Repaired" in schemas["ImportState"]["enum"]
    assert fields["rows"]["$ref"] == "#/components/schemas/RowCounts"
    assert "repaired" in schemas["RowCounts"]["required"]
