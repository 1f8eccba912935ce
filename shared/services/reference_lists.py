"""Lists of values that a tenant has loaded: divisions, departments, clients (CONTRACTS 1).

A list is checked only where the tenant has loaded one of its kind. Loading replaces a list as a
whole: the values go in under a new generation, then the head of the list names it, so that a reader
never sees half a list. In the table `References`, partition tenant:

    h|<kind>                          the head: which generation counts
    v|<kind>|<generation>|<value>     one value
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from shared.clock import Clock, Ids
from shared.imports.listing import listed_form
from shared.imports.reference_kinds import ReferenceKind
from shared.storage.keys import encode
from shared.storage.names import REFERENCES
from shared.storage.tables import MAX_OPERATIONS, Delete, Entity, Tables, Upsert

_TENANTS_REMEMBERED = 200


@dataclass(frozen=True, slots=True)
class TenantLists:
    """The lists of one tenant; values in their encoded form, by kind."""

    values: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))

    def allows(self, kind: ReferenceKind, value: str) -> bool:
        """Whether the value may stand: it is listed, or there is no list of its kind."""
        listed = self.values.get(kind.value)
        return listed is None or encode(value) in listed


NO_LISTS = TenantLists()


@dataclass(slots=True)
class _Remembered:
    """What was read of a tenant, when, and under which generations."""

    read_at: float
    generations: Mapping[str, str]
    lists: TenantLists


class ReferenceLists:
    """Reads and replaces lists; remembers a tenant's for `cache_seconds`."""

    def __init__(self, tables: Tables, clock: Clock, ids: Ids, cache_seconds: float) -> None:
        self._tables = tables
        self._clock = clock
        self._ids = ids
        self._cache_seconds = cache_seconds
        self._remembered: OrderedDict[str, _Remembered] = OrderedDict()

    async def of(self, tenant: str) -> TenantLists:
        """The lists of a tenant. A change counts once what is remembered is too old."""
        known = self._remembered.get(tenant)
        now = self._clock.elapsed()
        if known is not None and now - known.read_at < self._cache_seconds:
            return known.lists
        generations = await self._generations(tenant)
        if known is None or known.generations != generations:
            lists = TenantLists(
                {
                    kind: await self._values(tenant, kind, generation)
                    for kind, generation in generations.items()
                }
            )
        else:
            lists = known.lists
        self._remembered[tenant] = _Remembered(now, generations, lists)
        self._remembered.move_to_end(tenant)
        if len(self._remembered) > _TENANTS_REMEMBERED:
            self._remembered.popitem(last=False)
        return lists

    async def load(self, tenant: str, kind: ReferenceKind, values: Iterable[str]) -> int:
        """Replace the list of that kind; how many values it has now."""
        partition, generation = encode(tenant), self._ids.new()
        rows = sorted({encode(listed_form(value)) for value in values})
        for at in range(0, len(rows), MAX_OPERATIONS):
            prefix = f"v|{kind.value}|{generation}"
            some = [Entity(partition, f"{prefix}|{row}", {}) for row in rows[at:][:MAX_OPERATIONS]]
            await self._tables.transact(REFERENCES, [Upsert(entity) for entity in some])
        head = Entity(partition, f"h|{kind.value}", {"Generation": generation})
        await self._tables.write(REFERENCES, Upsert(head))
        await self._remove_others(partition, kind, generation)
        return len(rows)

    async def _generations(self, tenant: str) -> dict[str, str]:
        heads = await self._tables.query(REFERENCES, encode(tenant), "h|", "h|~")
        return {head.row.removeprefix("h|"): head.text("Generation") for head in heads}

    async def _values(self, tenant: str, kind: str, generation: str) -> frozenset[str]:
        prefix = f"v|{kind}|{generation}|"
        found = await self._tables.query(
            REFERENCES, encode(tenant), prefix, f"{prefix}~", select=[]
        )
        return frozenset(entity.row.removeprefix(prefix) for entity in found)

    async def _remove_others(self, partition: str, kind: ReferenceKind, generation: str) -> None:
        found = await self._tables.query(
            REFERENCES, partition, f"v|{kind.value}|", f"v|{kind.value}|~", select=[]
        )
        current = f"v|{kind.value}|{generation}|"
        old = [entity for entity in found if not entity.row.startswith(current)]
        for at in range(0, len(old), MAX_OPERATIONS):
            some = [
                Delete(Entity(partition, entity.row, {})) for entity in old[at:][:MAX_OPERATIONS]
            ]
            await self._tables.transact(REFERENCES, some)
