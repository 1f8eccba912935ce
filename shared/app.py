"""The composition root: a gateway put together from its settings, and what commands add to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from shared.auth.callers import Callers, KeyPairAuthenticator
from shared.auth.failure_throttle import FailureThrottle
from shared.auth.tenant_lookups import TenantLookups
from shared.clock import Clock, Ids, RandomIds, SystemClock
from shared.gateway import AuthdataServices, DocumentServices, Gateway
from shared.identity import Identity
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.documents.definition import DOCUMENTS
from shared.imports.import_type import RecordRules
from shared.imports.merge_rules import ChangeListener
from shared.imports.modules import IMPORT_MODULES
from shared.imports.registry import IMPORT_TYPES
from shared.imports.sender import NamedCaller
from shared.imports.workers.definition import WORKERS
from shared.process_stop import ProcessStop
from shared.services.accept import ImportAcceptor, PlanLimits
from shared.services.admin.audit import AuditLog, AuditReader
from shared.services.admin.clients import ClientService
from shared.services.admin.reference_lists import ReferenceLists
from shared.services.admin.tenants import TenantService
from shared.services.authdata.processing import AuthdataRetrier, Processing
from shared.services.authdata.processor import AuthdataProcessor, Plans
from shared.services.authdata.staging import Staging, TenantRuleBook
from shared.services.authdata.store import BatchStore, Employees
from shared.services.authdata.trials import AuthdataTrials
from shared.services.background import Offload, to_thread_if_large
from shared.services.changes import ChangedType, ChangeFeed
from shared.services.chunk_messages import ChunkMessage
from shared.services.chunk_processor import ChunkProcessor, HoldBack
from shared.services.completions import Completions
from shared.services.documents.drops import Drops, DropSweep, PoisonedDrops
from shared.services.documents.processor import DocumentProcessor
from shared.services.documents.reading import DocumentList
from shared.services.documents.rounds import Features, Rounds
from shared.services.documents.uploads import Documents, DocumentTrials
from shared.services.documents.worker_lookup import WorkerSearch
from shared.services.dry_run import DryRuns, NothingOpen
from shared.services.fingerprint_keys import FingerprintKeys
from shared.services.health import Health
from shared.services.idempotency import IdempotencyKeys, IdempotencyStore
from shared.services.import_log import ImportLog
from shared.services.licenses.export import LicenseExport
from shared.services.licenses.same_file import ImportedFiles
from shared.services.name_index import NameIndex
from shared.services.record_processor import RecordProcessor
from shared.services.records.reading import RecordReader
from shared.services.references import EarlierImports, ReferenceReader
from shared.services.results import Payloads, Results
from shared.services.retention import (
    ExpiringImports,
    ExpiringTombstones,
    Retention,
    RetentionStep,
    counted,
)
from shared.services.retry_cancel import Cancelling, Retrying
from shared.services.row_processor import ProcessorContext, Processors
from shared.services.status import FailedRows, Reporting, Waiting
from shared.services.sweep import Sweep
from shared.services.tenant_shares import OpenImportLimit, TenantPlaces, TenantShares
from shared.settings import FORWARDED, Settings
from shared.storage.account import Account
from shared.storage.ports import Blobs, ListedBlobs, Queues, Tables

if TYPE_CHECKING:
    from shared.services.record_repair import RecordRepair


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What services are made of, one of each in a gateway: its storage, its clock, and the services
    that most others need.
    """

    settings: Settings
    tables: Tables
    blobs: ListedBlobs
    queues: Queues
    clock: Clock
    ids: Ids
    stop: ProcessStop
    offload: Offload
    completions: Completions
    imports: ImportLog
    hold_back: HoldBack
    results: Results
    payloads: Payloads
    lists: ReferenceLists
    limits: PlanLimits
    intake: ImportAcceptor
    reporting: Reporting
    audit: AuditLog

    @classmethod
    def from_storage(
        cls,
        settings: Settings,
        tables: Tables,
        blobs: ListedBlobs,
        queues: Queues,
        clock: Clock,
        stop: ProcessStop,
        caller: NamedCaller | None = None,
    ) -> Dependencies:
        """The dependencies on that storage, which nothing here connects to yet."""
        ids, offload = RandomIds(), to_thread_if_large
        audit = AuditLog(tables, clock, ids, caller)
        imports = ImportLog(tables)
        hold_back = HoldBack(imports, queues, settings.imports_at_once)
        results = Results(tables, blobs, offload)
        limits = PlanLimits(settings.max_rows, settings.chunk_rows, settings.chunk_bytes)
        intake = ImportAcceptor(
            imports=imports,
            blobs=blobs,
            queues=queues,
            hold_back=hold_back,
            clock=clock,
            ids=ids,
            offload=offload,
            limits=limits,
        )
        return cls(
            settings=settings,
            tables=tables,
            blobs=blobs,
            queues=queues,
            clock=clock,
            ids=ids,
            stop=stop,
            offload=offload,
            completions=Completions(),
            imports=imports,
            hold_back=hold_back,
            results=results,
            payloads=Payloads(blobs),
            lists=ReferenceLists(tables, clock, ids, settings.cache_seconds, audit),
            limits=limits,
            intake=intake,
            reporting=Reporting(imports, results, clock),
            audit=audit,
        )


