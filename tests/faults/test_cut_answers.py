"""An answer of storage that is cut or another one is a storage fault, and never a wrong result.

Each operation of the ports is carried out while the proxy cuts one answer. The operation then tries
again or reads back what it wrote: it gives the right result, or raises StorageUnavailableError.
With `FAULTS_AT_EVERY_BYTE=1` answers are cut at every byte, else at a dozen.
"""

from __future__ import annotations

import asyncio
import gc
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from shared.errors import StorageUnavailableError
from shared.storage.account import Account
from shared.storage.azure_tables import AzureTables
from shared.storage.dropped_blobs import POISON_QUEUE
from shared.storage.names import DOCUMENT_DROP, DOCUMENT_REJECTED
from shared.storage.ports import Delete, Entity, Insert, Merge, Operation, Replace, Upsert
from shared.storage_account import StorageAccount
from tests.emulator import Emulator
from tests.faults.proxy import (
    Answer,
    CutAnswer,
    CutConnection,
    Exchange,
    Fault,
    FaultProxy,
    ReplaceBody,
    Rule,
    running_proxy,
)
from tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
EVERY_BYTE = bool(os.environ.get("FAULTS_AT_EVERY_BYTE"))
STEP = 1 if EVERY_BYTE else 2
TABLE, QUEUE, CONTAINER = "CutAnswers", "cut-answers", "import-payloads"
OTHER_BODIES = (
    ReplaceBody(b""),
    ReplaceBody(b"", "application/json"),
    ReplaceBody(b"{}", "application/json"),
    ReplaceBody(b"[]", "application/json"),
    ReplaceBody(b"null", "application/json"),
    ReplaceBody(b"5", "application/json"),
    ReplaceBody(b'{"value": null}', "application/json"),
    ReplaceBody(b'{"value": [null]}', "application/json"),
    ReplaceBody(b'{"value": [{}]}', "application/json"),
    ReplaceBody(b"\xff\xfe\x00", "application/json"),
    ReplaceBody(b"<html><body>Please sign in</body></html>", "text/html"),
    ReplaceBody(b"<html><body>Please sign in", "application/xml"),
    ReplaceBody(b"<EnumerationResults><Blobs>", "application/xml"),
)
OTHER_ANSWERS: tuple[Fault, ...] = (
    *(Answer(status, b"<html/>", "text/html") for status in (200, 204, 302, 404, 409, 412, 500)),
    *(Answer(status, applied=True) for status in (200, 404, 409, 412, 500, 503)),
    CutConnection(applied=True),
    CutConnection(),
)


@pytest.fixture(name="storage", scope="module")
def fixture_storage(emulator: Emulator) -> str:
    return emulator.account("proxied")


@dataclass
class Bench:
    """The account through a proxy, and the same one directly."""

    proxy: FaultProxy
    account: Account
    direct: Account


@asynccontextmanager
async def a_bench(storage: str) -> AsyncIterator[Bench]:
    with running_proxy(storage) as proxy:
        account = Account(StorageAccount(connection_string=proxy.connection_string))
        direct = Account(StorageAccount(connection_string=storage))
        try:
            await direct.ensure([TABLE], [QUEUE])
            yield Bench(proxy, account, direct)
        finally:
            await account.close()
            await direct.close()
            # An open connection warns when it is collected: here, not in a later test.
            gc.collect()


Perform = Callable[[Account, str], Awaitable[Any]]
"""An operation on the things of that name."""


@dataclass(frozen=True)
class Case:
    """`prepare` is done directly before, `expected` looks directly at what is there after it."""

    perform: Perform
    prepare: Perform
    result: Callable[[str], Any] = lambda _name: None
    stored: Perform | None = None
    expected: Any = None


def an_entity(name: str, text: str = "new", etag: str = "", row: str = "r") -> Entity:
    return Entity(name, row, {"Text": text, "Long": 2**40, "Flag": True, "Bytes": b"\0x"}, etag)


async def nothing(_account: Account, _name: str) -> None:
    return None


