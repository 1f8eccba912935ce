"""The index of a tenant's groups (employers, companies): one entity each in its own partition.

Records are partitioned by group. A search for a record of an unknown group (a document names only
its worker) reads this index first. A group is added before its first record is written, so that a
crash cannot leave a record that no search finds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from shared.storage.business_records import partition_of
from shared.storage.entities import decode, encode
from shared.storage.ports import MAX_OPERATIONS, Entity, Tables, Upsert

_MOST_KNOWN = 10_000
# First and last row key of a tenant's groups.
GROUPS = ("g|", "g|~")


class PartitionIndex:
    """Adds groups to the index. Caches in this process which ones it has added."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._known: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    async def note(self, table: str, tenant: str, groups: Iterable[str]) -> None:
        """Make sure that these groups of the tenant are in the index of that table."""
        new = [group for group in sorted(set(groups)) if (table, tenant, group) not in self._known]
        for at in range(0, len(new), MAX_OPERATIONS):
            batch = new[at : at + MAX_OPERATIONS]
            await self._tables.transact(
                table,
                [
                    Upsert(Entity(encode(tenant), f"g|{encode(group)}", {"Group": group}))
                    for group in batch
                ],
            )
            noted = ((table, tenant, group) for group in batch)
            self._known.update(dict.fromkeys(noted))
            while len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)


def group_of(entity: Entity) -> str:
    """The group of an entity of the index, from its key if the column is wrong."""
    group = entity.text("Group")
    if entity.row == f"g|{encode(group)}":
        return group
    return decode(entity.row.removeprefix("g|"))


async def record_partitions(tables: Tables, table: str, tenant: str) -> list[str]:
    """The keys of the partitions that may contain records of a tenant, its own partition first."""
    groups = await tables.query(table, encode(tenant), *GROUPS, select=["Group"])
    return [encode(tenant), *(partition_of(tenant, group_of(group)) for group in groups)]
