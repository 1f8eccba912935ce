"""Workers and assignments over HTTP: answers of 200 and 202, references, reference lists."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from shared.imports.import_type import OnExisting, ReferenceKind
from tests.builders import SAMPLE, a_worker, body_of
from tests.contract.calls import GUID
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.emulator import open_ready_gateway, settings_for
from tests.tenants import Sender, a_sender
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e


# What an import call answers: the vendor's shape, 200 and 202, and where to look later.

ROW = {
    "recordIds",
    "importStatus",
    "errorCount",
    "warningCount",
    "infoCount",
    "messages",
}


def test_one_worker_comes_back_in_the_vendors_shape(
    gateway: GatewayProcess, sender: Sender
) -> None:
    answer = gateway.post(sender, [a_worker("P1")])
    assert answer.json == {
        "results": [
            {
                "recordIds": [
                    {"field": "EmployerRef", "value": "E1"},
                    {"field": "PersonnelRef", "value": "P1"},
                ],
                "importStatus": "OK",
                "errorCount": 0,
                "warningCount": 0,
                "infoCount": 0,
                "messages": [],
            }
        ]
    }
    assert answer.headers["content-type"].startswith("application/json")
    assert GUID.fullmatch(answer.import_id)
    assert GUID.fullmatch(answer.headers["x-correlation-id"])
    assert "preference-applied" not in answer.headers


def test_a_row_with_errors_reports_all_of_them(gateway: GatewayProcess, sender: Sender) -> None:
    row = {
        "EmployerRef": "E1",
        "PersonnelRef": "x" * 61,
        "Gender": 5.5,
        "StartDate": "2026-02-30",
        "PrimaryBankDetails": {"BankSortCode": "12-34-56"},
    }
    [result] = gateway.post(sender, [row]).results
    assert set(result) == ROW
    assert result["importStatus"] == "Error"
    reported = {(message["fieldName"], message["errorID"]) for message in result["messages"]}
    assert reported >= {
        ("PersonnelRef", 1003),
        ("Gender", 1002),
        ("StartDate", 1006),
        ("PrimaryBankDetails.BankSortCode", 1004),
    }
    assert result["errorCount"] == len(result["messages"])
    by_field = {message["fieldName"]: message for message in result["messages"]}
    assert by_field["Gender"]["fieldValue"] == "5.5"
    assert by_field["StartDate"]["fieldValue"] == "2026-02-30"
    assert "fieldValue" not in by_field["PrimaryBankDetails.BankSortCode"]


def test_a_missing_key_is_not_in_the_record_ids(gateway: GatewayProcess, sender: Sender) -> None:
    rows = [{"EmployerRef": "E1", "Surname": "x"}, {"PersonnelRef": None, "Surname": "x"}]
    one, other = gateway.post(sender, rows).results
    assert one["recordIds"] == [{"field": "EmployerRef", "value": "E1"}]
    assert other["recordIds"] == []
    for result in (one, other):
        assert result["importStatus"] == "Error"
        assert {message["errorID"] for message in result["messages"]} == {1001}


def test_a_failing_row_neither_undoes_nor_blocks_another(
    gateway: GatewayProcess, sender: Sender
) -> None:
    rows = [a_worker("P1"), a_worker("P2", Gender="x"), a_worker("P3")]
    answer = gateway.post(sender, rows)
    statuses = [result["importStatus"] for result in answer.results]
    assert statuses == ["OK", "Error", "OK"]
    shown = gateway.get(f"/api/imports/{answer.import_id}", sender).json
    assert (shown["rows"]["new"], shown["rows"]["failed"]) == (2, 1)
    assert shown["state"] == "CompletedWithErrors"


def test_the_vendors_sample_is_imported_and_changes_nothing_the_second_time(
    gateway: GatewayProcess, sender: Sender
) -> None:
    body = SAMPLE.read_bytes()
    [first] = gateway.post(sender, body).results
    assert first["errorCount"] == 0
    assert first["importStatus"] in ("OK", "Warning")
    assert {message["errorID"] for message in first["messages"]} <= {2002, 2003}
    [second] = gateway.post(sender, body).results
    assert second["errorCount"] == 0
    messages = [message for message in second["messages"] if message["errorID"] == 1103]
    assert [message["messageType"] for message in messages] == ["Info"]


def test_an_existing_worker_is_an_error_if_the_integration_refuses_it(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    inserts = a_sender(storage, sender.tenant, on_existing=OnExisting.ERROR)
    assert gateway.post(sender, [a_worker("P1")]).status == 200
    [result] = gateway.post(inserts, [a_worker("P1")]).results
    [message] = result["messages"]
    assert message == {
        "messageType": "Error",
        "message": "Worker already exists in the system",
        "fieldName": "PersonnelRef",
        "fieldValue": "P1",
        "errorID": 10000,
    }


@pytest.mark.parametrize(
    ("prefer", "status", "applied"),
    [
        ("respond-async", 202, "respond-async"),
        ("Respond-Async", 202, "respond-async"),
        ("wait=30", 200, "wait=30"),
        ("return=minimal, wait=30", 200, "wait=30"),
        ("return=minimal", 200, None),
    ],
)
def test_a_preference_that_was_followed_is_named(
    gateway: GatewayProcess, sender: Sender, prefer: str, status: int, applied: str | None
) -> None:
    answer = gateway.post(sender, [a_worker()], Prefer=prefer)
    assert answer.status == status
    assert answer.headers.get("preference-applied") == applied


def test_a_wait_over_the_limit_says_what_was_waited_at_most(
    gateway: GatewayProcess, sender: Sender
) -> None:
    answer = gateway.post(sender, [a_worker()], Prefer="wait=999999999")
    assert answer.status == 200
    assert answer.headers["preference-applied"] == "wait=60"


def test_202_names_the_address_at_which_the_answer_is_kept(
    gateway: GatewayProcess, sender: Sender
) -> None:
    rows = [a_worker("P1"), a_worker("P2", Gender="x"), a_worker("P1", Title="Dr")]
    accepted = gateway.post(sender, rows, Prefer="respond-async")
    assert accepted.status == 202
    where = f"/api/imports/{accepted.import_id}"
    assert accepted.headers["location"] == where
    assert int(accepted.headers["retry-after"]) > 0
    _check_import(accepted, total=3)

    gateway.ended(sender, accepted.import_id)
    later = gateway.get(f"{where}/answer", sender)
    assert later.headers["x-import-id"] == accepted.import_id
    statuses = [result["importStatus"] for result in later.results]
    assert statuses == ["OK", "Error", "OK"]


def test_the_answer_fetched_later_is_that_of_the_call(
    gateway: GatewayProcess, sender: Sender
) -> None:
    rows = [a_worker("P1"), a_worker("P2", Gender="x"), a_worker("P1", Title="Dr"), {}]
    answer = gateway.post(sender, rows)
    later = gateway.get(f"/api/imports/{answer.import_id}/answer", sender)
    assert (later.status, later.body) == (200, answer.body)


def test_the_answer_of_a_running_import_is_202(gateway: GatewayProcess, sender: Sender) -> None:
    rows = [a_worker(f"P{number}") for number in range(250)]
    accepted = gateway.post(sender, rows, Prefer="respond-async")
    running = gateway.get(f"/api/imports/{accepted.import_id}/answer", sender)
    if running.status == 200:
        pytest.skip("the import ended before it could be asked for")
    assert running.status == 202
    assert running.headers["location"] == f"/api/imports/{accepted.import_id}"
    _check_import(running, total=250)


def test_a_wait_of_nothing_is_the_same_as_asking_for_202(
    gateway: GatewayProcess, sender: Sender
) -> None:
    answer = gateway.post(sender, [a_worker()], Prefer="wait=0")
    assert answer.status == 202
    assert answer.headers["preference-applied"] == "wait=0"


def _check_import(answer: Answer, total: int) -> None:
    shown = answer.json
    assert list(shown) == [
        "importId",
        "type",
        "state",
        "rows",
        "rowsPerSecond",
        "secondsLeft",
        "acceptedAt",
        "endedAt",
        "caller",
        "cancelledBy",
        "source",
        "profile",
        "bodySha256",
        "parentId",
        "childIds",
        "undoes",
        "undoneBy",
        "links",
    ]
    assert shown["importId"] == answer.import_id
    assert shown["type"] == "workers"
    assert shown["state"] in ("Accepted", "Processing")
    assert set(shown["rows"]) == {
        *("total", "done", "new", "updated", "unchanged", "failed", "repaired", "warnings"),
        "infos",
    }
    assert shown["rows"]["total"] == total
    assert shown["endedAt"] is None
    assert json.dumps(shown["links"]).count(answer.import_id) == len(shown["links"])


# Assignments v1 over HTTP: the vendor's sample, references to workers, reference lists.

ASSIGNMENTS_SAMPLE = (
    Path(__file__).parent.parent / "golden" / "payandbill-assignments-v1.request.json"
)
ASSIGNMENTS = "/api/import/assignments?version=1"
NOT_FOUND = 2001


def an_assignment(reference: str = "A1", worker: str = "P1", **changes: Any) -> dict[str, Any]:
    """An assignment that goes in without a message where its worker is there."""
    return {
        "EmployerRef": "E1",
        "AssignmentRef": reference,
        "ClientRef": "C1",
        "PersonnelRef": worker,
        "DivisionRef": "D1",
        "DepartmentRef": "D2",
        "StartDate": "2026-01-05",
        "ExpectedEndDate": None,
        "ActualEndDate": None,
        **changes,
    }


def _post(
    gateway: GatewayProcess, sender: Sender, rows: list[Any] | bytes, **headers: str
) -> Answer:
    body = rows if isinstance(rows, bytes) else body_of(rows)
    sent = {"Content-Type": "application/json", **sender.headers, **headers}
    return gateway.call("POST", ASSIGNMENTS, body, sent)


def _codes(answer: Answer) -> list[list[int]]:
    return [[message["errorID"] for message in row["messages"]] for row in answer.results]


def test_the_vendors_sample_is_imported_once_its_worker_is_stored(
    gateway: GatewayProcess, sender: Sender
) -> None:
    gateway.post(sender, [a_worker("WORKER1", EmployerRef="ER1")])
    [first] = _post(gateway, sender, ASSIGNMENTS_SAMPLE.read_bytes()).results
    assert first["recordIds"] == [{"field": "AssignmentRef", "value": "ASSIGN1"}]
    assert (first["importStatus"], first["errorCount"]) == ("OK", 0)
    [again] = _post(gateway, sender, ASSIGNMENTS_SAMPLE.read_bytes()).results
    assert [message["errorID"] for message in again["messages"]] == [1103]


def test_a_missing_worker_fails_its_row_alone_and_at_once(
    gateway: GatewayProcess, sender: Sender
) -> None:
    gateway.post(sender, [a_worker("P1"), a_worker("P2", EmployerRef="OTHER")])
    rows = [
        an_assignment("A1", "P1"),
        an_assignment("A2", "NOBODY"),
        an_assignment("A3", "P2"),
    ]
    answer = _post(gateway, sender, rows)
    assert _codes(answer) == [[], [NOT_FOUND], [NOT_FOUND]]
    [message] = answer.results[1]["messages"]
    assert (message["fieldName"], message["fieldValue"]) == ("PersonnelRef", "NOBODY")


def test_a_worker_that_a_later_import_brings_does_not_count(
    gateway: GatewayProcess, sender: Sender
) -> None:
    assert _codes(_post(gateway, sender, [an_assignment()])) == [[NOT_FOUND]]
    gateway.post(sender, [a_worker("P1")])
    assert _codes(_post(gateway, sender, [an_assignment()])) == [[]]


def test_an_assignment_waits_for_a_worker_that_an_open_import_brings(
    gateway: GatewayProcess, sender: Sender
) -> None:
    workers = [a_worker(f"P{number}") for number in range(150)]
    accepted = gateway.post(sender, workers, Prefer="respond-async")
    assert accepted.status == 202
    rows = [an_assignment(f"A{number}", f"P{number}") for number in range(150)]
    answer = _post(gateway, sender, rows)
    assert answer.status == 200
    assert {row["importStatus"] for row in answer.results} == {"OK"}


def test_on_existing_error_refuses_what_is_there(gateway: GatewayProcess, storage: str) -> None:
    sender = a_sender(storage, on_existing=OnExisting.ERROR)
    gateway.post(sender, [a_worker("P1")])
    _post(gateway, sender, [an_assignment()])
    answer = _post(gateway, sender, [an_assignment(JobTitle="Cook")])
    [message] = answer.results[0]["messages"]
    assert (message["errorID"], message["fieldName"]) == (10001, "AssignmentRef")


def test_a_loaded_list_is_checked_and_a_missing_one_is_not(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    _load(storage, sender, ReferenceKind.CLIENT, ["C1", " C2 "])
    gateway.post(sender, [a_worker("P1")])
    rows = [
        an_assignment("A1", ClientRef="C1"),
        an_assignment("A2", ClientRef="C2"),
        an_assignment("A3", ClientRef="C3", InvoiceToClientRef="C4"),
    ]
    answer = _post(gateway, sender, rows)
    assert _codes(answer) == [[], [], [NOT_FOUND, NOT_FOUND]]
    fields = [message["fieldName"] for message in answer.results[2]["messages"]]
    assert fields == ["ClientRef", "InvoiceToClientRef"]


def test_a_list_that_is_loaded_again_replaces_the_one_before(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    _load(storage, sender, ReferenceKind.DIVISION, [f"D{number}" for number in range(250)])
    gateway.post(sender, [a_worker("P1")])
    assert _codes(_post(gateway, sender, [an_assignment("A1")])) == [[]]
    _load(storage, sender, ReferenceKind.DIVISION, ["NEW"])

    references = itertools.count()

    def is_in_force() -> bool:
        new = an_assignment(f"B{next(references)}", DivisionRef="D2")
        answer = _post(gateway, sender, [new])
        return _codes(answer) == [[NOT_FOUND]]

    wait_until(is_in_force, "the list of divisions to be in force", 5.0)
    assert _codes(_post(gateway, sender, [an_assignment("A3", DivisionRef="NEW")])) == [[]]


def _load(storage: str, sender: Sender, kind: ReferenceKind, values: list[str]) -> None:
    async def load() -> None:
        async with open_ready_gateway(settings_for(storage)) as opened:
            await opened.lists.load(sender.tenant, kind, values)

    asyncio.run(load())


@pytest.mark.parametrize(
    ("query", "status"), [("version=2", 501), ("version=x", 400), ("Version=1", 200)]
)
def test_the_version_is_looked_at_as_for_workers(
    gateway: GatewayProcess, sender: Sender, query: str, status: int
) -> None:
    path = f"/api/import/assignments?{query}"
    answer = gateway.call("POST", path, b"[]", dict(sender.headers))
    assert answer.status == status


# Timesheets and placements (docs/contracts.md#12).

GOLDEN = Path(__file__).parents[1] / "golden"


def _send(gateway: GatewayProcess, sender: Sender, call: str, body: bytes | list[Any]) -> Answer:
    sent = body if isinstance(body, bytes) else body_of(body)
    return gateway.call("POST", f"/api/import/{call}", sent, sender.headers)


def test_the_vendors_samples_import_without_an_error_and_a_timesheet_only_once(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    worker = a_worker("WORKER1", EmployerRef="ER1")
    assignment = {**an_assignment("ASSIGN1", "WORKER1"), "EmployerRef": "ER1"}
    for call, rows in (("workers", [worker]), ("assignments", [assignment])):
        assert _send(gateway, sender, call, rows).results[0]["importStatus"] == "OK"
    timesheets = (GOLDEN / "payandbill-timesheets-v2.request.json").read_bytes()
    placements = (GOLDEN / "payandbill-placements-v1.request.json").read_bytes()
    [placement] = _send(gateway, sender, "placements?version=1", placements).results
    assert (placement["importStatus"], placement["messages"]) == ("OK", [])
    [first] = _send(gateway, sender, "timesheets?version=2", timesheets).results
    assert first["recordIds"] == [{"field": "TimesheetNumber", "value": "TS0001"}]
    assert first["importStatus"] == "Warning"
    assert {message["errorID"] for message in first["messages"]} == {2002}

    for version in (2, 1):
        [again] = _send(gateway, sender, f"timesheets?version={version}", timesheets).results
        assert again["importStatus"] == "Error"
        errors = [each for each in again["messages"] if each["messageType"] == "Error"]
        assert [(each["errorID"], each["fieldValue"]) for each in errors] == [(10002, "TS0001")]
        assert errors[0]["message"].startswith("Timesheet already exists in the system")
    updating = a_sender(storage, sender.tenant, on_existing=OnExisting.UPDATE)
    [updated] = _send(gateway, updating, "timesheets?version=1", timesheets).results
    assert 1103 in {message["errorID"] for message in updated["messages"]}


def test_a_timesheet_of_another_worker_than_its_assignment_is_warned_of(
    gateway: GatewayProcess, sender: Sender
) -> None:
    _send(gateway, sender, "workers", [a_worker("P1"), a_worker("P2")])
    _send(gateway, sender, "assignments", [an_assignment("A1", "P1")])
    rows = [
        {
            "EmployerRef": "E1",
            "TimesheetNumber": number,
            "PersonnelRef": worker,
            "AssignmentRef": assignment,
            "TimesheetDate": "2026-01-04T00:00:00",
            "AdHocLines": [{"RateCode": "MEAL", "Units": None}],
        }
        for number, worker, assignment in (("1", "P1", "A1"), ("2", "P2", "A1"), ("3", "P2", "A9"))
    ]
    results = _send(gateway, sender, "timesheets?version=2", rows).results
    assert [
        [(message["errorID"], message["fieldName"]) for message in result["messages"]]
        for result in results
    ] == [[], [(2002, "AssignmentRef")], [(2001, "AssignmentRef")]]
    assert "another PersonnelRef" in results[1]["messages"][0]["message"]
    [refused] = _send(gateway, sender, "timesheets", [{**rows[0], "TimesheetNumber": "4"}]).results
    assert [(each["errorID"], each["fieldName"]) for each in refused["messages"]] == [
        (1001, "AdHocLines[0].Units")
    ]
