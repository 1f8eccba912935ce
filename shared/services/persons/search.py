"""The search for what is stored about a person (docs/persons-and-tenants.md).

Each import type has a `PersonSource` that knows where its records name a person. A source yields a
trace for everything that it finds, with the write that erases it, and adds to the person's keys.
Nothing is changed while a search runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.imports.former_values import FormerRecord, FormerState
from shared.imports.import_type import Document
from shared.imports.persons import PersonKeys
from shared.storage import import_records
from shared.storage.business_records import StoredRecord, from_any_entity
from shared.storage.former_columns import KeepsFormer, former_values, without_values
from shared.storage.import_records import ImportRecord
from shared.storage.names import IMPORT_RESULT_BLOBS, IMPORTS
from shared.storage.ports import (
    Delete,
    Entity,
    EntityRange,
    Operation,
    RangeTables,
    Replace,
    StoredBlobs,
    query_pages,
    query_range_pages,
)

_READ_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class BlobRange:
    """A part of a blob; `length` is None for all of it."""

    container: str
    name: str
    start: int = 0
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """Something that is stored about a person.

    `area` names what it is, for the report. `operation` erases it from its table; None where there
    are only `blobs`. `shown` is what an export says of it, None for an index or a look-up.
    """

    area: str
    table: str = ""
    operation: Operation | None = None
    blobs: tuple[BlobRange, ...] = ()
    shown: Mapping[str, Any] | None = None

    @property
    def partition(self) -> str:
        """The partition of its entity."""
        return "" if self.operation is None else self.operation.entity.partition


@dataclass(slots=True)
class PersonSearch:
    """One search: the tenant, the keys of the person so far, and the storage.

    `unreadable` counts by area what cannot be read, so that it may or may not name the person.
    """

    tenant: str
    keys: PersonKeys
    tables: RangeTables
    blobs: StoredBlobs
    unreadable: Counter[str] = field(default_factory=Counter)

    async def entities(
        self, table: str, partition: str, first: str, last: str
    ) -> AsyncIterator[Entity]:
        """The entities of a range of a partition, slice by slice."""
        async for page in query_pages(
            self.tables, table, partition, first, last, most=_READ_AT_ONCE
        ):
            for entity in page:
                yield entity

    async def range(self, table: str, range_: EntityRange) -> AsyncIterator[Entity]:
        """The entities of a range of partitions, slice by slice."""
        async for page in query_range_pages(self.tables, table, range_, _READ_AT_ONCE):
            for entity in page:
                yield entity

    async def has_ended(self, import_id: str) -> bool:
        """Whether an import was accepted and has ended."""
        index = await self.tables.get(IMPORTS, self.tenant, import_records.index_row(import_id))
        number = None if index is None else import_records.number_in_index(index)
        if number is None:
            return False
        row = import_records.record_row(number)
        entity = await self.tables.get(IMPORTS, self.tenant, row)
        return entity is not None and bool(entity.text("EndedAt"))

    def read_record(self, entity: Entity) -> StoredRecord:
        """The record of an entity; a broken one has `is_broken`."""
        return from_any_entity(entity)

    async def former(self, stored: KeepsFormer) -> FormerRecord | None:
        """The record before its last import, if that is kept."""
        state, former = await former_values(self.blobs, stored)
        return former if state is FormerState.KEPT else None


def former_range(stored: KeepsFormer) -> tuple[BlobRange, ...]:
    """The range of a blob that has the former values of a record, if they are in one."""
    former = stored.former
    if isinstance(former, FormerRecord) or not former.blob:
        return ()
    return (BlobRange(IMPORT_RESULT_BLOBS, former.blob, former.start, former.length),)


def deletion_trace(
    area: str,
    table: str,
    entity: Entity,
    *,
    blobs: Iterable[BlobRange] = (),
    shown: Mapping[str, Any] | None = None,
) -> Trace:
    """The trace of an entity that goes as a whole, unless it has changed since it was read."""
    operation = Delete(Entity(entity.partition, entity.row, {}, entity.etag))
    return Trace(area, table, operation, tuple(blobs), shown)


def former_values_trace(
    area: str, table: str, entity: Entity, blobs: Iterable[BlobRange], former: Document
) -> Trace:
    """The trace of an entity of another person, whose former values name this one."""
    return Trace(
        area,
        table,
        Replace(without_values(entity)),
        tuple(blobs),
        {"formerValues": former},
    )


def shown_record(
    document: Document | None, former: FormerRecord | None, updated_at: str, key: Sequence[str]
) -> Mapping[str, Any]:
    """A record as an export shows it."""
    shown: dict[str, Any] = {"key": list(key), "record": document, "changedAt": updated_at}
    if document is None:
        shown["deleted"] = True
    if former is not None:
        shown["before"] = former.document
    return shown


class PersonSource(Protocol):
    """What an import type stores about persons.

    `has_key_variants`: rows may write a key in other ways than it is stored, as a GUID.
    """

    has_key_variants: bool

    def find(self, search: PersonSearch) -> AsyncIterator[Trace]:
        """Yield the traces of the person, and add to the keys of the search."""

    def names_row(self, keys: PersonKeys, row: Mapping[str, Any]) -> bool:
        """Whether a row of a payload, with names in lower case, names the person."""

    def names_key(self, keys: PersonKeys, key: Sequence[str | None]) -> bool:
        """Whether the key of a result names the person."""

    def files_of(self, record: ImportRecord) -> Sequence[BlobRange]:
        """The files of an import that names the person, besides those that records name."""


# The search of a source goes on until the keys do not grow any more.
Sources = Mapping[str, PersonSource]


def key_count(keys: PersonKeys) -> int:
    """The number of keys, to see whether a search has found further ones."""
    simple = len(keys.external_refs) + len(keys.employee_ids) + len(keys.triples)
    return simple + sum(len(names) for names in (*keys.owned.values(), *keys.related.values()))


async def find_traces(search: PersonSearch, sources: Sources) -> list[Trace]:
    """Everything that is stored about a person in records and beside them.

    A source may find keys that another one needs, such as the external reference of a worker, so
    all are searched again until no further key is found.
    """
    while True:
        before = key_count(search.keys)
        search.unreadable.clear()
        traces = [trace for source in sources.values() async for trace in source.find(search)]
        if key_count(search.keys) == before:
            return traces
