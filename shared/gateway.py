"""What triggers, commands and `shared.web` call: the services of a gateway as one value.

`shared.app` puts it together, `shared.bootstrap` keeps the one of the process. This module loads
none of the services, so that functions can name the type while the app is indexed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.auth.callers import Callers
    from shared.auth.failure_throttle import FailureThrottle
    from shared.identity import Identity
    from shared.services.accept import ImportAcceptor
    from shared.services.admin.audit import AuditLog, AuditReader
    from shared.services.admin.clients import ClientService
    from shared.services.admin.reference_lists import ReferenceLists
    from shared.services.admin.tenants import TenantService
    from shared.services.authdata.processing import Processing
    from shared.services.authdata.processor import AuthdataProcessor
    from shared.services.authdata.staging import Staging, TenantRuleBook
    from shared.services.authdata.trials import AuthdataTrials
    from shared.services.changes import ChangeFeed
    from shared.services.chunk_processor import ChunkProcessor
    from shared.services.documents.drops import Drops, DropSweep, PoisonedDrops
    from shared.services.documents.reading import DocumentList
    from shared.services.documents.rounds import Features, Rounds
    from shared.services.documents.uploads import Documents, DocumentTrials
    from shared.services.dry_run import DryRuns
    from shared.services.fingerprint_keys import FingerprintKeys
    from shared.services.health import Health
    from shared.services.idempotency import IdempotencyKeys
    from shared.services.import_log import ImportLog
    from shared.services.licenses.export import LicenseExport
    from shared.services.licenses.same_file import ImportedFiles
    from shared.services.records.reading import RecordReader
    from shared.services.retry_cancel import Cancelling, Retrier, Retrying
    from shared.services.status import FailedRows, Reporting, Waiting
    from shared.services.sweep import Sweep
    from shared.services.tenant_shares import TenantShares
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


@dataclass(frozen=True, slots=True)
class AuthdataServices:
    """Everything that a trigger or a command may call for authentication data."""

    rules: TenantRuleBook
    staging: Staging
    processing: Processing
    retriers: Mapping[str, Retrier]
    processor: AuthdataProcessor


@dataclass(frozen=True, slots=True)
class Gateway:
    """Everything a trigger or a command may call."""

    settings: Settings
    account: Account
    callers: Callers
    failures: FailureThrottle
    identity: Identity
    tenants: TenantService
    clients: ClientService
    audit: AuditLog
    audit_reader: AuditReader
    lists: ReferenceLists
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
    dry_runs: DryRuns
    shares: TenantShares
    idempotency: IdempotencyKeys
    documents: DocumentServices
    authdata: AuthdataServices
    trials: AuthdataTrials
    sweep: Sweep
    health: Health
