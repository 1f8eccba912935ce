"""Reading over several partitions: every entity of the range once and in order, no other."""

from __future__ import annotations

import asyncio
import random
import uuid
from itertools import pairwise

import pytest

from shared.storage.account import Account
from shared.storage.entities import encode
from shared.storage.ports import Entity, EntityRange, RangeTables, Upsert
from shared.storage_account import StorageAccount
from tests.memory_storage import MemoryTables

pytestmark = pytest.mark.integration
TABLE = "Workers"
GROUPS = ("", "A", "a", "E1", "E10", "E2", "Z|9", "\u00e9", "~", ".", "-", "_", "\U0001f600")
ROWS = ("g|1", "j|1|1", "k|1", "r|", "r|0", "r|A", "r|a", "r|=C3", "r|~", "r~", "s|1", "x|r|1")


def _entities(tenant: str) -> list[Entity]:
    """The tenant's records among its other entities, and those of tenants that sort beside it."""
    partitions = [f"{tenant}|{encode(group)}" for group in GROUPS]
    partitions += [tenant, f"{tenant}-x|E1", f"{tenant}x|E1", f"{tenant}}}|E1", tenant[:-1]]
    return [
        Entity(partition, row, {"Place": f"{partition} {row}", "Flag": place % 3 == 0})
        for place, (partition, row) in enumerate((p, r) for p in partitions for r in ROWS)
    ]


async def _walk(
    tables: RangeTables, range_: EntityRange, most: int
) -> tuple[list[Entity], list[int]]:
    entities: list[Entity] = []
    sizes: list[int] = []
    after = None
    while True:
        part = await tables.query_range(TABLE, range_, after, most)
        entities += part.entities
        sizes.append(len(part.entities))
        if part.is_last:
            return entities, sizes
        if part.entities:
            after = (part.entities[-1].partition, part.entities[-1].row)


def test_a_range_over_partitions_is_read_whole_and_in_order(connection_string: str) -> None:
    tenant = f"t{uuid.uuid4().hex}"
    entities = _entities(tenant)
    memory = MemoryTables()
    memory.tables[TABLE] = {(each.partition, each.row): each for each in entities}
    dice = random.Random(7)

    async def scenario() -> None:
        account = Account(StorageAccount(connection_string=connection_string))
        try:
            for entity in dice.sample(entities, len(entities)):
                await account.tables.write(TABLE, Upsert(entity))
            first, last = f"{tenant}|", f"{tenant}|~"
            for range_ in (
                EntityRange(first, last, "r|", "r|~"),
                EntityRange(first, last, "r|", "r|~", ("Flag", True)),
                EntityRange(f"{tenant}|E1", f"{tenant}|E1", "r|", "r|~"),
                EntityRange(f"{tenant}|E1", f"{tenant}|E1", "", "~", ("Place", f"{tenant}|E1 k|1")),
                EntityRange(f"{tenant}|none", f"{tenant}|none", "r|", "r|~"),
            ):
                expected = sorted(
                    (each.partition, each.row)
                    for each in entities
                    if range_.contains(each.partition, each.row)
                    and (range_.equal is None or each.values[range_.equal[0]] == range_.equal[1])
                )
                for most in (1, 2, 5, 7, 1_000):
                    walked, sizes = await _walk(account.tables, range_, most)
                    keys = [(each.partition, each.row) for each in walked]
                    assert keys == expected, (range_, most)
                    assert all(here < there for here, there in pairwise(keys))
                    assert max(sizes) <= most
                for after in [None, *dice.sample(expected, min(3, len(expected)))]:
                    stored = await account.tables.query_range(TABLE, range_, after, 4)
                    twin = memory.slice_of(TABLE, range_, after, 4)
                    assert [(e.partition, e.row, e.values) for e in stored.entities] == [
                        (e.partition, e.row, e.values) for e in twin.entities
                    ]
        finally:
            await account.close()

    asyncio.run(scenario())
