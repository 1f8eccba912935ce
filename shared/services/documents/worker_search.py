"""Finding a worker whose employer is not named: by ExternalWorkerRef, else by PersonnelRef.

Workers are partitioned by employer, so every employer of the tenant is asked (CONTRACTS 4,
DESIGN 2). A look-up entity stands only where a worker's external reference differs from its own;
where they are equal, the record itself is found under it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from shared.imports.definition import Document
from shared.imports.documents.upload import WorkerKey
from shared.imports.workers.definition import WORKERS
from shared.services.groups import GROUPS, group_of
from shared.storage.keys import encode
from shared.storage.stored_records import from_any_entity, lookup_range, partition_of, row_of
from shared.storage.tables import Entity, Tables

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class _Found:
    """What one employer has under a reference."""

    by_external: tuple[WorkerKey, ...]
    by_personnel: tuple[WorkerKey, ...]


class WorkerSearch:
    """Reads the workers of a tenant."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def find(self, tenant: str, reference: str) -> Sequence[WorkerKey]:
        """The workers that this reference may mean: none, one, or several where it is ambiguous."""
        first, last = GROUPS
        groups = [
            group_of(entity)
            for entity in await self._tables.query(WORKERS.table, encode(tenant), first, last)
        ]
        found: list[_Found] = []
        for at in range(0, len(groups), _AT_ONCE):
            some = groups[at : at + _AT_ONCE]
            found += await asyncio.gather(*(self._ask(tenant, group, reference) for group in some))
        external = [worker for each in found for worker in each.by_external]
        return external or [worker for each in found for worker in each.by_personnel]

    async def _ask(self, tenant: str, group: str, reference: str) -> _Found:
        partition = partition_of(tenant, group)
        first, last = lookup_range(reference)
        own, pointers = await asyncio.gather(
            self._tables.get(WORKERS.table, partition, row_of(reference)),
            self._tables.query(WORKERS.table, partition, first, last, select=[]),
        )
        rows = [f"r|{pointer.row.removeprefix(first)}" for pointer in pointers]
        pointed = await asyncio.gather(
            *(self._tables.get(WORKERS.table, partition, row) for row in rows)
        )
        theirs = _document(own)
        is_there = theirs is not None or (own is not None and from_any_entity(own).is_broken)
        is_external = theirs is not None and theirs.get("ExternalWorkerRef") == reference
        external = [theirs if is_external else None, *map(_document, pointed)]
        return _Found(
            tuple(WorkerKey(group, each["PersonnelRef"]) for each in external if each),
            (WorkerKey(group, reference),) if is_there else (),
        )


def _document(entity: Entity | None) -> Document | None:
    """The record; None where there is none, a tombstone only, or one that cannot be read."""
    document = None if entity is None else from_any_entity(entity).document
    return document if document is not None and "PersonnelRef" in document else None
