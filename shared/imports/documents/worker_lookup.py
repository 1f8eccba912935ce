"""Finding a worker whose employer is not named: by ExternalWorkerRef, else by PersonnelRef.

Workers are partitioned by employer. The tenant's index of names tells which workers may be meant,
and those are read (`shared.services.name_index`). Only a tenant whose workers are not all in the
index yet is asked employer by employer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from shared.imports.documents.model import WorkerKey
from shared.imports.import_type import Document, FoundBy
from shared.imports.workers.definition import EXTERNAL, PERSONNEL, WORKERS
from shared.services.name_index import NameIndex
from shared.storage.business_records import from_any_entity, lookup_range, partition_of, row_of
from shared.storage.entities import encode
from shared.storage.partition_index import GROUPS, group_of
from shared.storage.ports import Entity, Tables

_AT_ONCE = 8
# Workers of one name: with the second one the name is ambiguous.
AMBIGUOUS = 2


class WorkerSearch:
    """Reads the workers of a tenant."""

    def __init__(self, tables: Tables, names: NameIndex) -> None:
        self._tables = tables
        self._names = names

    async def find(self, tenant: str, reference: str, most: int = AMBIGUOUS) -> Sequence[WorkerKey]:
        """The workers that this reference may mean: none, one, or up to `most`."""
        is_complete = await self._names.is_complete(WORKERS, tenant)
        for kind in (EXTERNAL, PERSONNEL):
            name = FoundBy(kind, reference)
            found = await self._find_by(tenant, name, most, in_index=is_complete)
            if found:
                return found
        return ()

    async def _find_by(
        self, tenant: str, name: FoundBy, most: int, *, in_index: bool
    ) -> list[WorkerKey]:
        """The first workers that have the name."""
        found: list[WorkerKey] = []
        if in_index:
            async for candidates in self._names.candidates(WORKERS, tenant, name):
                for at in range(0, len(candidates), _AT_ONCE):
                    keys = [WorkerKey(*each) for each in candidates[at : at + _AT_ONCE]]
                    found += await self._having(tenant, name, keys)
                    if len(found) >= most:
                        return found[:most]
            return found
        for group in await self._tables.query(WORKERS.table, encode(tenant), *GROUPS):
            keys = await self._in_group(tenant, group_of(group), name)
            found += await self._having(tenant, name, keys)
        return found[:most]

    async def _having(
        self, tenant: str, name: FoundBy, keys: Sequence[WorkerKey]
    ) -> list[WorkerKey]:
        """Those of the workers that are there and have the name."""
        entities = await asyncio.gather(
            *(
                self._tables.get(
                    WORKERS.table, partition_of(tenant, key.employer), row_of(key.personnel)
                )
                for key in keys
            )
        )
        return [key for key, entity in zip(keys, entities, strict=True) if _has_name(entity, name)]

    async def _in_group(self, tenant: str, group: str, name: FoundBy) -> list[WorkerKey]:
        """Workers of one employer that may have the name, without the index."""
        own = WorkerKey(group, name.name)
        if name.kind != EXTERNAL:
            return [own]
        first, last = lookup_range(name.name)
        pointers = await self._tables.query(
            WORKERS.table, partition_of(tenant, group), first, last, select=[]
        )
        rows = [f"r|{pointer.row.removeprefix(first)}" for pointer in pointers]
        pointed = [
            await self._tables.get(WORKERS.table, partition_of(tenant, group), row) for row in rows
        ]
        documents = [_document(entity) for entity in pointed]
        return [own, *(WorkerKey(group, each["PersonnelRef"]) for each in documents if each)]


def _has_name(entity: Entity | None, name: FoundBy) -> bool:
    """Whether a record has the name; of one that cannot be read only its own reference is known."""
    if entity is None:
        return False
    record = from_any_entity(entity)
    if record.is_broken:
        return name.kind == PERSONNEL
    return record.document is not None and name in WORKERS.record_rules.found_by(record.document)


def _document(entity: Entity | None) -> Document | None:
    """The record; None where there is none, a tombstone only, or one that cannot be read."""
    document = None if entity is None else from_any_entity(entity).document
    return document if document is not None and "PersonnelRef" in document else None
