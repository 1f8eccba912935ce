"""The services of a gateway as one object, for triggers, commands and `shared.web`.

`shared.app` composes it, `shared.bootstrap` keeps the gateway of the process. This module imports
no service at run time, so that functions can name the type while the app is indexed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.auth.callers import Callers
    from shared.budgets import DryRunBudget, FailureThrottle
    from shared.clock import Clock
    from shared.identity import Identity
    from shared.imports.authdata.services import AuthdataServices
    from shared.imports.documents.services import DocumentServices
    from shared.imports.licenses.export import LicenseExport
    from shared.imports.licenses.store import ImportedFiles
    from shared.services.accept import ImportAcceptor
    from shared.services.admin.audit import AuditLog, AuditReader
    from shared.services.admin.clients import ClientService
    from shared.services.admin.reference_lists import ReferenceLists
    from shared.services.admin.tenants import TenantService
    from shared.services.background import SmallImportsFirst
    from shared.services.changes import ChangeFeed
    from shared.services.chunk_processor import ChunkProcessor
    from shared.services.drops import DropSweep, PoisonedDrops
    from shared.services.dry_run import DryRuns
    from shared.services.health import Health, QueueHealth
    from shared.services.idempotency import FingerprintKeys, IdempotencyKeys
    from shared.services.import_log import ImportLog
    from shared.services.persons.service import PersonService
    from shared.services.poisoned_chunks import PoisonedChunks
    from shared.services.profiles import ProfileService
    from shared.services.records.reading import RecordReader
    from shared.services.retry_cancel import Cancelling, Retrying
    from shared.services.row_drops import RowDrops
    from shared.services.status import FailedRows, Reporting, Waiting
    from shared.services.sweep import Sweep
    from shared.services.tenant_shares import TenantShares
    from shared.services.undoing import Undoing
    from shared.settings import Settings
    from shared.storage.account import Account
    from shared.storage.sealing import DataKeys


@dataclass(frozen=True, slots=True)
class Gateway:
    """All services of a gateway."""

    settings: Settings
    clock: Clock
    account: Account
    data_keys: DataKeys
    callers: Callers
    failures: FailureThrottle
    identity: Identity
    tenants: TenantService
    clients: ClientService
    audit: AuditLog
    audit_reader: AuditReader
    lists: ReferenceLists
    profiles: ProfileService
    files: ImportedFiles
    fingerprint_keys: FingerprintKeys
    imports: ImportLog
    intake: ImportAcceptor
    waiting: Waiting
    chunks: ChunkProcessor
    reporting: Reporting
    failed_rows: FailedRows
    records: RecordReader
    changes: ChangeFeed
    license_export: LicenseExport
    retrying: Retrying
    cancelling: Cancelling
    undoing: Undoing
    dry_runs: DryRuns
    shares: TenantShares
    small_first: SmallImportsFirst
    idempotency: IdempotencyKeys
    documents: DocumentServices
    row_drops: RowDrops
    row_drop_sweep: DropSweep
    poisoned_drops: PoisonedDrops
    poisoned_chunks: PoisonedChunks
    authdata: AuthdataServices
    dry_run_budget: DryRunBudget
    sweep: Sweep
    persons: PersonService
    health: Health
    queue_health: QueueHealth
