"""The work of a documents import: put the one document of it where it belongs.

What was found out before the import was accepted stands in its row, so nothing is decided here.
The document carries the number of the import that wrote it last: a repeated run recognises itself,
and of several uploads of one name the one accepted last is what stays. An upload first brings
earlier open ones of the same document to their end, so nobody waits for a process that is dead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
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
from shared.storage.business_records import RecordKey, Stamp, StoredRecord
from shared.storage.entities import encode, join
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Tables

_MOST_CONFLICTS = 20

RunEarlier = Callable[[ChunkMessage], Awaitable[None]]


class DocumentProcessor:
    """`Work` on documents. `run_earlier` brings another import of documents to its end."""

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
        """See `Work`; always the one row."""
        upload = Upload.from_lines(lines)
        if upload.fault is not None:
            return [upload.result(Outcome.FAILED, None, upload.fault)]
        try:
            await self._wait_for_earlier_imports(record)
            resolve = self._writing(record, upload)
            return [await self._settle(record, upload, resolve, before_commit)]
        except (GatewayError, ImportCancelledError, HandlerTimeUpError, SupersededError):
            raise
        except Exception as error:
            log.failure("row.failed", error, import_id=record.import_id)
            said = Message(
                MessageId.COULD_NOT_BE_PROCESSED, detail=SEND_AGAIN.format(id=record.import_id)
            )
            return [upload.result(Outcome.FAILED, None, said)]

    async def end(self, record: ImportRecord, lines: bytes, code: int) -> list[RowResult]:
        """See `Work`."""
        upload = Upload.from_lines(lines)
        if upload.fault is not None:
            return [upload.result(Outcome.FAILED, None, Message(code))]
        await self._wait_for_earlier_imports(record)
        resolve = ending(
            record, Message(code), await closed_through(self._imports, DOCUMENTS, record)
        )
        return [await self._settle(record, upload, resolve, _at_once)]

    def is_readable(self, index: int, row: Mapping[str, Any]) -> bool:
        """See `Work`."""
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

    async def _settle(
        self, record: ImportRecord, upload: Upload, resolve: Resolver, before_commit: BeforeCommit
    ) -> RowResult:
        key = key_of(record.tenant, upload.document_id(record.tenant))
        failed = upload.result(Outcome.FAILED, None)
        rows = KeyRows(key, (ReadRow(failed.index, failed.key, {}, ()),))
        stored: StoredRecord | None = None
        # Most documents are new: the first try does not look, and its insert fails where one is.
        for attempt in range(_MOST_CONFLICTS):
            if attempt:
                entity = await self._tables.get(DOCUMENTS.table, key.partition, key.row)
                stored = None if entity is None else records.from_any_entity(entity)
            if stored is not None and stored.is_broken and stored.stamp.number != record.number:
                said = Message(MessageId.COULD_NOT_BE_PROCESSED, detail=BROKEN_RECORD)
                return upload.result(Outcome.FAILED, None, said)
            settlement = resolve(rows, stored)
            [result] = settlement.results
            if not settlement.operations:
                return result
            try:
                await before_commit()
                await self._tables.transact(DOCUMENTS.table, settlement.operations)
                return result
            except PreconditionFailedError:
                continue
        raise StorageUnavailableError("a document is being written by too many at once")

    def _writing(self, record: ImportRecord, upload: Upload) -> Resolver:
        def resolve(rows: KeyRows, stored: StoredRecord | None) -> RecordOutcome:
            before = recorded_results(record, rows, stored)
            if before is not None:
                return RecordOutcome(before)
            is_new = stored is None or stored.document is None
            document_id = upload.document_id(record.tenant)
            result = upload.result(Outcome.NEW if is_new else Outcome.UPDATED, document_id)
            written = stamped_record(
                rows.key,
                _document(record, upload, document_id),
                Stamp.from_results(record.number, 0, [result]),
                stored,
                to_iso(self._clock.now()),
                lookups=_lookups(upload),
            )
            return RecordOutcome((result,), tuple(records.writing(written, stored)))

        return resolve


def described(upload: Upload) -> Document:
    """What a document keeps of its upload."""
    assert upload.worker is not None, "only a document whose worker is known is kept"
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


def _document(record: ImportRecord, upload: Upload, document_id: str) -> Document:
    own = {
        "documentId": document_id,
        "importTime": record.accepted_at,
        "importId": record.import_id,
    }
    return own | described(upload)


def key_of(tenant: str, document_id: str) -> RecordKey:
    """Where a document's record lies."""
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
    """The look-ups of a document that is stored."""
    return (
        lookup_of_round(document["communicationRoundCode"]),
        lookup_of_worker(document["EmployerRef"], document["PersonnelRef"]),
    )


def _lookups(upload: Upload) -> tuple[str, ...]:
    assert upload.worker is not None
    worker = upload.worker
    return (
        lookup_of_round(upload.round_code),
        lookup_of_worker(worker.employer, worker.personnel),
    )


async def _at_once() -> None:
    """Ending a row has nothing to look at first."""
