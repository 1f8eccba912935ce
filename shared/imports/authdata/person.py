"""What is stored about a person of authentication data: the employee, batches and plans."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from shared.errors import UnreadableDataError
from shared.imports.authdata import batch_records
from shared.imports.authdata.batch_records import Batch, BatchState
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.hashing import Fingerprints
from shared.imports.authdata.model import EMPLOYEE_ID, Employee
from shared.imports.authdata.store import unpack_records
from shared.imports.import_type import Document
from shared.imports.persons import PersonKeys
from shared.services.persons.search import (
    BlobRange,
    PersonSearch,
    Trace,
    deletion_trace,
    former_range,
    former_values_trace,
    shown_record,
)
from shared.storage.entities import encode
from shared.storage.import_records import ImportRecord
from shared.storage.names import AUTH_BATCHES, AUTH_STAGING
from shared.storage.ports import Entity, EntityRange, Replace


class AuthdataPerson:
    """`PersonSource` of authentication data."""

    has_key_variants = False

    async def find(self, search: PersonSearch) -> AsyncIterator[Trace]:
        """See `PersonSource.find`. An employee had other ids before it was renamed."""
        keys = search.keys
        if not keys.employee_ids:
            return
        async for entity in search.entities(AUTHDATA.table, encode(search.tenant), "r|", "r|~"):
            stored = search.read_record(entity)
            is_own_row = entity.row[2:] in {encode(each) for each in keys.employee_ids}
            if stored.is_broken and not is_own_row:
                search.unreadable[AUTHDATA.name] += 1
                continue
            former = await search.former(stored)
            before = None if former is None else former.document
            present_id = _id_of(stored.document)
            if is_own_row:
                for document in (stored.document, before):
                    _note(keys, document)
                yield deletion_trace(
                    AUTHDATA.name if stored.document is not None else "deleted records",
                    AUTHDATA.table,
                    entity,
                    blobs=former_range(stored),
                    shown=shown_record(
                        stored.document, former, stored.updated_at, (present_id or "",)
                    ),
                )
            elif before is not None and _id_of(before) in keys.employee_ids:
                if present_id is not None:
                    # The employee has this id now.
                    keys.employee_ids.add(present_id)
                    continue
                yield former_values_trace(
                    "former values", AUTHDATA.table, entity, former_range(stored), before
                )
        suffixes = tuple(f"|{encode(each)}" for each in keys.employee_ids)
        async for entity in search.entities(AUTHDATA.table, encode(search.tenant), "x|", "x|~"):
            if entity.row.endswith(suffixes):
                keys.triples.add(entity.row.split("|")[1])
                yield deletion_trace("index entries", AUTHDATA.table, entity)
        async for trace in self._batches(search):
            yield trace

    def names_row(self, keys: PersonKeys, row: Mapping[str, Any]) -> bool:
        """See `PersonSource.names_row`. The same values name the same person under another id."""
        if row.get(EMPLOYEE_ID.lower()) in keys.employee_ids:
            return True
        prints = row.get("prints")
        if not prints or not keys.triples:
            return False
        return not keys.triples.isdisjoint(Fingerprints.unpack(prints).triples)

    def names_key(self, keys: PersonKeys, key: Sequence[str | None]) -> bool:
        """See `PersonSource.names_key`."""
        return key[0] in keys.employee_ids

    def files_of(self, record: ImportRecord) -> Sequence[BlobRange]:  # noqa: ARG002
        """See `PersonSource.files_of`. Batches are found by their own entities."""
        return ()

    async def _batches(self, search: PersonSearch) -> AsyncIterator[Trace]:
        """The records of batches that have ended, which nothing needs any more, and the decisions
        of plans.
        """
        own = encode(search.tenant)
        ended: set[str] = set()
        range_ = EntityRange(f"{own}|", f"{own}|~", "batch", "p|~")
        async for entity in search.range(AUTH_STAGING, range_):
            if entity.row == batch_records.BATCH_ROW:
                if await _has_ended(search, _batch(search.tenant, entity)):
                    ended.add(entity.partition)
            elif entity.row == batch_records.PLAN_ROW:
                if any(name.startswith("Data") and value for name, value in entity.values.items()):
                    kept = {n: v for n, v in entity.values.items() if not n.startswith("Data")}
                    write = Replace(Entity(entity.partition, entity.row, kept, entity.etag))
                    yield Trace("plans of batches", AUTH_STAGING, write)
                if entity.text("Blob"):
                    plan = BlobRange(AUTH_BATCHES, entity.text("Blob"))
                    yield Trace("plans of batches", blobs=(plan,))
            elif entity.partition in ended:
                blob = entity.text("Blob")
                blobs = (BlobRange(AUTH_BATCHES, blob),) if blob else ()
                yield deletion_trace("records of ended batches", AUTH_STAGING, entity, blobs=blobs)


async def staged_batches_of(search: PersonSearch) -> list[str]:
    """The ids of the batches whose records name the person and are still to be processed."""
    if not search.keys.employee_ids:
        return []
    own = encode(search.tenant)
    batches: dict[str, Batch | None] = {}
    names: set[str] = set()
    async for entity in search.range(
        AUTH_STAGING, EntityRange(f"{own}|", f"{own}|~", "batch", "p|~")
    ):
        if entity.row == batch_records.BATCH_ROW:
            batches[entity.partition] = _batch(search.tenant, entity)
            continue
        batch = batches.get(entity.partition)
        if batch is None or batch.file_log_id in names or await _has_ended(search, batch):
            continue
        data = batch_records.part_bytes(entity)
        if entity.text("Blob"):
            data = await search.blobs.read(AUTH_BATCHES, entity.text("Blob")) or b""
        try:
            records = unpack_records(data, 0) if data else []
        except UnreadableDataError:
            continue
        if any(
            record.employee_id in search.keys.employee_ids
            or not search.keys.triples.isdisjoint(record.fingerprints.triples)
            for record in records
        ):
            names.add(batch.file_log_id)
    return sorted(names)


async def _has_ended(search: PersonSearch, batch: Batch | None) -> bool:
    """Whether nothing needs the records of a batch any more."""
    if batch is not None and batch.state is BatchState.PROCESSING:
        return await search.has_ended(batch.import_id)
    return batch is None or batch.state is not BatchState.STAGED


def _batch(tenant: str, entity: Entity) -> Batch | None:
    try:
        return batch_records.from_entity(tenant, entity.partition.partition("|")[2], entity)
    except UnreadableDataError:
        return None


def _id_of(document: Document | None) -> str | None:
    return None if document is None else document.get(EMPLOYEE_ID)


def _note(keys: PersonKeys, document: Document | None) -> None:
    """Add the id and the values of an employee to the keys."""
    if document is None:
        return
    employee = Employee.from_document(document)
    keys.employee_ids.add(employee.employee_id)
    if employee.triple is not None:
        keys.triples.add(employee.triple)
