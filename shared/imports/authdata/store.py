"""Reads and writes batches: conditional writes, packed records, blobs for large calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from shared.clock import latest_now, to_iso
from shared.errors import PreconditionFailedError, UnreadableDataError
from shared.imports.authdata import batch_records
from shared.imports.authdata.batch_records import Batch, PartData, StagedPart
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.model import AuthRecord, Employee, StoredEmployees
from shared.imports.authdata.rules import required_ids, required_triples
from shared.services.background import Offload
from shared.services.record_repair import BrokenEntry, Repair, RepairContext
from shared.services.tenant_work import OPEN_BATCHES, WorkNotes
from shared.storage import business_records
from shared.storage.business_records import (
    SMALL,
    RecordKey,
    StoredRecord,
    load_lookups,
    load_records,
    row_of,
)
from shared.storage.entities import compress_json, encode, expand_json
from shared.storage.names import AUTH_BATCHES, AUTH_STAGING
from shared.storage.ports import Blobs, Delete, Entity, Tables, Upsert, reading

_BYTES_PER_STAGED_RECORD = 250
_UNPACKED_FACTOR = 4
_PAGE_SIZE = 1_000


class BatchStore:
    """The batches of all tenants; writes raise PreconditionFailedError if a batch has changed."""

    def __init__(self, tables: Tables, blobs: Blobs, offload: Offload) -> None:
        self._tables = tables
        self._blobs = blobs
        self._offload = offload
        self._work = WorkNotes(tables, OPEN_BATCHES)

    async def read(self, tenant: str, file_log_id: str) -> Batch | None:
        partition = batch_records.partition_of(tenant, file_log_id)
        entity = await self._tables.get(AUTH_STAGING, partition, batch_records.BATCH_ROW)
        return None if entity is None else batch_records.from_entity(tenant, file_log_id, entity)

    async def pack(self, tenant: str, part_id: str, records: Sequence[AuthRecord]) -> PartData:
        """Pack the records of a call for `append`; a large part is already written to its blob."""
        size = _BYTES_PER_STAGED_RECORD * len(records)
        data = await self._offload(size, _pack_records, records)
        part = StagedPart(part_id, len(records))
        if len(data) <= batch_records.MAX_INLINE:
            return PartData(part, data)
        blob = batch_records.part_blob(tenant, part_id)
        await self._blobs.put(AUTH_BATCHES, blob, [data])
        return PartData(part, blob=blob)

    async def discard(self, added: PartData) -> None:
        """Remove the blob of a part that was not appended."""
        if added.blob:
            await self._blobs.delete(AUTH_BATCHES, added.blob)

    async def append(self, batch: Batch, added: PartData, now: str) -> None:
        """Append a call's records to a batch, which may be new."""
        if not batch.etag:
            await self._write_index(batch)
        extended = replace(batch, parts=(*batch.parts, added.part), changed_at=now)
        await self._tables.transact(AUTH_STAGING, batch_records.append_operations(extended, added))

    async def change(self, batch: Batch) -> Batch:
        """Write a batch, which may be new, on its ETag."""
        if not batch.etag:
            await self._write_index(batch)
        etag = await self._tables.write(AUTH_STAGING, batch_records.write_operation(batch))
        return replace(batch, etag=etag)

    async def records(self, batch: Batch) -> list[AuthRecord]:
        """All records of a batch, in the order in which they were appended.

        Raises UnreadableDataError where a part is lost or broken.
        """
        partition = batch_records.partition_of(batch.tenant, batch.file_log_id)
        entities = await self._tables.query(AUTH_STAGING, partition, *batch_records.PARTS)
        entity_by_row = {entity.row: entity for entity in entities}
        records: list[AuthRecord] = []
        for part in batch.parts:
            data = await self._read_part(entity_by_row.get(batch_records.part_row(part)), part)
            size = _UNPACKED_FACTOR * len(data)
            unpacked = await self._offload(size, unpack_records, data, len(records))
            if len(unpacked) != part.rows:
                raise UnreadableDataError("the records of a batch")
            records += unpacked
        return records

    async def find_opened_before(
        self, tenant: str, before: datetime, now: datetime
    ) -> list[Entity]:
        """Index entities of batches that were opened before `before`; `Batch` is the batch's id.

        This includes batches that seem to be opened in the future, by a clock that was ahead.
        """
        partition = encode(tenant)
        result: list[Entity] = []
        for first, last in (
            batch_records.index_before(to_iso(before)),
            batch_records.index_after(latest_now(now)),
        ):
            result += await self._tables.query(
                AUTH_STAGING, partition, first, last, most=_PAGE_SIZE
            )
        return result

    async def page_of_ids(
        self, tenant: str, after: str, since: str, most: int
    ) -> list[tuple[str, str]]:
        """Row keys of index entities after that one, at most `most`, each with the batch's id.

        First come the batches that are not tidied up, the oldest first, then those that were tidied
        up since that time, in this order.
        """
        entities: list[Entity] = []
        for first, last in (batch_records.OPENED, batch_records.done_since(since)):
            if after <= last and len(entities) < most:
                entities += await self._tables.query(
                    AUTH_STAGING,
                    encode(tenant),
                    first,
                    last,
                    after=after,
                    select=["Batch"],
                    most=most - len(entities),
                )
        return [(entity.row, entity.text("Batch")) for entity in entities]

    async def has_opened(self, tenant: str) -> bool:
        """Whether a batch of the tenant is not tidied up."""
        first, last = batch_records.OPENED
        entities = await self._tables.query(
            AUTH_STAGING, encode(tenant), first, last, select=[], most=1
        )
        return bool(entities)

    async def delete_index(self, index_entity: Entity) -> None:
        await self._remove(index_entity)

    async def forget_before(self, tenant: str, before: datetime, now: datetime) -> int:
        """Delete batches tidied up before `before`, with their plans; returns their number.

        Batches that seem to be tidied up in the future, by a clock that was ahead, count from now.
        """
        await self._reset_future_times(tenant, now)
        first, last = batch_records.done_before(to_iso(before))
        index_entities = await self._tables.query(
            AUTH_STAGING, encode(tenant), first, last, most=_PAGE_SIZE
        )
        for index_entity in index_entities:
            partition = batch_records.partition_of(tenant, index_entity.text("Batch"))
            await self._remove(Entity(partition, batch_records.BATCH_ROW, {}))
            if index_entity.text("ImportId"):
                plan = batch_records.plan_partition(tenant, index_entity.text("ImportId"))
                await self._remove(Entity(plan, batch_records.PLAN_ROW, {}))
            await self._remove(index_entity)
        return len(index_entities)

    async def _reset_future_times(self, tenant: str, now: datetime) -> None:
        first, last = batch_records.done_after(latest_now(now))
        for index_entity in await self._tables.query(
            AUTH_STAGING, encode(tenant), first, last, most=_PAGE_SIZE
        ):
            row = batch_records.done_row(to_iso(now), index_entity.text("Batch"))
            await self._tables.write(
                AUTH_STAGING, Upsert(Entity(index_entity.partition, row, index_entity.values))
            )
            await self._remove(index_entity)

    async def delete_unreadable(self, tenant: str, file_log_id: str, now: str) -> None:
        """Remove the records of an unreadable batch, and mark it as tidied up."""
        await self.delete_records(Batch(tenant, file_log_id, now, now), now)

    async def delete_records(self, batch: Batch, now: str) -> None:
        """Remove the records of a batch that no longer needs them, and mark it as tidied up."""
        await self._tables.write(AUTH_STAGING, Upsert(batch_records.done_entity(batch, now)))
        partition = batch_records.partition_of(batch.tenant, batch.file_log_id)
        for entity in await self._tables.query(AUTH_STAGING, partition, *batch_records.PARTS):
            if entity.text("Blob"):
                await self._blobs.delete(AUTH_BATCHES, entity.text("Blob"))
            await self._remove(entity)

    async def _write_index(self, batch: Batch) -> None:
        """Write the index entity, before the batch, so that every batch is tidied up."""
        await self._work.note(batch.tenant, batch.opened_at)
        await self._tables.write(AUTH_STAGING, Upsert(batch_records.index_entity(batch)))

    async def _remove(self, entity: Entity) -> None:
        try:
            await self._tables.write(AUTH_STAGING, Delete(replace(entity, etag="")))
        except PreconditionFailedError:
            return

    async def _read_part(self, entity: Entity | None, part: StagedPart) -> bytes:
        if entity is not None:
            part_data = batch_records.part_from_entity(entity, part)
            data: bytes | None = part_data.data
            if part_data.blob:
                data = await self._blobs.read(AUTH_BATCHES, part_data.blob)
            if data:
                return data
        raise UnreadableDataError("the records of a batch")


