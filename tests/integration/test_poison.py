"""A chunk that fails five times: its rows end, the import ends, nothing comes in afterwards."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass, replace

import pytest

from shared.clock import SystemClock
from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.documents.processor import DocumentProcessor
from shared.imports.import_type import ImportType, OnExisting
from shared.imports.json_rows import read_row_texts
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.definition import LICENSES
from shared.imports.pay_and_bill.http import vendor_answer
from shared.imports.placements.definition import PLACEMENTS
from shared.imports.registry import IMPORT_TYPES
from shared.imports.results import Outcome
from shared.imports.timesheets.definition import TIMESHEETS
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_messages import ChunkMessage, messages_for
from shared.services.poisoned_chunks import poison_queue
from shared.services.results import Payloads
from shared.services.status import ImportState
from shared.storage.import_records import ImportRecord
from shared.storage.names import IMPORT_PAYLOADS
from shared.storage.ports import Delete, Entity
from tests.builders import Row, a_worker, body_of
from tests.contract.test_pay_and_bill import an_assignment
from tests.integration.harness import (
    AuthdataHarness,
    Harness,
    a_row,
    an_employee,
    play,
    play_authdata,
)
from tests.integration.test_authdata_deaths import dying_after, lines_of, work_of
from tests.integration.test_documents import Desk, at_desk
from tests.unit.imports.row_types.placements import a_placement
from tests.unit.imports.row_types.timesheets import a_timesheet

pytestmark = pytest.mark.integration
LONG = "x" * 300
"""Rows with this text are too large for the import record: their payload is a blob."""


def _large(count: int, **changes: object) -> list[dict[str, object]]:
    return [a_worker(f"P{number:03d}", PersonnelNotes=LONG, **changes) for number in range(count)]


def test_an_import_whose_payload_is_lost_ends_and_its_rows_are_answered_as_9001(
    delivered: str,
) -> None:
    async def scenario(stage: Harness) -> None:
        record = await stage.accept(_large(90))
        await stage.gateway.account.blobs.delete(IMPORT_PAYLOADS, record.blob_name)
        [message] = await stage.messages()
        await stage.gateway.chunks.process(message)

        report = await stage.gateway.reporting.find(record.tenant, record.import_id)
        assert report.state is ImportState.COMPLETED_WITH_ERRORS
        assert report.counts.failed == record.rows
        answer = await vendor_answer(stage.gateway, WORKERS, report.record)
        results = json.loads(answer.get_body())["results"]
        assert [[entry["errorID"] for entry in row["messages"]] for row in results] == [
            [9001]
        ] * record.rows

    play(delivered, scenario)


def test_rows_that_were_not_committed_end_as_9001_and_the_import_ends(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record = await stage.accept(_large(90))
        [message] = await stage.messages()
        await stage.gateway.chunks.end_as_failed(message)

        report = await stage.gateway.reporting.find(record.tenant, record.import_id)
        assert report.state is ImportState.COMPLETED_WITH_ERRORS
        assert report.counts.failed == record.rows
        assert await stage.codes(record) == [[9001]] * record.rows
        tombstone = await stage.stored("P000")
        assert tombstone is not None
        assert (tombstone.document, tombstone.ended.codes) == (None, {record.number: 9001})

    play(delivered, scenario)


def test_rows_with_a_stamp_of_the_import_keep_their_outcome(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        gateway = stage.gateway
        before = await stage.accept([a_worker("P001", Title="Mr")])
        await stage.drain()
        record = await stage.accept_quietly(
            [
                a_worker("P000"),
                a_worker("P001", Title="Dr"),
                a_worker("P002"),
                a_worker("P002", Title="Dr"),
                a_worker("P003", Gender="x"),
                {"Surname": "no key"},
            ]
        )
        [message] = messages_for(record, [], [0])
        await gateway.chunks.process(message)
        done = await stage.results(record)
        await _forget(stage, message, "P000")

        await gateway.chunks.end_as_failed(message)
        after = await stage.results(record)
        assert [after[index] for index in (1, 2, 3)] == [done[index] for index in (1, 2, 3)]
        assert [after[index].outcome for index in (0, 4, 5)] == [Outcome.FAILED] * 3
        assert [[m.id for m in after[index].messages] for index in (0, 4, 5)] == [[9001]] * 3
        counts = (await stage.again(record)).counts
        assert (counts.new, counts.updated, counts.failed) == (1, 2, 3)
        changed = await stage.stored("P001")
        assert changed is not None
        assert changed.document is not None
        assert changed.document["Title"] == "Dr"
        assert changed.created_by == before.number

    play(delivered, scenario)


async def _forget(stage: Harness, message: ChunkMessage, reference: str) -> None:
    """As if the handler had died before it committed one record and wrote its result."""
    record = await stage.gateway.imports.read(message.tenant, message.number)
    stored = await stage.stored(reference)
    assert record is not None
    assert stored is not None
    lost = Delete(Entity(stored.key.partition, stored.key.row, {}))
    await stage.gateway.account.tables.write("Workers", lost)
    await stage.forget_end(record)


def test_a_straggler_commits_nothing_of_rows_that_were_reported_as_failed(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record = await stage.accept_quietly([a_worker("P1"), a_worker("P2")])
        [message] = messages_for(record, [], [0])
        await stage.gateway.chunks.end_as_failed(message)
        await stage.forget_end(record)

        await stage.gateway.chunks.process(message)
        assert await stage.codes(record) == [[9001]] * 2
        for reference in ("P1", "P2"):
            stored = await stage.stored(reference)
            assert stored is not None
            assert stored.document is None

    play(delivered, scenario)


def test_a_row_that_ended_as_9001_goes_in_when_it_is_sent_again(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        rows = [a_worker("P1", ExternalWorkerRef="X1")]
        record = await stage.accept_quietly(rows)
        [message] = messages_for(record, [], [0])
        await stage.gateway.chunks.end_as_failed(message)
        again = await stage.accept(rows)
        await stage.drain()
        assert [row.outcome for row in (await stage.results(again)).values()] == [Outcome.NEW]
        stored = await stage.stored("P1")
        assert stored is not None
        assert stored.document is not None
        assert stored.created_by == again.number

    play(delivered, scenario)


def test_a_message_delivered_twice_has_one_effect(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record = await stage.accept_quietly([a_worker("P1"), a_worker("P1", Title="Dr")])
        [message] = messages_for(record, [], [0])
        await stage.gateway.chunks.process(message)
        stored, results = await stage.stored("P1"), await stage.results(record)
        await stage.gateway.chunks.process(message)
        await stage.forget_end(record)
        await stage.gateway.chunks.process(message)
        assert await stage.results(record) == results
        assert await stage.stored("P1") == stored
        counts = (await stage.again(record)).counts
        assert (counts.new, counts.updated, counts.done) == (1, 1, 2)

    play(delivered, scenario)


# A chunk that fails too often ends its own rows and nothing else: every type, every stage.


CHUNK, ROWS, POISONED = 10, 30, 1
_SERIAL = itertools.count()
QUEUED = [kind for kind in IMPORT_TYPES.values() if kind.has_queues]


@dataclass(frozen=True)
class Play:
    """Imports of one type in three chunks each, always of the same 30 records."""

    stage: Harness
    kind: ImportType

    async def accept(self) -> ImportRecord:
        """An import whose messages got lost."""
        record = await self._accepted()
        assert [chunk.rows for chunk in record.chunks] == [CHUNK] * 3
        await self.stage.messages()
        return record

    async def _accepted(self) -> ImportRecord:
        gateway, caller = self.stage.gateway, self.stage.sender.caller
        changed = f"T{next(_SERIAL)}"
        rows = [_row_of(self.kind, at, changed) for at in range(ROWS)]
        if self.kind is AUTHDATA:
            desk = AuthdataHarness(gateway, self.stage.pump, caller.tenant)
            return await desk.begin((await desk.stage(rows)).file_log_id)
        planned = await gateway.intake.read(self.kind, caller.tenant, body_of(rows))
        options = replace(
            caller.options, action=LicenseAction.MERGE.value, on_existing=OnExisting.UPDATE
        )
        draft = gateway.intake.draft(self.kind, caller.tenant, planned, options)
        return await gateway.intake.accept_planned(self.kind, draft, planned)

    async def poison(self, record: ImportRecord) -> None:
        """As after five tries, and once more, since a message may come twice."""
        for _ in range(2):
            await self.stage.gateway.chunks.end_as_failed(_message(record, POISONED))

    async def run(self, *records: ImportRecord) -> None:
        """Deliver every chunk of these imports, and what is sent until all have ended."""
        for record in records:
            await self.process(record, 0, 1, 2)
        await self.stage.drain()

    async def process(self, record: ImportRecord, *chunks: int) -> None:
        for chunk in chunks:
            await self.stage.gateway.chunks.process(_message(record, chunk))

    async def codes(self, record: ImportRecord) -> tuple[set[int], set[int]]:
        """The ids of the errors of the poisoned chunk, and of the other chunks."""
        assert not (await self.stage.again(record)).is_open
        lines = await Payloads(self.stage.gateway.account.blobs).lines(record, POISONED)
        mine = {index for index, _ in read_row_texts(lines)}
        results = await self.stage.results(record)
        assert len(results) == ROWS
        poisoned, others = (
            {
                message.id
                for index, row in results.items()
                if (index in mine) is is_poisoned
                for message in row.messages
                if message.is_error
            }
            for is_poisoned in (True, False)
        )
        return poisoned, others

    async def has_gone_in(self, record: ImportRecord) -> bool:
        """Whether every row of an import that was not poisoned was committed."""
        return not any(await self.codes(record))


def _row_of(kind: ImportType, at: int, changed: str) -> Row:
    """Record number `at`; what it says besides its key is new in each import."""
    match kind.name:
        case WORKERS.name:
            return a_worker(f"P{at:03d}", Title=changed)
        case ASSIGNMENTS.name:
            return an_assignment(f"A{at:03d}", "P000", JobTitle=changed)
        case LICENSES.name:
            return a_row(f"L{at:03d}", f"{at:03d}", companyCode=f"C{at // CHUNK}", notes=changed)
        case PLACEMENTS.name:
            return a_placement(PlacementRef=f"L{at:03d}", JobTitle=changed)
        case TIMESHEETS.name:
            return a_timesheet(
                EmployerRef="E1",
                TimesheetNumber=f"{at:09d}",
                PersonnelRef="P000",
                JobDescription=changed,
            )
        case _:
            return an_employee(f"e{at:03d}", status=changed)


def test_the_timer_ends_the_rows_of_messages_in_the_poison_queues(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        account, chunks = stage.gateway.account, stage.gateway.poisoned_chunks
        records = [await stage.accept([a_worker(f"P{at}")]) for at in range(2)]
        await stage.messages()
        poison = poison_queue(WORKERS.queue)
        await account.ensure((), (poison,))
        for record in records:
            await account.queues.send(poison, _message(record, 0).to_text())
        await account.queues.send(poison, "of another app")
        await chunks.run()
        for record in records:
            assert not (await stage.again(record)).is_open
            assert await stage.codes(record) == [[9001]]
        assert await account.queues.receive(poison, 32, 1) == []
        await chunks.run()

    play(delivered, scenario)


def _message(record: ImportRecord, chunk: int) -> ChunkMessage:
    [message] = messages_for(record, [], [chunk])
    return replace(message, looks_back=True)


async def _nothing_done(play: Play) -> ImportRecord:
    record = await play.accept()
    await play.poison(record)
    await play.run(record)
    return record


async def _others_done(play: Play) -> ImportRecord:
    record = await play.accept()
    await play.process(record, 0, 2)
    await play.poison(record)
    return record


async def _messages_lost(play: Play) -> ImportRecord:
    record = await play.accept()
    await play.poison(record)
    await play.stage.gateway.sweep.run()
    await play.stage.drain()
    return record


async def _held_back(play: Play) -> ImportRecord:
    before = await play.accept()
    record = await play.accept()
    await play.poison(record)
    await play.run(before, record)
    assert await play.has_gone_in(before)
    return record


async def _noted_as_waiting(play: Play) -> ImportRecord:
    before = await play.accept()
    record = await play.accept()
    await play.process(record, 0, 1, 2)
    assert await play.stage.waiting()
    await play.poison(record)
    await play.run(before)
    assert await play.stage.waiting() == []
    return record


async def _between_two(play: Play) -> ImportRecord:
    before, record, later = [await play.accept() for _ in range(3)]
    await play.process(later, 0, 1, 2)
    await play.process(before, 0, 1, 2)
    await play.stage.messages()
    await play.poison(record)
    await play.run(record)
    assert await play.has_gone_in(before)
    assert await play.has_gone_in(later)
    return record


async def _committed(play: Play) -> ImportRecord:
    record = await play.accept()
    await play.run(record)
    await play.stage.forget_end(record)
    await play.poison(record)
    await play.run(record)
    return record


async def _not_closed(play: Play) -> ImportRecord:
    record = await play.accept()
    await play.run(record)
    await play.stage.forget_closing(record)
    await play.poison(record)
    return record


async def _ended(play: Play) -> ImportRecord:
    record = await play.accept()
    await play.run(record)
    await play.poison(record)
    return record


FAILED = [_nothing_done, _others_done, _messages_lost, _held_back, _noted_as_waiting, _between_two]
KEPT = [_committed, _not_closed, _ended]


@pytest.mark.parametrize("kind", QUEUED, ids=lambda kind: kind.name)
def test_a_poisoned_chunk_ends_its_own_rows_only(delivered: str, kind: ImportType) -> None:
    async def scenario(stage: Harness) -> None:
        play = Play(stage, kind)
        if kind.references:
            await stage.accept([a_worker("P000")])
            await stage.drain()
        for at_stage in [*FAILED, *KEPT]:
            record = await at_stage(play)
            poisoned, others = await play.codes(record)
            assert not others, at_stage
            assert poisoned == ({9001} if at_stage in FAILED else set()), at_stage
        assert await play.has_gone_in(await _ended(play)), "nothing keeps the records closed"

    play(delivered, scenario, chunk_rows=CHUNK, sweep_after_seconds=0)


# A row ends as 9001 or 9002 because of its own import alone, whatever becomes of a later one.


END = pytest.mark.parametrize("code", [9001, 9002])


async def _end(stage: Harness, record: ImportRecord, code: int) -> None:
    """Poison every chunk of an import, or cancel it."""
    if code == 9002:
        await stage.gateway.cancelling.cancel(record)
    for message in messages_for(record, [], range(len(record.chunks))):
        if code == 9002:
            await stage.gateway.chunks.process(message)
        else:
            await stage.gateway.chunks.end_as_failed(message)


async def _run(stage: Harness, record: ImportRecord) -> None:
    for message in messages_for(record, [], range(len(record.chunks))):
        await stage.gateway.chunks.process(message)


@END
def test_the_end_of_later_workers_imports_fails_no_row_of_an_earlier_one(
    delivered: str, code: int
) -> None:
    async def scenario(stage: Harness) -> None:
        await stage.accept([a_worker("P0", Title="Mr"), a_worker("P1")])
        await stage.drain()
        rows = [a_worker(f"P{number}", Title="Dr") for number in range(6)]
        first = await stage.accept_quietly(rows, chunk_rows=2)
        later = [await stage.accept_quietly(rows[:4], chunk_rows=3) for _ in range(3)]
        for record in later[1:]:
            await _end(stage, record, code)
        await _run(stage, first)
        results = await stage.results(first)
        outcomes = [results[index].outcome for index in range(6)]
        assert outcomes == [Outcome.UPDATED] * 2 + [Outcome.NEW] * 4
        for record in later[1:]:
            assert await stage.codes(record) == [[code]] * 4
            await stage.forget_end(record)
            await _run(stage, record)
            assert await stage.codes(record) == [[code]] * 4, "a straggler"
        await _run(stage, later[0])
        assert await stage.codes(later[0]) == [[1103]] * 4

    play(delivered, scenario)


@END
def test_the_end_of_a_later_upload_leaves_an_earlier_one_its_document(
    delivered: str, code: int
) -> None:
    async def leave_open(record: ImportRecord) -> None:
        """As where the time of the handler is up."""

    async def scenario(desk: Desk) -> None:
        first, later = await desk.accept(b"%PDF-1"), await desk.accept(b"%PDF-2")
        gateway = desk.gateway
        work = DocumentProcessor(gateway.account.tables, gateway.imports, SystemClock(), leave_open)
        [failed] = await work.end(later, later.inline.encode(), code)
        assert [message.id for message in failed.messages] == [code]
        [result] = await work.run(first, first.inline.encode(), _never_stops)
        assert result.outcome is Outcome.NEW
        [straggler] = await work.run(later, later.inline.encode(), _never_stops)
        assert straggler == failed

    at_desk(delivered, scenario)


@END
def test_the_end_of_a_later_authdata_import_fails_no_row_of_an_earlier_one(
    delivered: str, code: int
) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        rows = [an_employee(f"A{number}") for number in range(4)]
        first = await stage.begin((await stage.stage(rows)).file_log_id)
        later = await stage.begin((await stage.stage(rows)).file_log_id)
        work = work_of(stage, later)
        lines = await lines_of(stage, later, 0)
        await work._plans.get_or_make(later)
        failed = await work.end(later, lines, code)
        assert [[message.id for message in row.messages] for row in failed] == [[code]] * 4
        results = await work.run(first, await lines_of(stage, first, 0), dying_after(99))
        assert [row.outcome for row in results] == [Outcome.NEW] * 4
        assert await work.run(later, lines, dying_after(99)) == failed

    play_authdata(delivered, scenario)


def test_a_plan_whose_handlers_were_all_broken_off_is_not_written(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        record = await stage.begin((await stage.stage([an_employee("A1")])).file_log_id)
        plans = work_of(stage, record)._plans
        handlers = [asyncio.create_task(plans.get_or_make(record)) for _ in range(2)]
        await asyncio.sleep(0)
        for handler in handlers:
            handler.cancel()
        await asyncio.wait(handlers)
        await asyncio.sleep(0.5)
        assert await plans.read(record) is None
        stays, goes = (asyncio.create_task(plans.get_or_make(record)) for _ in range(2))
        await asyncio.sleep(0)
        goes.cancel()
        assert await stays == await plans.read(record)

    play_authdata(delivered, scenario)


async def _never_stops() -> None:
    """No cancel and no end of the time."""
