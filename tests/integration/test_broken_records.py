"""A stored record that cannot be read is the error of the rows that name it, and of no others."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from azure.data.tables import EdmType, EntityProperty

from shared.app import record_repair_of
from shared.errors import GoneError
from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.import_type import ImportType
from shared.imports.json_rows import line_of
from shared.imports.licenses.actions import LicenseAction
from shared.imports.results import Outcome
from shared.services.chunk_messages import ChunkMessage, messages_for
from shared.services.status import ImportState, ResultCursor
from shared.storage.business_records import from_entity, partition_of, row_of
from shared.storage.entities import split_text
from shared.storage.import_records import ImportRecord, record_row
from shared.storage.names import IMPORT_PAYLOADS, IMPORTS
from shared.storage.ports import Entity, Insert, Merge
from tests.builders import a_worker, body_of
from tests.integration.harness import (
    MERGE,
    REPLACE,
    AuthdataHarness,
    Harness,
    LicenseHarness,
    a_row,
    an_employee,
    play,
    play_authdata,
    set_columns,
)
from tests.integration.manage import Manage
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
        licenses, count = LicenseHarness(stage), len(BROKEN_LICENSES)
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
        outcomes = await licenses.outcomes(record)
        assert outcomes[:count] == [("failed", [9001])] * count
        assert outcomes[count][0] == "updated"

    play(delivered, scenario)


def test_a_key_whose_license_is_lost_can_be_given_again(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        licenses = LicenseHarness(stage)
        rows = [a_row("L1", "1", licenseKey=KEYS[0])]
        await licenses.done(MERGE, rows)
        partition = partition_of(stage.sender.tenant, "C1")
        [license_] = await stage.gateway.account.tables.query("Licenses", partition, "r|", "r|~")
        await stage.forget("Licenses", partition, license_.row)
        record = await licenses.done(MERGE, rows)
        assert [outcome for outcome, _ in await licenses.outcomes(record)] == ["new"]

    play(delivered, scenario)


def test_a_broken_log_of_one_company_fails_its_rows_alone(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        licenses = LicenseHarness(stage)
        rows = [a_row("L1", "1"), a_row("L2", "2") | {"companyCode": "C2"}]
        record = await licenses.accept(MERGE, rows)
        await stage.gateway.chunks.process(licenses.message(record))
        await stage.forget_end(record)
        partition = partition_of(stage.sender.tenant, "C1")
        [entry] = await stage.gateway.account.tables.query("Licenses", partition, "j|", "j|~")
        await set_columns(delivered, "Licenses", partition, entry.row, {"Results0": b"\0"})
        await stage.gateway.chunks.process(licenses.message(record))
        assert [codes for _, codes in await licenses.outcomes(record)] == [[9001], []]
        later = await licenses.done(MERGE, [rows[0] | {"notes": "later"}])
        assert [outcome for outcome, _ in await licenses.outcomes(later)] == ["updated"]

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
    async def scenario(stage: AuthdataHarness) -> None:
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
    async def scenario(stage: AuthdataHarness) -> None:
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


# Ways to break what is stored, on real storage; and what an import, and the next one, make of it.
#
# Each way is a function of the bytes of a small payload of workers, one line per row.


Break = Callable[[bytes], bytes]


def _line(number: int, change: Callable[[bytes], bytes]) -> Break:
    def broken(data: bytes) -> bytes:
        lines = data.split(b"\n")
        lines[number] = change(lines[number])
        return b"\n".join(lines)

    return broken


def _line_of(index: int, text: str) -> bytes:
    return line_of(index, text).removesuffix(b"\n")


PAYLOADS: Mapping[str, tuple[Break, int]] = {
    "empty": (lambda _: b"", 0),
    "cut in a line": (lambda data: data[: data.index(b"\n") + 9], 1),
    "cut behind the first line": (lambda data: data[: data.index(b"\n") + 1], 1),
    "one byte of JSON": (_line(1, lambda line: line.replace(b"{", b"\0", 1)), 2),
    "another value": (_line(1, lambda line: line.replace(b"Sample", b"Simple")), 2),
    "no JSON": (_line(1, lambda _: _line_of(1, "no json")), 2),
    "an array": (_line(1, lambda _: _line_of(1, "[1]")), 2),
    "null": (_line(1, lambda _: _line_of(1, "null")), 2),
    "no UTF-8": (_line(1, lambda line: line.replace(b"Sample", b"\xff\xfe")), 2),
    # Longer than it was: what is behind the end of the chunk is cut off.
    "nested too deep": (_line(1, lambda _: _line_of(1, '{"a":' * 100_000)), 1),
    "no index": (_line(1, lambda line: b"x" + line), 2),
    "a negative index": (_line(1, lambda line: b"-" + line), 2),
    "an index of another row": (_line(1, lambda line: b"0" + line[1:]), 2),
    "a line twice": (_line(1, lambda line: line + b"\n" + line), 2),
    "an index of no row": (_line(1, lambda line: b"7" + line[1:]), 2),
    "no tab": (_line(1, lambda line: line.replace(b"\t", b" ")), 2),
    "a line break inside": (_line(1, lambda line: line[:9] + b"\n" + line[10:]), 2),
    "a line break that went": (lambda data: data.replace(b"\n", b" ", 1), 1),
    "a line that went": (lambda data: data[data.index(b"\n") + 1 :], 2),
    "zeros": (lambda data: b"\0" * len(data), 0),
}
"""By name: what is done to a payload of three rows, and how many of them can still go in."""


# A payload that cannot be read: its rows end as 9001, the import ends, later imports go on.


LONG = "x" * 10_000
"""Three rows with this text are too large for the import record: their payload is a blob."""


async def _broken_import(
    stage: Harness, change: Break, *, is_inline: bool
) -> tuple[ImportRecord, ChunkMessage]:
    notes = {} if is_inline else {"PersonnelNotes": LONG}
    record = await stage.accept_quietly([a_worker(f"P{at}", **notes) for at in range(3)])
    tables, blobs = stage.gateway.account.tables, stage.gateway.account.blobs
    if is_inline:
        columns = split_text("Lines", change(record.inline.encode()).decode())
        row = record_row(record.number)
        await tables.write(IMPORTS, Merge(Entity(record.tenant, row, columns)))
    else:
        data = await blobs.read(IMPORT_PAYLOADS, record.blob_name)
        assert data is not None
        await blobs.put(IMPORT_PAYLOADS, record.blob_name, [change(data)])
    [message] = messages_for(record, [], [0])
    return record, message


async def _check_ended(stage: Harness, record: ImportRecord, usable: int) -> None:
    gateway = stage.gateway
    report = await gateway.reporting.find(record.tenant, record.import_id)
    assert report.state is ImportState.COMPLETED_WITH_ERRORS
    counts = report.counts
    assert (counts.new, counts.failed, counts.done) == (usable, 3 - usable, 3)
    page = await gateway.reporting.results(report.record, ResultCursor(), 100)
    assert sorted(row.index for row in page.results) == [0, 1, 2]
    failed = [row for row in page.results if row.outcome is Outcome.FAILED]
    assert [[message.id for message in row.messages] for row in failed] == [[9001]] * (3 - usable)
    assert all(row.messages[0].detail for row in failed), "the reason is told"
    if report.record.inline or usable:
        rows = [row async for some in gateway.failed_rows.chunks(report.record) for row in some]
        assert sorted(row.index for row in rows) == sorted(row.index for row in failed)


@pytest.mark.parametrize("is_inline", [True, False], ids=["inline", "blob"])
def test_only_what_cannot_be_read_fails_and_a_later_import_goes_in(
    delivered: str, is_inline: bool
) -> None:
    async def scenario(stage: Harness) -> None:
        for name, (change, usable) in PAYLOADS.items():
            if is_inline and name == "no UTF-8":
                continue  # a column of text is always UTF-8
            record, message = await _broken_import(stage, change, is_inline=is_inline)
            later = await stage.accept([a_worker(f"P{at}", Title="Dr") for at in range(3)])
            await stage.gateway.chunks.process(message)
            await _check_ended(stage, record, usable)
            await stage.drain()
            counts = (await stage.again(later)).counts
            assert (counts.new + counts.updated, counts.failed) == (3, 0)
            # The next way begins with an empty store.
            await stage.forget_workers()

    play(delivered, scenario)


@pytest.mark.parametrize("way", ["empty", "no JSON", "no index", "a line that went"])
@pytest.mark.parametrize("is_cancelled", [True, False], ids=["cancelled", "poisoned"])
def test_the_last_resort_needs_nothing_of_the_payload(
    delivered: str, way: str, is_cancelled: bool
) -> None:
    async def scenario(stage: Harness) -> None:
        record, message = await _broken_import(stage, PAYLOADS[way][0], is_inline=False)
        if is_cancelled:
            await stage.gateway.cancelling.cancel(await stage.again(record))
            await stage.drain()
        else:
            await stage.gateway.chunks.end_as_failed(message)
        ended = await stage.again(record)
        assert not ended.is_open
        assert (ended.counts.failed, ended.counts.done) == (3, 3)
        assert ended.is_cancelled is is_cancelled

    play(delivered, scenario)


def test_a_sweep_brings_an_import_with_a_broken_payload_to_its_end(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record, _ = await _broken_import(stage, PAYLOADS["zeros"][0], is_inline=False)
        await stage.gateway.sweep.run()
        await stage.drain()
        await stage.gateway.sweep.run()
        assert await stage.messages() == []
        await _check_ended(stage, record, 0)

    play(delivered, scenario, sweep_after_seconds=0)


def test_a_retry_asks_for_the_rows_that_cannot_be_read(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        retry = stage.gateway.retrying.retry
        record, message = await _broken_import(stage, PAYLOADS["no JSON"][0], is_inline=True)
        await stage.gateway.chunks.process(message)
        ended = await stage.again(record)
        with pytest.raises(GoneError, match="index 1 cannot be read"):
            await retry(ended, b"")
        body = b'[{"index":1,"row":{"EmployerRef":"E1","PersonnelRef":"P1","Surname":"S"}}]'
        child = await retry(ended, body)
        await stage.drain()
        assert (await stage.again(child)).counts.new == 1

        lost, message = await _broken_import(stage, PAYLOADS["empty"][0], is_inline=False)
        await stage.gateway.account.blobs.delete(IMPORT_PAYLOADS, lost.blob_name)
        await stage.gateway.chunks.process(message)
        with pytest.raises(GoneError, match="expired"):
            await retry(await stage.again(lost), b"")

    play(delivered, scenario)


# `manage.py records`: what is broken is found, and mended or removed where that is asked for.


@pytest.fixture(name="on_delivered")
def fixture_on_delivered(delivered: str, tmp_path: Any) -> Manage:
    return Manage(delivered, tmp_path)


async def _repaired(stage: Harness | AuthdataHarness, tenant: str) -> list[tuple[str, str]]:
    """Areas and repairs of what was broken; nothing is left that a repair can mend."""
    repair = record_repair_of(stage.gateway)
    things = [thing async for thing in repair.find(tenant)]
    for thing in things:
        assert await repair.repair(thing)
    return [(thing.area, thing.repair.value) for thing in things]


async def _run(manage: Manage, status: int, *words: str) -> list[Mapping[str, str]]:
    ran = await asyncio.to_thread(manage.run, "records", *words, "--json")
    assert (ran.returncode, ran.stderr) == (status, "")
    broken: list[Mapping[str, str]] = json.loads(ran.stdout)["broken"]
    return broken


def test_workers_are_mended_or_removed_and_their_rows_go_in_again(
    delivered: str, on_delivered: Manage
) -> None:
    async def scenario(stage: Harness) -> None:
        tables, tenant = stage.gateway.account.tables, stage.sender.tenant
        rows = [a_worker(f"P{at}", ExternalWorkerRef=f"X{at}") for at in range(3)]
        await stage.accept(rows)
        await stage.drain()
        place = partition_of(tenant, "E1")
        await set_columns(delivered, "Workers", place, row_of("P0"), {"Number": "seven"})
        await set_columns(delivered, "Workers", place, row_of("P1"), {"Document0": "{"})
        await tables.write("Workers", Insert(Entity(place, "x|nowhere|P9", {})))
        here = ("--tenant", tenant, "--type", "workers")
        broken = await _run(on_delivered, 1, "repair", *here)
        assert [(each["key"], each["repair"]) for each in broken] == [
            ("E1 / P0", "mend"),
            ("E1 / P1", "remove"),
            ("E1 / P9", "remove"),
        ]
        entity = await tables.get("Workers", place, row_of("P0"))
        assert entity is not None
        assert entity.values["Number"] == "seven", "without --yes it only shows"
        done = await _run(on_delivered, 0, "repair", *here, "--yes")
        assert [each["repair"] for each in done] == ["mended", "removed", "removed"]
        assert await _run(on_delivered, 0, "check", "--tenant", tenant) == []

        lookups = await tables.query("Workers", place, "x|", "x|~")
        assert [each.row for each in lookups] == ["x|X0|P0", "x|X2|P2"]
        again = await stage.accept(rows)
        await stage.drain()
        results = await stage.results(again)
        outcomes = [results[at].outcome.value for at in range(3)]
        assert outcomes == ["unchanged", "new", "unchanged"]

    play(delivered, scenario)


def test_licenses_their_keys_and_logs(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        tables, tenant = stage.gateway.account.tables, stage.sender.tenant
        licenses = LicenseHarness(stage)
        rows = [a_row(f"L{at}", str(at), licenseKey=KEYS[at]) for at in (0, 1, 2)]
        await licenses.done(MERGE, rows)
        place = partition_of(tenant, "C1")
        rows_by_key = {
            each.row.rpartition("|")[2]: each.row
            for each in await tables.query("Licenses", place, "r|", "r|~")
        }
        [log] = await tables.query("Licenses", place, "j|", "j|~")
        await set_columns(delivered, "Licenses", place, rows_by_key[KEYS[0]], {"Number": None})
        await set_columns(delivered, "Licenses", place, rows_by_key[KEYS[1]], {"Document0": "["})
        await set_columns(delivered, "Licenses", place, f"k|{KEYS[2]}", {"Whose": "?"})
        await set_columns(delivered, "Licenses", place, log.row, {"Results0": b"\0"})
        done = sorted(repair for _, repair in await _repaired(stage, tenant))
        assert done == ["mend", "mend", "remove", "remove"]
        assert await _repaired(stage, tenant) == []
        again = await licenses.done(MERGE, rows)
        assert [outcome for outcome, _ in await licenses.outcomes(again)] == [
            "unchanged", "new", "unchanged",
        ]  # fmt: skip

    play(delivered, scenario)


def test_employees_and_imports(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        await stage.imported([an_employee("E1"), an_employee("E2")])
        await set_columns(delivered, "AuthData", stage.tenant, "r|E1", {"Document0": None})
        record = await stage.begin((await stage.stage([an_employee("E3")])).file_log_id)
        row = f"n|{999_999_999_999 - record.number:012d}"
        await set_columns(delivered, "Imports", stage.tenant, row, {"Chunks0": b"\0"})
        done = await _repaired(stage, stage.tenant)
        assert done == [("authdata", "remove"), ("imports", "close")]
        answer = await stage.imported([an_employee("E1"), an_employee("E2")])
        assert (answer["totalErrors"], answer["totalRecords"]) == (0, 2)
        entity = await stage.gateway.account.tables.get("AuthData", stage.tenant, "r|E1")
        assert entity is not None
        assert from_entity(entity).document is not None

    play_authdata(delivered, scenario)
