"""Lists of values that a tenant has loaded: divisions, departments, clients (docs/contracts.md#1).

Values are checked only if the tenant has loaded a list of their kind. Loading replaces a whole
list: the values are written under a new generation, then the head of the list names it, so that a
reader never sees half a list. The head has the number of values. If a reader finds another number,
the list was replaced meanwhile and is read again, or values are lost. Rows never fail with 2001
because of an incomplete list. Their missing values end them as 9001 until the list is loaded again.
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

_MOST_CACHED = 200
_MOST_TRIES = 10
# The number of values in a head of an earlier version, which did not store it.
_NOT_COUNTED = -1


@dataclass(frozen=True, slots=True)
class TenantLists:
    """The lists of one tenant, with encoded values by kind.

    `unreadable` are the kinds whose list is incomplete, so that a missing value may be in it.
    """

    values: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    unreadable: frozenset[str] = frozenset()

    def allows(self, kind: ReferenceKind, value: str) -> bool:
        """Whether the value is in its list, or there is no list of its kind."""
        allowed = self.values.get(kind.value)
        return allowed is None or encode(value) in allowed


NO_LISTS = TenantLists()


@dataclass(frozen=True, slots=True)
class _Head:
    """The current generation of a list, and its number of values.

    `generation` is "" if the head cannot be read.
    """

    generation: str
    count: int


@dataclass(slots=True)
class _CachedLists:
    """The cached lists of a tenant, with their heads and the time of the read."""

    read_at: float
    heads: Mapping[str, _Head]
    lists: TenantLists


class ReferenceLists:
    """Reads and replaces lists. Caches a tenant's lists for `cache_seconds`."""

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
        self._cache: OrderedDict[str, _CachedLists] = OrderedDict()

    async def for_tenant(self, tenant: str) -> TenantLists:
        """The lists of a tenant, at most `cache_seconds` old."""
        cached = self._cache.get(tenant)
        now = self._clock.elapsed()
        if cached is not None and now - cached.read_at < self._cache_seconds:
            return cached.lists
        heads: Mapping[str, _Head] = await self._read_heads(tenant)
        if cached is None or cached.heads != heads or cached.lists.unreadable:
            heads, lists = await self._read_lists(tenant, heads)
        else:
            lists = cached.lists
        self._cache[tenant] = _CachedLists(now, heads, lists)
        self._cache.move_to_end(tenant)
        if len(self._cache) > _MOST_CACHED:
            self._cache.popitem(last=False)
        return lists

    async def is_loaded(self, tenant: str, kind: ReferenceKind) -> bool:
        """Whether the tenant has a list of that kind, readable or not."""
        return kind.value in await self._read_heads(tenant)

    async def load(self, tenant: str, kind: ReferenceKind, values: Iterable[str]) -> int:
        """Replace the list of that kind. Returns its number of values.

        After two concurrent loads, the list is that of one of them, complete.
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
                batch = [
                    Entity(partition, f"{prefix}|{row}", {}) for row in rows[at:][:MAX_OPERATIONS]
                ]
                await self._tables.transact(REFERENCES, [Upsert(entity) for entity in batch])
            await self._tables.write(REFERENCES, Upsert(head))
            stored_count = await self._remove_other_generations(partition, kind, generation)
            if stored_count in (None, len(rows)):
                return len(rows)
        raise StorageUnavailableError("this list is being replaced by too many at once")

    async def _read_lists(
        self, tenant: str, heads: Mapping[str, _Head]
    ) -> tuple[Mapping[str, _Head], TenantLists]:
        """Read the lists of these heads, or of newer heads that have replaced them meanwhile."""
        for _ in range(_MOST_TRIES):
            values = {
                kind: await self._read_values(tenant, kind, head.generation)
                for kind, head in heads.items()
            }
            unreadable = frozenset(
                kind
                for kind, head in heads.items()
                if not (bool(head.generation) and head.count in (_NOT_COUNTED, len(values[kind])))
            )
            if not unreadable:
                return heads, TenantLists(values)
            current = await self._read_heads(tenant)
            if current == heads:
                kinds = ", ".join(sorted(unreadable))
                log.warning("references.unreadable", tenant=tenant, reason=kinds)
                return heads, TenantLists(values, unreadable)
            heads = current
        raise StorageUnavailableError("a list is being replaced again and again")

    async def _read_heads(self, tenant: str) -> dict[str, _Head]:
        heads = await self._tables.query(REFERENCES, encode(tenant), "h|", "h|~")
        return {head.row.removeprefix("h|"): _head_from_entity(head) for head in heads}

    async def _read_values(self, tenant: str, kind: str, generation: str) -> frozenset[str]:
        if not generation:
            return frozenset()
        prefix = f"v|{kind}|{generation}|"
        entities = await self._tables.query(
            REFERENCES, encode(tenant), prefix, f"{prefix}~", select=[]
        )
        return frozenset(entity.row.removeprefix(prefix) for entity in entities)

    async def _remove_other_generations(
        self, partition: str, kind: ReferenceKind, generation: str
    ) -> int | None:
        """Remove the values of other generations; how many values of this one there are.

        None where another load was later: it removes what is not its own. The values of a load that
        has not written its head yet may be removed here: it finds that, and writes them again.
        """
        entities = await self._tables.query(
            REFERENCES, partition, f"v|{kind.value}|", f"v|{kind.value}|~", select=[]
        )
        entity = await self._tables.get(REFERENCES, partition, _head_row(kind))
        head = None if entity is None else _head_from_entity(entity)
        if head is not None and head.generation not in ("", generation):
            return None
        current = f"v|{kind.value}|{generation}|"
        old_entities = [entity for entity in entities if not entity.row.startswith(current)]
        for at in range(0, len(old_entities), MAX_OPERATIONS):
            batch = [
                Delete(Entity(partition, entity.row, {}))
                for entity in old_entities[at:][:MAX_OPERATIONS]
            ]
            with suppress(PreconditionFailedError):
                await self._tables.transact(REFERENCES, batch)
        return len(entities) - len(old_entities)


def _head_row(kind: ReferenceKind) -> str:
    return f"h|{kind.value}"


def _head_from_entity(entity: Entity) -> _Head:
    try:
        return _Head(entity.text("Generation"), entity.number("Values", _NOT_COUNTED))
    except UnreadableDataError:
        return _Head("", _NOT_COUNTED)
