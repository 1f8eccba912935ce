"""Composes the services of documents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from shared import log
from shared.auth.lookups import TenantLookups
from shared.dependencies import Dependencies
from shared.imports.documents.definition import DOCUMENTS
from shared.imports.documents.drops import Drops
from shared.imports.documents.processor import DocumentProcessor, DocumentUndoProcessor
from shared.imports.documents.rounds import Features, Rounds
from shared.imports.documents.store import DocumentList, WorkerSearch
from shared.imports.documents.uploads import DocumentDryRuns, Documents
from shared.imports.registry import TYPE_CATALOGUE
from shared.services.admin.tenants import TenantService
from shared.services.chunk_messages import ChunkMessage
from shared.services.chunk_processor import ChunkProcessor
from shared.services.drops import LEASE_SECONDS, DropSweep
from shared.services.idempotency import FingerprintKeys
from shared.services.row_processor import HandlerTimeUpError, RowProcessor
from shared.storage.account import Account
from shared.storage.import_records import ImportRecord, OpenImport
from shared.storage.record_indexes import NameIndex


@dataclass(frozen=True, slots=True)
class DocumentServices:
    features: Features
    rounds: Rounds
    intake: Documents
    reading: DocumentList
    dry_runs: DocumentDryRuns
    drops: Drops
    drop_sweep: DropSweep


def compose_documents(
    dependencies: Dependencies,
    account: Account,
    chunks: ChunkProcessor,
    tenants: TenantService,
    tenant_lookups: TenantLookups,
    fingerprint_keys: FingerprintKeys,
) -> DocumentServices:
    """The services for triggers and commands; `chunks` processes the rows."""
    audit = dependencies.audit
    features, rounds = Features(account.tables, audit), Rounds(account.tables, audit)
    workers = WorkerSearch(account.tables, NameIndex(account.tables))
    files = account.documents
    intake = Documents(dependencies, chunks, features, rounds, workers, files)
    dropped = account.document_drops
    drops = Drops(dependencies, dropped, files, intake, features, tenant_lookups, fingerprint_keys)
    reading = DocumentList(account.tables, files, workers)
    quiet_seconds = min(dependencies.settings.document_sweep_seconds, LEASE_SECONDS)
    return DocumentServices(
        features=features,
        rounds=rounds,
        intake=intake,
        reading=reading,
        dry_runs=DocumentDryRuns(intake, reading),
        drops=drops,
        drop_sweep=DropSweep(dropped, drops, dependencies.clock, quiet_seconds, tenants.list_ids),
    )


def document_processors(
    dependencies: Dependencies, run_earlier: Callable[[ChunkMessage], Awaitable[None]]
) -> tuple[Mapping[str, RowProcessor], Mapping[str, RowProcessor]]:
    """The row processors of documents and of their undos, each by the name of the type.

    `run_earlier` processes an earlier import, which may have to end first.
    """
    tables, imports, clock = dependencies.tables, dependencies.imports, dependencies.clock

    async def check_ended(other: OpenImport) -> None:
        """Leave the document to the end of an import that holds it back, or to the sweep."""
        current = await imports.read(other.tenant, other.number)
        if current is not None and current.is_open:
            raise HandlerTimeUpError

    async def run_all_earlier(record: ImportRecord) -> None:
        span = record.span
        for other in await imports.open_before(record, DOCUMENTS.name, *DOCUMENTS.belongs_to):
            is_own = other.type_name == DOCUMENTS.name
            # An undo may remove the worker.
            if other.is_barrier or (other.is_undo and not is_own):
                await check_ended(other)
            elif (
                is_own and span is not None and other.span is not None and span.overlaps(other.span)
            ):
                await run_earlier(ChunkMessage(other.tenant, other.number, other.import_id, 0))
                # It may have been left to the sweep itself.
                await check_ended(other)

    processor = DocumentProcessor(tables, imports, clock, run_all_earlier)
    undo = DocumentUndoProcessor(tables, dependencies.blobs, imports, clock, run_all_earlier)
    return {DOCUMENTS.name: processor}, {DOCUMENTS.name: undo}


# How many documents the end of an import stores that has held them back; the sweep does the others.
_MOST_AT_ONCE: Final = 50


async def store_held_back(
    dependencies: Dependencies,
    record: ImportRecord,
    run: Callable[[ChunkMessage], Awaitable[None]],
) -> None:
    """Store the documents that were left until this import has ended. Raises nothing: the sweep
    does what fails here.
    """
    kind = TYPE_CATALOGUE.find(record.type_name, record.type_version)
    if kind is None:
        return
    is_undo_of_owner = record.is_undo and kind.name in DOCUMENTS.belongs_to
    if not (is_undo_of_owner or kind.holds_back_all):
        return
    try:
        waiting = await dependencies.imports.open_after(record, DOCUMENTS.name, _MOST_AT_ONCE)
        for other in waiting:
            await run(ChunkMessage(other.tenant, other.number, other.import_id, 0))
    except Exception as error:
        log.failure("document.left_to_the_sweep", error, import_id=record.import_id)
