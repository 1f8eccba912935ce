"""Holding back: a chunk waits for what was accepted earlier, and not much longer than that."""

from __future__ import annotations

import asyncio

import pytest

from shared.bootstrap import open_gateway
from shared.services.chunk_messages import ChunkMessage, Earlier, messages_for
from shared.services.hold_back import held_back
from shared.storage.import_records import Counts, ImportRecord
from tests.builders import a_worker, body_of
from tests.emulator import settings_for
from tests.imports import accept_without_messages
from tests.tenants import new_sender

pytestmark = pytest.mark.integration
NOW = "2026-01-31T09:05:00.000Z"


def test_the_delays_of_a_waiting_chunk_grow_only_while_nothing_moves(
    connection_string: str,
) -> None:
    async def play() -> None:
        async with open_gateway(settings_for(connection_string)) as gateway:
            sender = await new_sender(gateway)
            body = body_of([a_worker("P1")])
            first, second, third = [
                await accept_without_messages(gateway, sender.caller, body) for _ in range(3)
            ]
            earlier = await gateway.imports.open_before(third)
            [message] = messages_for(third, earlier, [0])
            for _ in range(4):
                message = message.again()

            still = await held_back(gateway.imports, message, third)
            assert still == message
            assert message.delay == 16

            await gateway.imports.close(first, NOW, [Counts(new=1)])
            moved = await held_back(gateway.imports, message, third)
            assert moved is not None
            assert moved.after == (Earlier(second.number, second.import_id),)
            assert moved.delay == 1

            await gateway.imports.close(second, NOW, [Counts(new=1)])
            assert await held_back(gateway.imports, moved, third) is None

    asyncio.run(play())


def test_a_chunk_that_names_nobody_looks_at_the_open_imports_itself(
    connection_string: str,
) -> None:
    async def play() -> None:
        async with open_gateway(settings_for(connection_string)) as gateway:
            sender = await new_sender(gateway)
            first, second, apart = [
                await accept_without_messages(gateway, sender.caller, body_of([a_worker(name)]))
                for name in ("P1", "P1", "P2")
            ]
            for record, waits in ((first, False), (second, True), (apart, False)):
                message = _of(record)
                assert (await held_back(gateway.imports, message, record) is not None) is waits

    asyncio.run(play())


def _of(record: ImportRecord) -> ChunkMessage:
    return ChunkMessage(record.tenant, record.number, record.import_id, 0, after=None)
