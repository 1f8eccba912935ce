"""Retry and cancel where the test delivers: open parents, lost rows, rows that are held back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cli.imports import _lines
from shared.clock import SystemClock
from shared.errors import ConflictError, GoneError
from shared.imports.results import rows_in
from shared.imports.sender import CallerKind, named_caller
from shared.services.background import to_thread_if_large
from shared.services.chunk_messages import messages_for
from shared.services.import_log import ImportLog
from shared.services.import_views import import_view
from shared.services.results import Results
from shared.services.status import ImportReport, ImportState, Reporting
from shared.storage import import_records
from shared.storage.import_records import ImportRecord
from shared.storage.names import IMPORT_PAYLOADS
from shared.storage.ports import Entity, Merge
from tests.builders import a_worker, body_of
from tests.integration.harness import CountedTables, Harness, play

pytestmark = pytest.mark.integration
LONG = "x" * 300


def test_an_open_parent_is_not_retried(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record = await stage.accept([a_worker("P1", Gender="x")])
        with pytest.raises(ConflictError, match="still running"):
            await stage.gateway.retrying.retry(record, b"")
        await stage.drain()

    play(delivered, scenario)


def test_a_parent_whose_payload_is_lost_is_gone(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        rows = [a_worker(f"P{at:03d}", Gender="x", PersonnelNotes=LONG) for at in range(90)]
        record = await stage.accept(rows)
        await stage.drain()
        await stage.gateway.account.blobs.delete(IMPORT_PAYLOADS, record.blob_name)
        with pytest.raises(GoneError, match="expired"):
            await stage.gateway.retrying.retry(await stage.again(record), b"")

    play(delivered, scenario)


def test_a_large_retry_keeps_which_rows_are_as_they_were_sent(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        rows = [a_worker(f"P{at:03d}", Gender="x", PersonnelNotes=LONG) for at in range(90)]
        parent = await stage.accept(rows)
        await stage.drain()
        later = await stage.accept([a_worker("P005"), a_worker("P006")])
        await stage.drain()
        corrected = [{"index": at, "row": {**rows[at], "Gender": 1}} for at in range(6, 90)]
        same = [{"index": at, "row": rows[at]} for at in range(6)]
        child = await stage.gateway.retrying.retry(
            await stage.again(parent), body_of([*corrected, *same])
        )
        await stage.drain()
        codes = await stage.codes(child)
        assert codes == [[1002]] * 5 + [[1002, 1101]] + [[]] * 84
        assert (await stage.again(child)).counts.updated == 1, "P006 was corrected"
        stored = await stage.stored("P005")
        assert stored is not None
        assert stored.stamp.number == later.number

    play(delivered, scenario)


def test_an_import_that_waits_for_an_earlier_one_is_cancelled_at_once(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        first = await stage.accept_quietly([a_worker("P1")])
        second = await stage.accept_quietly([a_worker("P1", Title="Dr"), a_worker("P2")])
        caller = named_caller(CallerKind.CLIENT, "acme")
        cancelled = await stage.gateway.cancelling.cancel(second, caller)
        assert cancelled.is_cancelled
        view = import_view(await stage.gateway.reporting.find(second.tenant, second.import_id))
        assert view["cancelledBy"] == {"client": "acme"}
        [message] = await stage.messages()
        assert message.import_id == second.import_id
        await stage.gateway.chunks.process(message)
        report = await stage.gateway.reporting.find(second.tenant, second.import_id)
        assert report.state is ImportState.CANCELLED
        assert (report.counts.failed, report.counts.cancelled) == (2, 2)
        assert await stage.codes(second) == [[9002], [9002]]

        again = await stage.gateway.cancelling.cancel(
            await stage.again(second), named_caller(CallerKind.CLIENT, "other")
        )
        assert again == report.record, "twice changes nothing"
        await stage.gateway.cancelling.cancel(first)
        await stage.drain()

    play(delivered, scenario)


def test_an_import_that_has_ended_is_not_called_cancelled(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        accepted = await stage.accept([a_worker("P3")])
        read = await stage.again(accepted)
        await stage.drain()
        for record in (accepted, read):
            with pytest.raises(ConflictError, match="has ended"):
                await stage.gateway.cancelling.cancel(record)
        assert not (await stage.again(accepted)).is_cancelled

    play(delivered, scenario)


def test_cancelled_rows_go_in_when_they_are_retried(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record = await stage.accept_quietly([a_worker("P1"), a_worker("P2")])
        await stage.gateway.cancelling.cancel(record)
        await stage.drain()
        child = await stage.gateway.retrying.retry(await stage.again(record), b"")
        await stage.drain()
        assert (await stage.again(child)).counts.new == 2
        assert json.loads(child.inline.splitlines()[0].partition("\t")[2])["PersonnelRef"] == "P1"

    play(delivered, scenario)


# What retries brought in, whatever dies, comes twice or runs at once.


def bad(count: int) -> list[Any]:
    return [a_worker(f"P{at:03d}", Gender="x", PersonnelNotes=LONG) for at in range(count)]


def corrected(*indexes: int) -> bytes:
    return body_of([{"index": at, "row": a_worker(f"P{at:03d}", Gender=1)} for at in indexes])


async def retry(stage: Harness, parent: ImportRecord, body: bytes = b"") -> ImportRecord:
    return await stage.gateway.retrying.retry(await stage.again(parent), body)


async def report_of(stage: Harness, record: ImportRecord) -> ImportReport:
    return await stage.gateway.reporting.find(record.tenant, record.import_id)


async def repaired(stage: Harness, record: ImportRecord) -> list[int]:
    current = await stage.again(record)
    return list(rows_in(await stage.gateway.reporting.repaired_rows(current)))


def test_two_retries_at_once_bring_in_each_row_once(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        parent = await stage.accept(bad(5))
        await stage.drain()
        first = await retry(stage, parent, corrected(0, 1))
        second = await retry(stage, parent, corrected(1, 2))
        await stage.drain()
        assert await stage.codes(first) == [[], [], *[[1002]] * 3]
        outcomes = [(await stage.results(second))[at].outcome.value for at in range(5)]
        assert outcomes == ["failed", "unchanged", "new", "failed", "failed"]
        assert await repaired(stage, parent) == [0, 1, 2]
        report = await report_of(stage, parent)
        assert (report.repaired, report.state) == (3, ImportState.COMPLETED_WITH_ERRORS)
        third = await retry(stage, parent, corrected(3, 4))
        await stage.drain()
        assert third.rows == 2
        report = await report_of(stage, parent)
        assert (report.repaired, report.state) == (5, ImportState.REPAIRED)
        assert report.children == (first.import_id, second.import_id, third.import_id)
        assert "5 of them repaired by retries" in "\n".join(_lines(report))

    play(delivered, scenario)


def test_two_retries_at_once_without_a_body_do_not_keep_each_other_out(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        parent = await stage.accept_quietly([a_worker("P1"), a_worker("P2")])
        await stage.gateway.cancelling.cancel(parent)
        await stage.drain()
        first, second = [await retry(stage, parent) for _ in range(2)]
        await stage.drain()
        assert (await stage.again(first)).counts.new == 2
        assert (await stage.again(second)).counts.unchanged == 2
        report = await report_of(stage, parent)
        assert (report.repaired, report.state) == (2, ImportState.CANCELLED)
        with pytest.raises(ConflictError, match="imported all failed rows"):
            await retry(stage, parent)

    play(delivered, scenario)


def test_a_retry_whose_handler_died_before_the_end_repairs_when_the_sweep_ends_it(
    delivered: str,
) -> None:
    async def scenario(stage: Harness) -> None:
        parent = await stage.accept(bad(3))
        await stage.drain()
        child = await retry(stage, parent, corrected(1))
        await stage.drain()
        assert await repaired(stage, parent) == [1]
        # As if the transaction that ended the child had not taken place.
        row = import_records.child_row(parent.number, child.number)
        tables = stage.gateway.account.tables
        entity = await tables.get("Imports", parent.tenant, row)
        assert entity is not None
        assert "Repaired0" in entity.values
        empty = import_records.repair_operation(parent.tenant, import_records.retry_link(entity), 0)
        await tables.write("Imports", empty)
        open_row = import_records.open_row(child.type_name, child.number)
        *_, opened, _link = import_records.acceptance_operations(child)
        assert opened.entity.row == open_row
        await tables.write("Imports", opened)
        record_row = import_records.record_row(child.number)
        reopened = type(entity)(child.tenant, record_row, {"EndedAt": ""})
        await tables.write("Imports", Merge(reopened))
        assert await repaired(stage, parent) == []
        for message in messages_for(child, [], [0]):
            await stage.gateway.chunks.process(message)
            assert await repaired(stage, parent) == [1]
            await stage.gateway.chunks.process(message)
        assert await repaired(stage, parent) == [1], "a message that comes twice changes nothing"

    play(delivered, scenario)


def test_a_cancelled_retry_repairs_the_rows_that_it_had_committed(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        parent = await stage.accept(bad(90))
        await stage.drain()
        child = await retry(stage, parent, corrected(*range(90)))
        assert len(child.chunks) > 1
        first, *_ = messages_for(child, [], range(len(child.chunks)))
        await stage.messages()
        await stage.gateway.chunks.process(first)
        assert await repaired(stage, parent) == [], "it has not ended"
        await stage.gateway.cancelling.cancel(await stage.again(child))
        await stage.drain()
        ended = await stage.again(child)
        went_in = ended.rows - ended.counts.failed
        assert 0 < went_in < 90
        failed = {index for index, row in (await stage.results(child)).items() if row.messages}
        assert await repaired(stage, parent) == sorted(set(range(90)) - failed)
        report = await report_of(stage, parent)
        assert (report.repaired, report.state) == (went_in, ImportState.COMPLETED_WITH_ERRORS)
        last = await retry(stage, parent, corrected(*failed))
        await stage.drain()
        assert last.rows == len(failed)
        assert (await report_of(stage, parent)).state is ImportState.REPAIRED

    play(delivered, scenario, chunk_rows=40)


def test_a_poisoned_retry_repairs_nothing_and_its_rows_can_be_retried(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        parent = await stage.accept(bad(2))
        await stage.drain()
        child = await retry(stage, parent, corrected(0, 1))
        for message in await stage.messages():
            await stage.gateway.chunks.end_as_failed(message)
        assert await stage.codes(child) == [[9001], [9001]]
        assert await repaired(stage, parent) == []
        grandchild = await retry(stage, child)
        await stage.drain()
        assert (await stage.again(grandchild)).counts.new == 2
        for above in (parent, child):
            assert (await report_of(stage, above)).state is ImportState.REPAIRED

    play(delivered, scenario)


def test_a_list_costs_as_many_queries_with_retries_as_without(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        parent = await stage.accept(bad(3))
        await stage.drain()

        async def cost_of_list() -> tuple[int, int]:
            account, clock = stage.gateway.account, SystemClock()
            tables = CountedTables(account.tables)
            results = Results(tables, account.blobs, to_thread_if_large)
            page = await Reporting(
                ImportLog(tables), results, clock, stage.gateway.profiles
            ).newest(parent.tenant, None, 9)
            assert page.reports[-1].record.number == parent.number
            return tables.queries, tables.reads

        before = await cost_of_list()
        for at in range(3):
            await retry(stage, parent, corrected(at))
            await stage.drain()
        assert await cost_of_list() == before == (2, 0)

    play(delivered, scenario)


@pytest.mark.parametrize("ancestors", ["x", "-5", "0", "2", "1,1", "1,2", ",".join(["1"] * 500)])
def test_a_retry_whose_stored_ancestors_cannot_be_ends_and_can_be_retried(
    delivered: str, ancestors: str
) -> None:
    async def scenario(stage: Harness) -> None:
        parent = await stage.accept(bad(2))
        await stage.drain()
        child = await retry(stage, parent, corrected(0))
        row = import_records.record_row(child.number)
        broken = Entity(child.tenant, row, {"Ancestors": ancestors})
        await stage.gateway.account.tables.write("Imports", Merge(broken))
        assert (await stage.again(child)).lineage == ()
        await stage.drain()
        assert await stage.codes(child) == [[], [1002]]
        grandchild = await retry(
            stage, child, body_of([{"index": 1, "row": a_worker("P001", Gender=1)}])
        )
        await stage.drain()
        assert (await report_of(stage, grandchild)).state is ImportState.COMPLETED
        assert (await report_of(stage, child)).state is ImportState.REPAIRED

    play(delivered, scenario)
