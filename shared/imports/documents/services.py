"""The services of documents, put together."""

from __future__ import annotations

from dataclasses import dataclass

from shared.auth.tenant_lookups import TenantLookups
from shared.dependencies import Dependencies
from shared.imports.documents.drops import Drops, DropSweep, PoisonedDrops
from shared.imports.documents.rounds import Features, Rounds
from shared.imports.documents.store import DocumentList
from shared.imports.documents.uploads import Documents, DocumentTrials
from shared.imports.documents.worker_lookup import WorkerSearch
from shared.services.admin.tenants import TenantService
from shared.services.chunk_processor import ChunkProcessor
from shared.services.name_index import NameIndex
from shared.storage.account import Account


@dataclass(frozen=True, slots=True)
class DocumentServices:
    """The services for documents."""

    features: Features
    rounds: Rounds
    intake: Documents
    reading: DocumentList
    trials: DocumentTrials
    drops: Drops
    drop_sweep: DropSweep
    poisoned: PoisonedDrops


def compose_documents(
    dependencies: Dependencies,
    account: Account,
    chunks: ChunkProcessor,
    tenants: TenantService,
    tenant_lookups: TenantLookups,
) -> DocumentServices:
    settings, clock = dependencies.settings, dependencies.clock
    features, rounds = Features(account.tables), Rounds(account.tables)
    workers = WorkerSearch(account.tables, NameIndex(account.tables))
    intake = Documents(
        imports=dependencies.imports,
        chunks=chunks,
        reporting=dependencies.reporting,
        features=features,
        rounds=rounds,
        workers=workers,
        files=account.documents,
        clock=clock,
        types=settings.document_types,
    )
    drops = Drops(
        files=account.documents,
        documents=intake,
        features=features,
        tenants=tenant_lookups,
        clock=clock,
        max_bytes=settings.max_document_bytes,
        types=settings.document_types,
    )
    reading = DocumentList(account.tables, account.documents, workers)
    return DocumentServices(
        features=features,
        rounds=rounds,
        intake=intake,
        reading=reading,
        trials=DocumentTrials(intake, reading),
        drops=drops,
        drop_sweep=DropSweep(
            account.documents, drops, clock, settings.document_sweep_seconds, tenants.list_ids
        ),
        poisoned=PoisonedDrops(account.poison, drops),
    )
