"""Batches as they are read and written: conditional writes, records packed, large ones in blobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from shared.clock import latest_now, to_iso
from shared.errors import PreconditionFailedError, UnreadableDataError
from shared.imports.authdata import batch_records
from shared.imports.authdata import batch_records as stored
from shared.imports.authdata.batch_records import Batch, PartData, StagedPart
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.model import AuthRecord, Employee, Stored
from shared.imports.authdata.rules import ids_asked, triples_asked
from shared.services.background import Offload
from shared.services.record_ranges import SMALL, load_lookups, load_records
from shared.storage import business_records
from shared.storage.business_records import RecordKey, StoredRecord, row_of
from shared.storage.entities import compress_json, encode, expand_json
from shared.storage.names import AUTH_BATCHES, AUTH_STAGING
from shared.storage.ports import Blobs, Delete, Entity, Tables, Upsert, reading

_BYTES_PER_STAGED_RECORD = 250
_GROWS = 4
_READ_AT_ONCE = 1_000


class BatchStore:
    """The batches of all tenants. Writes raise PreconditionFailedError where a batch moved on."""

    def __init__(self, tables: Tables, blobs: Blobs, offload: Offload) -> None:
        self._tables = tables
        self._blobs = blobs
        self._offload = offload

    async def read(self, tenant: str, file_log_id: str) -> Batch | None:
        """The batch of that id in this tenant."""
        partition = stored.partition_of(tenant, file_log_id)
        entity = await self._tables.get(AUTH_STAGING, partition, stored.BATCH_ROW)
        return None if entity is None else stored.from_entity(tenant, file_log_id, entity)

    async def pack(self, tenant: str, part_id: str, records: Sequence[AuthRecord]) -> PartData:
        """The records of a call, ready to be appended; a large part is in its blob already."""
        size = _BYTES_PER_STAGED_RECORD * len(records)
        data = await self._offload(size, _packed, records)
        part = StagedPart(part_id, len(records))
        if len(data) <= stored.MAX_INLINE:
            return PartData(part, data)
        blob = stored.part_blob(tenant, part_id)
        await self._blobs.put(AUTH_BATCHES, blob, [data])
        return PartData(part, blob=blob)

    async def discard(self, added: PartData) -> None:
        """Remove what was packed and could not be appended."""
        if added.blob:
            await self._blobs.delete(AUTH_BATCHES, added.blob)

    async def append(self, batch: Batch, added: PartData, now: str) -> None:
        """Put a call's records into a batch as it was read, or into a new one."""
        if not batch.etag:
            await self._note(batch)
        grown = replace(batch, parts=(*batch.parts, added.part), changed_at=now)
        await self._tables.transact(AUTH_STAGING, stored.appending(grown, added))

    async def change(self, batch: Batch) -> Batch:
        """Write a batch in place of what was read, or a new one."""
        if not batch.etag:
            await self._note(batch)
        etag = await self._tables.write(AUTH_STAGING, stored.writing(batch))
        return replace(batch, etag=etag)

    async def records(self, batch: Batch) -> list[AuthRecord]:
        """Every record of a batch, in the order in which they were appended.

        Raises UnreadableDataError where a part is lost or broken.
        """
        partition = stored.partition_of(batch.tenant, batch.file_log_id)
        entities = await self._tables.query(AUTH_STAGING, partition, *stored.PARTS)
        found = {entity.row: entity for entity in entities}
        records: list[AuthRecord] = []
        for part in batch.parts:
            data = await self._data(found.get(stored.part_row(part)), part)
            size = _GROWS * len(data)
            unpacked = await self._offload(size, _unpacked, data, len(records))
            if len(unpacked) != part.rows:
                raise UnreadableDataError("the records of a batch")
            records += unpacked
        return records

    async def noted_before(self, tenant: str, moment: datetime, now: datetime) -> list[Entity]:
        """Index entities of batches that were opened before then; `Batch` is the batch's id.

        Also of those that a clock opened which was ahead.
        """
        partition = encode(tenant)
        found: list[Entity] = []
        for first, last in (
            stored.index_before(to_iso(moment)),
            stored.index_after(latest_now(now)),
        ):
            found += await self._tables.query(
                AUTH_STAGING, partition, first, last, most=_READ_AT_ONCE
            )
        return found

    async def delete_index(self, noted: Entity) -> None:
        """Remove an index entity."""
        await self._remove(noted)

    async def forget_before(self, tenant: str, moment: datetime, now: datetime) -> int:
        """Forget batches that were tidied up before then, with their plans; how many those were.

        Those that a clock tidied up which was ahead are noted anew, as of now.
        """
        await self._note_anew(tenant, now)
        first, last = stored.done_before(to_iso(moment))
        found = await self._tables.query(
            AUTH_STAGING, encode(tenant), first, last, most=_READ_AT_ONCE
        )
        for noted in found:
            partition = stored.partition_of(tenant, noted.text("Batch"))
            await self._remove(Entity(partition, stored.BATCH_ROW, {}))
            if noted.text("ImportId"):
                plan = batch_records.plan_partition(tenant, noted.text("ImportId"))
                await self._remove(Entity(plan, batch_records.PLAN_ROW, {}))
            await self._remove(noted)
        return len(found)

    async def _note_anew(self, tenant: str, now: datetime) -> None:
        first, last = stored.done_after(latest_now(now))
        for noted in await self._tables.query(
            AUTH_STAGING, encode(tenant), first, last, most=_READ_AT_ONCE
        ):
            anew = stored.done_row(to_iso(now), noted.text("Batch"))
            await self._tables.write(
                AUTH_STAGING, Upsert(Entity(noted.partition, anew, noted.values))
            )
            await self._remove(noted)

    async def forget_unreadable(self, tenant: str, file_log_id: str, now: str) -> None:
        """Remove the records of a batch that cannot be read itself, and note that this is done."""
        await self.forget_records(Batch(tenant, file_log_id, now, now), now)

    async def forget_records(self, batch: Batch, now: str) -> None:
        """Remove the records of a batch that needs them no more, and note that this is done."""
        await self._tables.write(AUTH_STAGING, Upsert(stored.done_entity(batch, now)))
        partition = stored.partition_of(batch.tenant, batch.file_log_id)
        for entity in await self._tables.query(AUTH_STAGING, partition, *stored.PARTS):
            if entity.text("Blob"):
                await self._blobs.delete(AUTH_BATCHES, entity.text("Blob"))
            await self._remove(entity)

    async def _note(self, batch: Batch) -> None:
        """The index entity goes in before the batch, so that none is ever forgotten."""
        await self._tables.write(AUTH_STAGING, Upsert(stored.index_entity(batch)))

    async def _remove(self, entity: Entity) -> None:
        try:
            await self._tables.write(AUTH_STAGING, Delete(replace(entity, etag="")))
        except PreconditionFailedError:
            return

    async def _data(self, entity: Entity | None, part: StagedPart) -> bytes:
        if entity is not None:
            held = stored.part_from_entity(entity, part)
            data: bytes | None = held.data
            if held.blob:
                data = await self._blobs.read(AUTH_BATCHES, held.blob)
            if data:
                return data
        raise UnreadableDataError("the records of a batch")


