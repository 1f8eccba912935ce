"""What storage takes: odd keys, long documents, large rows; limits that Azurite does not hold."""

from __future__ import annotations

import asyncio
import random
import string
import threading
import uuid
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import ClientSession
from azure.storage.queue.aio import QueueServiceClient

from shared.errors import PreconditionFailedError
from shared.gateway import Gateway
from shared.imports.messages import Message
from shared.imports.results import Outcome, RowResult, failed
from shared.imports.row_reader import MAX_UNKNOWN
from shared.imports.workers.definition import WORKERS as KIND
from shared.services.background import to_thread_if_large
from shared.services.chunk_messages import ChunkMessage, messages_for
from shared.services.results import Results
from shared.storage.account import Account
from shared.storage.business_records import partition_of, row_of
from shared.storage.entities import entity_bytes
from shared.storage.names import IMPORT_RESULT_BLOBS
from shared.storage.ports import (
    MAX_ENTITY_BYTES,
    MAX_OPERATIONS,
    MAX_TRANSACTION_BYTES,
    Delete,
    Entity,
    Insert,
    Merge,
    Operation,
    Replace,
    Tables,
    Upsert,
    Value,
)
from shared.storage.result_records import ChunkResult
from shared.storage_account import StorageAccount
from tests.builders import Row, a_worker, body_of
from tests.emulator import open_ready_gateway, settings_for
from tests.faults.proxy import Request, running_proxy
from tests.integration.harness import Harness, Pump, accept_without_messages, play
from tests.tenants import new_sender

ODD = "/\\#?%'\"`|=+&<>:;,!*()[]{}~^$@ _-.\t\n\x01\x7f\x85\xa0äßŁé語\u200b\u202e\ufeff😀"
OPERATION = b"Content-Transfer-Encoding: binary"
MOST_KEY = 512
"""UTF-16 units of a key that are safe: 1 KiB."""


def _placed(reference: str) -> str:
    """The character between two letters, so that trimming leaves it."""
    return f"a{reference}z"


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
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


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
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
            entities = await stage.gateway.account.tables.query("Workers", partition)
            assert all(len(item.row) <= MOST_KEY for item in entities)
            assert len(partition) <= MOST_KEY
            assert any(item.row.startswith("x|") for item in entities)

    play(delivered, scenario)


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
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


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
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


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
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
        async with open_ready_gateway(settings_for(proxy.connection_string)) as gateway:
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


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_a_message_comes_back_from_the_queue_as_it_was_sent(delivered: str) -> None:
    async def run() -> None:
        async with (
            open_ready_gateway(settings_for(delivered)) as gateway,
            QueueServiceClient.from_connection_string(delivered) as service,
            ClientSession() as session,
        ):
            message = ChunkMessage("tenant-1", 7, f"ö\"'{uuid.uuid4()}", 3, looks_back=True)
            await gateway.account.queues.send("import-workers", message.to_text())
            assert message in await Pump(service, session).take()

    asyncio.run(run())


# Transactions with our own body: all or nothing, refused with the right error, values unharmed.


WORKERS = KIND.table
Work = Callable[[Tables, str], Awaitable[None]]


def _on_tables(connection_string: str, work: Work) -> None:
    async def run() -> None:
        async with open_ready_gateway(settings_for(connection_string)) as gateway:
            await work(gateway.account.tables, f"partition|{uuid.uuid4().hex}")

    asyncio.run(run())


def test_every_kind_of_value_comes_back_as_it_went_in(connection_string: str) -> None:
    values: dict[str, Value] = {
        "Text": 'quotes " backslash \\ line\nbreak \u0000 tab\t',
        "Scripts": "Łódź 東京 🏦 é",
        "Separators": "a\u2028b\u2029c\u0085d",
        "Multipart": "--batch_x\r\nHTTP/1.1 409 Conflict\r\n\r\n",
        "Small": 7,
        "Large": 2**40,
        "Negative": -(2**31) - 1,
        "Flag": True,
        "Bytes": bytes(range(256)),
    }

    async def work(tables: Tables, partition: str) -> None:
        rows = ("a|=20b", "c._-=C3=A9")
        await tables.transact(WORKERS, [Insert(Entity(partition, row, values)) for row in rows])
        for row in rows:
            stored = await tables.get(WORKERS, partition, row)
            assert stored is not None
            assert dict(stored.values) == values
        assert [entity.row for entity in await tables.query(WORKERS, partition)] == list(rows)
        [first] = await tables.query(WORKERS, partition, last=rows[0], select=["Large", "Bytes"])
        assert dict(first.values) == {name: values[name] for name in ("Large", "Bytes")}
        assert first.etag == (await _read(tables, partition, rows[0])).etag

    _on_tables(connection_string, work)


