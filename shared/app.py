"""A gateway put together from its settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
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
from shared.imports.authdata.hashing import HashKey
from shared.imports.documents.definition import DOCUMENTS
from shared.imports.import_type import RecordRules
from shared.imports.licenses.definition import LICENSES
from shared.imports.merge_rules import ChangeListener
from shared.imports.registry import IMPORT_TYPES
from shared.imports.workers.definition import WORKERS
from shared.process_stop import ProcessStop
from shared.services.accept import ImportAcceptor, PlanLimits
from shared.services.admin.clients import ClientService
from shared.services.admin.reference_lists import ReferenceLists
from shared.services.admin.tenants import TenantService
from shared.services.authdata.processing import AuthdataRetrier, Processing
from shared.services.authdata.processor import AuthdataProcessor, Plans
from shared.services.authdata.staging import Staging, TenantRuleBook
from shared.services.authdata.store import BatchStore, Employees
from shared.services.authdata.trials import AuthdataTrials
from shared.services.background import Offload, to_thread_if_large
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
from shared.services.idempotency import Repeats, RepeatStore
from shared.services.import_log import ImportLog
from shared.services.licenses.processor import LicenseProcessor
from shared.services.licenses.same_file import ImportedFiles
from shared.services.name_index import NameIndex
from shared.services.record_processor import RecordProcessor
from shared.services.references import EarlierImports, ReferenceReader
from shared.services.results import Payloads, Results
from shared.services.retention import (
    ExpiringFiles,
    ExpiringImports,
    ExpiringRejections,
    ExpiringTombstones,
    Retention,
    RetentionStep,
    counted,
)
from shared.services.retry_cancel import Cancelling, Retrying
from shared.services.row_processor import Processors
from shared.services.status import FailedRows, Reporting, Waiting
from shared.services.sweep import Sweep
from shared.services.tenant_shares import OpenImportLimit, TenantPlaces, TenantShares
from shared.settings import FORWARDED, Settings
from shared.storage.account import Account
from shared.storage.license_records import log_up_to
from shared.storage.ports import Blobs, Tables

if TYPE_CHECKING:
    from shared.services.record_repair import RecordRepair

# What services are made of: the account, the clock, and the services that most others need.


@dataclass(frozen=True, slots=True)
class Dependencies:
    """One of each in a gateway."""

    settings: Settings
    account: Account
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


def parts_of(settings: Settings, clock: Clock, stop: ProcessStop) -> Dependencies:
    """The parts of a gateway with these settings; nothing connects yet."""
    account, ids = Account(settings.storage), RandomIds()
    imports = ImportLog(account.tables)
    hold_back = HoldBack(imports, account.queues, settings.imports_at_once)
    results = Results(account.tables, account.blobs, to_thread_if_large)
    limits = PlanLimits(settings.max_rows, settings.chunk_rows, settings.chunk_bytes)
    return Dependencies(
        settings=settings,
        account=account,
        clock=clock,
        ids=ids,
        stop=stop,
        offload=to_thread_if_large,
        completions=Completions(),
        imports=imports,
        hold_back=hold_back,
        results=results,
        payloads=Payloads(account.blobs),
        lists=ReferenceLists(account.tables, clock, ids, settings.cache_seconds),
        limits=limits,
        intake=ImportAcceptor(
            imports=imports,
            blobs=account.blobs,
            queues=account.queues,
            hold_back=hold_back,
            clock=clock,
            ids=ids,
            offload=to_thread_if_large,
            limits=limits,
        ),
        reporting=Reporting(imports, results, clock),
    )


# The services of documents put together: a part of the composition root (`shared.bootstrap`).


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


# What goes after its time: the list of retention's steps (a part of the composition root).
#
# Whoever stores something that is not kept for ever adds a line here. Steps run in this order:
# payloads go before the tombstones that keep their rows from being retried wrongly.

_A_DAY = timedelta(days=1)
_AN_HOUR = timedelta(hours=1)


def retention_of(gateway: Gateway, clock: Clock | None = None) -> Retention:
    """The retention of a gateway."""
    time = clock or SystemClock()
    steps = [*_of_imports(gateway, time), *_of_documents(gateway, time), *_of_calls(gateway)]
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
    imports = ExpiringImports(tables, gateway.account.blobs, gateway.imports, clock)
    logs = {kind.table: None for kind in IMPORT_TYPES.values()} | {LICENSES.table: log_up_to}
    tombstones = ExpiringTombstones(tables, gateway.imports, logs)
    rows = timedelta(days=settings.keep_payload_days)
    kept = timedelta(days=settings.keep_result_days)
    marks = rows + timedelta(days=settings.keep_tombstone_days)
    yield RetentionStep("payloads", rows, imports.payloads)
    yield RetentionStep("results", kept, imports.results)
    yield RetentionStep("tombstones", marks, tombstones.tombstones, least=_A_DAY)
    yield RetentionStep("stray payloads", _A_DAY, imports.strays, least=_A_DAY)


def _of_documents(gateway: Gateway, clock: Clock) -> Iterator[RetentionStep]:
    account = gateway.account
    files = ExpiringFiles(account.tables, account.documents, gateway.imports, clock)
    kept = timedelta(days=gateway.settings.keep_replaced_days)
    yield RetentionStep("replaced documents", kept, files.files)
    # A rejected drop is what the payload of another import is: the rows that failed, as sent.
    rejected = timedelta(days=gateway.settings.keep_payload_days)
    yield RetentionStep("rejected drops", rejected, ExpiringRejections(account.blobs).files)


def _of_calls(gateway: Gateway) -> Iterator[RetentionStep]:
    """What calls leave behind beside their import."""
    settings = gateway.settings

    remembered, keys = timedelta(seconds=settings.idempotency_seconds), gateway.repeats.expire
    kept = timedelta(days=settings.keep_result_days)
    yield RetentionStep("idempotency keys", remembered, counted(keys), least=_AN_HOUR)
    batches = counted(gateway.authdata.processing.forget_before)
    yield RetentionStep("authentication batches", kept, batches, least=_A_DAY)


# The services of authentication data, put together for the composition root.


@dataclass(frozen=True, slots=True)
class AuthdataLimits:
    """What the settings say; times in seconds."""

    plan: PlanLimits
    keys: Sequence[HashKey]
    cache_seconds: float
    batch_seconds: float
    orphan_seconds: float


class AuthdataParts:
    """What the work on rows needs and what the calls need, made in the order of their needs."""

    def __init__(
        self,
        tables: Tables,
        blobs: Blobs,
        payloads: Payloads,
        imports: ImportLog,
        clock: Clock,
        ids: Ids,
        offload: Offload,
        limits: AuthdataLimits,
    ) -> None:
        self._tables = tables
        self._blobs = blobs
        self._imports = imports
        self._clock = clock
        self._ids = ids
        self._offload = offload
        self._limits = limits
        self._employees = Employees(tables, offload)
        self._rules = TenantRuleBook(tables, clock, limits.cache_seconds)
        self._plans = Plans(
            tables=tables,
            blobs=blobs,
            payloads=payloads,
            employees=self._employees,
            rules=self._rules,
            ids=ids,
            offload=offload,
        )

    def work(self) -> AuthdataProcessor:
        """The work on the rows of chunks."""
        return AuthdataProcessor(
            tables=self._tables,
            imports=self._imports,
            employees=self._employees,
            plans=self._plans,
            clock=self._clock,
            offload=self._offload,
        )

    def services(self, intake: ImportAcceptor, reporting: Reporting) -> AuthdataServices:
        """What triggers and commands call."""
        limits = self._limits
        batches = BatchStore(self._tables, self._blobs, self._offload)
        staging = Staging(
            batches=batches,
            employees=self._employees,
            rules=self._rules,
            keys=limits.keys,
            clock=self._clock,
            offload=self._offload,
            max_rows=limits.plan.max_rows,
            batch_seconds=limits.batch_seconds,
        )
        processing = Processing(
            batches=batches,
            staging=staging,
            plans=self._plans,
            imports=self._imports,
            intake=intake,
            reporting=reporting,
            clock=self._clock,
            ids=self._ids,
            offload=self._offload,
            limits=limits.plan,
            orphan_seconds=limits.orphan_seconds,
        )
        retrier = AuthdataRetrier(staging, intake, reporting, self._offload, limits.plan)
        retriers = {AUTHDATA.name: retrier}
        return AuthdataServices(self._rules, staging, processing, retriers, self.work())


# The work on rows, type by type: what chunks are given to, and what dry runs ask.


def chunks_of(parts: Dependencies, authdata: AuthdataServices) -> ChunkProcessor:
    """Works on the chunks of every type, documents among them, whose work may do another's."""

    async def run_earlier(message: ChunkMessage) -> None:
        await chunks.process(message)

    account = parts.account
    documents = DocumentProcessor(account.tables, parts.imports, parts.clock, run_earlier)
    works = _works(parts, parts.imports, account.tables, account.blobs)
    chunks = ChunkProcessor(
        payloads=parts.payloads,
        queues=account.queues,
        hold_back=parts.hold_back,
        imports=parts.imports,
        results=parts.results,
        works=works.with_one(DOCUMENTS.name, documents).with_one(AUTHDATA.name, authdata.work),
        completions=parts.completions,
        clock=parts.clock,
        stop=parts.stop,
        handler_seconds=parts.settings.handler_seconds,
    )
    return chunks


