"""The services of documents put together: a part of the composition root (`shared.bootstrap`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shared.auth.tenant_lookups import TenantLookups
from shared.clock import Clock
from shared.services.chunk_processor import ChunkProcessor
from shared.services.documents.drops import Drops, DropSweep, PoisonedDrops
from shared.services.documents.reading import DocumentList
from shared.services.documents.rounds import Features, Rounds
from shared.services.documents.uploads import Documents, DocumentTrials
from shared.services.documents.worker_lookup import WorkerSearch
from shared.services.import_log import ImportLog
from shared.services.name_index import NameIndex
from shared.services.status import Reporting
from shared.settings import Settings
from shared.storage.account import Account


@dataclass(frozen=True, slots=True)
class DocumentServices:
    """What the triggers and commands of documents may call."""

    features: Features
    rounds: Rounds
    intake: Documents
    reading: DocumentList
    trials: DocumentTrials
    drops: Drops
    drop_sweep: DropSweep
    poisoned: PoisonedDrops


def compose_documents(
    account: Account,
    settings: Settings,
    clock: Clock,
    imports: ImportLog,
    chunks: ChunkProcessor,
    reporting: Reporting,
    tenants: Callable[[], Awaitable[list[str]]],
    tenant_lookups: TenantLookups,
) -> DocumentServices:
    """All of them, on the services that imports of every type share."""
    features, rounds = Features(account.tables), Rounds(account.tables)
    workers = WorkerSearch(account.tables, NameIndex(account.tables))
    intake = Documents(
        imports=imports,
        chunks=chunks,
        reporting=reporting,
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
            account.documents, drops, clock, settings.document_sweep_seconds, tenants
        ),
        poisoned=PoisonedDrops(account.poison, drops),
    )
