"""References of rows: whether the record exists, or an earlier import may still create it.

See docs/design.md#1.3.

A row whose worker is missing waits only while an earlier import of a type that can create that
worker is open. A worker that a later import created does not count. Both are read for many rows in
one query, the open imports first, because an import that closes in between has written its workers
by then.

Only the references of the row and of its stored record count, never those of other rows of the
chunk. A reference that is stored with the record is not checked again unless the row repeats it
(docs/contracts.md#0, references).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Protocol

from shared.errors import UnreadableDataError
from shared.imports.import_type import (
    Document,
    ImportType,
    ListedValue,
    ReadRow,
    Reference,
)
from shared.imports.merge_rules import text_columns
from shared.imports.messages import UNREADABLE_LIST, Message, MessageId
from shared.imports.registry import types_of_table
from shared.imports.row_reader import as_sent
from shared.services.admin.reference_lists import NO_LISTS, ReferenceLists, TenantLists
from shared.storage.business_records import load_records, partition_of, row_of
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Entity, Tables

_NO_RECORD = (
    "no record of this name is stored with the employer of the row; import it first, or correct "
    "the reference"
)
_Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class References:
    """The state of the referenced records of one chunk. Its methods are pure.

    `read` are the records that were looked up, and `stored` those of them that count, with the
    columns that a `ReferenceField` compares.
    `writable_tables` are the tables that an earlier open import may still write to.
    """

    kind: ImportType
    tenant: str
    read: frozenset[_Place] = frozenset()
    stored: Mapping[_Place, Mapping[str, str]] = field(default_factory=dict)
    writable_tables: frozenset[str] = frozenset()
    lists: TenantLists = NO_LISTS

    @property
    def may_be_missing(self) -> bool:
        """Whether a row can lack a record or a listed value at all."""
        return bool(self.kind.references or self.lists.values)

    def find_references(
        self, row: ReadRow, document: Document, before: Document | None
    ) -> list[Reference]:
        """The references that must exist for the row to be stored."""
        new = self.find_new(document, before)
        return [
            reference
            for reference in self.kind.references_of(document)
            if reference in new or _sends_field(row.values, reference.field)
        ]

    def find_new(self, document: Document, before: Document | None) -> list[Reference]:
        """The references of a record to records that it did not refer to before."""
        stored_references = () if before is None else self.kind.references_of(before)
        stored_places = {_place(self.tenant, reference) for reference in stored_references}
        return [
            reference
            for reference in self.kind.references_of(document)
            if _place(self.tenant, reference) not in stored_places
        ]

    def find_missing(
        self, wanted_references: Sequence[Reference], document: Document, before: Document | None
    ) -> tuple[Message, ...]:
        """The message 2001 for every missing one of `wanted_references`, and every unlisted value.

        A Warning 2002 for every one whose record says something else than this one. A listed value
        that the stored record has already is not checked again, because a list that is loaded later
        must not fail rows that do not send the value.
        """
        return (
            *self.missing_records(wanted_references),
            *self._unlisted(document, before),
            *self._disagreements(wanted_references, document),
        )

    def _unlisted(self, document: Document, before: Document | None) -> list[Message]:
        if not self.lists.values:
            return []
        rules = self.kind.record_rules
        stored_values = () if before is None else rules.listed(before)
        return [
            self._unlisted_message(value)
            for value in rules.listed(document)
            if value not in stored_values and not self.lists.allows(value.kind, value.value)
        ]

    def _disagreements(
        self, wanted_references: Sequence[Reference], document: Document
    ) -> Iterator[Message]:
        own_group_field = self.kind.rules.key_fields[0]
        for declared in self.kind.references:
            references = declared.find(document, own_group_field) if declared.agrees else ()
            for reference in references:
                columns = self.stored.get(_place(self.tenant, reference), {})
                for name, text in text_columns(document, declared.agrees).items():
                    if reference in wanted_references and columns.get(name, text) != text:
                        detail = f"that record has another {name}; check both"
                        yield Message(
                            MessageId.VALUES_DISAGREE, reference.field, reference.reference, detail
                        )

    def missing_records(self, wanted_references: Sequence[Reference]) -> list[Message]:
        """The message 2001 for each of these references whose record does not exist."""
        return [
            Message(MessageId.REFERENCE_NOT_FOUND, reference.field, reference.reference, _NO_RECORD)
            for reference in wanted_references
            if not self._is_there(reference)
        ]

    def _unlisted_message(self, value: ListedValue) -> Message:
        shown_value = None if value.is_sensitive else as_sent(value.value)
        kind = value.kind.value
        if kind in self.lists.unreadable:
            detail = UNREADABLE_LIST.format(kind=kind)
            return Message(MessageId.COULD_NOT_BE_PROCESSED, value.field, shown_value, detail)
        detail = f"it is not in the tenant's list {kind}; correct it, or have it added"
        return Message(MessageId.REFERENCE_NOT_FOUND, value.field, shown_value, detail)

    def may_come(self, reference: Reference) -> bool:
        """Whether the record is missing and an earlier import may still create it."""
        return reference.table in self.writable_tables and not self._is_there(reference)

    def was_read(self, reference: Reference) -> bool:
        """Whether the record was looked up."""
        return _place(self.tenant, reference) in self.read

    def _is_there(self, reference: Reference) -> bool:
        return _place(self.tenant, reference) in self.stored


class EarlierImports(Protocol):
    """The part of the import log that references need."""

    async def oldest_open_before(self, record: ImportRecord, type_name: str) -> int | None:
        """See `ImportLog.oldest_open_before`."""


class ReferenceReader:
    """Reads the records that the rows of a chunk refer to."""

    def __init__(self, tables: Tables, imports: EarlierImports, lists: ReferenceLists) -> None:
        self._tables = tables
        self._imports = imports
        self._lists = lists

    async def read(
        self, kind: ImportType, record: ImportRecord, rows: Sequence[ReadRow]
    ) -> References:
        """Read the records that the rows refer to; their stored records may refer to more."""
        lists = await self._lists.for_tenant(record.tenant)
        references = References(kind, record.tenant, lists=lists)
        names = {reference for row in rows for reference in kind.references_of(row.values)}
        return await self.read_more(record, references, names)

    async def read_more(
        self, record: ImportRecord, references: References, names: Collection[Reference]
    ) -> References:
        """Add these references to those that were read."""
        if not names:
            return references
        writable_tables = await self._find_writable_tables(
            record, frozenset(name.table for name in names)
        )
        stored = await self._find_stored(record, references.kind, names)
        return replace(
            references,
            read=references.read | {_place(record.tenant, name) for name in names},
            stored={**references.stored, **stored},
            writable_tables=references.writable_tables | writable_tables,
        )

    async def _find_writable_tables(
        self, record: ImportRecord, tables: frozenset[str]
    ) -> frozenset[str]:
        writable_tables: set[str] = set()
        for table in tables:
            for source in types_of_table(table):
                if await self._imports.oldest_open_before(record, source.name) is not None:
                    writable_tables.add(table)
        return frozenset(writable_tables)

    async def _find_stored(
        self, record: ImportRecord, kind: ImportType, names: Collection[Reference]
    ) -> dict[_Place, Mapping[str, str]]:
        wanted_places = sorted({_place(record.tenant, name) for name in names})
        stored: dict[_Place, Mapping[str, str]] = {}
        for (table, partition), group in groupby(wanted_places, key=lambda place: place[:2]):
            rows = [row for _, _, row in group]
            columns = [
                name
                for declared in kind.references
                for name in declared.agrees
                if declared.type.table == table
            ]
            entities = await load_records(
                self._tables, table, partition, rows, select=["Created", "Deleted", *columns]
            )
            stored |= {
                (table, partition, row): {
                    name: entity.text(name) for name in columns if name in entity.values
                }
                for row, entity in entities.items()
                if was_there(entity, record)
            }
        return stored


def _sends_field(values: Document, path: str) -> bool:
    """Whether a row that sent `values` sets the field of that path.

    A list, and an object that is one value, are replaced as a whole.
    """
    value: Any = values
    for part in path.split("."):
        if not isinstance(value, dict):
            return True
        name, _, index = part.partition("[")
        if name not in value:
            return False
        if index:
            return True
        value = value[name]
    return True


def was_there(entity: Entity, record: ImportRecord) -> bool:
    """Whether a stored record counts for an import: one that a later import created does not."""
    return not entity.flag("Deleted") and _created_number(entity) < record.number


def _created_number(entity: Entity) -> int:
    """The number of the import that created a record; 0 if it cannot be read."""
    try:
        return entity.number("Created")
    except UnreadableDataError:
        return 0


def _place(tenant: str, reference: Reference) -> _Place:
    return (
        reference.table,
        partition_of(tenant, reference.group),
        row_of(reference.reference),
    )
