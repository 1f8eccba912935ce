"""The sweep: lost messages are sent again, a forgotten closing is made up for, nothing else."""

from __future__ import annotations

import pytest

from shared.services.chunk_messages import messages_for
from tests.builders import a_worker, workers
from tests.integration.stage import Harness, play

pytestmark = pytest.mark.integration
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
