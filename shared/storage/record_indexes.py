"""The indexes of records: of a tenant's groups (employers, companies), and of names.

Each group has one entity in the index's own partition.

Records are partitioned by group. A search for a record of an unknown group (a document names only
its worker) reads this index first. A group is added before its first record is written, so that a
crash cannot leave a record that no search finds.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import NamedTuple

from shared.imports.import_type import Document, FoundBy, ImportType
from shared.storage.business_records import from_any_entity, partition_of
from shared.storage.entities import decode, encode, join_bytes, pack_json, unpack_json
from shared.storage.ports import (
    MAX_OPERATIONS,
    Entity,
    Tables,
    Upsert,
    Value,
    query_pages,
    reading,
)

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


# The index of a tenant's records by name, for searches without their group.
#
# A document names only its worker, and a tenant may have hundreds of employers. So the tenant's
# own partition of the table has an entity for each name of each record:
#
#     w|<kind>|<name>|<hash of group and reference>      Group, Reference
#
# More names than fit into one transaction are packed. The hash of a name says its bucket, and each
# write adds one entity to a bucket, with all of its names that the bucket has:
#
#     m|<bucket>|<hash of the names>                     Names0 …: [[kind, name, group, reference]]
#
# So a large import writes 32 entities for some hundred names, where one entity for each name would
# make the tenant's own partition the busiest and largest of all. A search reads both.
#
# Record and entity are in different partitions and cannot be written in one transaction. The
# entity is written first, and counts only if the record, read afterwards, has the name. So a
# crash between the two leaves an entity that is ignored, an old name of a record does no harm,
# and no record lacks its entities.
#
# The housekeeping timer calls `fill`, which adds records from before the index existed. The
# entity `indexed` marks that all of a tenant's records are in the index. A new tenant gets it
# with its first record.

_INDEXED = "indexed"
_MOST_CACHED = 10_000
_PAGE = 16
_RECORDS_AT_ONCE = 500
_BUCKETS = 32
# Names in one transaction of packed entities, and packed entities in one page.
_MOST_PACKED = 2_000
_PACKED_AT_ONCE = 1_000
PACKED_NAMES = ("m|", "m|~")


class NamedRecord(NamedTuple):
    """A record and one of its names; a tuple, whose hash costs little."""

    found_by: FoundBy
    group: str
    reference: str


def names_of(kind: ImportType, document: Document | None) -> frozenset[NamedRecord]:
    """The names of a record; none if there is no record."""
    if document is None:
        return frozenset()
    group, reference = (document[field] for field in kind.rules.key_fields)
    names = kind.record_rules.found_by(document)
    return frozenset(NamedRecord(name, group, reference) for name in names)


def new_names(
    kind: ImportType, document: Document | None, before: Document | None
) -> frozenset[NamedRecord]:
    """The names of a record that it did not have before under its key."""
    if document is not None and before is not None:
        find_names = kind.record_rules.found_by
        if find_names(document) == find_names(before):
            return frozenset()
    return names_of(kind, document) - names_of(kind, before)


class NameIndex:
    """Reads and writes the index. Caches which tenants are indexed completely."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._complete: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def begin(self, kind: ImportType, tenant: str) -> None:
        """Mark a new tenant as complete. To be called before its first group is added."""
        if not kind.record_rules.has_names or await self.is_complete(kind, tenant):
            return
        first, last = GROUPS
        if not await self._tables.query(kind.table, encode(tenant), first, last, most=1):
            await self._mark_complete(kind, tenant)

    async def is_complete(self, kind: ImportType, tenant: str) -> bool:
        """Whether all records of the tenant are in the index."""
        if (kind.table, tenant) in self._complete:
            return True
        mark = await self._tables.get(kind.table, encode(tenant), _INDEXED)
        if mark is not None:
            self._cache_complete(kind, tenant)
        return mark is not None

    async def note(self, kind: ImportType, tenant: str, names: Iterable[NamedRecord]) -> None:
        """Add names to the index, before their records are written."""
        new = sorted(set(names))
        for at in range(0, len(new), _MOST_PACKED):
            some = new[at : at + _MOST_PACKED]
            if len(some) <= MAX_OPERATIONS:
                entities = [_entity(tenant, name) for name in some]
            else:
                entities = _pack_names(tenant, some)
            if entities:
                await self._tables.transact(kind.table, [Upsert(each) for each in entities])

    async def candidates(
        self, kind: ImportType, tenant: str, found_by: FoundBy, at_once: int = _PAGE
    ) -> AsyncIterator[list[tuple[str, str]]]:
        """Yield `at_once` group and reference pairs a page: records that have or had the name.

        Raises UnreadableDataError if a packed entity cannot be read.
        """
        prefix = _prefix(found_by)
        async for page in query_pages(
            self._tables, kind.table, encode(tenant), prefix, f"{prefix}~", most=at_once
        ):
            yield [(entity.text("Group"), entity.text("Reference")) for entity in page]
        bucket = f"m|{_bucket_of(found_by.name)}|"
        async for page in query_pages(
            self._tables, kind.table, encode(tenant), bucket, f"{bucket}~", most=_PACKED_AT_ONCE
        ):
            named = [
                (name.group, name.reference)
                for entity in page
                for name in unpack_names(entity)
                if name.found_by == found_by
            ]
            for at in range(0, len(named), at_once):
                yield named[at : at + at_once]

    async def fill(self, kind: ImportType, tenant: str) -> None:
        """Add all records of a tenant whose index is not complete. It may be repeated."""
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
        await self._mark_complete(kind, tenant)

    async def _mark_complete(self, kind: ImportType, tenant: str) -> None:
        await self._tables.write(kind.table, Upsert(Entity(encode(tenant), _INDEXED, {})))
        self._cache_complete(kind, tenant)

    def _cache_complete(self, kind: ImportType, tenant: str) -> None:
        self._complete[kind.table, tenant] = None
        while len(self._complete) > _MOST_CACHED:
            self._complete.popitem(last=False)


