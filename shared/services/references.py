"""References of rows: is the record there that a row names, and may it still come.

See docs/design.md#1.3.

A row whose worker is missing waits only while an import accepted earlier, of a type that could
bring that worker, is open; a worker that a later import brought does not count. Both are read for
many rows at once, the open imports first: an import that closes in between has written its workers
by then.

A row is judged by what it names itself and by what its stored record names, never by what other
rows of its chunk name. A reference that is stored with the record counts as known where the row
does not repeat it (docs/contracts.md#0, references).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Protocol

from shared import log
from shared.errors import UnreadableDataError
from shared.imports.import_type import (
    Document,
    ImportType,
    ListedValue,
    ReadRow,
    RecordRules,
    Reference,
)
from shared.imports.messages import UNREADABLE_LIST, Message, MessageId
from shared.imports.registry import types_of_table
from shared.imports.row_reader import as_sent
from shared.services.admin.reference_lists import NO_LISTS, ReferenceLists, TenantLists
from shared.services.record_ranges import load_records
from shared.storage.business_records import partition_of, row_of
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Entity, Tables

_NO_RECORD = (
    "no record of this name is stored with the employer of the row; import it first, or correct "
    "the reference"
)
_Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class References:
    """What one chunk may know of other records; pure from here on.

    `read` holds the records that were looked for, `there` those of them that count, `coming` the
    tables that an earlier open import may still write to.
    """

    rules: RecordRules
    tenant: str
    read: frozenset[_Place] = frozenset()
    there: frozenset[_Place] = frozenset()
    coming: frozenset[str] = frozenset()
    lists: TenantLists = NO_LISTS

    def to_find(self, row: ReadRow, document: Document, before: Document | None) -> list[Reference]:
        """The references of the record that must be there for the row to be stored."""
        known = () if before is None else self.rules.references(before)
        places = {_place(self.tenant, reference) for reference in known}
        return [
            reference
            for reference in self.rules.references(document)
            if _place(self.tenant, reference) not in places
            or _names_field(row.values, reference.field)
        ]

    def missing(
        self, found: Sequence[Reference], document: Document, before: Document | None
    ) -> tuple[Message, ...]:
        """2001 for every name in the record that is nobody's; `found` is what `to_find` says.

        A listed value that the stored record has already is not looked at again: a list that is
        loaded later must not fail rows that say nothing of it.
        """
        known = () if before is None else self.rules.listed(before)
        unknown = [
            Message(MessageId.REFERENCE_NOT_FOUND, reference.field, reference.reference, _NO_RECORD)
            for reference in found
            if not self._is_there(reference)
        ]
        unlisted = [
            self._not_listed(value)
            for value in self.rules.listed(document)
            if value not in known and not self.lists.allows(value.kind, value.value)
        ]
        return (*unknown, *unlisted)

    def _not_listed(self, value: ListedValue) -> Message:
        shown = None if value.is_sensitive else as_sent(value.value)
        kind = value.kind.value
        if kind in self.lists.unreadable:
            detail = UNREADABLE_LIST.format(kind=kind)
            return Message(MessageId.COULD_NOT_BE_PROCESSED, value.field, shown, detail)
        detail = f"it is not in the tenant's list {kind}; correct it, or have it added"
        return Message(MessageId.REFERENCE_NOT_FOUND, value.field, shown, detail)

    def may_come(self, reference: Reference) -> bool:
        """Whether it is not there and an earlier import may still bring it."""
        return reference.table in self.coming and not self._is_there(reference)

    def was_read(self, reference: Reference) -> bool:
        """Whether it was looked for."""
        return _place(self.tenant, reference) in self.read

    def _is_there(self, reference: Reference) -> bool:
        return _place(self.tenant, reference) in self.there


class EarlierImports(Protocol):
    """What is asked of the import log."""

    async def oldest_open_before(self, record: ImportRecord, type_name: str) -> int | None:
        """See `ImportLog.oldest_open_before`."""


class ReferenceReader:
    """Reads what the rows of a chunk refer to."""

    def __init__(self, tables: Tables, imports: EarlierImports, lists: ReferenceLists) -> None:
        self._tables = tables
        self._imports = imports
        self._lists = lists

    async def read(
        self, kind: ImportType, record: ImportRecord, rows: Sequence[ReadRow]
    ) -> References:
        """What the rows name, as it stands for this import."""
        lists = await self._lists.of(record.tenant)
        known = References(kind.record_rules, record.tenant, lists=lists)
        names = {reference for row in rows for reference in _named_by(kind, row)}
        return await self.read_more(record, known, names)

    async def read_more(
        self, record: ImportRecord, known: References, names: Collection[Reference]
    ) -> References:
        """What is known, and these references too."""
        if not names:
            return known
        coming = await self._coming(record, frozenset(name.table for name in names))
        there = await self._there(record, names)
        return replace(
            known,
            read=known.read | {_place(record.tenant, name) for name in names},
            there=known.there | there,
            coming=known.coming | coming,
        )

    async def _coming(self, record: ImportRecord, tables: frozenset[str]) -> frozenset[str]:
        coming: set[str] = set()
        for table in tables:
            for source in types_of_table(table):
                if await self._imports.oldest_open_before(record, source.name) is not None:
                    coming.add(table)
        return frozenset(coming)

    async def _there(self, record: ImportRecord, names: Collection[Reference]) -> frozenset[_Place]:
        wanted = sorted({_place(record.tenant, name) for name in names})
        there: set[_Place] = set()
        for (table, partition), places in groupby(wanted, key=lambda place: place[:2]):
            rows = [row for _, _, row in places]
            found = await load_records(
                self._tables, table, partition, rows, select=["Created", "Deleted"]
            )
            there.update(
                (table, partition, row)
                for row, entity in found.items()
                if not entity.flag("Deleted") and _created(entity) < record.number
            )
        return frozenset(there)


def _named_by(kind: ImportType, row: ReadRow) -> Sequence[Reference]:
    """What the row names itself. Its stored record may add to it, so this may be only a part.

    A fault of a type's rules here must not fail the whole chunk: it comes again when the row is
    judged, as that row's result.
    """
    try:
        return kind.record_rules.references(row.values)
    except Exception as error:
        log.failure("references.unreadable", error, type=kind.name)
        return ()


def _names_field(values: Document, path: str) -> bool:
    """Whether a row that sent `values` has a say in the field of that path.

    A list, and an object that is one value, are replaced whole.
    """
    here: Any = values
    for step in path.split("."):
        if not isinstance(here, dict):
            return True
        name, _, index = step.partition("[")
        if name not in here:
            return False
        if index:
            return True
        here = here[name]
    return True


def _created(entity: Entity) -> int:
    """Which import created a record; one that cannot be read is there all the same."""
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
