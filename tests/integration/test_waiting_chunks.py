"""Holding back: a chunk waits for what was accepted earlier, and is woken when that is done."""

from __future__ import annotations

import pytest

from shared.services.chunk_messages import ChunkMessage, messages_for
from shared.storage.import_records import ImportRecord
from tests.builders import a_worker, workers
from tests.integration.harness import Harness, play

pytestmark = pytest.mark.integration


def test_imports_of_one_record_wait_in_a_line_and_each_wakes_the_next(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        line = [await stage.accept([a_worker("P1", Title=f"T{number}")]) for number in range(4)]
        apart = await stage.accept([a_worker("P2")])
        sent = await stage.messages()
        assert {message.import_id for message in sent} == {line[0].import_id, apart.import_id}
        for position, record in enumerate(line):
            [message] = [each for each in sent if each.number == record.number]
            await stage.gateway.chunks.process(message)
            sent = await stage.messages()
            following = [each.import_id for each in line[position + 1 : position + 2]]
            assert [message.import_id for message in sent] == following
        stored = await stage.stored("P1")
        assert stored is not None
        assert stored.document is not None
        assert stored.document["Title"] == "T3"
        assert await stage.waiting() == []
        await stage.gateway.chunks.process(_of(apart))

    play(delivered, scenario)


def test_a_chunk_waits_for_the_chunk_that_it_meets_and_not_for_the_whole_import(
    delivered: str,
) -> None:
    async def scenario(stage: Harness) -> None:
        rows = workers(250)
        bulk = await stage.accept_quietly(rows, chunk_rows=100)
        one = await stage.accept([rows[0]])
        assert await stage.messages() == []
        first, *others = messages_for(bulk, [], range(len(bulk.chunks)))
        for message in others:
            await stage.gateway.chunks.process(message)
            assert await stage.messages() == []
        await stage.gateway.chunks.process(first)
        [woken] = await stage.messages()
        assert woken.import_id == one.import_id
        await stage.gateway.chunks.process(woken)
        assert (await stage.again(one)).counts.unchanged == 1

    play(delivered, scenario)


def test_a_message_that_looks_back_waits_where_one_that_does_not_starts(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        first = await stage.accept_quietly([a_worker("P1")])
        second = await stage.accept_quietly([a_worker("P1", Title="Dr")])
        apart = await stage.accept_quietly([a_worker("P2")])
        for record in (second, apart):
            await stage.gateway.chunks.process(_of(record, looks_back=True))
        assert (await stage.again(second)).is_open
        assert not (await stage.again(apart)).is_open
        await stage.gateway.chunks.process(_of(first))
        await stage.drain()
        assert (await stage.again(second)).counts.updated == 1

    play(delivered, scenario)


def test_a_handler_that_died_after_its_result_wakes_when_its_message_comes_back(
    delivered: str,
) -> None:
    async def scenario(stage: Harness) -> None:
        first = await stage.accept([a_worker("P1")])
        second = await stage.accept([a_worker("P1", Title="Dr")])
        [message] = await stage.messages()
        await stage.gateway.chunks.process(message)
        assert len(await stage.messages()) == 1, "sent, and then lost with the handler"
        await stage.make_wait(second, first)
        for process in (stage.gateway.chunks.process, stage.gateway.chunks.end_as_failed):
            await process(message)
            assert [each.import_id for each in await stage.messages()] == [second.import_id]
            await stage.make_wait(second, first)
        await stage.gateway.chunks.process(_of(second))

    play(delivered, scenario)


def test_a_cancelled_import_wakes_the_next_one_which_waits_for_the_one_before(
    delivered: str,
) -> None:
    async def scenario(stage: Harness) -> None:
        first, second, third = [
            await stage.accept([a_worker("P1", Title=f"T{number}")]) for number in range(3)
        ]
        [start] = await stage.messages()
        await stage.gateway.cancelling.cancel(second)
        [end] = await stage.messages()
        await stage.gateway.chunks.process(end)
        assert (await stage.again(second)).counts.cancelled == 1
        [woken] = await stage.messages()
        assert woken.import_id == third.import_id
        await stage.gateway.chunks.process(woken)
        assert (await stage.again(third)).is_open
        await stage.gateway.chunks.process(start)
        await stage.drain()
        assert not (await stage.again(first)).is_open
        assert (await stage.again(third)).counts.failed == 0

    play(delivered, scenario)


def _of(record: ImportRecord, *, looks_back: bool = False) -> ChunkMessage:
    return ChunkMessage(record.tenant, record.number, record.import_id, 0, looks_back)


# The sweep: lost messages are sent again, a forgotten closing is made up for, nothing else.


AT_ONCE = 0
"""Seconds without a new result after which an import counts as quiet."""


def test_an_import_whose_messages_got_lost_is_taken_up_again(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record = await stage.accept_quietly(workers(250), chunk_rows=100)
        assert await stage.messages() == []
        await stage.gateway.sweep.run()
        await stage.drain()
        assert (await stage.again(record)).counts.new == 250

    play(delivered, scenario, sweep_after_seconds=AT_ONCE)


def test_only_the_chunks_without_a_result_are_sent_again(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record = await stage.accept_quietly(workers(250), chunk_rows=100)
        first, *others = messages_for(record, [], range(len(record.chunks)))
        await stage.gateway.chunks.process(first)
        await stage.gateway.sweep.run()
        assert sorted(await stage.messages(), key=lambda message: message.chunk) == others
        await stage.gateway.sweep.run()
        await stage.drain()

    play(delivered, scenario, sweep_after_seconds=AT_ONCE)


def test_an_import_that_moved_lately_is_left_alone(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record = await stage.accept_quietly([a_worker("P1")])
        await stage.gateway.sweep.run()
        assert await stage.messages() == []
        for message in messages_for(record, [], [0]):
            await stage.gateway.chunks.process(message)

    play(delivered, scenario, sweep_after_seconds=900)


def test_an_import_that_is_held_back_is_passed_over(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        first = await stage.accept_quietly([a_worker("P1")])
        second = await stage.accept_quietly([a_worker("P1", Title="Dr")])
        apart = await stage.accept_quietly([a_worker("P2")])
        await stage.gateway.sweep.run()
        sent = await stage.messages()
        assert {message.import_id for message in sent} == {first.import_id, apart.import_id}
        for message in sent:
            await stage.gateway.chunks.process(message)
        await stage.gateway.sweep.run()
        await stage.drain()
        assert (await stage.again(second)).counts.updated == 1

    play(delivered, scenario, sweep_after_seconds=AT_ONCE)


def test_a_forgotten_closing_is_made_up_for(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record = await stage.accept([a_worker("P1"), a_worker("P2", Gender="x")])
        await stage.drain()
        counts = (await stage.again(record)).counts
        await stage.forget_closing(record)
        assert (await stage.again(record)).is_open
        await stage.gateway.sweep.run()
        closed = await stage.again(record)
        assert not closed.is_open
        assert closed.counts == counts
        assert await stage.messages() == []

    play(delivered, scenario, sweep_after_seconds=AT_ONCE)


def test_a_message_of_an_ended_import_is_dropped(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record = await stage.accept([a_worker("P1")])
        [message] = await stage.messages()
        await stage.gateway.chunks.process(message)
        ended, stored = await stage.again(record), await stage.stored("P1")
        await stage.gateway.chunks.process(message)
        await stage.gateway.chunks.end_as_failed(message)
        assert await stage.again(record) == ended
        assert await stage.stored("P1") == stored

    play(delivered, scenario)


def test_a_cancelled_import_waits_for_nobody(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        first = await stage.accept_quietly([a_worker("P1")])
        second = await stage.accept_quietly([a_worker("P1", Title="Dr")])
        assert await stage.gateway.imports.cancel(await stage.again(second), first.accepted_at)
        await stage.gateway.sweep.run()
        sent = await stage.messages()
        assert {message.import_id for message in sent} == {first.import_id, second.import_id}
        await stage.gateway.sweep.run()
        await stage.drain()
        assert (await stage.again(second)).counts.cancelled == 1

    play(delivered, scenario, sweep_after_seconds=AT_ONCE)
