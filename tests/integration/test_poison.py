"""A chunk that fails five times: its rows end, the import ends, nothing comes in afterwards."""

from __future__ import annotations

import json

import pytest

from shared.imports.pay_and_bill.http import vendor_answer
from shared.imports.results import Outcome
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_messages import ChunkMessage, messages_for
from shared.services.status import ImportState
from shared.storage.names import IMPORT_PAYLOADS
from shared.storage.ports import Delete, Entity
from tests.builders import a_worker
from tests.integration.stage import Harness, play

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
        assert [[said["errorID"] for said in row["messages"]] for row in results] == [
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
        stored, told = await stage.stored("P1"), await stage.results(record)
        await stage.gateway.chunks.process(message)
        await stage.forget_end(record)
        await stage.gateway.chunks.process(message)
        assert await stage.results(record) == told
        assert await stage.stored("P1") == stored
        counts = (await stage.again(record)).counts
        assert (counts.new, counts.updated, counts.done) == (1, 1, 2)

    play(delivered, scenario)
