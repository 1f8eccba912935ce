"""Finds a worker without the employer: by ExternalWorkerRef, else by PersonnelRef.

Workers are partitioned by employer. The tenant's name index (`shared.services.name_index`) has the
candidates, which are then read. Where the index is not complete yet, the search queries each
employer.
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

_CONCURRENCY = 8
# With two workers of one name the name is ambiguous.
AMBIGUOUS_COUNT = 2


class WorkerSearch:
    """Reads the workers of a tenant."""

    def __init__(self, tables: Tables, names: NameIndex) -> None:
        self._tables = tables
        self._names = names

    async def find(
        self, tenant: str, reference: str, limit: int = AMBIGUOUS_COUNT
    ) -> Sequence[WorkerKey]:
        """The workers with this reference, at most `limit`."""
        is_complete = await self._names.is_complete(WORKERS, tenant)
        for kind in (EXTERNAL, PERSONNEL):
            name = FoundBy(kind, reference)
            workers = await self._find_by(tenant, name, limit, in_index=is_complete)
            if workers:
                return workers
        return ()

    async def _find_by(
        self, tenant: str, name: FoundBy, limit: int, *, in_index: bool
    ) -> list[WorkerKey]:
        """The first workers that have the name."""
        workers: list[WorkerKey] = []
        if in_index:
            async for candidates in self._names.candidates(WORKERS, tenant, name):
                for start in range(0, len(candidates), _CONCURRENCY):
                    keys = [
                        WorkerKey(*candidate)
                        for candidate in candidates[start : start + _CONCURRENCY]
                    ]
                    workers += await self._filter_by_name(tenant, name, keys)
                    if len(workers) >= limit:
                        return workers[:limit]
            return workers
        for group in await self._tables.query(WORKERS.table, encode(tenant), *GROUPS):
            keys = await self._candidates_of_employer(tenant, group_of(group), name)
            workers += await self._filter_by_name(tenant, name, keys)
        return workers[:limit]

    async def _filter_by_name(
        self, tenant: str, name: FoundBy, keys: Sequence[WorkerKey]
    ) -> list[WorkerKey]:
        """The workers among `keys` that exist and have the name."""
        entities = await asyncio.gather(
            *(
                self._tables.get(
                    WORKERS.table, partition_of(tenant, key.employer), row_of(key.personnel)
                )
                for key in keys
            )
        )
        return [key for key, entity in zip(keys, entities, strict=True) if _has_name(entity, name)]

    async def _candidates_of_employer(
        self, tenant: str, group: str, name: FoundBy
    ) -> list[WorkerKey]:
        """The workers of an employer that may have the name, without the name index."""
        by_personnel = WorkerKey(group, name.name)
        if name.kind != EXTERNAL:
            return [by_personnel]
        first, last = lookup_range(name.name)
        pointers = await self._tables.query(
            WORKERS.table, partition_of(tenant, group), first, last, select=[]
        )
        rows = [f"r|{pointer.row.removeprefix(first)}" for pointer in pointers]
        entities = [
            await self._tables.get(WORKERS.table, partition_of(tenant, group), row) for row in rows
        ]
        documents = [_readable_worker(entity) for entity in entities]
        return [
            by_personnel,
            *(WorkerKey(group, document["PersonnelRef"]) for document in documents if document),
        ]


def _has_name(entity: Entity | None, name: FoundBy) -> bool:
    """Whether a record has the name; an unreadable record has only its own reference."""
    if entity is None:
        return False
    record = from_any_entity(entity)
    if record.is_broken:
        return name.kind == PERSONNEL
    return record.document is not None and name in WORKERS.record_rules.found_by(record.document)


def _readable_worker(entity: Entity | None) -> Document | None:
    """The record; None where it does not exist, is a tombstone, or is unreadable."""
    document = None if entity is None else from_any_entity(entity).document
    return document if document is not None and "PersonnelRef" in document else None