def compose(
    settings: Settings,
    clock: Clock | None = None,
    stop: ProcessStop | None = None,
    caller: NamedCaller | None = None,
) -> Gateway:
    """Every service, with what it needs; nothing connects yet. By default the machine's clock.

    `caller` is who administers this gateway, for the audit log.
    """
    account = Account(settings.storage)
    dependencies = Dependencies.from_storage(
        settings,
        account.tables,
        account.blobs,
        account.queues,
        clock or SystemClock(),
        stop or ProcessStop(),
        caller,
    )
    audit = dependencies.audit
    clock, ids, imports = dependencies.clock, dependencies.ids, dependencies.imports
    tenants = TenantService(account.tables, clock, audit)
    tenant_lookups = TenantLookups(account.tables, clock, settings.cache_seconds)
    identity = Identity(settings, account.tables, clock, ids, tenant_lookups)
    fingerprint_keys = FingerprintKeys(account.tables, settings.authdata_keys)
    failed_rows = FailedRows(dependencies.reporting, dependencies.payloads)
    authdata = compose_authdata(dependencies)
    chunks = compose_chunks(dependencies, authdata)
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
        clients=ClientService(account.tables, tenants, clock, ids, audit),
        audit=audit,
        audit_reader=AuditReader(account.tables),
        lists=dependencies.lists,
        files=ImportedFiles(imports),
        fingerprint_keys=fingerprint_keys,
        imports=imports,
        intake=dependencies.intake,
        waiting=Waiting(imports, dependencies.completions, clock, dependencies.stop),
        chunks=chunks,
        reporting=dependencies.reporting,
        failed_rows=failed_rows,
        records=_records(dependencies, account),
        license_export=LicenseExport(account.tables, dependencies.offload, settings.max_rows),
        changes=ChangeFeed(imports, dependencies.results, changed_types),
        retrying=Retrying(
            failed_rows,
            dependencies.intake,
            dependencies.offload,
            settings.max_rows,
            authdata.retriers,
        ),
        cancelling=Cancelling(imports, account.queues, clock),
        dry_runs=_dry_runs(dependencies),
        shares=_shares(dependencies),
        idempotency=_idempotency(dependencies),
        documents=_documents(
            dependencies, account, chunks, tenants, tenant_lookups, fingerprint_keys
        ),
        authdata=authdata,
        trials=AuthdataTrials(clock, settings.trial_calls, settings.trial_records),
        sweep=_sweep(dependencies, tenants, chunks),
        health=Health(partial(account.check, WORKERS.queue), clock),
    )


def compose_authdata(dependencies: Dependencies) -> AuthdataServices:
    """What triggers and commands call for authentication data, and the work on its rows."""
    tables, blobs = dependencies.tables, dependencies.blobs
    clock, offload, limits = dependencies.clock, dependencies.offload, dependencies.limits
    settings, imports = dependencies.settings, dependencies.imports
    employees = Employees(tables, offload)
    rules = TenantRuleBook(tables, clock, settings.cache_seconds, dependencies.audit)
    plans = Plans(
        tables=tables,
        blobs=blobs,
        payloads=dependencies.payloads,
        employees=employees,
        rules=rules,
        ids=dependencies.ids,
        offload=offload,
    )
    batches = BatchStore(tables, blobs, offload)
    staging = Staging(
        batches=batches,
        employees=employees,
        rules=rules,
        keys=settings.authdata_keys,
        clock=clock,
        offload=offload,
        max_rows=limits.max_rows,
        batch_seconds=settings.batch_seconds,
    )
    processing = Processing(
        batches=batches,
        staging=staging,
        plans=plans,
        imports=imports,
        intake=dependencies.intake,
        reporting=dependencies.reporting,
        clock=clock,
        ids=dependencies.ids,
        offload=offload,
        limits=limits,
        orphan_seconds=settings.sweep_after_seconds,
    )
    retrier = AuthdataRetrier(staging, dependencies.intake, dependencies.reporting, offload, limits)
    work = AuthdataProcessor(
        tables=tables,
        blobs=blobs,
        imports=imports,
        employees=employees,
        plans=plans,
        clock=clock,
        offload=offload,
    )
    return AuthdataServices(rules, staging, processing, {AUTHDATA.name: retrier}, work)


