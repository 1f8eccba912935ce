"""A stored record that cannot be read is the error of the rows that name it, and of no others."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import pytest
from azure.data.tables import EdmType, EntityProperty

from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.import_type import ImportType
from shared.imports.licenses.actions import LicenseAction
from shared.services.chunk_messages import messages_for
from shared.storage.business_records import partition_of, row_of
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Entity, Insert
from tests.builders import a_worker, body_of
from tests.integration.authdata_stage import AuthdataStage, an_employee
from tests.integration.authdata_stage import play as play_authdata
from tests.integration.broken import set_columns
from tests.integration.license_stage import MERGE, REPLACE, LicenseStage, a_row
from tests.integration.stage import Harness, play
from tests.unit.imports.licenses.company import KEYS

pytestmark = pytest.mark.integration

COLUMNS: Mapping[str, Mapping[str, Any]] = {
    "no JSON": {"Document0": '{"Surname": "Sam'},
    "an array": {"Document0": "[1]"},
    "null": {"Document0": "null"},
    "no document": {"Document0": None},
    "bytes for text": {"Document0": b"\x00\x01"},
    "a number for text": {"Document0": 7},
    "no number": {"Number": None},
    "a text for the number": {"Number": "seven"},
    "a fraction for the number": {"Number": 1.5},
    "a truth for the number": {"Number": True},
    "a GUID for the number": {
        "Number": EntityProperty("8d7c4a2e-4f2b-4f57-9c0e-0d6ad3a3f1d2", EdmType.GUID)
    },
    "the number of an import that does not exist": {"Number": 10**9},
    "imports that do not exist have ended": {
        "Ended": '{"1000000000":9001}',
        "ClosedThrough": 10**9,
    },
    "outcomes that are no JSON": {"Outcomes0": "[[0,"},
    "compressed outcomes that are broken": {"Outcomes0": b"\x78\x9c\x00"},
    "look-ups that are no list": {"Lookups": '{"x"'},
    "look-ups of numbers": {"Lookups": "[1]"},
    "deleted as text": {"Deleted": "true", "Document0": None},
}


async def _ended(stage: Harness, kind: ImportType, rows: list[Any]) -> ImportRecord:
    record = await stage.gateway.intake.accept(kind, stage.sender.caller, body_of(rows))
    assert record is not None
    await stage.drain()
    return record


def test_only_the_rows_of_broken_workers_fail(delivered: str) -> None:
    """Every second worker is broken, each in another way."""

    async def scenario(stage: Harness) -> None:
        rows = [
            a_worker(f"P{at:02d}", ExternalWorkerRef=f"X{at}") for at in range(2 * len(COLUMNS))
        ]
        await stage.accept(rows)
        await stage.drain()
        partition = partition_of(stage.sender.tenant, "E1")
        for at, columns in enumerate(COLUMNS.values()):
            row = row_of(f"P{2 * at:02d}")
            await set_columns(delivered, "Workers", partition, row, columns)

        changed = await stage.accept([row | {"Title": "Dr"} for row in rows])
        await stage.drain()
        results = await stage.results(changed)
        for at, way in enumerate(COLUMNS):
            assert results[2 * at].outcome.value == "failed", way
            [message] = results[2 * at].messages
            assert message.id == 9001
            assert "ask the operator of the gateway to repair it" in message.text
            assert results[2 * at].key == ("E1", f"P{2 * at:02d}")
            assert results[2 * at + 1].outcome.value == "updated", way

        ended = await stage.accept_quietly(rows)
        [message_again] = messages_for(ended, [], [0])
        await stage.gateway.chunks.end_as_failed(message_again)
        assert (await stage.again(ended)).counts.failed == len(rows)
        again = await stage.accept(rows[1::2])
        await stage.drain()
        assert (await stage.again(again)).counts.failed == 0

    play(delivered, scenario)


def test_an_assignment_of_a_broken_worker_goes_in(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        await stage.accept([a_worker("P1")])
        await stage.drain()
        place = partition_of(stage.sender.tenant, "E1"), row_of("P1")
        broken = {"Document0": "{", "Created": "one"}
        await set_columns(delivered, "Workers", *place, broken)
        row = {"EmployerRef": "E1", "AssignmentRef": "A1", "PersonnelRef": "P1"}
        record = await _ended(stage, ASSIGNMENTS, [row])
        [result] = (await stage.results(record)).values()
        assert 2001 not in [message.id for message in result.messages]

    play(delivered, scenario)


@pytest.mark.parametrize("is_missing", [True, False], ids=["missing", "left behind"])
def test_a_look_up_that_is_not_as_its_record_says_refuses_no_row(
    delivered: str, is_missing: bool
) -> None:
    async def scenario(stage: Harness) -> None:
        tables = stage.gateway.account.tables
        await stage.accept([a_worker("P1", ExternalWorkerRef="old")])
        await stage.drain()
        partition = partition_of(stage.sender.tenant, "E1")
        if is_missing:
            await stage.forget("Workers", partition, "x|old|P1")
        else:
            await tables.write("Workers", Insert(Entity(partition, "x|new|P1", {})))
        changed = await stage.accept([a_worker("P1", ExternalWorkerRef="new"), a_worker("P2")])
        await stage.drain()
        results = await stage.results(changed)
        assert [results[at].outcome.value for at in (0, 1)] == ["updated", "new"]

    play(delivered, scenario)


BROKEN_LICENSES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "a license": ("r|", {"Document0": '{"companyCode"'}),
    "a license without its number": ("r|", {"Number": None}),
    "a license of an import that does not exist": ("r|", {"Number": 10**9}),
    "a license without its employee": ("r|", {"Employee": "[1"}),
    "the owner of a key": ("k|", {"Whose": "no json"}),
    "the owner of a key is a list": ("k|", {"Whose": "[]"}),
}


@pytest.mark.parametrize("action", [MERGE, REPLACE])
def test_only_the_rows_of_employees_with_a_broken_license_fail(
    delivered: str, action: LicenseAction
) -> None:
    async def scenario(stage: Harness) -> None:
        licenses, count = LicenseStage(stage), len(BROKEN_LICENSES)
        keys = [str(uuid.uuid4()) for _ in range(count + 1)]
        rows = [a_row(f"L{at}", str(at), licenseKey=key) for at, key in enumerate(keys)]
        await licenses.done(MERGE, rows)
        partition = partition_of(stage.sender.tenant, "C1")
        for key, (prefix, columns) in zip(keys, BROKEN_LICENSES.values(), strict=False):
            entities = await stage.gateway.account.tables.query(
                "Licenses", partition, prefix, f"{prefix}~"
            )
            [broken] = [each.row for each in entities if each.row.endswith(key)]
            await set_columns(delivered, "Licenses", partition, broken, columns)
        record = await licenses.done(action, [row | {"notes": "changed"} for row in rows])
        told = await licenses.told(record)
        assert told[:count] == [("failed", [9001])] * count
        assert told[count][0] == "updated"

    play(delivered, scenario)


def test_a_key_whose_license_is_lost_can_be_given_again(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        licenses = LicenseStage(stage)
        rows = [a_row("L1", "1", licenseKey=KEYS[0])]
        await licenses.done(MERGE, rows)
        partition = partition_of(stage.sender.tenant, "C1")
        [license_] = await stage.gateway.account.tables.query("Licenses", partition, "r|", "r|~")
        await stage.forget("Licenses", partition, license_.row)
        record = await licenses.done(MERGE, rows)
        assert [outcome for outcome, _ in await licenses.told(record)] == ["new"]

    play(delivered, scenario)


def test_a_broken_log_of_one_company_fails_its_rows_alone(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        licenses = LicenseStage(stage)
        rows = [a_row("L1", "1"), a_row("L2", "2") | {"companyCode": "C2"}]
        record = await licenses.accept(MERGE, rows)
        await stage.gateway.chunks.process(licenses.message(record))
        await stage.forget_end(record)
        partition = partition_of(stage.sender.tenant, "C1")
        [entry] = await stage.gateway.account.tables.query("Licenses", partition, "j|", "j|~")
        await set_columns(delivered, "Licenses", partition, entry.row, {"Results0": b"\0"})
        await stage.gateway.chunks.process(licenses.message(record))
        assert [codes for _, codes in await licenses.told(record)] == [[9001], []]
        later = await licenses.done(MERGE, [rows[0] | {"notes": "later"}])
        assert [outcome for outcome, _ in await licenses.told(later)] == ["updated"]

    play(delivered, scenario)


@pytest.mark.parametrize(
    "way",
    [
        "no JSON",
        "no document",
        "a text for the number",
        "the number of an import that does not exist",
        "imports that do not exist have ended",
    ],
)
def test_only_the_records_about_a_broken_employee_fail(delivered: str, way: str) -> None:
    async def scenario(stage: AuthdataStage) -> None:
        await stage.imported([an_employee("E1"), an_employee("E2")])
        await set_columns(delivered, "AuthData", stage.tenant, "r|E1", COLUMNS[way])
        rows = [
            an_employee("E1", "new"),
            an_employee("E2", "new too"),
            an_employee("E3"),
            # The values of the employee that cannot be read: is it a rename of E1?
            an_employee("E4", "E1-one", "E1-two", None),
        ]
        answer = await stage.imported(rows)
        assert (answer["totalErrors"], answer["totalRecords"]) == (2, 4)

    play_authdata(delivered, scenario)


@pytest.mark.parametrize("columns", [{"Chunks0": b"\0"}, {"Data0": b"\0"}, {"Exceeded": "["}])
def test_a_broken_plan_ends_the_import_and_keeps_what_was_stored(
    delivered: str, columns: Mapping[str, Any]
) -> None:
    async def scenario(stage: AuthdataStage) -> None:
        rows = [an_employee(f"E{at}") for at in range(3)]
        record = await stage.begin((await stage.stage(rows)).file_log_id)
        [message] = messages_for(record, [], [0])
        processor = stage.gateway.authdata.processors["authdata"]
        await processor.run(record, record.inline.encode(), _goes_on)
        place = f"{stage.tenant}|{record.import_id}"
        await set_columns(delivered, "AuthStaging", place, "plan", columns)
        await stage.gateway.chunks.process(message)
        ended = await stage.again(record)
        assert (ended.counts.new, ended.counts.failed) == (3, 0)
        assert (await stage.answer(record))["totalErrors"] == 0
        later = await stage.imported([an_employee("E1", "later")])
        assert later["totalErrors"] == 0

    play_authdata(delivered, scenario)


async def _goes_on() -> None:
    """Nothing stops the work."""