async def one_entity(account: Account, name: str) -> None:
    await account.tables.write(TABLE, Insert(an_entity(name, "old")))


async def three_entities(account: Account, name: str) -> None:
    await account.tables.transact(TABLE, [Insert(an_entity(name, "old", row=r)) for r in "abc"])


async def text_of(account: Account, name: str) -> str | None:
    entity = await account.tables.get(TABLE, name, "r")
    return None if entity is None else entity.text("Text")


async def rows_of(account: Account, name: str) -> list[tuple[str, str]]:
    return [(e.row, e.text("Text")) for e in await account.tables.query(TABLE, name)]


async def read_pages(account: Account, name: str) -> list[tuple[str, str]]:
    client = account.tables
    assert isinstance(client, AzureTables)
    page = await client._read_pages(TABLE, f"PartitionKey eq '{name}'", None, 2, None)
    return [(entity.row, entity.text("Text")) for entity in page]


def writing(make: Callable[[Entity], Operation], is_known: bool = False) -> Perform:
    """Writes an entity, in the version that is there where the operation needs one."""

    async def perform(account: Account, name: str) -> None:
        etag = VERSIONS.get(name, "") if is_known else ""
        answer = await account.tables.write(TABLE, make(an_entity(name, etag=etag)))
        stored = await account.tables.get(TABLE, name, "r")
        assert answer == ("" if stored is None else stored.etag)

    return perform


VERSIONS: dict[str, str] = {}


async def one_known_entity(account: Account, name: str) -> None:
    VERSIONS[name] = await account.tables.write(TABLE, Insert(an_entity(name, "old")))


async def a_transaction(account: Account, name: str) -> None:
    etag = VERSIONS[name]
    operations: list[Operation] = [
        Delete(Entity(name, "gone", {})),
        Replace(an_entity(name, etag=etag)),
        Insert(an_entity(name, row="s")),
    ]
    await account.tables.transact(TABLE, operations)


async def before_a_transaction(account: Account, name: str) -> None:
    await one_known_entity(account, name)
    await account.tables.write(TABLE, Insert(an_entity(name, "old", row="gone")))


async def put_small(account: Account, name: str) -> None:
    await account.blobs.put(CONTAINER, f"{name}/small", [b"0123456789"])


async def put_blocks(account: Account, name: str) -> None:
    parts = iter([b"a" * 550_000, b"b" * 550_000])
    await account.blobs.put(CONTAINER, f"{name}/large", parts)


async def read_small(account: Account, name: str) -> bytes | None:
    return await account.blobs.read(CONTAINER, f"{name}/small")


async def read_range(account: Account, name: str) -> bytes | None:
    return await account.blobs.read(CONTAINER, f"{name}/small", 2, 5)


async def list_blobs(account: Account, name: str) -> list[str]:
    from datetime import UTC, datetime, timedelta

    later = datetime.now(UTC) + timedelta(hours=1)
    return await account.blobs.names_before(CONTAINER, f"{name}/", later)


async def keep_file(account: Account, name: str) -> None:
    await account.documents.keep(f"{name}/file", [b"0123456789"], 10)


async def read_file(account: Account, name: str) -> bytes | None:
    return await account.documents.read(f"{name}/file")


async def drop_file(account: Account, name: str) -> None:
    await account.blobs.put(DOCUMENT_DROP, name, [b"0123456789"])


async def copy_drop(account: Account, name: str) -> bytes:
    drop = await account.document_drops.find(name)
    assert drop is not None
    return (await account.documents.copy_drop(drop, f"{name}/file", 4)).head


async def reject_drop(account: Account, name: str) -> None:
    drop = await account.document_drops.find(name)
    assert drop is not None
    assert await account.document_drops.copy(drop, DOCUMENT_REJECTED, name, {"reason": "none"})
    await account.document_drops.remove(drop)


async def rejected(account: Account, name: str) -> tuple[bytes | None, bytes | None]:
    return (
        await account.blobs.read(DOCUMENT_REJECTED, name),
        await account.blobs.read(DOCUMENT_DROP, name),
    )