@pytest.mark.parametrize(
    "key", ["it's", "a''b", "50%", "%2F%27", "a+b c", "x&y=z,(1)", "ä語😀", "~"]
)
def test_an_entity_is_read_by_any_key_that_the_service_takes(
    connection_string: str, key: str
) -> None:
    async def work(tables: Tables, partition: str) -> None:
        partition += key
        etag = await tables.write(WORKERS, Insert(Entity(partition, key, {"A": key})))
        expected = Entity(partition, key, {"A": key}, etag)
        assert await tables.get(WORKERS, partition, key) == expected
        assert await tables.query(WORKERS, partition, key, key) == [expected]
        assert await tables.get(WORKERS, partition, key + "'") is None

    _on_tables(connection_string, work)


def test_a_query_follows_its_pages(connection_string: str) -> None:
    async def work(tables: Tables, partition: str) -> None:
        rows = [f"{number:04}" for number in range(1_001)]
        for at in range(0, len(rows), MAX_OPERATIONS):
            some = rows[at : at + MAX_OPERATIONS]
            await tables.transact(WORKERS, [Insert(Entity(partition, row, {})) for row in some])
        assert [entity.row for entity in await tables.query(WORKERS, partition)] == rows
        assert len(await tables.query(WORKERS, partition, rows[1], most=1_000)) == 1_000

    _on_tables(connection_string, work)


def test_all_kinds_of_operations_in_one_transaction(connection_string: str) -> None:
    async def work(tables: Tables, partition: str) -> None:
        rows = ["replaced", "merged", "deleted"]
        await tables.transact(
            WORKERS, [Insert(Entity(partition, row, {"A": 1, "B": 1})) for row in rows]
        )
        etag = {row: (await _read(tables, partition, row)).etag for row in rows}
        await tables.transact(
            WORKERS,
            [
                Replace(Entity(partition, "replaced", {"A": 2}, etag["replaced"])),
                Merge(Entity(partition, "merged", {"A": 2}, etag["merged"])),
                Delete(Entity(partition, "deleted", {}, etag["deleted"])),
                Upsert(Entity(partition, "upserted", {"A": 2})),
            ],
        )
        assert dict((await _read(tables, partition, "replaced")).values) == {"A": 2}
        assert dict((await _read(tables, partition, "merged")).values) == {"A": 2, "B": 1}
        assert dict((await _read(tables, partition, "upserted")).values) == {"A": 2}
        assert await tables.get(WORKERS, partition, "deleted") is None

    _on_tables(connection_string, work)


STALE = "W/\"datetime'2020-01-01T00%3A00%3A00.0000000Z'\""
REFUSED = {
    "an insert over an entity": Insert(Entity("", "there", {})),
    "a replace with a stale ETag": Replace(Entity("", "there", {}, STALE)),
    "a merge with a stale ETag": Merge(Entity("", "there", {}, STALE)),
    "a merge of nothing": Merge(Entity("", "missing", {})),
    "a delete with a stale ETag": Delete(Entity("", "there", {}, STALE)),
    "a delete of nothing": Delete(Entity("", "missing", {})),
}


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED.keys())
def test_a_refused_operation_leaves_nothing_of_its_transaction(
    connection_string: str, refused: Operation
) -> None:
    async def work(tables: Tables, partition: str) -> None:
        await tables.write(WORKERS, Insert(Entity(partition, "there", {"A": 1})))
        last = refused.entity
        bad = type(refused)(Entity(partition, last.row, {"A": 9}, last.etag))
        others: list[Operation] = [
            Insert(Entity(partition, f"new{number}", {})) for number in range(MAX_OPERATIONS - 1)
        ]
        with pytest.raises(PreconditionFailedError):
            await tables.transact(WORKERS, [*others, bad])
        entities = await tables.query(WORKERS, partition)
        assert [(entity.row, dict(entity.values)) for entity in entities] == [("there", {"A": 1})]

    _on_tables(connection_string, work)


async def _read(tables: Tables, partition: str, row: str) -> Entity:
    entity = await tables.get(WORKERS, partition, row)
    assert entity is not None
    return entity


