"""Under which names records are found where their group is not known: one index for each tenant.

A document names only its worker, and a tenant may have hundreds of employers. So the tenant's own
partition of the table has an entity for each name of each record:

    w|<kind>|<name>|<hash of group and reference>      Group, Reference

Record and entity lie in different partitions and cannot be written in one transaction. The entity
is written first, and counts only where the record, read afterwards, has the name. So a crash
between the two leaves an entity that is passed over, a name that a record gave up does no harm, and
no record is ever without its entities.

Records of before there was an index are entered by `fill`, which the housekeeping timer calls. The
entity `indexed` says that all of a tenant's records are in; a tenant whose first record comes later
has it from the start.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from shared.imports.import_type import Document, FoundBy, ImportType
from shared.storage.business_records import from_any_entity, partition_of
from shared.storage.entities import encode
from shared.storage.partition_index import GROUPS, group_of
from shared.storage.ports import MAX_OPERATIONS, Entity, Tables, Upsert, query_pages

_INDEXED = "indexed"
_REMEMBERED = 10_000
_PAGE = 16
_RECORDS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class NamedRecord:
    """A record and a name that it is found by."""

    found_by: FoundBy
    group: str
    reference: str


def names_of(kind: ImportType, document: Document | None) -> frozenset[NamedRecord]:
    """The names of a record, none where there is no record."""
    if document is None:
        return frozenset()
    group, reference = (document[name] for name in kind.rules.key_fields)
    found = kind.record_rules.found_by(document)
    return frozenset(NamedRecord(each, group, reference) for each in found)


class NameIndex:
    """Reads and writes the index; remembers which tenants are known to be in as a whole."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._complete: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def begin(self, kind: ImportType, tenant: str) -> None:
        """To be called before the first group of a tenant is listed: it then has a whole index."""
        if not kind.record_rules.has_names or await self.is_complete(kind, tenant):
            return
        first, last = GROUPS
        if not await self._tables.query(kind.table, encode(tenant), first, last, most=1):
            await self._note_complete(kind, tenant)

    async def is_complete(self, kind: ImportType, tenant: str) -> bool:
        """Whether all records of the tenant are in."""
        if (kind.table, tenant) in self._complete:
            return True
        found = await self._tables.get(kind.table, encode(tenant), _INDEXED)
        if found is not None:
            self._remember(kind, tenant)
        return found is not None

    async def note(self, kind: ImportType, tenant: str, names: Iterable[NamedRecord]) -> None:
        """Enter names; to be done before the records that have them are written."""
        entities = {entity.row: entity for entity in (_entity(tenant, name) for name in names)}
        rows = sorted(entities)
        for at in range(0, len(rows), MAX_OPERATIONS):
            some = [Upsert(entities[row]) for row in rows[at : at + MAX_OPERATIONS]]
            await self._tables.transact(kind.table, some)

    async def candidates(
        self, kind: ImportType, tenant: str, found_by: FoundBy, at_once: int = _PAGE
    ) -> AsyncIterator[list[tuple[str, str]]]:
        """Group and reference of the records that have the name or had it, `at_once` at a time."""
        prefix = _prefix(found_by)
        async for page in query_pages(
            self._tables, kind.table, encode(tenant), prefix, f"{prefix}~", most=at_once
        ):
            yield [(entity.text("Group"), entity.text("Reference")) for entity in page]

    async def fill(self, kind: ImportType, tenant: str) -> None:
        """Enter all records of a tenant that is not in as a whole; it may be repeated."""
        if await self.is_complete(kind, tenant):
            return
        first, last = GROUPS
        for group in await self._tables.query(kind.table, encode(tenant), first, last):
            partition = partition_of(tenant, group_of(group))
            async for entities in query_pages(
                self._tables, kind.table, partition, "r|", "r|~", most=_RECORDS_AT_ONCE
            ):
                documents = [from_any_entity(entity).document for entity in entities]
                await self.note(
                    kind, tenant, frozenset().union(*(names_of(kind, each) for each in documents))
                )
        await self._note_complete(kind, tenant)

    async def _note_complete(self, kind: ImportType, tenant: str) -> None:
        await self._tables.write(kind.table, Upsert(Entity(encode(tenant), _INDEXED, {})))
        self._remember(kind, tenant)

    def _remember(self, kind: ImportType, tenant: str) -> None:
        self._complete[kind.table, tenant] = None
        while len(self._complete) > _REMEMBERED:
            self._complete.popitem(last=False)


def _prefix(found_by: FoundBy) -> str:
    return f"w|{found_by.kind}|{encode(found_by.name)}|"


def _entity(tenant: str, name: NamedRecord) -> Entity:
    place = hashlib.sha256(partition_of(name.group, name.reference).encode()).hexdigest()[:32]
    values = {"Group": name.group, "Reference": name.reference}
    return Entity(encode(tenant), f"{_prefix(name.found_by)}{place}", values)
