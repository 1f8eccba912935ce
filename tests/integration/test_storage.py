"""What storage takes: odd keys, long documents, large rows; limits that Azurite does not hold."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from azure.storage.queue.aio import QueueServiceClient

from shared.bootstrap import open_gateway
from shared.imports.results import Outcome
from shared.services.chunk_messages import ChunkMessage, messages_for
from shared.storage.business_records import partition_of, row_of
from shared.storage.entities import entity_bytes
from shared.storage.ports import MAX_ENTITY_BYTES, MAX_OPERATIONS, MAX_TRANSACTION_BYTES
from tests.builders import Row, a_worker, body_of
from tests.emulator import settings_for
from tests.faults.proxy import Request, running_proxy
from tests.imports import accept_without_messages
from tests.integration.pump import Pump
from tests.integration.stage import Harness, play
from tests.tenants import new_sender

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]
ODD = "/\\#?%'\"`|=+&<>:;,!*()[]{}~^$@ _-.\t\n\x01\x7f\x85\xa0äßŁé語\u200b\u202e\ufeff😀"
OPERATION = b"Content-Transfer-Encoding: binary"
MOST_KEY = 512
"""UTF-16 units of a key that are safe: 1 KiB."""


def _placed(reference: str) -> str:
    """The character between two letters, so that trimming leaves it."""
    return f"a{reference}z"


def test_every_odd_character_may_stand_in_a_reference(delivered: str) -> None:
    rows = [
        a_worker(_placed(mark), EmployerRef=_placed(mark), ExternalWorkerRef=f"x{_placed(mark)}")
        for mark in ODD
    ]

    async def scenario(stage: Harness) -> None:
        record = await stage.accept(rows)
        await stage.drain()
        assert (await stage.again(record)).counts.new == len(rows)
        for row in rows:
            stored = await stage.stored(row["PersonnelRef"], row["EmployerRef"])
            assert stored is not None
            assert stored.document == row

    play(delivered, scenario)


def test_references_of_60_emoji_have_keys_of_their_own_within_the_limit(delivered: str) -> None:
    long = "😀" * 59
    rows = [
        a_worker(long + end, EmployerRef=long + end, ExternalWorkerRef="x" + long)
        for end in "😀😁😂"
    ] + [a_worker(long + end, EmployerRef=long + "😀") for end in "😁😂"]

    async def scenario(stage: Harness) -> None:
        record = await stage.accept(rows)
        await stage.drain()
        assert (await stage.again(record)).counts.new == len(rows)
        for row in rows:
            stored = await stage.stored(row["PersonnelRef"], row["EmployerRef"])
            assert stored is not None
            assert stored.document == row
            partition = stored.key.partition
            found = await stage.gateway.account.tables.query("Workers", partition)
            assert all(len(item.row) <= MOST_KEY for item in found)
            assert len(partition) <= MOST_KEY
            assert any(item.row.startswith("x|") for item in found)

    play(delivered, scenario)


@pytest.mark.parametrize("text", ["x" * 32_001, "é" * 70_000, "😀" * 33_000, "a😀" * 25_000])
def test_a_long_document_comes_back_as_it_was_sent(delivered: str, text: str) -> None:
    row = a_worker("P1", PersonnelNotes=text)

    async def scenario(stage: Harness) -> None:
        await stage.accept([row])
        await stage.drain()
        stored = await stage.stored("P1")
        assert stored is not None
        assert stored.document == row

    play(delivered, scenario)


def test_a_record_over_the_limit_is_that_rows_error_and_its_neighbours_go_in(
    delivered: str,
) -> None:
    rows = [
        a_worker("P1"),
        a_worker("P2", PersonnelNotes="x" * 500_000, PayrollNotes="y" * 100_000),
        a_worker("P3", PersonnelNotes="x" * 400_000),
    ]

    async def scenario(stage: Harness) -> None:
        record = await stage.accept(rows)
        await stage.drain()
        # The long notes of the third row are implausible, and are stored all the same.
        assert await stage.codes(record) == [[], [1003], [2003]]
        results = await stage.results(record)
        outcomes = [results[index].outcome for index in range(3)]
        assert outcomes == [Outcome.NEW, Outcome.FAILED, Outcome.NEW]
        assert await stage.stored("P2") is None
        assert await stage.stored("P3") is not None
        place = partition_of(record.tenant, "E1"), row_of("P3")
        entity = await stage.gateway.account.tables.get("Workers", *place)
        assert entity is not None
        assert 800_000 < entity_bytes(entity) <= MAX_ENTITY_BYTES

    play(delivered, scenario)


@pytest.mark.parametrize(
    ("rows", "at_least"),
    [
        ([a_worker(f"P{number:03d}") for number in range(300)], 3),
        ([a_worker(f"P{n:03d}", ExternalWorkerRef=f"X{n:03d}") for n in range(300)], 6),
        ([a_worker(f"P{n:02d}", PersonnelNotes="x" * 400_000) for n in range(12)], 2),
        ([a_worker(f"P{n:02d}", PersonnelNotes="語" * 200_000) for n in range(12)], 2),
        ([a_worker(f"P{n:02d}", PersonnelNotes='"' * 200_000) for n in range(12)], 2),
        ([a_worker(f"P{n:02d}", PersonnelNotes="\x01" * 60_000) for n in range(30)], 2),
    ],
    ids=["small", "with look-ups", "large", "large, no ASCII", "escaped twice", "control"],
)
def test_transactions_stay_within_the_services_limits(
    delivered: str, rows: list[Row], at_least: int
) -> None:
    """100 operations and 4 MiB, measured on the way to the table service."""
    sent = asyncio.run(_transactions_of(delivered, rows))
    assert len(sent) >= at_least
    assert max(body.count(OPERATION) for body in sent) <= MAX_OPERATIONS
    assert max(map(len, sent)) <= MAX_TRANSACTION_BYTES


async def _transactions_of(storage: str, rows: list[Row]) -> list[bytes]:
    """Import the rows and return the bodies of the transactions that were sent meanwhile."""
    bodies: list[bytes] = []

    def record_transaction(request: Request) -> None:
        if request.target.endswith("/$batch"):
            bodies.append(request.body)

    with running_proxy(storage) as proxy:
        async with open_gateway(settings_for(proxy.connection_string)) as gateway:
            sender = await new_sender(gateway)
            body = body_of(rows)
            record = await accept_without_messages(gateway, sender.caller, body)
            proxy.observers.append(record_transaction)
            for message in messages_for(record, [], range(len(record.chunks))):
                await gateway.chunks.process(message)
            proxy.observers.clear()
            ended = await gateway.imports.read(record.tenant, record.number)
            assert ended is not None
            assert ended.counts.new == len(rows)
    return bodies


def test_a_message_comes_back_from_the_queue_as_it_was_sent(delivered: str) -> None:
    async def run() -> None:
        async with (
            open_gateway(settings_for(delivered)) as gateway,
            QueueServiceClient.from_connection_string(delivered) as service,
        ):
            message = ChunkMessage("tenant-1", 7, f"ö\"'{uuid.uuid4()}", 3, looks_back=True)
            await gateway.account.queues.send("import-workers", message.to_text())
            assert message in await Pump(service).take()

    asyncio.run(run())
