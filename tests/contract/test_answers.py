"""What an import call answers: the vendor's shape, 200 and 202, and where to look later."""

from __future__ import annotations

import json

import pytest

from shared.imports.import_type import OnExisting
from tests.builders import SAMPLE, a_worker
from tests.contract.refusals import GUID
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.tenants import Sender, a_sender

pytestmark = pytest.mark.e2e

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


def test_a_row_with_errors_tells_all_of_them(gateway: GatewayProcess, sender: Sender) -> None:
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
    told = {(message["fieldName"], message["errorID"]) for message in result["messages"]}
    assert told >= {
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


def test_a_key_that_was_not_sent_is_left_out_of_the_record_ids(
    gateway: GatewayProcess, sender: Sender
) -> None:
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


def test_the_vendors_sample_goes_in_and_changes_nothing_the_second_time(
    gateway: GatewayProcess, sender: Sender
) -> None:
    body = SAMPLE.read_bytes()
    [first] = gateway.post(sender, body).results
    assert first["errorCount"] == 0
    assert first["importStatus"] in ("OK", "Warning")
    assert {message["errorID"] for message in first["messages"]} <= {2002, 2003}
    [second] = gateway.post(sender, body).results
    assert second["errorCount"] == 0
    told = [message for message in second["messages"] if message["errorID"] == 1103]
    assert [message["messageType"] for message in told] == ["Info"]


def test_an_existing_worker_is_refused_where_the_integration_says_so(
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


def test_202_says_where_to_look_and_the_answer_waits_there(
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
        "source",
        "bodySha256",
        "parentId",
        "childIds",
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
