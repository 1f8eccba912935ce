"""The composition root: a gateway put together from its settings, and what commands add to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from shared.auth.callers import Callers, KeyPairAuthenticator
from shared.auth.lookups import TenantLookups
from shared.auth.stored_keys import LastUses
from shared.budgets import DryRunBudget, FailureThrottle
from shared.clock import Clock, StoredTime, SystemClock, same_time
from shared.dependencies import Dependencies
from shared.gateway import Gateway
from shared.identity import Identity
from shared.imports.authdata.person import staged_batches_of
from shared.imports.authdata.services import AuthdataServices, compose_authdata
from shared.imports.documents.person import is_drop_of
from shared.imports.documents.services import (
    compose_documents,
    document_processors,
    store_held_back,
)
from shared.imports.import_type import RecordRules
from shared.imports.licenses.export import LicenseExport
from shared.imports.licenses.store import ImportedFiles
from shared.imports.merge_rules import ChangeListener
from shared.imports.modules import IMPORT_MODULES
from shared.imports.persons import PERSON_ERASURE, PersonKeys
from shared.imports.registry import IMPORT_TYPES, TYPE_CATALOGUE
from shared.imports.sender import NamedCaller
from shared.imports.workers.definition import WORKERS
from shared.process_stop import ProcessStop
from shared.services.admin.audit import AuditReader
from shared.services.admin.clients import ClientService
from shared.services.admin.tenants import TenantService
from shared.services.background import to_thread_if_large
from shared.services.changes import ChangedType, ChangeFeed
from shared.services.chunk_messages import ChunkMessage
from shared.services.chunk_processor import ChunkProcessor
from shared.services.drops import LEASE_SECONDS, DropSweep, PoisonedDrops
from shared.services.dry_run import DryRuns, NothingOpen
from shared.services.health import Health, QueueHealth
from shared.services.idempotency import FingerprintKeys, IdempotencyKeys, IdempotencyStore
from shared.services.persons.dropped_file import References
from shared.services.persons.dropped_rows import DroppedRows
from shared.services.persons.erasure import PersonErasure
from shared.services.persons.imports import PersonImports
from shared.services.persons.register import PersonRegister
from shared.services.persons.search import Sources
from shared.services.persons.service import PersonService
from shared.services.poisoned_chunks import PoisonedChunks
from shared.services.record_processor import RecordProcessor
from shared.services.records.reading import RecordReader
from shared.services.references import EarlierImports, ReferenceReader
from shared.services.results import Results
from shared.services.retention import (
    ExpiringImports,
    ExpiringTombstones,
    Retention,
    RetentionStep,
    counted,
    expiring_blobs,
)
from shared.services.retry_cancel import Cancelling, Retrying
from shared.services.row_drops import FileReaders, MakeSpecialReader, RowDrops
from shared.services.row_processor import FindReferrers, ProcessorContext, Processors, RowProcessor
from shared.services.status import FailedRows, Waiting
from shared.services.sweep import Sweep
from shared.services.tenant_shares import OpenImportLimit, TenantPlaces, TenantShares
from shared.services.tenant_work import OPEN_IMPORTS, UNMARKED_PER_RUN, WorkList
from shared.services.undo_processor import RecordUndoProcessor
from shared.services.undoing import Undoing
from shared.settings import FORWARDED, Settings
from shared.storage.account import Account
from shared.storage.dropped_blobs import POISON_QUEUE, HostRecords, PoisonQueue
from shared.storage.import_records import ImportRecord
from shared.storage.names import (
    CONTAINERS,
    DATA_KEYS,
    DOCUMENT_DROP,
    DOCUMENT_REJECTED,
    ROW_DONE,
    ROW_DROP,
    ROW_REJECTED,
    ROW_RESULTS,
    TABLES,
)
from shared.storage.ports import Blobs, Tables
from shared.storage.record_indexes import NameIndex
from shared.storage.sealed_storage import SealedFields
from shared.storage.sealing import DataKeys

if TYPE_CHECKING:
    from shared.services.admin.tenant_erasure import TenantErasure
    from shared.services.data_key_rotation import DataKeyRotation
    from shared.services.record_repair import RecordRepair


def compose(
    settings: Settings,
    clock: Clock | None = None,
    stop: ProcessStop | None = None,
    caller: NamedCaller | None = None,
    stored_time: StoredTime = same_time,
) -> Gateway:
    """Every service, with what it needs; nothing connects yet. By default the machine's clock.

    `stored_time` goes with a clock that is not the storage account's.
    `caller` is who administers this gateway, for the audit log.
    """
    clock = clock or SystemClock()
    account = Account(settings.storage, stored_time)
    data_keys = DataKeys(account.tables, settings.data_keys, clock, settings.cache_seconds)
    account.seal(data_keys, sealed_fields)
    dependencies = Dependencies.from_storage(
        settings,
        account.tables,
        account.blobs,
        account.queues,
        clock,
        stop or ProcessStop(),
        caller=caller,
        data_keys=data_keys,
    )
    audit = dependencies.audit
    ids, imports = dependencies.ids, dependencies.imports
    tenants = TenantService(account.tables, clock, audit)
    tenant_lookups = TenantLookups(account.tables, clock, settings.cache_seconds)
    uses = LastUses(clock)
    identity = Identity(settings, account.tables, clock, ids, tenant_lookups, uses)
    fingerprint_keys = FingerprintKeys(account.tables, settings.authdata_keys)
    failed_rows = FailedRows(dependencies.reporting, dependencies.payloads)
    authdata = compose_authdata(dependencies)

    async def settle_drop(record: ImportRecord) -> None:
        await row_drops.settle_import(record)

    chunks = compose_chunks(dependencies, authdata, poison=account.poison, on_ended=settle_drop)
    dry_runs = compose_dry_runs(dependencies)
    key_pairs = KeyPairAuthenticator(account.tables, clock, settings.cache_seconds, uses)
    shares = _shares(dependencies)
    row_drops = RowDrops(
        dependencies,
        account.row_drops,
        tenant_lookups,
        fingerprint_keys,
        failed_rows,
        shares,
        FileReaders(settings.max_body_bytes, _special_readers(settings), dependencies.profiles),
    )
    documents = compose_documents(
        dependencies, account, chunks, tenants, tenant_lookups, fingerprint_keys
    )
    failures = FailureThrottle(
        clock,
        settings.failures_per_credential,
        settings.failures_per_source,
        is_forwarded=settings.caller_address == FORWARDED,
    )
    return Gateway(
        settings=settings,
        clock=clock,
        account=account,
        data_keys=data_keys,
        callers=Callers(key_pairs, identity, tenant_lookups, failures),
        failures=failures,
        identity=identity,
        tenants=tenants,
        clients=ClientService(account.tables, tenants, clock, ids, audit),
        audit=audit,
        audit_reader=AuditReader(account.tables),
        lists=dependencies.lists,
        profiles=dependencies.profiles,
        files=ImportedFiles(imports),
        fingerprint_keys=fingerprint_keys,
        imports=imports,
        intake=dependencies.intake,
        waiting=Waiting(imports, dependencies.completions, clock, dependencies.stop),
        chunks=chunks,
        reporting=dependencies.reporting,
        failed_rows=failed_rows,
        records=compose_records(dependencies),
        license_export=LicenseExport(account.tables, dependencies.offload, settings.max_rows),
        changes=ChangeFeed(imports, dependencies.results, changed_types),
        retrying=compose_retrying(dependencies, failed_rows, authdata, chunks),
        cancelling=Cancelling(imports, dependencies.accepted, account.queues, clock),
        undoing=compose_undoing(dependencies, chunks, dry_runs),
        dry_runs=dry_runs,
        shares=shares,
        small_first=dependencies.small_first,
        idempotency=_idempotency(dependencies),
        documents=documents,
        row_drops=row_drops,
        row_drop_sweep=_row_drop_sweep(dependencies, account, row_drops, tenants.list_ids),
        poisoned_drops=PoisonedDrops(
            account.poison, {DOCUMENT_DROP: documents.drops, ROW_DROP: row_drops}
        ),
        poisoned_chunks=PoisonedChunks(
            account.queues,
            [queue for kind in IMPORT_TYPES.values() for queue in kind.queues],
            chunks.end_as_failed,
        ),
        authdata=authdata,
        dry_run_budget=DryRunBudget(clock, settings.trial_calls, settings.trial_records),
        sweep=compose_sweep(dependencies, chunks),
        persons=_persons(dependencies, tenants, chunks, account.poison, caller),
        health=Health(partial(account.check, WORKERS.queue), clock),
        queue_health=QueueHealth(
            account.queues,
            [queue for kind in IMPORT_TYPES.values() for queue in kind.queues],
            POISON_QUEUE,
            clock,
        ),
    )


RECORD_TABLES: Final = tuple(dict.fromkeys(kind.table for kind in TYPE_CATALOGUE.all))


@cache
def sealed_fields(table: str) -> SealedFields | None:
    """The fields of the records in a table that storage seals; None where there are none."""
    kinds = (kind for kind in TYPE_CATALOGUE.all if kind.table == table)
    return SealedFields.of({name for kind in kinds for name in kind.sealed_names})


def compose_records(dependencies: Dependencies) -> RecordReader:
    """Compose the reader of stored records."""
    return RecordReader(
        tables=dependencies.tables,
        blobs=dependencies.blobs,
        imports=dependencies.imports,
        reporting=dependencies.reporting,
        clock=dependencies.clock,
        offload=dependencies.offload,
        small_first=dependencies.small_first,
        sources={
            module.records.name: module.records.source
            for module in IMPORT_MODULES.values()
            if module.records is not None
        },
        results_kept=timedelta(days=dependencies.settings.keep_result_days),
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


def _special_readers(settings: Settings) -> Mapping[str, MakeSpecialReader]:
    """The readers of types whose vendor has formats of its own."""
    return {
        name: partial(module.make_file_reader, max_document_bytes=settings.max_document_bytes)
        for name, module in IMPORT_MODULES.items()
        if module.make_file_reader is not None
    }


def _row_drop_sweep(
    dependencies: Dependencies,
    account: Account,
    row_drops: RowDrops,
    list_tenants: Callable[[], Awaitable[list[str]]],
) -> DropSweep:
    """Imports dropped rows that the trigger missed, once nothing writes to them any more."""
    settings = dependencies.settings
    missed = min(settings.document_sweep_seconds, LEASE_SECONDS)
    quiet = max(missed, settings.row_drop_seconds)
    return DropSweep(account.row_drops, row_drops, dependencies.clock, quiet, list_tenants)


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


def _idempotency_store(dependencies: Dependencies) -> IdempotencyStore:
    return IdempotencyStore(
        dependencies.tables, dependencies.blobs, dependencies.ids, dependencies.offload
    )


def _idempotency(dependencies: Dependencies) -> IdempotencyKeys:
    return IdempotencyKeys(
        store=_idempotency_store(dependencies),
        clock=dependencies.clock,
        ids=dependencies.ids,
        stop=dependencies.stop,
        keep_seconds=dependencies.settings.idempotency_seconds,
        take_over_seconds=dependencies.settings.take_over_seconds,
    )


def compose_retrying(
    dependencies: Dependencies,
    failed_rows: FailedRows,
    authdata: AuthdataServices,
    chunks: ChunkProcessor,
) -> Retrying:
    """Retries failed rows, of authentication data too."""
    return Retrying(
        failed_rows,
        dependencies.intake,
        dependencies.offload,
        dependencies.limits.max_rows,
        authdata.retriers,
        chunks.process_directly,
    )


def compose_undoing(
    dependencies: Dependencies, chunks: ChunkProcessor, dry_runs: DryRuns
) -> Undoing:
    """Undoes imports of the types that have a processor for it."""
    return Undoing(
        imports=dependencies.imports,
        results=dependencies.results,
        intake=dependencies.intake,
        dry_runs=dry_runs,
        offload=dependencies.offload,
        run_directly=chunks.process_directly,
        types=[name for name, module in IMPORT_MODULES.items() if module.can_be_undone],
    )


def compose_sweep(
    dependencies: Dependencies,
    chunks: ChunkProcessor,
    unmarked_per_run: int = UNMARKED_PER_RUN,
) -> Sweep:
    """Sends lost messages again, and works on documents that nothing else works on."""
    tables, clock = dependencies.tables, dependencies.clock
    return Sweep(
        imports=dependencies.imports,
        queues=dependencies.queues,
        hold_back=dependencies.hold_back,
        completions=dependencies.completions,
        clock=dependencies.clock,
        work=WorkList(tables, OPEN_IMPORTS, clock, unmarked_per_run),
        quiet_seconds=dependencies.settings.sweep_after_seconds,
        run_here=chunks.process,
        end_here=chunks.end_as_failed,
        here_seconds=dependencies.settings.document_sweep_seconds,
    )


# The processors of rows by import type, for chunks and for dry runs.


def compose_chunks(
    dependencies: Dependencies,
    authdata: AuthdataServices,
    replaced: Mapping[str, RowProcessor] | None = None,
    replaced_undo: Mapping[str, RowProcessor] | None = None,
    poison: PoisonQueue | None = None,
    on_ended: Callable[[ImportRecord], Awaitable[None]] | None = None,
) -> ChunkProcessor:
    """Processes the chunks of every type.

    `replaced` are processors by type name that take the place of the usual ones, `replaced_undo`
    those of undos: the order model has licenses in small transactions.
    """

    async def run_earlier(message: ChunkMessage) -> None:
        await chunks.process(message)

    async def follow_up(record: ImportRecord) -> None:
        if on_ended is not None:
            await on_ended(record)
        await store_held_back(dependencies, record, chunks.process)

    imports = dependencies.imports
    processors = _processors(dependencies, imports, dependencies.tables, dependencies.blobs)
    processors = processors.with_more(*document_processors(dependencies, run_earlier))
    chunks = ChunkProcessor(
        payloads=dependencies.payloads,
        queues=dependencies.queues,
        hold_back=dependencies.hold_back,
        imports=imports,
        accepted=dependencies.accepted,
        results=dependencies.results,
        processors=processors.with_more(authdata.processors)
        .with_more({PERSON_ERASURE.name: compose_person_erasure(dependencies, poison)})
        .with_more(replaced or {}, replaced_undo),
        completions=dependencies.completions,
        small_first=dependencies.small_first,
        clock=dependencies.clock,
        stop=dependencies.stop,
        handler_seconds=dependencies.settings.handler_seconds,
        sweep_seconds=dependencies.settings.sweep_after_seconds,
        on_ended=follow_up,
    )
    return chunks


def compose_person_erasure(
    dependencies: Dependencies, poison: PoisonQueue | None = None
) -> PersonErasure:
    """Erases persons, for the command and for the sweep."""
    sources = person_sources()
    documents = HostRecords(dependencies.blobs, poison)

    async def forget_drops(tenant: str, keys: PersonKeys) -> int:
        later = dependencies.clock.now() + timedelta(days=1)
        references = References([*keys.texts()])

        def is_gone(container: str, name: str) -> bool:
            if not name.startswith(f"{tenant}/"):
                return False
            return is_drop_of(keys, name) or (
                container == ROW_DROP and references.are_in_name(unquote(name.rpartition("/")[2]))
            )

        return await documents.delete(is_gone, later)

    return PersonErasure(
        tables=dependencies.tables,
        blobs=dependencies.blobs,
        imports=dependencies.imports,
        person_imports=person_imports(dependencies, sources),
        answers=_idempotency_store(dependencies),
        register=PersonRegister(dependencies.tables, dependencies.data_keys, dependencies.clock),
        sources=sources,
        clock=dependencies.clock,
        ids=dependencies.ids,
        forget_drops=forget_drops,
        find_batches=staged_batches_of,
        dropped_rows=DroppedRows(dependencies.blobs),
    )


def _persons(
    dependencies: Dependencies,
    tenants: TenantService,
    chunks: ChunkProcessor,
    poison: PoisonQueue,
    caller: NamedCaller | None,
) -> PersonService:
    sources = person_sources()
    return PersonService(
        tables=dependencies.tables,
        blobs=dependencies.blobs,
        tenants=tenants,
        audit=dependencies.audit,
        imports=dependencies.imports,
        person_imports=person_imports(dependencies, sources),
        register=PersonRegister(dependencies.tables, dependencies.data_keys, dependencies.clock),
        erasure=compose_person_erasure(dependencies, poison),
        chunks=chunks,
        sources=sources,
        clock=dependencies.clock,
        caller=caller,
    )


def person_imports(dependencies: Dependencies, sources: Sources) -> PersonImports:
    """Finds the imports that name a person."""
    return PersonImports(
        dependencies.tables,
        dependencies.blobs,
        dependencies.imports,
        dependencies.payloads,
        dependencies.results,
        dependencies.offload,
        sources,
    )


def person_sources() -> Sources:
    """What each type stores about persons, by type."""
    return {name: module.person() for name, module in IMPORT_MODULES.items() if module.person}


def compose_dry_runs(dependencies: Dependencies) -> DryRuns:
    """Judges payloads by the processors of a run."""
    return DryRuns(
        tables=dependencies.tables,
        blobs=dependencies.blobs,
        make_processors=partial(_processors, dependencies, NothingOpen()),
        max_rows=dependencies.settings.dry_run_rows,
        max_bytes=dependencies.settings.max_body_bytes,
        most_waiting=dependencies.settings.waiting_calls,
    )


def _referrers() -> Mapping[str, Sequence[FindReferrers]]:
    """The `referrers` of the modules, by the type that their records belong to."""
    referrers: dict[str, list[FindReferrers]] = {}
    for module in IMPORT_MODULES.values():
        for name in module.definition.belongs_to:
            if module.referrers is not None:
                referrers.setdefault(name, []).append(module.referrers())
    return referrers


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
        referrers=_referrers(),
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
        digests=dependencies.data_keys.digests,
    )
    special_undo = {
        name: module.make_undo_processor(context)
        for name, module in IMPORT_MODULES.items()
        if module.make_undo_processor is not None
    }
    return Processors(records, special, RecordUndoProcessor(context), special_undo)


# The steps of the retention, in the order in which they run. What is stored and not kept for ever
# needs a line here. Payloads are deleted before the tombstones that keep their rows from being
# retried wrongly.

_A_DAY = timedelta(days=1)
_AN_HOUR = timedelta(hours=1)


def retention_of(gateway: Gateway, clock: Clock | None = None) -> Retention:
    """The retention of a gateway."""
    time = clock or gateway.clock
    type_steps = [
        step for module in IMPORT_MODULES.values() for step in module.retention(gateway, time)
    ]
    steps = [*_of_imports(gateway, time), *type_steps, *_of_calls(gateway)]
    return Retention(
        steps,
        gateway.account.tables,
        time,
        gateway.tenants.list_ids,
        prepare=partial(fill_indexes, gateway),
    )


def data_key_rotation_of(gateway: Gateway, clock: Clock | None = None) -> DataKeyRotation:
    """The rotation of data keys, with the sealing of records under the newest one."""
    from shared.services.data_key_rotation import DataKeyRotation

    settings = gateway.settings
    return DataKeyRotation(
        tables=gateway.account.unsealed_tables,
        data_keys=gateway.data_keys,
        record_tables=lambda: [table for table in RECORD_TABLES if sealed_fields(table)],
        imports=gateway.imports,
        tenants=gateway.tenants.list_ids,
        clock=clock or gateway.clock,
        audit=gateway.audit,
        keep=timedelta(days=max(settings.keep_payload_days, settings.keep_result_days)),
    )


async def purge_refused_without_tenant(gateway: Gateway, clock: Clock | None = None) -> int:
    """Delete refused drops whose path names no tenant, at the age of payloads; returns how many.

    They belong to the retention and the erasure of no tenant, and may have data of persons.
    """
    # Before the blobs are listed: a tenant that is made meanwhile has none of that age.
    tenants = set(await gateway.tenants.list_ids())
    before = (clock or gateway.clock).now() - timedelta(days=gateway.settings.keep_payload_days)
    blobs, count = gateway.account.blobs, 0
    for container in (DOCUMENT_REJECTED, ROW_REJECTED):
        for name in await blobs.names_before(container, "", before):
            if name.partition("/")[0] not in tenants:
                await blobs.delete(container, name)
                count += 1
    return count


async def fill_indexes(gateway: Gateway, tenant: str) -> None:
    """Enter the records of a tenant that are older than the index of names."""
    names = NameIndex(gateway.account.tables)
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
    payload_age = timedelta(days=settings.keep_payload_days)
    results_age = timedelta(days=settings.keep_result_days)
    tombstone_age = payload_age + timedelta(days=settings.keep_tombstone_days)
    yield RetentionStep("payloads", payload_age, imports.payloads)
    yield RetentionStep("results", results_age, imports.results)
    yield RetentionStep("tombstones", tombstone_age, tombstones.tombstones, least=_A_DAY)
    yield RetentionStep("stray payloads", _A_DAY, imports.strays, least=_A_DAY)
    blobs = gateway.account.blobs
    done_age = min(timedelta(days=settings.keep_drop_days), results_age)
    yield RetentionStep("imported files of rows", done_age, expiring_blobs(blobs, ROW_DONE))
    yield RetentionStep("rejected files of rows", payload_age, expiring_blobs(blobs, ROW_REJECTED))
    yield RetentionStep("results beside files", results_age, expiring_blobs(blobs, ROW_RESULTS))


def _of_calls(gateway: Gateway) -> Iterator[RetentionStep]:
    """What calls store besides their import."""
    settings = gateway.settings
    key_age = timedelta(seconds=settings.idempotency_seconds)
    results_age = timedelta(days=settings.keep_result_days)
    expire_keys = counted(gateway.idempotency.expire)
    yield RetentionStep("idempotency keys", key_age, expire_keys, least=_AN_HOUR)
    batches = counted(gateway.authdata.processing.forget_before)
    yield RetentionStep("authentication batches", results_age, batches, least=_A_DAY)


BROKEN_FINDERS: Final = MappingProxyType(
    {area: find for module in IMPORT_MODULES.values() for area, find in module.find_broken.items()}
)


def record_repair_of(gateway: Gateway) -> RecordRepair:
    """The repair of stored records, for the commands: a running gateway needs none."""
    from shared.services.record_repair import RecordRepair, RepairContext

    account = gateway.account
    results = Results(account.tables, account.blobs, to_thread_if_large)
    shapes = {
        name: module.stored_shape()
        for name, module in IMPORT_MODULES.items()
        if module.stored_shape is not None
    }
    context = RepairContext(account.tables, gateway.imports, gateway.clock)
    return RecordRepair(context, results, shapes, BROKEN_FINDERS)


def tenant_erasure_of(gateway: Gateway) -> TenantErasure:
    """The erasure of tenants, for the command: a running gateway needs none."""
    from shared.services.admin.tenant_erasure import TenantErasure

    return TenantErasure(
        tables=gateway.account.tables,
        blobs=gateway.account.blobs,
        imports=gateway.imports,
        tenants=gateway.tenants,
        audit=gateway.audit,
        clock=gateway.clock,
        cache_seconds=gateway.settings.cache_seconds,
        first_tables=(DATA_KEYS,),
        table_names=(*TABLES, *(kind.table for kind in IMPORT_TYPES.values())),
        containers=CONTAINERS,
        forget_drops=HostRecords(gateway.account.blobs, gateway.account.poison).delete,
    )