async def a_queue(account: Account, name: str) -> None:
    await account.ensure([], [name])


async def large_size(account: Account, name: str) -> int:
    return len(await account.blobs.read(CONTAINER, f"{name}/large") or b"")


CASES: dict[str, Case] = {
    "get": Case(text_of, one_entity, lambda _: "old"),
    "get what is not there": Case(text_of, nothing),
    "query": Case(rows_of, three_entities, lambda _: [(r, "old") for r in "abc"]),
    "query by page": Case(read_pages, three_entities, lambda _: [(r, "old") for r in "abc"]),
    "insert": Case(writing(Insert), nothing, stored=text_of, expected="new"),
    "upsert": Case(writing(Upsert), one_entity, stored=text_of, expected="new"),
    "merge": Case(writing(Merge), one_entity, stored=text_of, expected="new"),
    "replace": Case(writing(Replace, True), one_known_entity, stored=text_of, expected="new"),
    "merge a version": Case(writing(Merge, True), one_known_entity, stored=text_of, expected="new"),
    "delete": Case(writing(Delete), one_entity, stored=text_of),
    "delete a version": Case(
        writing(Delete, True), one_known_entity, stored=text_of, expected=None
    ),
    "transaction": Case(
        a_transaction, before_a_transaction, stored=rows_of, expected=[("r", "new"), ("s", "new")]
    ),
    "put a blob": Case(put_small, nothing, stored=read_small, expected=b"0123456789"),
    "put a blob in blocks": Case(put_blocks, nothing, stored=large_size, expected=1_100_000),
    "read a blob": Case(read_small, put_small, lambda _: b"0123456789"),
    "read a range": Case(read_range, put_small, lambda _: b"23456"),
    "list blobs": Case(list_blobs, put_small, lambda name: [f"{name}/small"]),
    "delete a blob": Case(
        lambda account, name: account.blobs.delete(CONTAINER, f"{name}/small"),
        put_small,
        stored=read_small,
        expected=None,
    ),
    "keep a document": Case(keep_file, nothing, stored=read_file, expected=b"0123456789"),
    "read a document": Case(read_file, keep_file, lambda _: b"0123456789"),
    "keep a drop": Case(
        copy_drop, drop_file, lambda _: b"0123", stored=read_file, expected=b"0123456789"
    ),
    "reject a drop": Case(reject_drop, drop_file, stored=rejected, expected=(b"0123456789", None)),
    "send a message": Case(lambda account, name: account.queues.send(name, "text"), a_queue),
    "note on a queue": Case(
        lambda account, name: account.queues.set_metadata(name, {"a": "b"}), a_queue
    ),
}
"""The operations that name what they work on in the request, so that a rule can choose theirs."""


async def exchanges_of(bench: Bench, case: Case) -> list[Exchange]:
    """The requests of a case, as they are without a fault."""
    name = uuid.uuid4().hex
    await case.prepare(bench.direct, name)
    bench.proxy.exchanges.clear()
    before = bench.account.requests.total()
    assert await case.perform(bench.account, name) == case.result(name)
    sent = bench.account.requests.total() - before
    # The proxy notes an exchange when it has passed the answer on, which may be a little later.
    exchanges = bench.proxy.exchanges
    wait_until(lambda: len(exchanges) >= sent, f"{sent} exchanges")
    return list(exchanges)


