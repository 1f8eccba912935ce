"""Storage as it would be: the same answers as a copy of the storage, and the storage as it was."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from shared.errors import PreconditionFailedError
from shared.services.dry_run import WhatIfBlobs, WhatIfTables
from shared.storage.ports import Delete, Entity, Insert, Merge, Operation, Replace, Tables, Upsert
from tests.memory_storage import MemoryBlobs, MemoryTables

ROWS = [f"r|{number:02d}" for number in range(30)]
STEPS = 60


def _tables(pick: random.Random) -> tuple[MemoryTables, MemoryTables]:
    """The same entities twice."""
    both = MemoryTables(), MemoryTables()
    for row in pick.sample(ROWS, 12):
        for tables in both:
            asyncio.run(tables.write("T", Insert(Entity("p", row, {"A": row, "B": 0}))))
    return both


def _shown(entities: list[Entity]) -> list[tuple[str, dict[str, Any]]]:
    return [(entity.row, dict(entity.values)) for entity in entities]


async def _etag(tables: Tables, row: str, pick: random.Random) -> str:
    entity = await tables.get("T", "p", row)
    return "stale" if entity is None else entity.etag


@pytest.mark.parametrize("seed", range(60))
def test_what_if_tables_answer_as_a_copy_would(seed: int) -> None:
    base, copy = _tables(random.Random(seed))
    before = dict(base.tables["T"])

    async def play(tables: Tables) -> list[Any]:
        pick = random.Random(seed)
        return [await _step(tables, pick) for _ in range(STEPS)]

    assert asyncio.run(play(WhatIfTables(base))) == asyncio.run(play(copy))
    assert base.tables["T"] == before


async def _step(tables: Tables, pick: random.Random) -> Any:
    """One read or write, and what came of it."""
    row, other = pick.choice(ROWS), pick.choice(ROWS)
    match pick.randrange(4):
        case 0:
            entity = await tables.get("T", "p", row)
            return None if entity is None else dict(entity.values)
        case 1:
            most = pick.choice([None, 1, 3, 10])
            after = pick.choice(["", "", other])
            last = pick.choice([None, max(row, other)])
            first = pick.choice(["", min(row, other)])
            query = tables.query("T", "p", first, last, after=after, most=most)
            return _shown(await query)
        case _:
            rows = pick.sample(ROWS, pick.choice([1, 1, 2, 4]))
            operations = [await _operation(tables, each, pick) for each in rows]
            try:
                await tables.transact("T", operations)
            except PreconditionFailedError:
                return "refused"
            return "done"


async def _operation(tables: Tables, row: str, pick: random.Random) -> Operation:
    kinds: list[type[Operation]] = [Insert, Replace, Upsert, Merge, Delete]
    value, kind = pick.randrange(100), pick.choice(kinds)
    is_conditional = kind is Replace or (kind in (Merge, Delete) and pick.random() < 0.5)
    reads = is_conditional and pick.random() < 0.8
    etag = await _etag(tables, row, pick) if reads else "stale" if is_conditional else ""
    return kind(Entity("p", row, {"B": value}, etag))


def test_what_if_blobs_keep_what_is_written_to_themselves() -> None:
    async def play() -> None:
        base = MemoryBlobs()
        await base.put("c", "old", [b"abcdef"])
        blobs = WhatIfBlobs(base)
        await blobs.put("c", "new", [b"12", b"34"])
        assert await blobs.read("c", "new") == b"1234"
        assert await blobs.read("c", "new", 1, 2) == b"23"
        assert await blobs.read("c", "old", 2) == b"cdef"
        await blobs.delete("c", "old")
        assert await blobs.read("c", "old") is None
        assert await base.read("c", "old") == b"abcdef"
        assert await base.read("c", "new") is None

    asyncio.run(play())
