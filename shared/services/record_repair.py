"""Finds what is stored of a tenant and cannot be read; mends or removes it (`manage.py records`).

A record whose document can be read is mended: its stamp says that the tenant's newest import wrote
it, so that nothing older overwrites it, and its look-ups are made anew. Any other one is removed
with its look-ups and leaves a tombstone, so that the next import stores it anew. Each repair is
conditional on what was found: what has changed since is left alone.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from shared import log
from shared.auth.integrations import integration_from_entity
from shared.clock import Clock, to_iso
from shared.errors import PreconditionFailedError, UnreadableDataError
from shared.imports.authdata import batch_records
from shared.imports.documents.rounds import RoundStatus
from shared.imports.import_type import Document, ImportType, RecordRules
from shared.imports.licenses import store
from shared.imports.licenses.definition import LICENSES
from shared.imports.licenses.license_set import Change, StoredLicense
from shared.imports.licenses.model import employee_of
from shared.imports.registry import IMPORT_TYPES
from shared.services.import_log import ImportLog
from shared.services.results import Results
from shared.storage import business_records, idempotency_records
from shared.storage.business_records import RecordKey, Stamp, StoredRecord
from shared.storage.entities import decode, encode, join_text
from shared.storage.import_records import ImportRecord
from shared.storage.names import AUTH_STAGING, COMMUNICATION_ROUNDS, IDEMPOTENCY, INTEGRATIONS
from shared.storage.partition_index import record_partitions
from shared.storage.ports import Delete, Entity, Operation, Tables, query_pages, reading

_PAGE = 500
_NO_IMPORT = "it was written by an import that does not exist"
_MOST_SHOWN = 4
_CALLS, _BATCHES, _SETUP = "calls", "batches", "setup"
# What can be checked: records by import type, imports with their results, calls with an
# Idempotency-Key, batches of authentication data, and the tenant's integrations and rounds.
AREAS = (*IMPORT_TYPES, "imports", _CALLS, _BATCHES, _SETUP)


class Repair(StrEnum):
    """What a repair does to a broken thing."""

    MEND = "mend"
    REMOVE = "remove"
    CLOSE = "close"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class BrokenThing:
    """Something stored that cannot be read. `key` names it, sensitive parts masked."""

    area: str
    key: str
    fault: str
    repair: Repair
    carry_out: Callable[[], Awaitable[None]] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class StoredShape:
    """What a type derives from a stored document.

    `check` raises what a document of another shape makes its readers raise; `lookups` are the row
    keys of its look-ups, `columns` what is promoted to columns.
    """

    check: Callable[[Document], object]
    lookups: Callable[[Document], Sequence[str]]
    columns: Callable[[Document], Mapping[str, str]]


def shape_of_rules(rules: RecordRules) -> StoredShape:
    """That of a type whose rows each name one record."""

    def check(document: Document) -> None:
        rules.lookups(document)
        rules.columns(document)

    return StoredShape(check, rules.lookups, rules.columns)


class RecordRepair:
    """Goes through the tables of one tenant; writes only in `carry_out`."""

    def __init__(
        self,
        tables: Tables,
        imports: ImportLog,
        results: Results,
        clock: Clock,
        shapes: Mapping[str, StoredShape],
    ) -> None:
        """`shapes` by the name of the type, where its rows do not each name one record."""
        self._tables = tables
        self._imports = imports
        self._results = results
        self._clock = clock
        self._shapes = shapes
        self._newest: dict[str, int] = {}

    async def find(self, tenant: str, areas: Sequence[str] = AREAS) -> AsyncIterator[BrokenThing]:
        """Everything broken in these areas, one area after another."""
        for area in areas:
            async for thing in self._of_area(tenant, area):
                yield thing

    async def repair(self, thing: BrokenThing) -> bool:
        """Carry a repair out; False where there is none, or the thing has changed since."""
        if thing.carry_out is None:
            return False
        try:
            await thing.carry_out()
        except PreconditionFailedError:
            return False
        log.event("record.repaired", type=thing.area, step=thing.repair.value)
        return True

    def _of_area(self, tenant: str, area: str) -> AsyncIterator[BrokenThing]:
        match area:
            case LICENSES.name:
                return self._licenses(tenant)
            case "imports":
                return self._broken_imports(tenant)
            case "calls":
                return self._calls(tenant)
            case "batches":
                return self._batches(tenant)
            case "setup":
                return self._setup(tenant)
            case _:
                return self._records(tenant, IMPORT_TYPES[area])

    async def _records(self, tenant: str, kind: ImportType) -> AsyncIterator[BrokenThing]:
        shape = self._shape(kind)
        for partition in await record_partitions(self._tables, kind.table, tenant):
            lookups: defaultdict[str, list[Entity]] = defaultdict(list)
            async for entity in self._entities(kind.table, partition, "x|", "x|~"):
                lookups[entity.row.rpartition("|")[2]].append(entity)
            async for entity in self._entities(kind.table, partition, "r|", "r|~"):
                own = lookups.pop(entity.row.removeprefix("r|"), [])
                try:
                    newest = _check(shape, entity)
                except UnreadableDataError as error:
                    yield self._broken_record(tenant, kind, entity, own, str(error))
                    continue
                if await self._is_of_no_import(tenant, newest):
                    yield self._broken_record(tenant, kind, entity, own, _NO_IMPORT)
            for reference, pointing in lookups.items():
                for entity in pointing:
                    fault = "the record that this look-up names is not there"
                    key = _shown_key(partition, reference)
                    yield self._removal(kind.name, kind.table, key, fault, [Delete(entity)])

    def _shape(self, kind: ImportType) -> StoredShape:
        return self._shapes.get(kind.name) or shape_of_rules(kind.record_rules)

    def _broken_record(
        self, tenant: str, kind: ImportType, entity: Entity, lookups: Sequence[Entity], fault: str
    ) -> BrokenThing:
        shape = self._shape(kind)
        document = _document(shape, entity)

        async def carry_out() -> None:
            key = RecordKey(entity.partition, entity.row)
            number = await self._imports.newest_number(tenant)
            mended = StoredRecord(
                key=key,
                document=document,
                stamp=Stamp(number, -1, "[]"),
                created_by=number,
                created_at=entity.text("CreatedAt"),
                updated_at=to_iso(self._clock.now()),
                lookups=() if document is None else tuple(shape.lookups(document)),
                columns=None if document is None else dict(shape.columns(document)),
            )
            before = StoredRecord(key, None, mended.stamp, etag=entity.etag)
            operations = business_records.writing(mended, before)
            kept = {operation.entity.row for operation in operations}
            operations += [Delete(each) for each in lookups if each.row not in kept]
            await self._tables.transact(kind.table, operations)

        repair = Repair.REMOVE if document is None else Repair.MEND
        key = _shown_key(entity.partition, entity.row.removeprefix("r|"))
        return BrokenThing(kind.name, key, fault, repair, carry_out)

    async def _licenses(self, tenant: str) -> AsyncIterator[BrokenThing]:
        open_numbers = [opened.number for opened in await self._imports.open_of(tenant)]
        for partition in await record_partitions(self._tables, LICENSES.table, tenant):
            held: dict[str, StoredLicense] = {}
            async for entity in self._entities(LICENSES.table, partition, "r|", "r|~"):
                key = entity.row.rpartition("|")[2]
                try:
                    found = store.held_from_entity(entity)
                    if await self._is_of_no_import(tenant, found.number):
                        yield self._broken_license(tenant, entity, key, _NO_IMPORT)
                    if found.document is not None:
                        held[key] = found
                except UnreadableDataError as error:
                    yield self._broken_license(tenant, entity, key, str(error))
                    held[key] = StoredLicense(key, employee_of({}), None, 0)
            async for entity in self._entities(LICENSES.table, partition, "k|", "k|~"):
                key = entity.row.removeprefix("k|")
                fault = _fault_of_owner(entity, is_there=key in held)
                if fault:
                    yield self._broken_owner(entity, held.get(key), fault)
            async for entity in self._entities(LICENSES.table, partition, "j|", "j|~"):
                try:
                    store.log_from_entity(entity)
                except UnreadableDataError as error:
                    number = entity.row.split("|")[1]
                    shown = _shown_key(partition, f"log of import number {int(number)}")
                    if int(number) in open_numbers:
                        yield BrokenThing(LICENSES.name, shown, str(error), Repair.NONE)
                    else:
                        yield self._removal(
                            LICENSES.name, LICENSES.table, shown, str(error), [Delete(entity)]
                        )

    def _broken_license(self, tenant: str, entity: Entity, key: str, fault: str) -> BrokenThing:
        document = _readable_json(entity)
        place = None
        if document is not None:
            employee = employee_of(document)
            if store.license_row(employee, key) == entity.row:
                place = StoredLicense(key, employee, document, 0, entity.text("CreatedAt"))

        async def carry_out() -> None:
            await self._tables.write(LICENSES.table, Delete(entity))
            if place is None:
                owner = Entity(entity.partition, store.key_row(key), {})
                await self._tables.write(LICENSES.table, Delete(owner))
            else:
                number = await self._imports.newest_number(tenant)
                await self._write_license(entity.partition, replace(place, number=number))

        shown = _shown_key(entity.partition, key)
        repair = Repair.REMOVE if place is None else Repair.MEND
        return BrokenThing(LICENSES.name, shown, fault, repair, carry_out)

    def _broken_owner(self, entity: Entity, held: StoredLicense | None, fault: str) -> BrokenThing:
        shown = _shown_key(entity.partition, entity.row.removeprefix("k|"))
        if held is None or held.document is None:
            return self._removal(LICENSES.name, LICENSES.table, shown, fault, [Delete(entity)])
        place = held

        async def carry_out() -> None:
            await self._write_license(entity.partition, place)

        return BrokenThing(LICENSES.name, shown, fault, Repair.MEND, carry_out)

    async def _write_license(self, partition: str, held: StoredLicense) -> None:
        change = Change(held.key, None, held, is_reused=True)
        now = to_iso(self._clock.now())
        operations = store.operations_of(partition, change, held.number, now)
        await self._tables.transact(LICENSES.table, operations)

    async def _broken_imports(self, tenant: str) -> AsyncIterator[BrokenThing]:
        after: int | None = None
        while found := await self._imports.newest_first(tenant, after, _PAGE):
            known = {opened.number for opened in await self._imports.open_of(tenant)}
            for record in found:
                if record.is_broken:
                    yield self._broken_import(record)
                elif record.is_open and record.number not in known:
                    lost = await self._lost_open_import(record)
                    if lost is not None:
                        yield lost
                elif not record.results_expired_at:
                    async for thing in self._broken_results(record):
                        yield thing
            after = found[-1].number

    async def _lost_open_import(self, record: ImportRecord) -> BrokenThing | None:
        """An open import that the sweep does not find; None where it has ended meanwhile."""
        current = await self._imports.read(record.tenant, record.number)
        if current is None or not current.is_open or current.is_broken:
            return None
        is_open = current

        async def carry_out() -> None:
            if not await self._imports.reopen(is_open):
                raise PreconditionFailedError("the import has ended")

        fault = "the entity by which the sweep finds the open import is not there"
        return BrokenThing("imports", record.import_id, fault, Repair.MEND, carry_out)

    def _broken_import(self, record: ImportRecord) -> BrokenThing:
        fault = "the record of the import cannot be read"

        async def carry_out() -> None:
            await self._imports.close(record, to_iso(self._clock.now()))

        if not record.is_open:
            return BrokenThing("imports", record.import_id, fault, Repair.NONE)
        return BrokenThing("imports", record.import_id, fault, Repair.CLOSE, carry_out)

    async def _broken_results(self, record: ImportRecord) -> AsyncIterator[BrokenThing]:
        async for stored in self._results.chunks(record.import_id):
            try:
                await self._results.rows(stored)
            except UnreadableDataError as error:
                key = f"{record.import_id} chunk {stored.chunk}"
                yield BrokenThing("imports", key, str(error), Repair.NONE)

    async def _calls(self, tenant: str) -> AsyncIterator[BrokenThing]:
        async for entity in self._entities(IDEMPOTENCY, encode(tenant), *idempotency_records.KEYS):
            try:
                idempotency_records.from_entity(tenant, "", entity)
            except UnreadableDataError as error:
                # The key is the caller's own word, and may say anything.
                key = masked(decode(entity.row.removeprefix("k|")))
                yield self._removal(_CALLS, IDEMPOTENCY, key, str(error), [Delete(entity)])

    async def _batches(self, tenant: str) -> AsyncIterator[BrokenThing]:
        async for noted in self._entities(AUTH_STAGING, encode(tenant), "b|", "b|~"):
            file_log_id = noted.text("Batch")
            partition = batch_records.partition_of(tenant, file_log_id)
            entity = await self._tables.get(AUTH_STAGING, partition, batch_records.BATCH_ROW)
            try:
                if entity is not None:
                    batch_records.from_entity(tenant, file_log_id, entity)
            except UnreadableDataError as error:
                # The upkeep of batches removes it.
                yield BrokenThing(_BATCHES, file_log_id, str(error), Repair.NONE)

    async def _setup(self, tenant: str) -> AsyncIterator[BrokenThing]:
        async for entity in self._entities(INTEGRATIONS, encode(tenant)):
            try:
                integration_from_entity(entity)
            except UnreadableDataError as error:
                fault = f"{error}; mend it with `integration set`"
                yield BrokenThing(_SETUP, decode(entity.row), fault, Repair.NONE)
        async for entity in self._entities(COMMUNICATION_ROUNDS, encode(tenant)):
            if entity.text("Status") not in list(RoundStatus):
                fault = "the status of the round cannot be read; mend it with `round set`"
                yield BrokenThing(_SETUP, decode(entity.row), fault, Repair.NONE)

    def _removal(
        self, area: str, table: str, key: str, fault: str, operations: Sequence[Operation]
    ) -> BrokenThing:
        async def carry_out() -> None:
            await self._tables.transact(table, operations)

        return BrokenThing(area, key, fault, Repair.REMOVE, carry_out)

    async def _is_of_no_import(self, tenant: str, number: int) -> bool:
        """Whether a number that was just read is higher than that of every import of the tenant."""
        if number > self._newest.get(tenant, -1):
            self._newest[tenant] = await self._imports.newest_number(tenant)
        return number > self._newest[tenant]

    async def _entities(
        self, table: str, partition: str, first: str = "", last: str | None = None
    ) -> AsyncIterator[Entity]:
        async for page in query_pages(self._tables, table, partition, first, last, most=_PAGE):
            for entity in page:
                yield entity


def masked(text: str) -> str:
    """At most the last four of eight or more characters."""
    return f"***{text[-_MOST_SHOWN:]}" if len(text) >= 2 * _MOST_SHOWN else "***"


def _check(shape: StoredShape, entity: Entity) -> int:
    """The highest import number in a record. Raises UnreadableDataError where it is broken."""
    record = business_records.from_entity(entity)
    record.stamp.results()
    if record.document is not None:
        with reading("a stored record"):
            shape.check(record.document)
    return max(record.stamp.number, record.ended.closed_through, *record.ended.codes, 0)


def _document(shape: StoredShape, entity: Entity) -> Document | None:
    """The document of a broken record where that can be read; a tombstone has none."""
    document = None if entity.flag("Deleted") else _readable_json(entity)
    if document is None:
        return None
    try:
        shape.check(document)
    except Exception:
        return None
    return document


def _readable_json(entity: Entity) -> Document | None:
    try:
        document: Any = json.loads(join_text("Document", entity.values))
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _fault_of_owner(entity: Entity, *, is_there: bool) -> str:
    try:
        owner = store.owner_of(entity)
    except UnreadableDataError as error:
        return str(error)
    return "" if owner.is_gone or is_there else "the license of this key is not there"


def _shown_key(partition: str, reference: str) -> str:
    group = partition.partition("|")[2]
    return f"{decode(group)} / {decode(reference)}" if group else decode(reference)