def _pack_records(records: Sequence[AuthRecord]) -> bytes:
    return compress_json([record.pack() for record in records])


@reading("the records of a batch")
def unpack_records(data: bytes, before: int) -> list[AuthRecord]:
    """The records of a part; `before` is the number of those before it. Raises
    UnreadableDataError.
    """
    return [AuthRecord.unpack(index, row) for index, row in enumerate(expand_json(data), before)]


# Reads the stored employees that a batch needs, by id and by triple of values.
#
# An employee is a record `r|<id>` in the tenant's partition of `AuthData`; its triple is a look-up
# entity `x|<triple>|<id>` in the same partition, written in the same transaction.

_BYTES_PER_EMPLOYEE = 1_000
_RECORDS = ("r|", "r|~")


def employee_key(tenant: str, employee_id: str) -> RecordKey:
    """The key of an employee's record."""
    return RecordKey(encode(tenant), row_of(employee_id))


class Employees:
    """Reads the tenant's partition of `AuthData`."""

    def __init__(self, tables: Tables, offload: Offload) -> None:
        self._tables = tables
        self._offload = offload

    async def load_for_records(
        self, tenant: str, records: Sequence[AuthRecord], *, is_counted: bool
    ) -> StoredEmployees:
        """The stored employees that these records concern; `count` only with `is_counted`."""
        size = _BYTES_PER_EMPLOYEE * len(records)
        id_by_row = {row_of(name): name for name in required_ids(records)}
        by_row, broken = await self._load(tenant, set(id_by_row))
        by_id = StoredEmployees({employee.employee_id: employee for employee in by_row.values()})
        triples = await self._offload(size, required_triples, records, by_id)
        rows = await load_lookups(self._tables, AUTHDATA.table, encode(tenant), sorted(triples))
        holders = {name: f"r|{reference}" for name, reference in rows.items()}
        holders_loaded = await self._load(tenant, set(holders.values()) - by_row.keys() - broken)
        by_row |= holders_loaded[0]
        # An id that is not in the batch is known only by its row key, which identifies it as well.
        ids = {row: employee.employee_id for row, employee in by_row.items()}
        ids |= {row: id_by_row.get(row, row) for row in broken | holders_loaded[1]}
        return StoredEmployees(
            employees={employee.employee_id: employee for employee in by_row.values()},
            holders={name: ids[row] for name, row in holders.items() if row in ids},
            count=await self.count(tenant) if is_counted else 0,
            unreadable=frozenset(ids[row] for row in broken | holders_loaded[1]),
        )

    async def load_stored(self, tenant: str, ids: Iterable[str]) -> dict[str, StoredRecord]:
        """The records of employees with their stamps and ETags, by employee id."""
        rows = {row_of(name): name for name in ids}
        entities = await self._load_entities(tenant, sorted(rows))
        return {
            rows[row]: business_records.from_any_entity(entity) for row, entity in entities.items()
        }

    async def count(self, tenant: str) -> int:
        """The number of employees; this takes a request for each thousand."""
        entities = await self._tables.query(
            AUTHDATA.table, encode(tenant), *_RECORDS, select=["Deleted"]
        )
        return sum(1 for entity in entities if not entity.flag("Deleted"))

    async def _load(self, tenant: str, rows: set[str]) -> tuple[dict[str, Employee], set[str]]:
        """Employees by row key, and the row keys of unreadable ones."""
        entities = await self._load_entities(tenant, sorted(rows))
        return await self._offload(_BYTES_PER_EMPLOYEE * len(entities), _read_employees, entities)

    async def _load_entities(self, tenant: str, rows: Sequence[str]) -> dict[str, Entity]:
        return await load_records(self._tables, AUTHDATA.table, encode(tenant), rows, one_in=SMALL)


def _read_employees(entities: dict[str, Entity]) -> tuple[dict[str, Employee], set[str]]:
    employees: dict[str, Employee] = {}
    broken: set[str] = set()
    for row, entity in entities.items():
        try:
            with reading("an employee"):
                document = business_records.from_entity(entity).document
                if document is not None:
                    employees[row] = Employee.from_document(document)
        except UnreadableDataError:
            broken.add(row)
    return employees, broken


# Finds staged batches that cannot be read (`manage.py records`).

BATCHES = "batches"


async def find_broken_batches(context: RepairContext, tenant: str) -> AsyncIterator[BrokenEntry]:
    async for index_entity in context.entities(AUTH_STAGING, encode(tenant), "b|", "b|~"):
        file_log_id = index_entity.text("Batch")
        partition = batch_records.partition_of(tenant, file_log_id)
        entity = await context.tables.get(AUTH_STAGING, partition, batch_records.BATCH_ROW)
        try:
            if entity is not None:
                batch_records.from_entity(tenant, file_log_id, entity)
        except UnreadableDataError as error:
            # The upkeep of batches removes it.
            yield BrokenEntry(BATCHES, file_log_id, str(error), Repair.NONE)