def _documents(
    dependencies: Dependencies,
    account: Account,
    chunks: ChunkProcessor,
    tenants: TenantService,
    tenant_lookups: TenantLookups,
    fingerprint_keys: FingerprintKeys,
) -> DocumentServices:
    settings, clock = dependencies.settings, dependencies.clock
    audit = dependencies.audit
    features, rounds = Features(account.tables, audit), Rounds(account.tables, audit)
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
        fingerprint_keys=fingerprint_keys,
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


def _records(dependencies: Dependencies, account: Account) -> RecordReader:
    return RecordReader(
        tables=account.tables,
        imports=dependencies.imports,
        reporting=dependencies.reporting,
        clock=dependencies.clock,
        offload=dependencies.offload,
        sources={
            module.records.name: module.records.source
            for module in IMPORT_MODULES.values()
            if module.records is not None
        },
        kept=timedelta(days=dependencies.settings.keep_result_days),
    )


def changed_types() -> Mapping[str, ChangedType]:
    """How the records of each import type are called in the feed of changes."""
    types: dict[str, ChangedType] = {}
    for name, module in IMPORT_MODULES.items():
        kind, records = module.definition, module.records
        if records is None:
            fields: Sequence[str] = kind.rules.key_fields
            types[name] = ChangedType.of(kind, name, fields, are_renamed=False)
        else:
            fields = records.source().key_fields
            renamed = records.are_renamed
            types[name] = ChangedType.of(kind, records.name, fields, are_renamed=renamed)
    return types


def _shares(dependencies: Dependencies) -> TenantShares:
    most_waiting = dependencies.settings.waiting_calls
    return TenantShares(
        acceptance=TenantPlaces("imports", places=32, per_tenant=2, most_waiting=most_waiting),
        exports=TenantPlaces("downloads", places=4, per_tenant=2, most_waiting=most_waiting),
        open_imports=OpenImportLimit(
            dependencies.settings.open_imports,
            dependencies.clock,
            dependencies.imports.count_open,
        ),
    )


def _idempotency(dependencies: Dependencies) -> IdempotencyKeys:
    return IdempotencyKeys(
        store=IdempotencyStore(
            dependencies.tables, dependencies.blobs, dependencies.ids, dependencies.offload
        ),
        clock=dependencies.clock,
        ids=dependencies.ids,
        stop=dependencies.stop,
        keep_seconds=dependencies.settings.idempotency_seconds,
        take_over_seconds=dependencies.settings.take_over_seconds,
    )


def _sweep(dependencies: Dependencies, tenants: TenantService, chunks: ChunkProcessor) -> Sweep:
    return Sweep(
        imports=dependencies.imports,
        queues=dependencies.queues,
        hold_back=dependencies.hold_back,
        completions=dependencies.completions,
        clock=dependencies.clock,
        tenants=tenants.list_ids,
        quiet_seconds=dependencies.settings.sweep_after_seconds,
        run_here=chunks.process,
        end_here=chunks.end_as_failed,
        here_seconds=dependencies.settings.document_sweep_seconds,
    )


# The work on rows, type by type: what chunks are given to, and what dry runs ask.


def compose_chunks(dependencies: Dependencies, authdata: AuthdataServices) -> ChunkProcessor:
    """Works on the chunks of every type, documents among them, whose work may do another's."""

    async def run_earlier(message: ChunkMessage) -> None:
        await chunks.process(message)

    imports, tables = dependencies.imports, dependencies.tables
    documents = DocumentProcessor(tables, imports, dependencies.clock, run_earlier)
    processors = _processors(dependencies, imports, tables, dependencies.blobs)
    chunks = ChunkProcessor(
        payloads=dependencies.payloads,
        queues=dependencies.queues,
        hold_back=dependencies.hold_back,
        imports=imports,
        results=dependencies.results,
        processors=processors.with_one(DOCUMENTS.name, documents).with_one(
            AUTHDATA.name, authdata.processor
        ),
        completions=dependencies.completions,
        clock=dependencies.clock,
        stop=dependencies.stop,
        handler_seconds=dependencies.settings.handler_seconds,
    )
    return chunks


