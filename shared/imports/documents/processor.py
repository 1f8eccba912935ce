"""The row processor of documents: it stores the one document of an import;
the retention of files.

Everything was decided before the import was accepted and is in its row. The document has the number
of the import that wrote it last, so a repeated run recognises its own write, and of several uploads
of one name the last accepted one remains. An upload first processes earlier open uploads of the
same document, so that no upload waits for a dead process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from shared import log
from shared.clock import Clock, to_iso
from shared.errors import (
    GatewayError,
    PreconditionFailedError,
    StorageUnavailableError,
    UnreadableDataError,
)
from shared.imports.documents.definition import DOCUMENTS
from shared.imports.documents.messages import FIELD_OF, DocumentMessageId
from shared.imports.documents.model import Upload, WorkerKey
from shared.imports.documents.rules import KEY_FIELDS
from shared.imports.former_values import FormerRecord, FormerState
from shared.imports.import_type import Document, ReadRow
from shared.imports.json_rows import read_lines
from shared.imports.merge_rules import ChangeListener, fail_all_rows
from shared.imports.messages import BROKEN_RECORD, SEND_AGAIN, Message, MessageId
from shared.imports.results import Outcome, RowResult
from shared.imports.text_checks import escaped
from shared.imports.workers.definition import WORKERS
from shared.services import undo_rules
from shared.services.import_log import ImportLog
from shared.services.references import EarlierImports, was_there
from shared.services.row_processor import (
    BeforeCommit,
    HandlerTimeUpError,
    ImportCancelledError,
    KeyRows,
    RecordOutcome,
    Resolver,
    SupersededError,
)
from shared.services.stamps import (
    closed_through,
    ending,
    recorded_results,
    stamped_record,
    undone_record,
)
from shared.storage import business_records as records
from shared.storage.business_records import (
    RecordKey,
    Stamp,
    StoredRecord,
    from_entity,
    lookup_range,
    partition_of,
    row_of,
)
from shared.storage.entities import encode, join
from shared.storage.former_columns import former_values
from shared.storage.import_records import ImportRecord
from shared.storage.names import DOCUMENT_BLOBS
from shared.storage.ports import Blobs, Tables, query_pages

_MAX_CONFLICTS = 20

# Processes the open imports of documents before an import that may write the same document.
RunEarlier = Callable[[ImportRecord], Awaitable[None]]


class DocumentProcessor:
    """The row processor of documents."""

    def __init__(
        self,
        tables: Tables,
        imports: EarlierImports,
        clock: Clock,
        run_earlier: RunEarlier,
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
            await self._run_earlier(record)
            has_worker = await self._has_worker(record, upload.worker)
            resolve = self._make_resolver(record, upload, has_worker=has_worker)
            rows = _rows_of(record.tenant, upload)
            return [await self._commit_document(record, rows, resolve, before_commit)]
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
        await self._run_earlier(record)
        resolve = ending(
            record, Message(code), await closed_through(self._imports, DOCUMENTS, record)
        )
        rows = _rows_of(record.tenant, upload)
        return [await self._commit_document(record, rows, resolve, _never_abort)]

    def is_readable(self, index: int, row: Mapping[str, Any]) -> bool:
        upload = Upload.from_row(row)
        texts = (upload.worker_ref, upload.round_code, upload.file_name, upload.generation_time)
        is_complete = upload.fault is not None or upload.worker is not None
        return index == 0 and is_complete and all(isinstance(text, str) for text in texts)

    async def _commit_document(
        self,
        record: ImportRecord,
        rows: KeyRows,
        resolve: Resolver,
        before_commit: BeforeCommit,
        *,
        is_read_first: bool = False,
    ) -> RowResult:
        key = rows.key
        stored: StoredRecord | None = None
        # Most documents are new, so the first attempt inserts without reading.
        for attempt in range(_MAX_CONFLICTS):
            if attempt or is_read_first:
                entity = await self._tables.get(DOCUMENTS.table, key.partition, key.row)
                stored = None if entity is None else records.from_any_entity(entity)
            if stored is not None and stored.is_broken and stored.stamp.number != record.number:
                message = Message(MessageId.COULD_NOT_BE_PROCESSED, detail=BROKEN_RECORD)
                [result] = fail_all_rows(rows.rows, message)
                return result
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

    async def _has_worker(self, record: ImportRecord, worker: WorkerKey | None) -> bool:
        """Whether a worker is still there. An undo or an erasure that was accepted earlier may have
        removed it since it was looked up.
        """
        if worker is None:
            return False
        place = partition_of(record.tenant, worker.employer), row_of(worker.personnel)
        entity = await self._tables.get(WORKERS.table, *place)
        return entity is not None and was_there(entity, record)

    def _make_resolver(self, record: ImportRecord, upload: Upload, *, has_worker: bool) -> Resolver:
        def resolve(rows: KeyRows, stored: StoredRecord | None) -> RecordOutcome:
            before = recorded_results(record, rows, stored)
            if before is not None:
                return RecordOutcome(before)
            if not has_worker:
                refused = upload.refused(DocumentMessageId.WORKER_NOT_FOUND)
                assert refused.fault is not None
                return RecordOutcome((upload.result(Outcome.FAILED, None, refused.fault),))
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


def _rows_of(tenant: str, upload: Upload) -> KeyRows:
    failed = upload.result(Outcome.FAILED, None)
    key = key_of(tenant, upload.document_id(tenant))
    return KeyRows(key, (ReadRow(failed.index, failed.key, {}, ()),))


class DocumentUndoProcessor(DocumentProcessor):
    """The row processor of undos of documents: the earlier file comes back while it is kept, and a
    document that the undone import made goes. Rounds and the feature do not matter to it.
    """

    def __init__(
        self,
        tables: Tables,
        blobs: Blobs,
        imports: EarlierImports,
        clock: Clock,
        run_earlier: RunEarlier,
        on_change: ChangeListener | None = None,
    ) -> None:
        super().__init__(tables, imports, clock, run_earlier)
        self._blobs = blobs
        self._on_change = on_change

    async def run(
        self, record: ImportRecord, lines: bytes, before_commit: BeforeCommit
    ) -> list[RowResult]:
        """See `RowProcessor`."""
        rows = _undone_rows(record.tenant, lines)
        await self._run_earlier(record)
        entity = await self._tables.get(DOCUMENTS.table, rows.key.partition, rows.key.row)
        stored = None if entity is None else records.from_any_entity(entity)
        state, former = FormerState.LOST, None
        if stored is not None and stored.stamp.number == record.undoes.number:
            state, former = await former_values(self._blobs, stored)
        if former is not None:
            name = blob_of(record.tenant, former.document["importId"])
            if not await self._blobs.touch(DOCUMENT_BLOBS, name):
                state, former = FormerState.LOST, None
        fault = None
        if stored is not None and stored.document is None and former is not None:
            document = former.document
            worker = WorkerKey(document["EmployerRef"], document["PersonnelRef"])
            if not await self._has_worker(record, worker):
                reference = document["workerexternalId"]
                fault = Message(
                    MessageId.REFERENCE_NOT_FOUND,
                    FIELD_OF[DocumentMessageId.WORKER_NOT_FOUND],
                    escaped(reference),
                )
        resolve = self._make_undo_resolver(record, state, former, fault)
        return [
            await self._commit_document(record, rows, resolve, before_commit, is_read_first=True)
        ]

    async def end(self, record: ImportRecord, lines: bytes, code: int) -> list[RowResult]:
        """See `RowProcessor`."""
        rows = _undone_rows(record.tenant, lines)
        await self._run_earlier(record)
        through = await closed_through(self._imports, DOCUMENTS, record)
        resolve = ending(record, Message(code), through)
        return [await self._commit_document(record, rows, resolve, _never_abort)]

    def is_readable(self, index: int, row: Mapping[str, Any]) -> bool:
        """See `RowProcessor`."""
        return index == 0 and isinstance(row["documentId"], str)

    def _make_undo_resolver(
        self,
        record: ImportRecord,
        state: FormerState,
        former: FormerRecord | None,
        missing_worker: Message | None,
    ) -> Resolver:
        """`state` and `former` are what is known of the document before the undone import."""

        def resolve(rows: KeyRows, stored: StoredRecord | None) -> RecordOutcome:
            before = recorded_results(record, rows, stored)
            if before is not None:
                return RecordOutcome(before)
            [row] = rows.rows
            number = None if stored is None else stored.stamp.number
            if number is not None and undo_rules.is_reversed(record, number):
                unchanged = Message(MessageId.NOTHING_TO_CHANGE)
                return RecordOutcome(
                    (RowResult(row.index, row.key, Outcome.UNCHANGED, (unchanged,)),)
                )
            fault = undo_rules.refusal(record, number, state) or missing_worker
            if stored is None or fault is not None:
                return RecordOutcome(
                    fail_all_rows(rows.rows, fault or Message(MessageId.FORMER_VALUES_NOT_KEPT))
                )
            result = RowResult(
                row.index,
                row.key,
                Outcome.NEW if stored.document is None else Outcome.UPDATED,
                removed=(row.key[-1] or "",) if former is None else (),
            )
            if self._on_change is not None:
                after = None if former is None else former.document
                self._on_change(row.index, stored.document, after)
            stamp = Stamp.from_results(record.number, row.index, [result], record.import_id)
            new_record = undone_record(former, stamp, stored, to_iso(self._clock.now()))
            if former is not None:
                new_record = replace(new_record, lookups=lookups_of(former.document))
            return RecordOutcome((result,), tuple(records.writing(new_record, stored)))

        return resolve


def _undone_rows(tenant: str, lines: bytes) -> KeyRows:
    """The one row of an undo. Raises UnreadablePayloadError or UnreadableDataError."""
    [(index, row)] = read_lines(lines)
    key = tuple(row.get(name) for name in KEY_FIELDS)
    document_id = key[-1]
    if not isinstance(document_id, str):
        raise UnreadableDataError("the row of an undo")
    return KeyRows(key_of(tenant, document_id), (ReadRow(index, key, {}, ()),))


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


async def find_documents(
    tables: Tables, tenant: str, workers: Mapping[RecordKey, Document]
) -> Mapping[RecordKey, tuple[str, str]]:
    """Find a document of each of these workers (`FindReferrers`), in one range of look-ups."""
    prefixes = {
        lookup_range(lookup_of_worker(worker["EmployerRef"], worker["PersonnelRef"]))[0]: key
        for key, worker in workers.items()
        if "EmployerRef" in worker and "PersonnelRef" in worker
    }
    if not prefixes:
        return {}
    keys: dict[RecordKey, tuple[str, str]] = {}
    async for page in query_pages(
        tables,
        DOCUMENTS.table,
        encode(tenant),
        min(prefixes),
        f"{max(prefixes)}~",
        select=[],
        most=_DOCUMENTS_PER_PAGE,
    ):
        for entity in page:
            prefix, _, document_id = entity.row.rpartition("|")
            key = prefixes.get(f"{prefix}|")
            if key is not None:
                keys[key] = KEY_FIELDS[-1], document_id
    return keys


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
