"""Taking documents in, by call or by drop: one service for both (docs/contracts.md#4).

The file is written first, then the import record, then the work is done at once. The record is the
point of acceptance: with it in, the sweep finishes what a dead process has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace

from shared import log
from shared.clock import ZERO_GUID, to_iso
from shared.dependencies import Dependencies
from shared.errors import ForbiddenError, NotFoundError
from shared.imports.documents.blobs import DocumentBlobs
from shared.imports.documents.definition import DOCUMENTS
from shared.imports.documents.messages import DocumentMessageId
from shared.imports.documents.model import Upload, type_fault
from shared.imports.documents.processor import blob_of, document_fields, key_of
from shared.imports.documents.rounds import Feature, Features, Rounds
from shared.imports.documents.store import DocumentList, WorkerSearch
from shared.imports.import_type import Document, Options
from shared.imports.merge_rules import changed_fields, changes_text
from shared.imports.planning import Chunk, Span
from shared.imports.results import Outcome, RowResult
from shared.imports.sender import NO_SENDER, Sender
from shared.services.chunk_messages import ChunkMessage
from shared.services.chunk_processor import ChunkProcessor
from shared.services.dry_run import DryRunResult
from shared.storage.business_records import sort_key_of
from shared.storage.import_records import ImportRecord

DISABLED = (
    "The Documents feature is not enabled for this tenant: ask the operator of the gateway to "
    "enable it."
)


@dataclass(frozen=True, slots=True)
class ImportedDocument:
    """An ended import of one document and its result."""

    record: ImportRecord
    result: RowResult

    @property
    def is_imported(self) -> bool:
        """Whether the document was imported."""
        return self.result.outcome is not Outcome.FAILED


class Documents:
    """Imports documents; the shared service of calls and drops."""

    def __init__(
        self,
        dependencies: Dependencies,
        chunks: ChunkProcessor,
        features: Features,
        rounds: Rounds,
        workers: WorkerSearch,
        files: DocumentBlobs,
    ) -> None:
        self._imports = dependencies.imports
        self._chunks = chunks
        self._reporting = dependencies.reporting
        self._features = features
        self._rounds = rounds
        self._workers = workers
        self._files = files
        self._clock = dependencies.clock
        self._types = dependencies.settings.document_types

    async def check_enabled(self, tenant: str) -> None:
        """Raises ForbiddenError where the tenant has not enabled the feature."""
        if not await self._features.is_enabled(tenant, Feature.DOCUMENTS):
            raise ForbiddenError(DISABLED)

    async def resolve(self, tenant: str, upload: Upload) -> Upload:
        """The upload with its worker, or with the fault that refuses it.

        The checks are in the order of docs/contracts.md#0: form, round, worker, file type.
        """
        if upload.fault is not None:
            return upload
        round_, workers = await asyncio.gather(
            self._rounds.find(tenant, upload.round_code),
            self._workers.find(tenant, upload.worker_ref),
        )
        if round_ is None:
            return upload.refused(DocumentMessageId.ROUND_NOT_FOUND)
        if not round_.status.takes_documents:
            return upload.refused(DocumentMessageId.ROUND_NOT_OPEN)
        if not workers:
            return upload.refused(DocumentMessageId.WORKER_NOT_FOUND)
        if len(workers) > 1:
            return upload.refused(DocumentMessageId.AMBIGUOUS_WORKER)
        if not upload.file_type:
            return upload.refused(
                DocumentMessageId.WRONG_FILE_TYPE, type_fault(upload.file_name, self._types)
            )
        return replace(upload, worker=workers[0])

    async def keep(self, tenant: str, import_id: str, parts: Iterable[bytes], size: int) -> bytes:
        """Write the file of an upload, before `accept`. Returns its SHA-256."""
        return await self._files.keep(blob_of(tenant, import_id), parts, size)

    async def accept(
        self,
        tenant: str,
        import_id: str,
        upload: Upload,
        options: Options,
        sender: Sender = NO_SENDER,
    ) -> ImportRecord:
        """Accept the import of a resolved upload whose file is written.

        A repeated call with the same id returns the same import. Raises as `ImportLog.accept`.
        """
        line = upload.to_line()
        span = None
        if upload.fault is None:
            sort_key = sort_key_of(key_of(tenant, upload.document_id(tenant)))
            span = Span(sort_key, sort_key, frozenset({sort_key}))
        record = await self._imports.accept(
            ImportRecord(
                tenant=tenant,
                number=0,
                import_id=import_id,
                type_name=DOCUMENTS.name,
                rows=1,
                chunks=(Chunk(0, 0, len(line), 1, span),),
                options=options,
                accepted_at=to_iso(self._clock.now()),
                inline=line.decode(),
                sender=sender,
            )
        )
        log.event(
            "import.accepted",
            import_id=record.import_id,
            tenant=tenant,
            type=record.type_name,
            number=record.number,
            bytes=upload.size,
        )
        return record

    async def finish(self, record: ImportRecord) -> ImportedDocument | None:
        """Process an accepted import and return its result.

        None where there is no result yet. Raises StorageUnavailableError.
        """
        is_new = not record.etag
        if is_new:
            results = await self._chunks.process_directly(record)
            if results:
                return ImportedDocument(record, results[0])
        else:
            message = ChunkMessage(record.tenant, record.number, record.import_id, 0)
            await self._chunks.process(message)
        return await self.find(record)

    async def find_record(self, tenant: str, import_id: str) -> ImportRecord | None:
        """The accepted import of this id; None where there is none."""
        return await self._imports.find(tenant, import_id)

    async def find(self, record: ImportRecord) -> ImportedDocument | None:
        """The result of an import; None while it has none."""
        current = await self._imports.read(record.tenant, record.number) or record
        async for result in self._reporting.all_results(current):
            return ImportedDocument(record, result)
        return None


# Dry runs of documents evaluate an upload without writing (docs/contracts.md#0).


class DocumentDryRuns:
    """Evaluates uploads with the code that imports them."""

    def __init__(self, documents: Documents, reading: DocumentList) -> None:
        self._documents = documents
        self._reading = reading

    async def evaluate(self, tenant: str, upload: Upload) -> DryRunResult:
        """The result that the import of an upload would have, and its changes."""
        resolved = await self._documents.resolve(tenant, upload)
        if resolved.fault is not None:
            return DryRunResult((resolved.result(Outcome.FAILED, None, resolved.fault),))
        stored = await self._find_stored(tenant, resolved)
        changes = changed_fields(stored, document_fields(resolved), DOCUMENTS.rules.is_sensitive)
        outcome = Outcome.NEW if stored is None else Outcome.UPDATED
        # A new document gets its id only when it is imported.
        document_id = ZERO_GUID if stored is None else resolved.document_id(tenant)
        return DryRunResult((resolved.result(outcome, document_id),), {0: changes_text(changes)})

    async def _find_stored(self, tenant: str, resolved: Upload) -> Document | None:
        try:
            document = await self._reading.find(tenant, resolved.document_id(tenant))
        except NotFoundError:
            return None
        return {name: document[name] for name in document_fields(resolved)}
