"""Finds unreadable stored data of a tenant, and repairs or removes it (`manage.py records`).

A record whose document can be read is repaired: it gets the stamp of the tenant's newest import, so
that no older import overwrites it, and its look-ups are written again. Any other record is removed
with its look-ups and leaves a tombstone, so that the next import stores it again. Each repair is
conditional: data that has changed since it was found is left unchanged.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from shared import log
from shared.auth.integrations import integration_from_entity
from shared.clock import Clock, to_iso
from shared.errors import PreconditionFailedError, UnreadableDataError
from shared.imports.former_values import LOST_FORMER, Created
from shared.imports.import_type import Document, ImportType, RecordRules
from shared.imports.registry import IMPORT_TYPES
from shared.services.import_log import ImportLog
from shared.services.results import Results
from shared.storage import business_records, former_columns, idempotency_records
from shared.storage.business_records import RecordKey, Stamp, StoredRecord
from shared.storage.entities import decode, encode, join_text
from shared.storage.import_records import ImportRecord
from shared.storage.names import IDEMPOTENCY, INTEGRATIONS
from shared.storage.ports import Delete, Entity, Operation, Tables, query_pages, reading
from shared.storage.record_indexes import record_partitions

_PAGE = 500
NO_IMPORT = "it was written by an import that does not exist"
_MOST_SHOWN = 4
_IMPORTS, _CALLS, SETUP = "imports", "calls", "setup"


class Repair(StrEnum):
    """The kind of a repair."""

    MEND = "mend"
    REMOVE = "remove"
    CLOSE = "close"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class BrokenEntry:
    """Something stored that cannot be read. `key` names it, sensitive parts masked."""

    area: str
    key: str
    fault: str
    repair: Repair
    carry_out: Callable[[], Awaitable[None]] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RepairContext:
    """What finding and repairing needs: the storage, the imports, the time."""

    tables: Tables
    imports: ImportLog
    clock: Clock
    _newest: dict[str, int] = field(default_factory=dict)

    async def entities(
        self, table: str, partition: str, first: str = "", last: str | None = None
    ) -> AsyncIterator[Entity]:
        async for page in query_pages(self.tables, table, partition, first, last, most=_PAGE):
            for entity in page:
                yield entity

    def removable_entry(
        self, area: str, table: str, key: str, fault: str, operations: Sequence[Operation]
    ) -> BrokenEntry:
        async def carry_out() -> None:
            await self.tables.transact(table, operations)

        return BrokenEntry(area, key, fault, Repair.REMOVE, carry_out)

    async def is_of_no_import(self, tenant: str, number: int) -> bool:
        """Whether a number that was just read is higher than that of every import of the tenant."""
        if number > self._newest.get(tenant, -1):
            self._newest[tenant] = await self.imports.newest_number(tenant)
        return number > self._newest[tenant]


def broken_former_values(
    context: RepairContext,
    kind: ImportType,
    entity: Entity,
    document: Document | None,
    created: Created,
) -> BrokenEntry | None:
    """The entry for former values that cannot be read, of a record that can be read."""
    try:
        former_columns.check_columns(entity, document, created)
    except UnreadableDataError as error:

        async def carry_out() -> None:
            await context.tables.write(kind.table, former_columns.lost(entity))

        key = shown_key(entity.partition, entity.row.rpartition("|")[2])
        return BrokenEntry(kind.name, key, str(error), Repair.MEND, carry_out)
    return None


# Finds what is broken of a tenant.
BrokenFinder = Callable[[RepairContext, str], AsyncIterator[BrokenEntry]]


@dataclass(frozen=True, slots=True)
class StoredShape:
    """The parts that a type derives from a stored document.

    `check` raises an error for a document of another shape. `lookups` are the row keys of its
    look-ups, `columns` its promoted columns.
    """

    check: Callable[[Document], object]
    lookups: Callable[[Document], Sequence[str]]
    columns: Callable[[Document], Mapping[str, str]]


def shape_of_rules(rules: RecordRules) -> StoredShape:
    """The shape of a type whose rows each name one record."""

    def check(document: Document) -> None:
        rules.lookups(document)
        rules.columns(document)

    return StoredShape(check, rules.lookups, rules.columns)


def repair_areas(type_areas: Iterable[str]) -> tuple[str, ...]:
    """What can be checked: records by import type, imports with their results, calls with an
    Idempotency-Key, what types add to these, and the tenant's integrations and rounds.
    """
    further = (area for area in type_areas if area != SETUP)
    return tuple(dict.fromkeys((*IMPORT_TYPES, _IMPORTS, _CALLS, *further, SETUP)))


class RecordRepair:
    """Finds broken entries in the tables of one tenant. Only `carry_out` of an entry writes."""

    def __init__(
        self,
        context: RepairContext,
        results: Results,
        shapes: Mapping[str, StoredShape],
        finders: Mapping[str, BrokenFinder],
    ) -> None:
        """`shapes` by the name of the type, where its rows do not each name one record.

        `finders` by area: those of import types, in place of the usual one or beside it.
        """
        self._context = context
        self._results = results
        self._shapes = shapes
        self._finders = finders

    async def find(self, tenant: str, areas: Sequence[str] = ()) -> AsyncIterator[BrokenEntry]:
        """Everything broken in these areas, one area after another; by default in all of them."""
        for area in areas or repair_areas(self._finders):
            async for entry in self._of_area(tenant, area):
                yield entry

    async def repair(self, entry: BrokenEntry) -> bool:
        """Carry out a repair; False if there is none, or the entry has changed since."""
        if entry.carry_out is None:
            return False
        try:
            await entry.carry_out()
        except PreconditionFailedError:
            return False
        log.event("record.repaired", type=entry.area, step=entry.repair.value)
        return True

    async def _of_area(self, tenant: str, area: str) -> AsyncIterator[BrokenEntry]:
        type_entries = {_IMPORTS: self._broken_imports, _CALLS: self._calls, SETUP: self._setup}
        if area in type_entries:
            async for entry in type_entries[area](tenant):
                yield entry
        if area in self._finders:
            async for entry in self._finders[area](self._context, tenant):
                yield entry
        elif area in IMPORT_TYPES:
            async for entry in self._records(tenant, IMPORT_TYPES[area]):
                yield entry

    async def _records(self, tenant: str, kind: ImportType) -> AsyncIterator[BrokenEntry]:
        shape = self._shape(kind)
        for partition in await record_partitions(self._context.tables, kind.table, tenant):
            lookups: defaultdict[str, list[Entity]] = defaultdict(list)
            async for entity in self._context.entities(kind.table, partition, "x|", "x|~"):
                lookups[entity.row.rpartition("|")[2]].append(entity)
            async for entity in self._context.entities(kind.table, partition, "r|", "r|~"):
                own_lookups = lookups.pop(entity.row.removeprefix("r|"), [])
                try:
                    newest = _check(shape, entity)
                except UnreadableDataError as error:
                    yield self._broken_record(tenant, kind, entity, own_lookups, str(error))
                    continue
                if await self._context.is_of_no_import(tenant, newest):
                    yield self._broken_record(tenant, kind, entity, own_lookups, NO_IMPORT)
                    continue
                record = business_records.from_entity(entity)
                broken = broken_former_values(
                    self._context, kind, entity, record.document, record.created
                )
                if broken is not None:
                    yield broken
            for reference, pointing in lookups.items():
                for entity in pointing:
                    fault = "the record that this look-up names is not there"
                    key = shown_key(partition, reference)
                    yield self._context.removable_entry(
                        kind.name, kind.table, key, fault, [Delete(entity)]
                    )

    def _shape(self, kind: ImportType) -> StoredShape:
        return self._shapes.get(kind.name) or shape_of_rules(kind.record_rules)

    def _broken_record(
        self, tenant: str, kind: ImportType, entity: Entity, lookups: Sequence[Entity], fault: str
    ) -> BrokenEntry:
        shape = self._shape(kind)
        document = _document(shape, entity)

        async def carry_out() -> None:
            key = RecordKey(entity.partition, entity.row)
            number = await self._context.imports.newest_number(tenant)
            repaired = StoredRecord(
                key=key,
                document=document,
                stamp=Stamp(number, -1, "[]"),
                created_by=number,
                created_at=entity.text("CreatedAt"),
                created_import_id=entity.text("CreatedBy"),
                former=LOST_FORMER,
                updated_at=to_iso(self._context.clock.now()),
                lookups=() if document is None else tuple(shape.lookups(document)),
                columns=None if document is None else dict(shape.columns(document)),
            )
            before = StoredRecord(key, None, repaired.stamp, etag=entity.etag)
            operations = business_records.writing(repaired, before)
            kept_rows = {operation.entity.row for operation in operations}
            operations += [Delete(each) for each in lookups if each.row not in kept_rows]
            await self._context.tables.transact(kind.table, operations)

        repair = Repair.REMOVE if document is None else Repair.MEND
        key = shown_key(entity.partition, entity.row.removeprefix("r|"))
        return BrokenEntry(kind.name, key, fault, repair, carry_out)

    async def _broken_imports(self, tenant: str) -> AsyncIterator[BrokenEntry]:
        after: int | None = None
        while records := await self._context.imports.newest_first(tenant, after, _PAGE):
            open_numbers = {
                open_import.number for open_import in await self._context.imports.open_of(tenant)
            }
            for record in records:
                if record.is_broken:
                    yield self._broken_import(record)
                elif record.is_open and record.number not in open_numbers:
                    lost_import = await self._lost_open_import(record)
                    if lost_import is not None:
                        yield lost_import
                elif not record.results_expired_at:
                    async for entry in self._broken_results(record):
                        yield entry
            after = records[-1].number

    async def _lost_open_import(self, record: ImportRecord) -> BrokenEntry | None:
        """The entry for an open import that the sweep does not find; None if it has ended."""
        current = await self._context.imports.read(record.tenant, record.number)
        if current is None or not current.is_open or current.is_broken:
            return None
        is_open = current

        async def carry_out() -> None:
            now = to_iso(self._context.clock.now())
            if not await self._context.imports.reopen(is_open, now):
                raise PreconditionFailedError("the import has ended")

        fault = "the entity by which the sweep finds the open import is not there"
        return BrokenEntry(_IMPORTS, record.import_id, fault, Repair.MEND, carry_out)

    def _broken_import(self, record: ImportRecord) -> BrokenEntry:
        fault = "the record of the import cannot be read"

        async def carry_out() -> None:
            await self._context.imports.close(record, to_iso(self._context.clock.now()))

        if not record.is_open:
            return BrokenEntry(_IMPORTS, record.import_id, fault, Repair.NONE)
        return BrokenEntry(_IMPORTS, record.import_id, fault, Repair.CLOSE, carry_out)

    async def _broken_results(self, record: ImportRecord) -> AsyncIterator[BrokenEntry]:
        async for result in self._results.chunks(record.import_id):
            try:
                await self._results.rows(result)
            except UnreadableDataError as error:
                key = f"{record.import_id} chunk {result.chunk}"
                yield BrokenEntry(_IMPORTS, key, str(error), Repair.NONE)

    async def _calls(self, tenant: str) -> AsyncIterator[BrokenEntry]:
        async for entity in self._context.entities(
            IDEMPOTENCY, encode(tenant), *idempotency_records.KEYS
        ):
            try:
                idempotency_records.from_entity(tenant, "", entity)
            except UnreadableDataError as error:
                # The caller chose the key, which may contain anything.
                key = masked(decode(entity.row.removeprefix("k|")))
                yield self._context.removable_entry(
                    _CALLS, IDEMPOTENCY, key, str(error), [Delete(entity)]
                )

    async def _setup(self, tenant: str) -> AsyncIterator[BrokenEntry]:
        async for entity in self._context.entities(INTEGRATIONS, encode(tenant)):
            try:
                integration_from_entity(entity)
            except UnreadableDataError as error:
                fault = f"{error}; mend it with `integration set`"
                yield BrokenEntry(SETUP, decode(entity.row), fault, Repair.NONE)


def masked(text: str) -> str:
    """At most the last four of eight or more characters."""
    return f"***{text[-_MOST_SHOWN:]}" if len(text) >= 2 * _MOST_SHOWN else "***"


def _check(shape: StoredShape, entity: Entity) -> int:
    """The highest import number in a record. Raises UnreadableDataError if it is broken."""
    record = business_records.from_entity(entity)
    record.stamp.results()
    if record.document is not None:
        with reading("a stored record"):
            shape.check(record.document)
    return max(record.stamp.number, record.ended.closed_through, *record.ended.codes, 0)


def _document(shape: StoredShape, entity: Entity) -> Document | None:
    """The document of a broken record; None if it cannot be read, and for a tombstone."""
    document = None if entity.flag("Deleted") else readable_json(entity)
    if document is None:
        return None
    try:
        shape.check(document)
    except Exception:
        return None
    return document


def readable_json(entity: Entity) -> Document | None:
    try:
        document: Any = json.loads(join_text("Document", entity.values))
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def shown_key(partition: str, reference: str) -> str:
    group = partition.partition("|")[2]
    return f"{decode(group)} / {decode(reference)}" if group else decode(reference)
