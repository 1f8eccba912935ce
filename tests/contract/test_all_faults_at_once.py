"""Over HTTP: one call names all faults of a row, for each import type."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared.bootstrap import open_gateway
from shared.imports.import_type import OnExisting, ReferenceKind
from tests.builders import a_worker, body_of
from tests.contract import authdata_calls, document_calls, license_calls
from tests.contract.test_assignments import an_assignment
from tests.documents import Form
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.emulator import settings_for
from tests.tenants import Sender, a_sender

pytestmark = pytest.mark.e2e

WORKERS = "/api/import/workers?version=1"
ASSIGNMENTS = "/api/import/assignments?version=1"


def post(gateway: GatewayProcess, sender: Sender, path: str, rows: list[Any]) -> Answer:
    headers = {"Content-Type": "application/json", **sender.headers}
    return gateway.call("POST", path, body_of(rows), headers)


def errors_of(row: dict[str, Any]) -> list[tuple[int, str]]:
    errors = [each for each in row["messages"] if each["messageType"] == "Error"]
    assert row["errorCount"] == len(errors)
    return sorted((each["errorID"], each.get("fieldName", "")) for each in errors)


def load_list(storage: str, sender: Sender, kind: ReferenceKind, *values: str) -> None:
    async def load() -> None:
        async with open_gateway(settings_for(storage)) as opened:
            await opened.lists.load(sender.tenant, kind, values)

    asyncio.run(load())


@pytest.mark.parametrize("dry_run", ["", "&dryRun=true"])
def test_a_worker_is_told_what_it_lacks_beside_what_cannot_be_read(
    gateway: GatewayProcess, storage: str, sender: Sender, dry_run: str
) -> None:
    load_list(storage, sender, ReferenceKind.DIVISION, "D1")
    rows: list[Any] = [
        {"EmployerRef": "E1", "PersonnelRef": "008", "Gender": "male", "DivisionRef": "D9"},
        {"EmployerRef": "E1", "Gender": "male", "DivisionRef": "D9"},
        a_worker("009"),
    ]
    results = post(gateway, sender, WORKERS + dry_run, rows).results
    assert [errors_of(row) for row in results] == [
        [(1001, "Surname"), (1002, "Gender"), (2001, "DivisionRef")],
        [(1001, "PersonnelRef"), (1002, "Gender"), (2001, "DivisionRef")],
        [],
    ]
    mended = a_worker("008", Gender=1, DivisionRef="D1")
    assert post(gateway, sender, WORKERS, [mended]).results[0]["importStatus"] == "OK"


def test_a_worker_that_exists_already_is_told_its_other_faults(
    gateway: GatewayProcess, storage: str
) -> None:
    sender = a_sender(storage, on_existing=OnExisting.ERROR)
    post(gateway, sender, WORKERS, [a_worker("P1")])
    [row] = post(gateway, sender, WORKERS, [a_worker("P1", Gender="male")]).results
    assert errors_of(row) == [(1002, "Gender"), (10000, "PersonnelRef")]


@pytest.mark.parametrize("dry_run", ["", "&dryRun=true"])
def test_an_assignment_is_told_of_a_missing_worker_beside_its_other_faults(
    gateway: GatewayProcess, sender: Sender, dry_run: str
) -> None:
    rows: list[Any] = [
        an_assignment("A1", "NOBODY", StartDate="soon", ActualEndDate="2020-01-01"),
        an_assignment("x" * 61, "NOBODY"),
        an_assignment("A2", "x" * 61),
        an_assignment("A3", "NOBODY", EmployerRef=5),
    ]
    results = post(gateway, sender, ASSIGNMENTS + dry_run, rows).results
    assert [errors_of(row) for row in results] == [
        [(1006, "StartDate"), (2001, "PersonnelRef")],
        [(1003, "AssignmentRef"), (2001, "PersonnelRef")],
        [(1003, "PersonnelRef")],
        [(1002, "EmployerRef")],
    ]


def test_a_license_is_told_that_it_exists_beside_its_other_faults(
    gateway: GatewayProcess, sender: Sender
) -> None:
    license_calls.send(gateway, sender, [license_calls.a_license()])
    rows = [license_calls.a_license(issuedDate="soon", reminder={"offset": "x"})]
    answer = license_calls.send(gateway, sender, rows, "importAction=Insert")
    [error] = answer.json["errors"]
    named = {detail["propertyName"] for detail in error["details"]}
    assert named == {"", "IssuedDate", "Reminder.Offset"}


def test_authentication_data_is_told_whose_values_it_has_beside_its_other_faults(
    gateway: GatewayProcess, sender: Sender
) -> None:
    stored = [{"employeeId": name, "authValue1": name} for name in ("one", "two")]
    authdata_calls.send(gateway, sender, stored)
    row = {"employeeId": "one", "authValue1": "two", "employeeStatus": 5}
    answer = authdata_calls.send(gateway, sender, [row])
    assert answer.json["totalErrors"] == 1
    assert len(answer.json["errorDetails"]) == 2


def test_a_form_is_told_all_that_is_wrong_with_it(gateway: GatewayProcess, ready: Sender) -> None:
    form = Form(worker=None, round_code=None, content=b"", more=[("isSummary", "true")])
    answer = document_calls.send(gateway, ready, form)
    assert answer.status == 400
    for name in ("isSummary", "workerexternalId", "communicationRoundCode", "empty"):
        assert name in answer.json["message"]
