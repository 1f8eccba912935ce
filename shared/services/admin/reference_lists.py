"""Lists of values that a tenant has loaded: divisions, departments, clients (docs/contracts.md#1).

A list is checked only where the tenant has loaded one of its kind. Loading replaces a list as a
whole: the values go in under a new generation, then the head of the list names it, so that a reader
never sees half a list. The head says how many values the list has: where others are found, it was
replaced meanwhile and is read again, or values are lost. By a list that is not whole no row fails
with 2001; the rows that name a value which is not found end as 9001 until the list is loaded again.
In the table `References`, partition tenant:

    h|<kind>                          the head: which generation counts, how many values it has
    v|<kind>|<generation>|<value>     one value
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType

from shared import log
from shared.clock import Clock, Ids
from shared.errors import PreconditionFailedError, StorageUnavailableError, UnreadableDataError
from shared.imports.import_type import ReferenceKind
from shared.imports.merge_rules import listed_form
from shared.services.admin.audit import Action, AuditLog
from shared.storage.entities import encode
from shared.storage.names import REFERENCES
from shared.storage.ports import MAX_OPERATIONS, Delete, Entity, Tables, Upsert

_TENANTS_REMEMBERED = 200
_MOST_TRIES = 10
_NOT_COUNTED = -1
"""In place of the number of values, where the head does not say it: an earlier version wrote it."""


@dataclass(frozen=True, slots=True)
class TenantLists:
    """The lists of one tenant; values in their encoded form, by kind.

    `unreadable` are the kinds whose list is not whole: what it does not allow may be in it.
    """

    values: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    unreadable: frozenset[str] = frozenset()

    def allows(self, kind: ReferenceKind, value: str) -> bool:
        """Whether the value may stand: it is listed, or there is no list of its kind."""
        listed = self.values.get(kind.value)
        return listed is None or encode(value) in listed


NO_LISTS = TenantLists()


@dataclass(frozen=True, slots=True)
class _Head:
    """Which generation of a list counts, and how many values it has.

    `generation` is "" where the head cannot be read.
    """

    generation: str
    count: int


@dataclass(slots=True)
class _Remembered:
    """What was read of a tenant, when, and under which heads."""

    read_at: float
    heads: Mapping[str, _Head]
    lists: TenantLists


class ReferenceLists:
    """Reads and replaces lists; remembers a tenant's for `cache_seconds`."""

    def __init__(
        self,
        tables: Tables,
        clock: Clock,
        ids: Ids,
        cache_seconds: float,
        audit: AuditLog | None = None,
    ) -> None:
        self._tables = tables
        self._clock = clock
        self._ids = ids
        self._cache_seconds = cache_seconds
        self._audit = audit or AuditLog(tables, clock, ids)
        self._remembered: OrderedDict[str, _Remembered] = OrderedDict()

    async def of(self, tenant: str) -> TenantLists:
        """The lists of a tenant. A change counts once what is remembered is too old."""
        known = self._remembered.get(tenant)
        now = self._clock.elapsed()
        if known is not None and now - known.read_at < self._cache_seconds:
            return known.lists
        heads: Mapping[str, _Head] = await self._heads(tenant)
        if known is None or known.heads != heads or known.lists.unreadable:
            heads, lists = await self._read(tenant, heads)
        else:
            lists = known.lists
        self._remembered[tenant] = _Remembered(now, heads, lists)
        self._remembered.move_to_end(tenant)
        if len(self._remembered) > _TENANTS_REMEMBERED:
            self._remembered.popitem(last=False)
        return lists

    async def is_loaded(self, tenant: str, kind: ReferenceKind) -> bool:
        """Whether the tenant has a list of that kind, readable or not."""
        return kind.value in await self._heads(tenant)

    async def load(self, tenant: str, kind: ReferenceKind, values: Iterable[str]) -> int:
        """Replace the list of that kind; how many values it has now.

        Of two loads at once the list of one of them stands, whole.
        """
        rows = sorted({encode(listed_form(value)) for value in values})
        target, after = {"kind": kind.value}, {"values": len(rows)}
        async with self._audit.act(tenant, Action.REFERENCE_LOAD, target, after=after):
            return await self._load(tenant, kind, rows)

    async def _load(self, tenant: str, kind: ReferenceKind, rows: Sequence[str]) -> int:
        partition, generation = encode(tenant), self._ids.new()
        prefix = f"v|{kind.value}|{generation}"
        head = Entity(partition, _head_row(kind), {"Generation": generation, "Values": len(rows)})
        for _ in range(_MOST_TRIES):
            for at in range(0, len(rows), MAX_OPERATIONS):
                some = [
                    Entity(partition, f"{prefix}|{row}", {}) for row in rows[at:][:MAX_OPERATIONS]
                ]
                await self._tables.transact(REFERENCES, [Upsert(entity) for entity in some])
            await self._tables.write(REFERENCES, Upsert(head))
            left = await self._remove_others(partition, kind, generation)
            if left in (None, len(rows)):
                return len(rows)
        raise StorageUnavailableError("this list is being replaced by too many at once")

    async def _read(
        self, tenant: str, heads: Mapping[str, _Head]
    ) -> tuple[Mapping[str, _Head], TenantLists]:
        """The lists under these heads, or under those that have taken their place meanwhile."""
        for _ in range(_MOST_TRIES):
            values = {
                kind: await self._values(tenant, kind, head.generation)
                for kind, head in heads.items()
            }
            unreadable = frozenset(
                kind for kind, head in heads.items() if not _is_whole(head, values[kind])
            )
            if not unreadable:
                return heads, TenantLists(values)
            current = await self._heads(tenant)
            if current == heads:
                kinds = ", ".join(sorted(unreadable))
                log.warning("references.unreadable", tenant=tenant, reason=kinds)
                return heads, TenantLists(values, unreadable)
            heads = current
        raise StorageUnavailableError("a list is being replaced again and again")

    async def _heads(self, tenant: str) -> dict[str, _Head]:
        heads = await self._tables.query(REFERENCES, encode(tenant), "h|", "h|~")
        return {head.row.removeprefix("h|"): _head_from_entity(head) for head in heads}

    async def _values(self, tenant: str, kind: str, generation: str) -> frozenset[str]:
        if not generation:
            return frozenset()
        prefix = f"v|{kind}|{generation}|"
        found = await self._tables.query(
            REFERENCES, encode(tenant), prefix, f"{prefix}~", select=[]
        )
        return frozenset(entity.row.removeprefix(prefix) for entity in found)

    async def _remove_others(
        self, partition: str, kind: ReferenceKind, generation: str
    ) -> int | None:
        """Remove the values of other generations; how many values of this one there are.

        None where another load was later: it removes what is not its own. The values of a load that
        has not written its head yet may be removed here: it finds that, and writes them again.
        """
        found = await self._tables.query(
            REFERENCES, partition, f"v|{kind.value}|", f"v|{kind.value}|~", select=[]
        )
        entity = await self._tables.get(REFERENCES, partition, _head_row(kind))
        head = None if entity is None else _head_from_entity(entity)
        if head is not None and head.generation not in ("", generation):
            return None
        current = f"v|{kind.value}|{generation}|"
        old = [entity for entity in found if not entity.row.startswith(current)]
        for at in range(0, len(old), MAX_OPERATIONS):
            some = [
                Delete(Entity(partition, entity.row, {})) for entity in old[at:][:MAX_OPERATIONS]
            ]
            with suppress(PreconditionFailedError):
                await self._tables.transact(REFERENCES, some)
        return len(found) - len(old)


def _head_row(kind: ReferenceKind) -> str:
    return f"h|{kind.value}"


def _head_from_entity(entity: Entity) -> _Head:
    try:
        return _Head(entity.text("Generation"), entity.number("Values", _NOT_COUNTED))
    except UnreadableDataError:
        return _Head("", _NOT_COUNTED)


def _is_whole(head: _Head, values: frozenset[str]) -> bool:
    return bool(head.generation) and head.count in (_NOT_COUNTED, len(values))
