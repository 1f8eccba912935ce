"""A gateway put together from its settings."""

from __future__ import annotations

from functools import partial

from shared.auth.callers import Callers, KeyPairAuthenticator
from shared.auth.failure_throttle import FailureThrottle
from shared.auth.tenant_lookups import TenantLookups
from shared.bootstrap import Gateway
from shared.clock import Clock, SystemClock
from shared.composition.documents import compose_documents
from shared.composition.parts import Parts, parts_of
from shared.composition.works import chunks_of, dry_runs_of
from shared.identity import Identity
from shared.imports.workers.definition import WORKERS
from shared.process_stop import ProcessStop
from shared.services.admin.clients import ClientService
from shared.services.admin.tenants import TenantService
from shared.services.authdata.services import AuthdataLimits, AuthdataParts, AuthdataServices
from shared.services.authdata.trials import AuthdataTrials
from shared.services.chunk_processor import ChunkProcessor
from shared.services.fingerprint_keys import FingerprintKeys
from shared.services.health import Health
from shared.services.idempotency import Repeats, RepeatStore
from shared.services.licenses.same_file import ImportedFiles
from shared.services.retry_cancel import Cancelling, Retrying
from shared.services.status import FailedRows, Waiting
from shared.services.sweep import Sweep
from shared.services.tenant_shares import OpenImportLimit, TenantPlaces, TenantShares
from shared.settings import FORWARDED, Settings


def compose(
    settings: Settings, clock: Clock | None = None, stop: ProcessStop | None = None
) -> Gateway:
    """Every service, with what it needs; nothing connects yet. By default the machine's clock."""
    parts = parts_of(settings, clock or SystemClock(), stop or ProcessStop())
    account, clock = parts.account, parts.clock
    tenants = TenantService(account.tables, clock)
    tenant_lookups = TenantLookups(account.tables, clock, settings.cache_seconds)
    identity = Identity(settings, account.tables, clock, parts.ids, tenant_lookups)
    failed_rows = FailedRows(parts.reporting, parts.payloads)
    authdata = _authdata(parts)
    chunks = chunks_of(parts, authdata)
    key_pairs = KeyPairAuthenticator(account.tables, clock, settings.cache_seconds)
    failures = FailureThrottle(
        clock,
        settings.failures_per_credential,
        settings.failures_per_source,
        is_forwarded=settings.caller_address == FORWARDED,
    )
    return Gateway(
        settings=settings,
        account=account,
        callers=Callers(key_pairs, identity, tenant_lookups, failures),
        failures=failures,
        identity=identity,
        tenants=tenants,
        clients=ClientService(account.tables, tenants, clock, parts.ids),
        lists=parts.lists,
        files=ImportedFiles(parts.imports),
        fingerprint_keys=FingerprintKeys(account.tables, settings.authdata_keys),
        imports=parts.imports,
        intake=parts.intake,
        waiting=Waiting(parts.imports, parts.completions, clock, parts.stop),
        chunks=chunks,
        reporting=parts.reporting,
        failed_rows=failed_rows,
        retrying=Retrying(
            failed_rows, parts.intake, parts.offload, settings.max_rows, authdata.retriers
        ),
        cancelling=Cancelling(parts.imports, account.queues, clock),
        dry_runs=dry_runs_of(parts),
        shares=_shares(parts),
        repeats=_repeats(parts),
        documents=compose_documents(
            account,
            settings,
            clock,
            parts.imports,
            chunks,
            parts.reporting,
            tenants.list_ids,
            tenant_lookups,
        ),
        authdata=authdata,
        trials=AuthdataTrials(clock, settings.trial_calls, settings.trial_records),
        sweep=_sweep(parts, tenants, chunks),
        health=Health(partial(account.check, WORKERS.queue), clock),
    )


def _shares(parts: Parts) -> TenantShares:
    most_waiting = parts.settings.waiting_calls
    return TenantShares(
        acceptance=TenantPlaces("imports", places=32, per_tenant=2, most_waiting=most_waiting),
        exports=TenantPlaces("downloads", places=4, per_tenant=2, most_waiting=most_waiting),
        open_imports=OpenImportLimit(
            parts.settings.open_imports, parts.clock, parts.imports.count_open
        ),
    )


def _repeats(parts: Parts) -> Repeats:
    account, settings = parts.account, parts.settings
    return Repeats(
        store=RepeatStore(account.tables, account.blobs, parts.ids, parts.offload),
        clock=parts.clock,
        ids=parts.ids,
        stop=parts.stop,
        keep_seconds=settings.idempotency_seconds,
        take_over_seconds=settings.take_over_seconds,
    )


def _sweep(parts: Parts, tenants: TenantService, chunks: ChunkProcessor) -> Sweep:
    return Sweep(
        imports=parts.imports,
        queues=parts.account.queues,
        hold_back=parts.hold_back,
        completions=parts.completions,
        clock=parts.clock,
        tenants=tenants.list_ids,
        quiet_seconds=parts.settings.sweep_after_seconds,
        run_here=chunks.process,
        end_here=chunks.end_as_failed,
        here_seconds=parts.settings.document_sweep_seconds,
    )


def _authdata(parts: Parts) -> AuthdataServices:
    account, settings = parts.account, parts.settings
    limits = AuthdataLimits(
        plan=parts.limits,
        keys=settings.authdata_keys,
        cache_seconds=settings.cache_seconds,
        batch_seconds=settings.batch_seconds,
        orphan_seconds=settings.sweep_after_seconds,
    )
    made = AuthdataParts(
        account.tables,
        account.blobs,
        parts.payloads,
        parts.imports,
        parts.clock,
        parts.ids,
        parts.offload,
        limits,
    )
    return made.services(parts.intake, parts.reporting)
