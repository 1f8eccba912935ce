"""Assignments v1 over HTTP: the vendor's sample, references to workers, reference lists."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from shared.bootstrap import open_gateway
from shared.imports.import_type import OnExisting, ReferenceKind
from tests.builders import a_worker, body_of
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.emulator import settings_for
from tests.tenants import Sender, a_sender
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e

SAMPLE = Path(__file__).parent.parent / "golden" / "payandbill-assignments-v1.request.json"
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
    return [[said["errorID"] for said in row["messages"]] for row in answer.results]


def test_the_vendors_own_sample_goes_in_once_its_worker_is_there(
    gateway: GatewayProcess, sender: Sender
) -> None:
    gateway.post(sender, [a_worker("WORKER1", EmployerRef="ER1")])
    [first] = _post(gateway, sender, SAMPLE.read_bytes()).results
    assert first["recordIds"] == [{"field": "AssignmentRef", "value": "ASSIGN1"}]
    assert (first["importStatus"], first["errorCount"]) == ("OK", 0)
    [again] = _post(gateway, sender, SAMPLE.read_bytes()).results
    assert [said["errorID"] for said in again["messages"]] == [1103]


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
    [said] = answer.results[1]["messages"]
    assert (said["fieldName"], said["fieldValue"]) == ("PersonnelRef", "NOBODY")


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
    [said] = answer.results[0]["messages"]
    assert (said["errorID"], said["fieldName"]) == (10001, "AssignmentRef")


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
    fields = [said["fieldName"] for said in answer.results[2]["messages"]]
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
        async with open_gateway(settings_for(storage)) as opened:
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