def _prefix(found_by: FoundBy) -> str:
    return f"w|{found_by.kind}|{encode(found_by.name)}|"


def _entity(tenant: str, name: NamedRecord) -> Entity:
    digest = hashlib.sha256(partition_of(name.group, name.reference).encode()).hexdigest()[:32]
    values = {"Group": name.group, "Reference": name.reference}
    return Entity(encode(tenant), f"{_prefix(name.found_by)}{digest}", values)


def _pack_names(tenant: str, names: Sequence[NamedRecord]) -> list[Entity]:
    """The entities of these names, one for each bucket that has some of them.

    The row key follows from the names, so a repeated write has the same effect.
    """
    buckets: defaultdict[str, list[NamedRecord]] = defaultdict(list)
    for name in names:
        buckets[_bucket_of(name.found_by.name)].append(name)
    entities: list[Entity] = []
    for bucket, some in sorted(buckets.items()):
        values = packed_values(some)
        digest = hashlib.sha256(join_bytes("Names", values)).hexdigest()[:32]
        entities.append(Entity(encode(tenant), f"m|{bucket}|{digest}", values))
    return entities


def packed_values(names: Sequence[NamedRecord]) -> Mapping[str, Value]:
    """The properties of a packed entity with these names."""
    return pack_json("Names", [_as_list(name) for name in names])


@reading("packed names")
def unpack_names(entity: Entity) -> list[NamedRecord]:
    """The names of a packed entity. Raises UnreadableDataError."""
    return [
        NamedRecord(FoundBy(kind, name), group, reference)
        for kind, name, group, reference in unpack_json("Names", entity.values)
    ]


def _as_list(name: NamedRecord) -> list[str]:
    return [name.found_by.kind, name.found_by.name, name.group, name.reference]


def _bucket_of(name: str) -> str:
    return f"{zlib.crc32(name.encode()) % _BUCKETS:02d}"