def cuts_of(exchange: Exchange) -> list[int]:
    """Some bytes of the head and of the body; every one in the long form."""
    head, end = exchange.head_bytes, exchange.answer_bytes
    if EVERY_BYTE:
        return list(range(end))
    step = max(1, (end - head) // 8)
    return [0, 13, head // 2, head - 1, *range(head, end, step), end - 1]


async def try_with(bench: Bench, case: Case, fault: Fault, at: int) -> str:
    """Carry a case out while request number `at` of it meets the fault; what is wrong, or ""."""
    name = uuid.uuid4().hex
    await case.prepare(bench.direct, name)
    rule = Rule(fault, path=name, after=at, times=1)
    by_body = Rule(fault, path=r"\$batch", body=name, after=at, times=1)
    bench.proxy.rules += [rule, by_body]
    try:
        result = await case.perform(bench.account, name)
        if result != case.result(name):
            return f"{fault} at request {at}: the result is {result!r}"
        if (
            case.stored is not None
            and (stored := await case.stored(bench.direct, name)) != case.expected
        ):
            return f"{fault} at request {at}: {stored!r} is stored"
    except StorageUnavailableError:
        pass
    except Exception as error:
        return f"{fault} at request {at}: {type(error).__name__}: {error}"[:300]
    finally:
        for each in (rule, by_body):
            bench.proxy.rules.remove(each)
    return ""


async def wrong_of(bench: Bench, case: Case, faults: Sequence[tuple[int, Fault]]) -> list[str]:
    turns = asyncio.Semaphore(40)

    async def one(at: int, fault: Fault) -> str:
        async with turns:
            return await try_with(bench, case, fault, at)

    outcomes = await asyncio.gather(*(one(at, fault) for at, fault in faults))
    return [each for each in outcomes if each]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_answer_that_is_cut_at_any_byte_gives_the_right_result_or_a_storage_fault(
    storage: str, case: Case
) -> None:
    async def run() -> list[str]:
        async with a_bench(storage) as bench:
            faults: list[tuple[int, Fault]] = [
                (at, CutAnswer(cut))
                for at, exchange in enumerate(await exchanges_of(bench, case))
                for cut in cuts_of(exchange)
            ]
            assert faults
            return await wrong_of(bench, case, faults)

    assert asyncio.run(run()) == []


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_answer_that_is_another_one_gives_the_right_result_or_a_storage_fault(
    storage: str, case: Case
) -> None:
    async def run() -> list[str]:
        async with a_bench(storage) as bench:
            faults: list[tuple[int, Fault]] = [
                (at, fault)
                for at, exchange in enumerate(await exchanges_of(bench, case))
                for fault in (
                    OTHER_ANSWERS
                    # The answer to HEAD has no body, and its length is the blob's.
                    if exchange.method == "HEAD"
                    else (*OTHER_ANSWERS, *OTHER_BODIES)[at % STEP :: STEP]
                )
            ]
            return await wrong_of(bench, case, faults)

    assert asyncio.run(run()) == []


def test_messages_are_taken_and_deleted_under_cut_answers(storage: str) -> None:
    async def run() -> list[str]:
        wrong: list[str] = []
        async with a_bench(storage) as bench:
            await bench.direct.ensure([], [POISON_QUEUE])
            for method in ("GET", "PUT", "DELETE"):
                for cut in range(0, 900, 1 if EVERY_BYTE else 90):
                    await bench.direct.queues.send(POISON_QUEUE, "text")
                    rule = Rule(CutAnswer(cut), path=POISON_QUEUE, method=method, times=1)
                    bench.proxy.rules = [rule]
                    try:
                        for message in await bench.account.poison.receive():
                            await bench.account.poison.release(message)
                        for message in await bench.account.poison.receive():
                            await bench.account.poison.delete(message)
                    except StorageUnavailableError:
                        pass
                    except Exception as error:
                        wrong.append(f"{method} cut at {cut}: {error!r}")
        return wrong

    assert asyncio.run(run()) == []


def parts_that_fail() -> Iterator[bytes]:
    yield b"0" * 2 * 1024 * 1024
    raise KeyError("a fault of our own")


def test_a_fault_of_our_own_inside_the_sdk_stays_what_it_is(storage: str) -> None:
    async def run() -> None:
        async with a_bench(storage) as bench:
            broken: Any = {"no": "text"}
            with pytest.raises(TypeError):
                await bench.account.queues.send(QUEUE, broken)
            with pytest.raises(KeyError):
                await bench.account.blobs.put(CONTAINER, "broken", parts_that_fail())
            unknown: Any = object()
            write = Insert(Entity(uuid.uuid4().hex, "r", {"Text": unknown}))
            with pytest.raises((TypeError, ValueError)):
                await bench.account.tables.write(TABLE, write)

    asyncio.run(run())