def _packed(records: Sequence[AuthRecord]) -> bytes:
    return compress_json([record.pack() for record in records])


@reading("the records of a batch")
def _unpacked(data: bytes, before: int) -> list[AuthRecord]:
    return [AuthRecord.unpack(before + at, row) for at, row in enumerate(expand_json(data))]


# What is stored of employees, as a batch needs to know it: by id, and by triple of values.
#
# An employee is a record `r|<id>` in the tenant's partition of `AuthData`; its triple is a look-up
# entity `x|<triple>|<id>` in the same partition, written in the same transaction.

_BYTES_PER_EMPLOYEE = 1_000
_RECORDS = ("r|", "r|~")


def employee_key(tenant: str, employee_id: str) -> RecordKey:
    """Where an employee is stored."""
    return RecordKey(encode(tenant), row_of(employee_id))


class Employees:
    """Reads the tenant's partition of `AuthData`; writes nothing."""

    def __init__(self, tables: Tables, offload: Offload) -> None:
        self._tables = tables
        self._offload = offload

    async def known_to(
        self, tenant: str, records: Sequence[AuthRecord], *, is_counted: bool
    ) -> Stored:
        """Everything stored that these records touch; `count` only where it is asked for."""
        size = _BYTES_PER_EMPLOYEE * len(records)
        asked = {row_of(name): name for name in ids_asked(records)}
        by_row, broken = await self._load(tenant, set(asked))
        by_id = Stored({employee.employee_id: employee for employee in by_row.values()})
        triples = await self._offload(size, triples_asked, records, by_id)
        rows = await load_lookups(self._tables, AUTHDATA.table, encode(tenant), sorted(triples))
        holders = {name: f"r|{reference}" for name, reference in rows.items()}
        more = await self._load(tenant, set(holders.values()) - by_row.keys() - broken)
        by_row |= more[0]
        # An id that is not asked for is known only from its row key, which is as good a name.
        ids = {row: employee.employee_id for row, employee in by_row.items()}
        ids |= {row: asked.get(row, row) for row in broken | more[1]}
        return Stored(
            employees={employee.employee_id: employee for employee in by_row.values()},
            holders={name: ids[row] for name, row in holders.items() if row in ids},
            count=await self.count(tenant) if is_counted else 0,
            unreadable=frozenset(ids[row] for row in broken | more[1]),
        )

    async def stored_under(self, tenant: str, ids: Iterable[str]) -> dict[str, StoredRecord]:
        """The records of some employees with their stamps and ETags, by employee id."""
        rows = {row_of(name): name for name in ids}
        found = await self._entities(tenant, sorted(rows))
        return {
            rows[row]: business_records.from_any_entity(entity) for row, entity in found.items()
        }

    async def count(self, tenant: str) -> int:
        """How many employees there are; a request for each thousand."""
        found = await self._tables.query(
            AUTHDATA.table, encode(tenant), *_RECORDS, select=["Deleted"]
        )
        return sum(1 for entity in found if not entity.flag("Deleted"))

    async def _load(self, tenant: str, rows: set[str]) -> tuple[dict[str, Employee], set[str]]:
        """Employees by row key, and the row keys of those that cannot be read."""
        found = await self._entities(tenant, sorted(rows))
        return await self._offload(_BYTES_PER_EMPLOYEE * len(found), _employees, found)

    async def _entities(self, tenant: str, rows: Sequence[str]) -> dict[str, Entity]:
        return await load_records(self._tables, AUTHDATA.table, encode(tenant), rows, one_in=SMALL)


def _employees(found: dict[str, Entity]) -> tuple[dict[str, Employee], set[str]]:
    employees: dict[str, Employee] = {}
    broken: set[str] = set()
    for row, entity in found.items():
        try:
            with reading("an employee"):
                document = business_records.from_entity(entity).document
                if document is not None:
                    employees[row] = Employee.of(document)
        except UnreadableDataError:
            broken.add(row)
    return employees, broken