def dry_runs_of(parts: Dependencies) -> DryRuns:
    """Judges payloads by the works of a run."""
    return DryRuns(
        tables=parts.account.tables,
        blobs=parts.account.blobs,
        make_works=partial(_works, parts, NothingOpen()),
        max_rows=parts.settings.dry_run_rows,
        max_bytes=parts.settings.max_body_bytes,
        most_waiting=parts.settings.waiting_calls,
    )


def _works(
    parts: Dependencies,
    earlier: EarlierImports,
    tables: Tables,
    blobs: Blobs,
    on_change: ChangeListener | None = None,
) -> Processors:
    """The works that need storage alone: the account's, or what a dry run makes of it."""
    keyed = RecordProcessor(
        tables=tables,
        imports=earlier,
        references=ReferenceReader(tables, earlier, parts.lists),
        clock=parts.clock,
        offload=parts.offload,
        on_change=on_change,
    )
    licenses = LicenseProcessor(
        tables=tables, blobs=blobs, clock=parts.clock, offload=parts.offload, on_change=on_change
    )
    return Processors(keyed, {LICENSES.name: licenses})


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


def _shares(parts: Dependencies) -> TenantShares:
    most_waiting = parts.settings.waiting_calls
    return TenantShares(
        acceptance=TenantPlaces("imports", places=32, per_tenant=2, most_waiting=most_waiting),
        exports=TenantPlaces("downloads", places=4, per_tenant=2, most_waiting=most_waiting),
        open_imports=OpenImportLimit(
            parts.settings.open_imports, parts.clock, parts.imports.count_open
        ),
    )


def _repeats(parts: Dependencies) -> Repeats:
    account, settings = parts.account, parts.settings
    return Repeats(
        store=RepeatStore(account.tables, account.blobs, parts.ids, parts.offload),
        clock=parts.clock,
        ids=parts.ids,
        stop=parts.stop,
        keep_seconds=settings.idempotency_seconds,
        take_over_seconds=settings.take_over_seconds,
    )


def _sweep(parts: Dependencies, tenants: TenantService, chunks: ChunkProcessor) -> Sweep:
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


def _authdata(parts: Dependencies) -> AuthdataServices:
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


def record_repair_of(gateway: Gateway) -> RecordRepair:
    """The repair of stored records, for the commands: a running gateway needs none."""
    from shared.services.record_repair import RecordRepair

    account = gateway.account
    results = Results(account.tables, account.blobs, to_thread_if_large)
    return RecordRepair(account.tables, gateway.imports, results, SystemClock())