def _dry_runs(dependencies: Dependencies) -> DryRuns:
    """Judges payloads by the processors of a run."""
    return DryRuns(
        tables=dependencies.tables,
        blobs=dependencies.blobs,
        make_processors=partial(_processors, dependencies, NothingOpen()),
        max_rows=dependencies.settings.dry_run_rows,
        max_bytes=dependencies.settings.max_body_bytes,
        most_waiting=dependencies.settings.waiting_calls,
    )


def _processors(
    dependencies: Dependencies,
    earlier: EarlierImports,
    tables: Tables,
    blobs: Blobs,
    on_change: ChangeListener | None = None,
) -> Processors:
    """The work that needs storage alone: the account's, or what a dry run makes of it."""
    context = ProcessorContext(
        tables=tables,
        blobs=blobs,
        imports=earlier,
        lists=dependencies.lists,
        clock=dependencies.clock,
        offload=dependencies.offload,
        on_change=on_change,
    )
    special = {
        name: module.make_processor(context)
        for name, module in IMPORT_MODULES.items()
        if module.make_processor is not None
    }
    records = RecordProcessor(
        tables=tables,
        blobs=context.blobs,
        imports=earlier,
        references=ReferenceReader(tables, earlier, context.lists),
        clock=context.clock,
        offload=context.offload,
        on_change=on_change,
    )
    return Processors(records, special)


# What goes after its time: the list of retention's steps (a part of the composition root).
#
# Whoever stores something that is not kept for ever adds a line here. Steps run in this order:
# payloads go before the tombstones that keep their rows from being retried wrongly.

_A_DAY = timedelta(days=1)
_AN_HOUR = timedelta(hours=1)


def retention_of(gateway: Gateway, clock: Clock | None = None) -> Retention:
    """The retention of a gateway."""
    time = clock or SystemClock()
    of_types = [
        step for module in IMPORT_MODULES.values() for step in module.retention(gateway, time)
    ]
    steps = [*_of_imports(gateway, time), *of_types, *_of_calls(gateway)]
    return Retention(steps, gateway.account.tables, time, gateway.tenants.list_ids)


async def fill_indexes(gateway: Gateway) -> None:
    """Enter the records of tenants that are older than the index of names."""
    names = NameIndex(gateway.account.tables)
    for tenant in await gateway.tenants.list_ids():
        for kind in IMPORT_TYPES.values():
            rules = kind.rules
            if isinstance(rules, RecordRules) and rules.has_names:
                await names.fill(kind, tenant)


def _of_imports(gateway: Gateway, clock: Clock) -> Iterator[RetentionStep]:
    settings, tables = gateway.settings, gateway.account.tables
    logs = {
        module.definition.table: module.log_range() if module.log_range else None
        for module in IMPORT_MODULES.values()
    }
    imports = ExpiringImports(tables, gateway.account.blobs, gateway.imports, clock, logs)
    tombstones = ExpiringTombstones(tables, gateway.imports, logs)
    rows = timedelta(days=settings.keep_payload_days)
    kept = timedelta(days=settings.keep_result_days)
    marks = rows + timedelta(days=settings.keep_tombstone_days)
    yield RetentionStep("payloads", rows, imports.payloads)
    yield RetentionStep("results", kept, imports.results)
    yield RetentionStep("tombstones", marks, tombstones.tombstones, least=_A_DAY)
    yield RetentionStep("stray payloads", _A_DAY, imports.strays, least=_A_DAY)


def _of_calls(gateway: Gateway) -> Iterator[RetentionStep]:
    """What calls leave behind beside their import."""
    settings = gateway.settings

    remembered, keys = timedelta(seconds=settings.idempotency_seconds), gateway.idempotency.expire
    kept = timedelta(days=settings.keep_result_days)
    yield RetentionStep("idempotency keys", remembered, counted(keys), least=_AN_HOUR)
    batches = counted(gateway.authdata.processing.forget_before)
    yield RetentionStep("authentication batches", kept, batches, least=_A_DAY)


def record_repair_of(gateway: Gateway) -> RecordRepair:
    """The repair of stored records, for the commands: a running gateway needs none."""
    from shared.services.record_repair import RecordRepair

    account = gateway.account
    results = Results(account.tables, account.blobs, to_thread_if_large)
    shapes = {
        name: module.stored_shape()
        for name, module in IMPORT_MODULES.items()
        if module.stored_shape is not None
    }
    return RecordRepair(account.tables, gateway.imports, results, SystemClock(), shapes)
