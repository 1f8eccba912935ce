"""Files that no document refers to go after their time (see `retention`; docs/contracts.md#4).

Each upload has its own file, so a replaced document and a failed upload leave a file behind. The
time of the replacement is not stored. Retention marks a file when it first finds it without a
document, and removes it when the mark is old enough.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from shared.clock import Clock
from shared.imports.documents.blobs import DocumentBlobs
from shared.imports.documents.definition import DOCUMENTS
from shared.imports.documents.processor import blob_of
from shared.services.import_log import ImportLog
from shared.storage.business_records import from_entity
from shared.storage.entities import encode
from shared.storage.names import DOCUMENT_REJECTED
from shared.storage.ports import ListedBlobs, Tables, query_pages

_DOCUMENTS_PER_PAGE = 1_000
# After this time a file belongs to a document or is unused.
_MAX_CALL_DURATION = timedelta(days=1)


class ExpiringFiles:
    """The retention step of the files of documents."""

    def __init__(
        self, tables: Tables, files: DocumentBlobs, imports: ImportLog, clock: Clock
    ) -> None:
        self._tables = tables
        self._files = files
        self._imports = imports
        self._clock = clock

    async def files(self, tenant: str, before: datetime) -> AsyncIterator[int]:
        """Remove files that were marked as unused before then.

        Raises UnreadableDataError where a document is unreadable, because any file may be its own.
        """
        open_ids = {opened.import_id for opened in await self._imports.open_of(tenant)}
        referenced = {blob_of(tenant, import_id) for import_id in open_ids}
        referenced |= await self._referenced_files(tenant)
        newest = self._clock.now() - _MAX_CALL_DURATION
        for file in await self._files.list_files(tenant):
            if file.name in referenced:
                continue
            if file.is_marked and file.changed_at < before:
                await self._files.remove(file)
                yield 1
            elif not file.is_marked and file.changed_at < newest:
                await self._files.mark(file)

    async def _referenced_files(self, tenant: str) -> set[str]:
        names: set[str] = set()
        async for page in query_pages(
            self._tables, DOCUMENTS.table, encode(tenant), "r|", "r|~", most=_DOCUMENTS_PER_PAGE
        ):
            for entity in page:
                document = from_entity(entity).document
                if document is not None:
                    names.add(blob_of(tenant, document["importId"]))
        return names


class ExpiringRejections:
    """The retention step of rejected drops."""

    def __init__(self, blobs: ListedBlobs) -> None:
        self._blobs = blobs

    async def files(self, tenant: str, before: datetime) -> AsyncIterator[int]:
        """Remove drops that were rejected before then."""
        for name in await self._blobs.names_before(DOCUMENT_REJECTED, f"{tenant}/", before):
            await self._blobs.delete(DOCUMENT_REJECTED, name)
            yield 1
