"""The row processor of documents: it stores the one document of an import;
the retention of files.

Everything was decided before the import was accepted and is in its row. The document has the number
of the import that wrote it last, so a repeated run recognises its own write, and of several uploads
of one name the last accepted one remains. An upload first processes earlier open uploads of the
same document, so that no upload waits for a dead process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from shared import log
from shared.clock import Clock, to_iso
from shared.errors import GatewayError, PreconditionFailedError, StorageUnavailableError
from shared.imports.documents.definition import DOCUMENTS
from shared.imports.documents.model import Upload
from shared.imports.import_type import Document, ReadRow
from shared.imports.messages import BROKEN_RECORD, SEND_AGAIN, Message, MessageId
from shared.imports.results import Outcome, RowResult
from shared.services.chunk_messages import ChunkMessage
from shared.services.import_log import ImportLog
from shared.services.row_processor import (
    BeforeCommit,
    HandlerTimeUpError,
    ImportCancelledError,
    KeyRows,
    RecordOutcome,
    Resolver,
    SupersededError,
)
from shared.services.stamps import closed_through, ending, recorded_results, stamped_record
from shared.storage import business_records as records
from shared.storage.business_records import RecordKey, Stamp, StoredRecord, from_entity
from shared.storage.entities import encode, join
from shared.storage.import_records import ImportRecord
from shared.storage.names import DOCUMENT_REJECTED
from shared.storage.ports import ListedBlobs, Tables, query_pages

_MAX_CONFLICTS = 20

RunEarlier = Callable[[ChunkMessage], Awaitable[None]]


class DocumentProcessor:
    """The row processor of documents; `run_earlier` processes another import of documents."""

    def __init__(
        self, tables: Tables, imports: ImportLog, clock: Clock, run_earlier: RunEarlier
    ) -> None:
        self._tables = tables
        self._imports = imports
        self._clock = clock
        self._run_earlier = run_earlier

    async def run(
        self, record: ImportRecord, lines: bytes, before_commit: BeforeCommit
    ) -> list[RowResult]:
        upload = Upload.from_lines(lines)
        if upload.fault is not None:
            return [upload.result(Outcome.FAILED, None, upload.fault)]
        try:
            await self._wait_for_earlier_imports(record)
            resolve = self._make_resolver(record, upload)
            return [await self._commit_document(record, upload, resolve, before_commit)]
        except (GatewayError, ImportCancelledError, HandlerTimeUpError, SupersededError):
            raise
        except Exception as error:
            log.failure("row.failed", error, import_id=record.import_id)
            message = Message(
                MessageId.COULD_NOT_BE_PROCESSED, detail=SEND_AGAIN.format(id=record.import_id)
            )
            return [upload.result(Outcome.FAILED, None, message)]

    async def end(self, record: ImportRecord, lines: bytes, code: int) -> list[RowResult]:
        upload = Upload.from_lines(lines)
        if upload.fault is not None:
            return [upload.result(Outcome.FAILED, None, Message(code))]
        await self._wait_for_earlier_imports(record)
        resolve = ending(
            record, Message(code), await closed_through(self._imports, DOCUMENTS, record)
        )
        return [await self._commit_document(record, upload, resolve, _never_abort)]

    def is_readable(self, index: int, row: Mapping[str, Any]) -> bool:
        upload = Upload.from_row(row)
        texts = (upload.worker_ref, upload.round_code, upload.file_name, upload.generation_time)
        is_complete = upload.fault is not None or upload.worker is not None
        return index == 0 and is_complete and all(isinstance(text, str) for text in texts)

    async def _wait_for_earlier_imports(self, record: ImportRecord) -> None:
        span = record.span
        for other in await self._imports.open_before(record):
            if span is not None and other.span is not None and span.overlaps(other.span):
                await self._run_earlier(
                    ChunkMessage(other.tenant, other.number, other.import_id, 0)
                )

    async def _commit_document(
        self, record: ImportRecord, upload: Upload, resolve: Resolver, before_commit: BeforeCommit
    ) -> RowResult:
        key = key_of(record.tenant, upload.document_id(record.tenant))
        failed = upload.result(Outcome.FAILED, None)
        rows = KeyRows(key, (ReadRow(failed.index, failed.key, {}, ()),))
        stored: StoredRecord | None = None
        # Most documents are new, so the first attempt inserts without reading.
        for attempt in range(_MAX_CONFLICTS):
            if attempt:
                entity = await self._tables.get(DOCUMENTS.table, key.partition, key.row)
                stored = None if entity is None else records.from_any_entity(entity)
            if stored is not None and stored.is_broken and stored.stamp.number != record.number:
                message = Message(MessageId.COULD_NOT_BE_PROCESSED, detail=BROKEN_RECORD)
                return upload.result(Outcome.FAILED, None, message)
            outcome = resolve(rows, stored)
            [result] = outcome.results
            if not outcome.operations:
                return result
            try:
                await before_commit()
                await self._tables.transact(DOCUMENTS.table, outcome.operations)
                return result
            except PreconditionFailedError:
                continue
        raise StorageUnavailableError("a document is being written by too many at once")

    def _make_resolver(self, record: ImportRecord, upload: Upload) -> Resolver:
        def resolve(rows: KeyRows, stored: StoredRecord | None) -> RecordOutcome:
            before = recorded_results(record, rows, stored)
            if before is not None:
                return RecordOutcome(before)
            is_new = stored is None or stored.document is None
            document_id = upload.document_id(record.tenant)
            result = upload.result(Outcome.NEW if is_new else Outcome.UPDATED, document_id)
            new_record = stamped_record(
                rows.key,
                {
                    "documentId": document_id,
                    "importTime": record.accepted_at,
                    "importId": record.import_id,
                    **document_fields(upload),
                },
                Stamp.from_results(record.number, 0, [result], record.import_id),
                stored,
                to_iso(self._clock.now()),
                lookups=lookups_of(document_fields(upload)),
            )
            return RecordOutcome((result,), tuple(records.writing(new_record, stored)))

        return resolve


def document_fields(upload: Upload) -> Document:
    """The fields that a document takes from its upload."""
    assert upload.worker is not None, "only a document whose worker is known is stored"
    return {
        "workerexternalId": upload.worker_ref,
        "communicationRoundCode": upload.round_code,
        "fileName": upload.file_name,
        "fileType": upload.file_type,
        "size": upload.size,
        "generationTime": upload.generation_time,
        "EmployerRef": upload.worker.employer,
        "PersonnelRef": upload.worker.personnel,
    }


def key_of(tenant: str, document_id: str) -> RecordKey:
    """The key of a document's record."""
    return RecordKey(encode(tenant), records.row_of(document_id))


