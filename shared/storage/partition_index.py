"""Which groups a tenant's records lie in: one entity per employer in the tenant's own partition.

Records are partitioned by group, so whoever looks for one without knowing its group (a document
names only its worker) reads this list first. It is written before the first record of a group, so
that no crash leaves a record that cannot be found.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from shared.storage.business_records import partition_of
from shared.storage.entities import decode, encode
from shared.storage.ports import MAX_OPERATIONS, Entity, Tables, Upsert

_REMEMBERED = 10_000
# First and last row key between which a tenant's groups lie.
GROUPS = ("g|", "g|~")


class PartitionIndex:
    """Notes groups once; remembers in this process which ones it has noted."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._noted: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    async def note(self, table: str, tenant: str, groups: Iterable[str]) -> None:
        """Make sure that these groups are listed for the tenant in that table."""
        new = [group for group in sorted(set(groups)) if (table, tenant, group) not in self._noted]
        for at in range(0, len(new), MAX_OPERATIONS):
            some = new[at : at + MAX_OPERATIONS]
            await self._tables.transact(table, [Upsert(_entity(tenant, group)) for group in some])
            self._remember((table, tenant, group) for group in some)

    def _remember(self, noted: Iterable[tuple[str, str, str]]) -> None:
        self._noted.update(dict.fromkeys(noted))
        while len(self._noted) > _REMEMBERED:
            self._noted.popitem(last=False)


def group_of(entity: Entity) -> str:
    """The group that an entity of the list tells of; where it does not say, its key does."""
    group = entity.text("Group")
    if entity.row == f"g|{encode(group)}":
        return group
    return decode(entity.row.removeprefix("g|"))


async def record_partitions(tables: Tables, table: str, tenant: str) -> list[str]:
    """The keys of the partitions that may hold records of a tenant, its own partition first."""
    groups = await tables.query(table, encode(tenant), *GROUPS, select=["Group"])
    return [encode(tenant), *(partition_of(tenant, group_of(group)) for group in groups)]


def _entity(tenant: str, group: str) -> Entity:
    return Entity(encode(tenant), f"g|{encode(group)}", {"Group": group})
