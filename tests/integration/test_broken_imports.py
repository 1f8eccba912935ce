"""Broken records of imports and results, lost batches, wrong clocks: each ends, and alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.app import record_repair_of, retention_of
from shared.clock import SystemClock, to_iso
from shared.errors import ConflictError, GoneError, NotFoundError
from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.authdata.batch_records import BatchState
from shared.imports.pay_and_bill.http import vendor_answer
from shared.imports.results import Outcome
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_messages import messages_for
from shared.services.record_repair import Repair
from shared.services.status import ResultCursor, RowFilter
from shared.storage.entities import encode
from shared.storage.idempotency_records import IdempotencyRecord, KeptAnswer
from shared.storage.import_records import (
    ImportRecord,
    index_row,
    open_row,
    record_row,
    unawaited_row,
)
from shared.storage.names import DOCUMENT_BLOBS, IMPORT_PAYLOADS
from shared.storage.ports import Delete, Entity, Insert, Upsert
from shared.storage.result_records import result_row
from tests.builders import a_worker, body_of
from tests.integration.harness import (
    AuthdataHarness,
    Harness,
    an_employee,
    play,
    play_authdata,
    set_columns,
)
from tests.tenants import new_tenant

pytestmark = pytest.mark.integration
AHEAD = to_iso(datetime.now(UTC) + timedelta(days=400))

IMPORTS: Mapping[str, Mapping[str, Any]] = {
    "chunks": {"Chunks0": b"\0"},
    "no chunks": {"Chunks0": None},
    "chunks of another shape": {"Chunks0": b"\x78\x9c\x8b\x8e\x05\x00\x01\x15\x00\xb9"},
    "options": {"OnExisting": "perhaps"},
    "type": {"Type": "holidays"},
    "no id": {"ImportId": None},
}


async def _break_import(stage: Harness, storage: str, record: ImportRecord, way: str) -> None:
    place = record.tenant, record_row(record.number)
    await set_columns(storage, "Imports", *place, IMPORTS[way])


@pytest.mark.parametrize(
    ("way", "noticed_by"),
    [
        *((way, "message") for way in IMPORTS),
        *((way, "sweep") for way in ("chunks", "type", "no id")),
        *((way, "cancel") for way in ("chunks", "type", "no id")),
    ],
)
def test_a_broken_import_is_closed_and_holds_nothing_up(
    delivered: str, way: str, noticed_by: str
) -> None:
    async def scenario(stage: Harness) -> None:
        gateway, rows = stage.gateway, [a_worker("P1"), a_worker("P2")]
        before = await stage.accept([a_worker("P0")])
        await stage.drain()
        record = await stage.accept_quietly(rows)
        await _break_import(stage, delivered, record, way)
        later = await stage.accept([row | {"Title": "Dr"} for row in rows])
        row = {"EmployerRef": "E1", "AssignmentRef": "A1", "PersonnelRef": "P9"}
        waiting = await gateway.intake.accept(ASSIGNMENTS, stage.sender.caller, body_of([row]))
        assert waiting is not None
        if noticed_by == "message":
            [message] = messages_for(record, [], [0])
            await gateway.chunks.process(message)
            await gateway.sweep.run()  # a record without an id knows no message
        elif noticed_by == "sweep":
            await gateway.sweep.run()
        else:
            report = await gateway.reporting.find(record.tenant, record.import_id)
            await gateway.cancelling.cancel(report.record)
        await stage.drain()
        assert (await stage.again(later)).counts.new == 2
        assert (await stage.again(waiting)).counts.failed == 1

        report = await gateway.reporting.find(record.tenant, record.import_id)
        assert not report.record.is_open
        assert (report.counts.failed, report.record.rows) == (2, 2)
        page = await gateway.reporting.results(report.record, ResultCursor(), 10)
        assert [(row.index, row.messages[0].id) for row in page.results] == [(0, 9001), (1, 9001)]
        with pytest.raises(GoneError):
            await gateway.retrying.retry(report.record, b"")
        if noticed_by != "cancel":
            with pytest.raises(ConflictError):
                await gateway.cancelling.cancel(report.record)
        listed = await gateway.reporting.newest(record.tenant, None, 10)
        numbers = [each.record.number for each in listed.reports]
        assert numbers == [waiting.number, later.number, record.number, before.number]
        purged = await retention_of(gateway, SystemClock()).purge([record.tenant], timedelta(0))
        assert purged.failed == ()

    play(delivered, scenario, sweep_after_seconds=0)


def test_an_open_entity_without_its_import_makes_no_row_wait(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record = await stage.accept_quietly([a_worker("P1")])
        await stage.forget("Imports", record.tenant, record_row(record.number))
        row = {"EmployerRef": "E1", "AssignmentRef": "A1", "PersonnelRef": "P1"}
        await stage.gateway.intake.accept(ASSIGNMENTS, stage.sender.caller, body_of([row]))
        await stage.gateway.sweep.run()
        await stage.drain()
        entity = await stage.gateway.account.tables.get(
            "Imports", record.tenant, open_row("workers", record.number)
        )
        assert entity is None

    play(delivered, scenario, sweep_after_seconds=0)


RESULTS: Mapping[str, Mapping[str, Any]] = {
    "rows": {"Data0": b"\0"},
    "no rows": {"Data0": None},
    "a blob that is not there": {"Data0": None, "Spilled": "nowhere"},
    "counts": {"New": "many"},
    "rows and counts": {"Data0": b"\0", "Failed": "x", "New": None},
}


@pytest.mark.parametrize("way", RESULTS)
@pytest.mark.parametrize("is_open", [True, False], ids=["open", "ended"])
def test_results_that_cannot_be_read_are_told_as_such(
    delivered: str, way: str, is_open: bool
) -> None:
    async def scenario(stage: Harness) -> None:
        gateway = stage.gateway
        rows = [a_worker("P1"), a_worker("P2", Gender="x")]
        record = await stage.accept(rows)
        await stage.drain()
        await set_columns(delivered, "ImportResults", record.import_id, result_row(0), RESULTS[way])
        if is_open:
            await stage.forget_closing(record)
            await gateway.sweep.run()
        report = await gateway.reporting.find(record.tenant, record.import_id)
        assert not report.record.is_open
        assert report.counts.done == 2
        page = await gateway.reporting.results(report.record, ResultCursor(), 10)
        assert [row.index for row in page.results] == [0, 1]
        if "rows" in way or "blob" in way:
            assert [row.messages[0].id for row in page.results] == [9001, 9001]
        assert (await vendor_answer(gateway, ASSIGNMENTS, report.record)).status_code == 200
        failed = [row async for some in gateway.failed_rows.chunks(report.record) for row in some]
        assert all(row.result.outcome is Outcome.FAILED for row in failed)
        if report.counts.failed:
            child = await gateway.retrying.retry(report.record, b"")
            await stage.drain()
            assert not (await stage.again(child)).is_open

    play(delivered, scenario, sweep_after_seconds=0)


def test_a_deleted_payload_leaves_index_and_outcome_in_the_results(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        rows = [a_worker(f"P{at}", PersonnelNotes="x" * 10_000) for at in range(3)]
        record = await stage.accept(rows)
        await stage.gateway.account.blobs.delete(IMPORT_PAYLOADS, record.blob_name)
        await stage.drain()
        ended = await stage.again(record)
        for outcome in (None, Outcome.FAILED):
            page = await stage.gateway.reporting.results(
                ended, ResultCursor(), 10, RowFilter(outcome)
            )
            outcomes = [(row.index, row.outcome.value, row.messages[0].id) for row in page.results]
            assert outcomes == [(0, "failed", 9001), (1, "failed", 9001), (2, "failed", 9001)]

    play(delivered, scenario)


def test_a_retry_beside_a_purge_is_told_that_the_results_have_expired(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record = await stage.accept([a_worker("P1", Gender="x")])
        await stage.drain()
        await stage.accept([a_worker("P2")])
        await stage.drain()
        as_read = await stage.again(record)
        # The purge has gone on since the retry read the record.
        place = record.tenant, record_row(record.number)
        await set_columns(delivered, "Imports", *place, {"ResultsExpiredAt": "2026-01-01T00:00Z"})
        await stage.forget("ImportResults", record.import_id, result_row(0))
        correction = b'[{"index":0,"row":{"EmployerRef":"E1","PersonnelRef":"P1","Surname":"S"}}]'
        for body in (b"", correction):
            with pytest.raises(GoneError):
                await stage.gateway.retrying.retry(as_read, body)
        with pytest.raises(GoneError):
            [rows async for rows in stage.gateway.failed_rows.chunks(as_read)]
        with pytest.raises(GoneError):
            await stage.gateway.reporting.results(as_read, ResultCursor(), 10)
        with pytest.raises(GoneError):
            await vendor_answer(stage.gateway, ASSIGNMENTS, as_read)

    play(delivered, scenario)


def test_a_clock_that_was_ahead_does_not_stop_the_sweep(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record = await stage.accept_quietly([a_worker(f"P{at}") for at in range(150)], 100)
        first, _ = messages_for(record, [], [0, 1])
        await stage.gateway.chunks.process(first)
        place = record.tenant, record_row(record.number)
        await set_columns(delivered, "Imports", *place, {"SweptAt": AHEAD, "AcceptedAt": AHEAD})
        done = record.import_id, result_row(0)
        await set_columns(delivered, "ImportResults", *done, {"DoneAt": AHEAD})
        await stage.gateway.sweep.run()
        await stage.drain()
        report = await stage.gateway.reporting.find(record.tenant, record.import_id)
        assert report.counts.new == 150

    play(delivered, scenario, sweep_after_seconds=0)


def test_a_clock_that_was_ahead_does_not_stop_retention(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        gateway, tenant = stage.gateway, stage.sender.tenant
        records = []
        for name in ("P1", "P2"):
            records.append(await stage.accept([a_worker(name, PersonnelNotes="x" * 30_000)]))
            await stage.drain()
        row = record_row(records[0].number)
        await set_columns(delivered, "Imports", tenant, row, {"EndedAt": AHEAD})
        retention = retention_of(gateway, SystemClock())
        await retention.purge([tenant], timedelta(0))
        await retention.purge([tenant], timedelta(0))
        assert [each.number for each in await gateway.imports.newest_first(tenant, None, 9)] == [
            records[1].number
        ]

    play(delivered, scenario)


def test_a_step_goes_past_an_import_and_a_tenant_that_fail(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        gateway = stage.gateway
        broken = await new_tenant(gateway)
        # A document without its file's name: no file of that tenant can be called unused.
        columns = Entity(broken, "r|d", {"Number": 1, "Document0": "{"})
        await gateway.account.tables.write("Documents", Insert(columns))
        await gateway.account.blobs.put(DOCUMENT_BLOBS, f"{broken}/file", [b"%PDF-"])
        record = await stage.accept([a_worker("P1", PersonnelNotes="x" * 30_000)])
        await stage.drain()
        retention = retention_of(gateway, SystemClock())
        purged = await retention.purge([broken, record.tenant], timedelta(0))
        assert purged.failed == ((broken, "replaced documents"),)
        assert purged.expired["payloads"] == 1

    play(delivered, scenario)


def test_an_idempotency_key_whose_record_is_broken(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        store = stage.gateway.idempotency._store
        tenant = stage.sender.tenant
        now = to_iso(datetime.now(UTC))
        for key in ("answer", "import"):
            inserted = await store.insert(
                IdempotencyRecord(tenant, key, "print", "id", "owner", now, now)
            )
            await store.keep(inserted, KeptAnswer(200, {}, "application/json", b"x" * 100))
        await set_columns(
            delivered, "Idempotency", tenant, "k|answer", {"Headers0": "{", "Body0": b"\0"}
        )
        await set_columns(delivered, "Idempotency", tenant, "k|import", {"ImportId": None})
        stored = await store.read(tenant, "answer")
        assert stored is not None
        assert (stored.import_id, stored.answer) == ("id", None), "it is made again"
        with pytest.raises(ConflictError, match="new key"):
            await store.read(tenant, "import")
        await set_columns(delivered, "Idempotency", tenant, "k|answer", {"CreatedAt": AHEAD})
        later = datetime.now(UTC) + timedelta(days=2)
        assert await store.remove_before(tenant, later - timedelta(days=1), later) == 1
        assert await store.remove_before(tenant, later + timedelta(days=1), later) == 1

    play(delivered, scenario)


LOST: Mapping[str, Mapping[str, Any] | None] = {
    "lost": None,
    "garbled": {"Data0": b"\0"},
    "of another shape": {"Data0": b"\x78\x9c\x8b\x8e\x05\x00\x01\x15\x00\xb9"},
    "a blob that is not there": {"Data0": None, "Blob": "nowhere"},
}


@pytest.mark.parametrize("way", LOST)
def test_a_batch_that_lost_records_ends_and_holds_no_tenant_up(delivered: str, way: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        processing = stage.gateway.authdata.processing
        batches = [(await stage.stage([an_employee("E1")])).file_log_id for _ in range(2)]
        for file_log_id in batches:
            place = f"{stage.tenant}|{file_log_id}"
            tables = stage.gateway.account.tables
            [part] = await tables.query("AuthStaging", place, "p|", "p|~")
            columns = LOST[way]
            if columns is None:
                await tables.write("AuthStaging", Delete(part))
            else:
                await set_columns(delivered, "AuthStaging", place, part.row, columns)
        processed, appended = batches
        for _ in range(2):
            with pytest.raises(GoneError, match="stage all of them again"):
                await stage.begin(processed)
        for _ in range(2):
            with pytest.raises(GoneError, match="stage all of them again"):
                await stage.stage([an_employee("E2")], appended)
        await processing.tidy_all()
        for file_log_id in batches:
            batch = await stage.gateway.authdata.staging.find(stage.tenant, file_log_id)
            assert batch.state is BatchState.CANCELLED
        noted = [each.row for each in await stage.entities("AuthStaging")]
        assert [row for row in noted if row.startswith("b|")] == []
        assert (await stage.imported([an_employee("E1")]))["totalErrors"] == 0

    play_authdata(delivered, scenario, sweep_after_seconds=0)


@pytest.mark.parametrize(
    "columns", [{"State": "Perhaps"}, {"Parts0": b"\0"}, {"Parts0": None}, {"Exceeded": "["}]
)
def test_a_broken_batch_is_told_and_tidied_up(delivered: str, columns: Mapping[str, Any]) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        file_log_id = (await stage.stage([an_employee("E1")])).file_log_id
        await set_columns(
            delivered, "AuthStaging", f"{stage.tenant}|{file_log_id}", "batch", columns
        )
        with pytest.raises(GoneError):
            await stage.begin(file_log_id)
        with pytest.raises(GoneError):
            await stage.stage([an_employee("E2")], file_log_id)
        await stage.gateway.authdata.processing.clean_up(stage.tenant)
        noted = [each.row[0] for each in await stage.entities("AuthStaging")]
        assert noted == ["d"]

    play_authdata(delivered, scenario, sweep_after_seconds=0)


def test_a_batch_that_a_clock_opened_which_was_ahead_still_expires(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        processing, tables = stage.gateway.authdata.processing, stage.gateway.account.tables
        file_log_id = (await stage.stage([an_employee("E1")])).file_log_id
        [noted] = await stage.entities("AuthStaging")
        row = f"b|{encode(AHEAD)}|{encode(file_log_id)}"
        await tables.write("AuthStaging", Upsert(Entity(noted.partition, row, noted.values)))
        await tables.write("AuthStaging", Delete(noted))
        place = f"{stage.tenant}|{file_log_id}"
        await set_columns(delivered, "AuthStaging", place, "batch", {"ChangedAt": AHEAD})
        await processing.clean_up(stage.tenant)
        await processing.clean_up(stage.tenant)
        batch = await stage.gateway.authdata.staging.find(stage.tenant, file_log_id)
        assert batch.state is BatchState.EXPIRED

    play_authdata(delivered, scenario, sweep_after_seconds=0, batch_seconds=0)


# Open-import entities and the index of ids, broken or lost: no import is stuck or mistaken.


OPEN: Mapping[str, Mapping[str, Any]] = {
    "a text for the rows": {"Rows": "many"},
    "a fraction for the rows": {"Rows": 1.5},
    "other rows": {"Rows": 500},
    "no rows": {"Rows": None},
    "no first place": {"First": ""},
    "another last place": {"Last": "a"},
    "no last place": {"Last": None},
    "places that are no JSON": {"Places0": "["},
    "other places": {"Places0": "[1]"},
    "another id": {"ImportId": "0b5c"},
}
INDEX: Mapping[str, Mapping[str, Any]] = {
    "a text": {"Number": "first"},
    "no number": {"Number": None},
    "the number of another import": {"Number": 2},
    "the number of no import": {"Number": 7_000},
}


@pytest.mark.parametrize("way", OPEN)
def test_a_broken_open_import_holds_back_what_it_must_and_no_more(delivered: str, way: str) -> None:
    async def scenario(stage: Harness) -> None:
        first = await stage.accept_quietly([a_worker("P1", Title="Ms")])
        row = open_row("workers", first.number)
        await set_columns(delivered, "Imports", first.tenant, row, OPEN[way])
        second = await stage.accept([a_worker("P1", Title="Dr", KnownAs="Sam")])
        for message in await stage.messages():
            await stage.gateway.chunks.process(message)
        await stage.gateway.sweep.run()
        await stage.drain()
        assert [await stage.codes(each) for each in (first, second)] == [[[]], [[]]]
        stored = await stage.stored("P1")
        assert stored is not None
        assert stored.document is not None
        assert (stored.document["Title"], stored.created_by) == ("Dr", first.number)

    play(delivered, scenario, sweep_after_seconds=0)


def test_an_import_whose_open_entity_is_lost_ends_with_its_last_chunk(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record = await stage.accept_quietly([a_worker("P1")])
        await stage.forget("Imports", record.tenant, open_row("workers", record.number))
        [message] = messages_for(record, [], [0])
        await stage.gateway.chunks.process(message)
        ended = await stage.again(record)
        assert not ended.is_open
        assert ended.counts.new == 1
        mark = unawaited_row(record.number)
        assert await stage.gateway.account.tables.get("Imports", record.tenant, mark) is None
        await stage.gateway.chunks.process(message)
        assert (await stage.again(record)).ended_at == ended.ended_at

    play(delivered, scenario)


def test_a_cancel_ends_an_import_whose_open_entity_is_lost(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record = await stage.accept_quietly([a_worker("P1")])
        await stage.forget("Imports", record.tenant, open_row("workers", record.number))
        await stage.gateway.cancelling.cancel(await stage.again(record))
        for message in await stage.messages():
            await stage.gateway.chunks.process(message)
        assert not (await stage.again(record)).is_open
        assert await stage.codes(record) == [[9002]]

    play(delivered, scenario)


@pytest.mark.parametrize("healer", ["retention", "records repair"])
def test_an_open_import_that_the_sweep_cannot_find_is_found_again(
    delivered: str, healer: str
) -> None:
    async def scenario(stage: Harness) -> None:
        gateway, tenant = stage.gateway, stage.sender.tenant
        lost = await stage.accept_quietly([a_worker("P1")])
        broken = await stage.accept_quietly([a_worker("P2")])
        await stage.accept_quietly([a_worker("P3")])
        for record in (lost, broken):
            await stage.forget("Imports", tenant, open_row("workers", record.number))
        row = record_row(broken.number)
        await set_columns(delivered, "Imports", tenant, row, {"Chunks0": b"\0"})
        await gateway.sweep.run()
        if healer == "retention":
            await retention_of(gateway, SystemClock()).purge([tenant], timedelta(days=1))
        else:
            repair = record_repair_of(gateway)
            things = [thing async for thing in repair.find(tenant, ["imports"])]
            kinds = {thing.key: thing.repair for thing in things}
            assert kinds == {lost.import_id: Repair.MEND, broken.import_id: Repair.CLOSE}
            assert all([await repair.repair(thing) for thing in things])
        await gateway.sweep.run()
        await stage.drain()
        assert (await stage.again(lost)).counts.new == 1
        assert (await stage.again(broken)).counts.failed == 1

    play(delivered, scenario, sweep_after_seconds=0)


@pytest.mark.parametrize("way", INDEX)
def test_an_import_is_found_by_its_id_whatever_the_index_says(delivered: str, way: str) -> None:
    async def scenario(stage: Harness) -> None:
        gateway, tenant = stage.gateway, stage.sender.tenant
        record = await stage.accept([a_worker("P1")])
        await stage.accept([a_worker("P2")])
        await stage.drain()
        row = index_row(record.import_id)
        await set_columns(delivered, "Imports", tenant, row, INDEX[way])
        report = await gateway.reporting.find(tenant, record.import_id.upper())
        assert report.record.number == record.number
        # A call with the same Idempotency-Key comes with the same id.
        same = await gateway.intake.accept(
            WORKERS, stage.sender.caller, body_of([a_worker("P1")]), record.import_id
        )
        assert same is not None
        assert same.number == record.number
        with pytest.raises(NotFoundError):
            await gateway.reporting.find(tenant, "0b5c7a0e-0000-4000-8000-000000000000")

    play(delivered, scenario)
