"""Reading documents back: lists, and the file of one (docs/contracts.md#4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from shared.errors import GoneError, NotFoundError, UnreadableDataError
from shared.imports.documents.blobs import DocumentBlobs
from shared.imports.documents.definition import DOCUMENTS
from shared.imports.documents.model import FILE_TYPES
from shared.imports.documents.processor import blob_of, key_of, lookup_of_round, lookup_of_worker
from shared.imports.documents.worker_lookup import WorkerSearch
from shared.imports.import_type import Document
from shared.imports.model import normal_reference
from shared.storage.business_records import from_entity, lookup_range
from shared.storage.entities import encode
from shared.storage.ports import Entity, Tables, query_pages, reading

NO_SUCH_DOCUMENT = (
    "There is no document of this id: take one from /api/documents with the same credentials."
)
EXPIRED = "The file of this document is not kept any more: import the document again."
_AT_ONCE = 32
_ALL = 2**31
RECORDS = ("r|", "r|~")
_NEEDED = (
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
    """A part of a list; `following` names the row to go on behind, None at the end."""

    documents: tuple[Document, ...]
    following: str | None


class DocumentList:
    """Reads what the documents imports have written."""

    def __init__(self, tables: Tables, files: DocumentBlobs, workers: WorkerSearch) -> None:
        self._tables = tables
        self._files = files
        self._workers = workers

    async def page(
        self, tenant: str, worker_ref: str, round_code: str, after: str, size: int
    ) -> DocumentPage:
        """Up to `size` documents of a worker, of a round, of both or of all ("").

        `after` is where the last page ended. An unknown worker or round has none.
        """
        picked: list[Document] = []
        last = after
        worker, round_ = normal_reference(worker_ref), normal_reference(round_code)
        if (worker_ref and worker is None) or (round_code and round_ is None):
            return DocumentPage((), None)
        async for row, document in self._found(tenant, worker or "", round_ or "", after):
            if round_ not in (None, document["communicationRoundCode"]):
                continue
            if len(picked) == size:
                return DocumentPage(tuple(picked), last)
            picked.append(document)
            last = row
        return DocumentPage(tuple(picked), None)

    async def find(self, tenant: str, document_id: str) -> Document:
        """A document of the tenant. Raises NotFoundError, UnreadableDataError."""
        key = key_of(tenant, document_id.lower())
        entity = await self._tables.get(DOCUMENTS.table, key.partition, key.row)
        document = None if entity is None else _readable(entity)
        if document is None:
            raise NotFoundError(NO_SUCH_DOCUMENT)
        return document

    async def content(self, tenant: str, document: Document) -> bytes:
        """The file of a document. Raises GoneError."""
        content = await self._files.read(blob_of(tenant, document["importId"]))
        if content is None:
            raise GoneError(EXPIRED)
        return content

    async def _found(
        self, tenant: str, worker_ref: str, round_code: str, after: str
    ) -> AsyncIterator[tuple[str, Document]]:
        """Documents behind the row `after`, each with the row that led to it, in its order."""
        for first, last in await self._ranges(tenant, worker_ref, round_code):
            async for rows in query_pages(
                self._tables,
                DOCUMENTS.table,
                encode(tenant),
                first,
                last,
                after=after,
                most=_AT_ONCE,
            ):
                records = await asyncio.gather(*(self._record(tenant, row) for row in rows))
                for row, record in zip(rows, records, strict=True):
                    document = None
                    with suppress(UnreadableDataError):
                        document = None if record is None else _readable(record)
                    if document is not None:
                        yield row.row, document

    async def _ranges(
        self, tenant: str, worker_ref: str, round_code: str
    ) -> Sequence[tuple[str, str]]:
        """The rows to look at, in ascending order: look-ups of the worker or round, or records."""
        if worker_ref:
            workers = await self._workers.find(tenant, worker_ref, _ALL)
            names = [lookup_of_worker(each.employer, each.personnel) for each in workers]
            return sorted(map(lookup_range, names))
        return [lookup_range(lookup_of_round(round_code)) if round_code else RECORDS]

    async def _record(self, tenant: str, row: Entity) -> Entity | None:
        """The record that a row is, or points at."""
        if row.row.startswith("r|"):
            return row
        key = key_of(tenant, row.row.rpartition("|")[2])
        return await self._tables.get(DOCUMENTS.table, key.partition, key.row)


@reading("a stored document")
def _readable(entity: Entity) -> Document | None:
    """The document that an entity holds, None for a tombstone. Raises UnreadableDataError."""
    document = from_entity(entity).document
    return None if document is None else readable_document(document)


def readable_document(document: Document) -> Document:
    """The same document. Raises what one of another shape makes its reader raise."""
    if not all(isinstance(document[name], str) for name in _NEEDED):
        raise ValueError("no document")
    if document["fileType"] not in FILE_TYPES:
        raise ValueError("no type of file")
    return document