# The connections to storage.


@pytest.mark.parametrize("has_proxy", [True, False])
def test_requests_take_the_proxy_of_the_environment_and_no_thread_without_one(
    monkeypatch: pytest.MonkeyPatch, has_proxy: bool
) -> None:
    lines: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append((await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0])
        writer.write(b"HTTP/1.1 404 Gone\r\nx-ms-request-id: 1\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def run() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            host = "storage.invalid" if has_proxy else f"127.0.0.1:{port}"
            for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
                monkeypatch.delenv(name, raising=False)
                monkeypatch.delenv(name.upper(), raising=False)
            if has_proxy:
                monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
            ends = "".join(
                f"{service}Endpoint=http://{host}/a;" for service in ("Blob", "Queue", "Table")
            )
            account = Account(StorageAccount(f"AccountName=a;AccountKey=YQ==;{ends}"))
            threads = threading.active_count()
            try:
                assert await account.tables.get(WORKERS, "p", "r") is None
                assert (threading.active_count() > threads) is has_proxy
            finally:
                await account.close()
        address = b"http://storage.invalid/a/" if has_proxy else b"/a/"
        assert [line.startswith(b"GET " + address) for line in lines] == [True]

    asyncio.run(run())


# Results in storage: read in plan order, spilled where they are large, written once.


WHEN = "2026-01-31T09:05:00.000Z"


def _results(gateway: Gateway) -> Results:
    return Results(gateway.account.tables, gateway.account.blobs, to_thread_if_large)


def _noisy(rows: int) -> tuple[RowResult, ...]:
    """Results that hardly compress: two texts of 200 random characters in each."""
    pick = random.Random(1)
    letters = string.ascii_letters + string.digits + "äöüß€語"
    return tuple(
        failed(
            index,
            ("E1", f"P{index}"),
            *(Message(1002, "Title", "".join(pick.choices(letters, k=200))) for _ in range(12)),
        )
        for index in range(rows)
    )


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_results_over_an_entity_go_to_a_blob_and_come_back(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        results = _results(stage.gateway)
        name = stage.sender.tenant
        sent = ChunkResult(name, 0, _noisy(1_000), WHEN)
        assert await results.add(sent)
        [stored] = [chunk async for chunk in results.chunks(name)]
        assert stored.spilled
        assert stored.counts is not None
        assert stored.counts.failed == 1_000
        assert await stage.gateway.account.blobs.read(IMPORT_RESULT_BLOBS, stored.spilled)
        assert tuple(await results.rows(stored)) == sent.results

    play(delivered, scenario)


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_a_second_handler_does_not_write_over_the_rows_of_the_first(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        results = _results(stage.gateway)
        name = stage.sender.tenant
        first = ChunkResult(name, 0, _noisy(1_000), WHEN)
        assert await results.add(first)
        assert not await results.add(ChunkResult(name, 0, _noisy(1_001), WHEN))
        [stored] = [chunk async for chunk in results.chunks(name)]
        assert tuple(await results.rows(stored)) == first.results

    play(delivered, scenario)


@pytest.mark.integration
def test_the_first_result_of_a_chunk_stands(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        results = _results(stage.gateway)
        name = stage.sender.tenant
        for rows, is_first in ((1, True), (2, False)):
            assert await results.add(ChunkResult(name, 0, _noisy(rows), WHEN)) is is_first
        [stored] = [chunk async for chunk in results.chunks(name)]
        assert len(await results.rows(stored)) == 1

    play(delivered, scenario)


@pytest.mark.integration
def test_more_chunks_than_are_read_at_once_come_in_order(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        results = _results(stage.gateway)
        name = stage.sender.tenant
        for number in reversed(range(45)):
            await results.add(ChunkResult(name, number, _noisy(1), WHEN))
        assert [chunk.chunk async for chunk in results.chunks(name)] == list(range(45))
        assert [chunk.chunk async for chunk in results.chunks(name, 41)] == [41, 42, 43, 44]

    play(delivered, scenario)


@pytest.mark.integration
def test_of_many_unknown_fields_some_are_named_and_the_rest_are_counted(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        unknown = {f"Unknown{number}": number for number in range(120)}
        record = await stage.accept([a_worker("P1", **unknown)])
        await stage.drain()
        assert await stage.codes(record) == [[1007] * MAX_UNKNOWN]

    play(delivered, scenario)
