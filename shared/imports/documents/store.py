"""Reads stored documents (lists, files), and finds their workers (docs/contracts.md#4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from shared.errors import GoneError, NotFoundError, UnreadableDataError
from shared.imports.documents.blobs import DocumentBlobs
from shared.imports.documents.definition import DOCUMENTS
from shared.imports.documents.model import FILE_TYPES, WorkerKey
from shared.imports.documents.processor import blob_of, key_of, lookup_of_round, lookup_of_worker
from shared.imports.import_type import Document, FoundBy
from shared.imports.model import normal_reference
from shared.imports.workers.definition import EXTERNAL, PERSONNEL, WORKERS
from shared.storage.business_records import (
    from_any_entity,
    from_entity,
    lookup_range,
    partition_of,
    row_of,
)
from shared.storage.entities import encode
from shared.storage.ports import Entity, Tables, query_pages, reading
from shared.storage.record_indexes import GROUPS, NameIndex, group_of

# Finds a worker without the employer: by ExternalWorkerRef, else by PersonnelRef.
#
# Workers are partitioned by employer. The tenant's name index (`shared.storage.record_indexes`) has
# the candidates, which are then read. Where the index is not complete yet, the search queries
# each employer.

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
            try:
                workers = await self._find_by(tenant, name, limit, in_index=is_complete)
            except UnreadableDataError:  # of the index: each employer is asked instead
                workers = await self._find_by(tenant, name, limit, in_index=False)
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


NO_SUCH_DOCUMENT = (
    "There is no document of this id: take one from /api/documents with the same credentials."
)
EXPIRED = "The file of this document is not kept any more: import the document again."
_PAGE_SIZE = 32
_NO_LIMIT = 2**31
RECORDS = ("r|", "r|~")
_REQUIRED_FIELDS = (
    "documentId",
    "workerexternalId",
    "communicationRoundCode",
    "fileName",
    "fileType",
    "generationTime",
    "importTime",
    "importId",
)


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """A page of a list; the next page starts after `next_row`, None at the end."""

    documents: tuple[Document, ...]
    next_row: str | None


class DocumentList:
    """Reads the documents of imports."""

    def __init__(self, tables: Tables, files: DocumentBlobs, workers: WorkerSearch) -> None:
        self._tables = tables
        self._files = files
        self._workers = workers

    async def page(
        self, tenant: str, worker_ref: str, round_code: str, after: str, size: int
    ) -> DocumentPage:
        """Up to `size` documents of a worker, of a round, of both or of all ("").

        `after` is the `next_row` of the page before. An unknown worker or round has no documents.
        """
        documents: list[Document] = []
        last_row = after
        worker, round_ref = normal_reference(worker_ref), normal_reference(round_code)
        if (worker_ref and worker is None) or (round_code and round_ref is None):
            return DocumentPage((), None)
        async for row, document in self._iterate(tenant, worker or "", round_ref or "", after):
            if round_ref not in (None, document["communicationRoundCode"]):
                continue
            if len(documents) == size:
                return DocumentPage(tuple(documents), last_row)
            documents.append(document)
            last_row = row
        return DocumentPage(tuple(documents), None)

    async def find(self, tenant: str, document_id: str) -> Document:
        """A document of the tenant. Raises NotFoundError, UnreadableDataError."""
        key = key_of(tenant, document_id.lower())
        entity = await self._tables.get(DOCUMENTS.table, key.partition, key.row)
        document = None if entity is None else _document_from_entity(entity)
        if document is None:
            raise NotFoundError(NO_SUCH_DOCUMENT)
        return document

    async def content(self, tenant: str, document: Document) -> bytes:
        """The file of a document. Raises GoneError."""
        content = await self._files.read(blob_of(tenant, document["importId"]))
        if content is None:
            raise GoneError(EXPIRED)
        return content

    async def _iterate(
        self, tenant: str, worker_ref: str, round_code: str, after: str
    ) -> AsyncIterator[tuple[str, Document]]:
        """Documents after the row `after`, each with its row, in order of the rows."""
        for first, last in await self._row_ranges(tenant, worker_ref, round_code):
            async for rows in query_pages(
                self._tables,
                DOCUMENTS.table,
                encode(tenant),
                first,
                last,
                after=after,
                most=_PAGE_SIZE,
            ):
                records = await asyncio.gather(*(self._find_record(tenant, row) for row in rows))
                for row, record in zip(rows, records, strict=True):
                    document = None
                    with suppress(UnreadableDataError):
                        document = None if record is None else _document_from_entity(record)
                    if document is not None:
                        yield row.row, document

    async def _row_ranges(
        self, tenant: str, worker_ref: str, round_code: str
    ) -> Sequence[tuple[str, str]]:
        """The ranges of rows, ascending: look-ups of the worker or round, or records."""
        if worker_ref:
            workers = await self._workers.find(tenant, worker_ref, _NO_LIMIT)
            names = [lookup_of_worker(worker.employer, worker.personnel) for worker in workers]
            return sorted(map(lookup_range, names))
        return [lookup_range(lookup_of_round(round_code)) if round_code else RECORDS]

    async def _find_record(self, tenant: str, row: Entity) -> Entity | None:
        """The record of a row, which is the record itself or a look-up."""
        if row.row.startswith("r|"):
            return row
        key = key_of(tenant, row.row.rpartition("|")[2])
        return await self._tables.get(DOCUMENTS.table, key.partition, key.row)


@reading("a stored document")
def _document_from_entity(entity: Entity) -> Document | None:
    """The document in an entity; None for a tombstone. Raises UnreadableDataError."""
    document = from_entity(entity).document
    return None if document is None else check_document(document)


def check_document(document: Document) -> Document:
    """Return the document. Raises KeyError or ValueError where it has another shape."""
    if not all(isinstance(document[name], str) for name in _REQUIRED_FIELDS):
        raise ValueError("no document")
    if document["fileType"] not in FILE_TYPES:
        raise ValueError("no type of file")
    return document
