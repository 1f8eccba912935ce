"""Transactions with our own body: all or nothing, refused with the right error, values unharmed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import pytest

from shared.bootstrap import open_gateway
from shared.errors import PreconditionFailedError
from shared.imports.workers.definition import WORKERS as KIND
from shared.storage.ports import (
    MAX_OPERATIONS,
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
from tests.emulator import settings_for

WORKERS = KIND.table
Work = Callable[[Tables, str], Awaitable[None]]


def _on_tables(connection_string: str, work: Work) -> None:
    async def run() -> None:
        async with open_gateway(settings_for(connection_string)) as gateway:
            await work(gateway.account.tables, f"partition|{uuid.uuid4().hex}")

    asyncio.run(run())


def test_every_kind_of_value_comes_back_as_it_went_in(connection_string: str) -> None:
    values: dict[str, Value] = {
        "Text": 'quotes " backslash \\ line\nbreak \u0000 tab\t',
        "Scripts": "Łódź 東京 🏦 é",
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
        left = await tables.query(WORKERS, partition)
        assert [(entity.row, dict(entity.values)) for entity in left] == [("there", {"A": 1})]

    _on_tables(connection_string, work)


async def _read(tables: Tables, partition: str, row: str) -> Entity:
    entity = await tables.get(WORKERS, partition, row)
    assert entity is not None
    return entity