def blob_of(tenant: str, import_id: str) -> str:
    """The name of the file of an upload, in the container of documents."""
    return f"{tenant}/{import_id}"


def lookup_of_worker(employer: str, personnel: str) -> str:
    """The look-up of a worker's documents."""
    return f"w:{join(employer, personnel)}"


def lookup_of_round(code: str) -> str:
    """The look-up of a round's documents."""
    return f"c:{code}"


def lookups_of(document: Document) -> tuple[str, ...]:
    """The look-ups of a stored document."""
    return (
        lookup_of_round(document["communicationRoundCode"]),
        lookup_of_worker(document["EmployerRef"], document["PersonnelRef"]),
    )


async def _never_abort() -> None:
    """Ending a row needs no check before its commit."""


_DOCUMENTS_PER_PAGE = 1_000


async def named_files(tables: Tables, imports: ImportLog, tenant: str) -> set[str]:
    """The files of the tenant's documents, and of uploads that are open (`ExpiringFiles`).

    Raises UnreadableDataError where a document is unreadable.
    """
    names = {blob_of(tenant, opened.import_id) for opened in await imports.open_of(tenant)}
    async for page in query_pages(
        tables, DOCUMENTS.table, encode(tenant), "r|", "r|~", most=_DOCUMENTS_PER_PAGE
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
