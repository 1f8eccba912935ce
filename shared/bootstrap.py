"""The composition root: here the services are put together, once per process, on first use.

Nothing connects and nothing slow is imported when the app is indexed; the first call, message or
timer builds the gateway in the loop it runs in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from shared.auth.callers import Callers
    from shared.clock import Clock
    from shared.document_services import DocumentServices
    from shared.identity import Identity
    from shared.imports.folding import Noticed
    from shared.services.authdata.services import AuthdataServices
    from shared.services.cancelling import Cancelling
    from shared.services.chunk_messages import ChunkMessage
    from shared.services.chunks import ChunkProcessor
    from shared.services.clients import ClientService
    from shared.services.completions import Completions
    from shared.services.dry_runs import DryRuns
    from shared.services.failed_rows import FailedRows
    from shared.services.import_log import ImportLog
    from shared.services.intake import Intake
    from shared.services.licenses.imported_files import ImportedFiles
    from shared.services.payloads import Payloads
    from shared.services.reference_lists import ReferenceLists
    from shared.services.references import EarlierImports
    from shared.services.repeats import Repeats
    from shared.services.reporting import Reporting
    from shared.services.results import Results
    from shared.services.retrying import Retrying
    from shared.services.sweeping import Sweep
    from shared.services.tenants import TenantService
    from shared.services.waiting import Waiting
    from shared.services.work import Works
    from shared.settings import Settings
    from shared.storage.account import Account
    from shared.storage.blobs import Blobs
    from shared.storage.tables import Tables


@dataclass(frozen=True, slots=True)
class Gateway:
    """Everything a trigger or a command may call."""

    settings: Settings
    account: Account
    callers: Callers
    identity: Identity
    tenants: TenantService
    clients: ClientService
    lists: ReferenceLists
    files: ImportedFiles
    imports: ImportLog
    intake: Intake
    waiting: Waiting
    chunks: ChunkProcessor
    reporting: Reporting
    failed_rows: FailedRows
    retrying: Retrying
    cancelling: Cancelling
    dry_runs: DryRuns
    repeats: Repeats
    documents: DocumentServices
    authdata: AuthdataServices
    sweep: Sweep


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """A gateway of one's own, with its tables and queues in place; closed at the end."""
    gateway = _compose(settings)
    try:
        await _ensure(gateway)
        yield gateway
    finally:
        await gateway.account.close()


async def gateway() -> Gateway:
    """The gateway of this process, built on first use in the loop of the app.

    Raises SettingsError, and StorageUnavailableError where its tables cannot be made ready.
    """
    loop = asyncio.get_running_loop()
    task = _BUILDING.get(loop)
    if task is None or _has_failed(task):
        task = _BUILDING[loop] = loop.create_task(_build())
    return await asyncio.shield(task)


_BUILDING: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[Gateway]] = WeakKeyDictionary()


def _has_failed(task: asyncio.Task[Gateway]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


async def _build() -> Gateway:
    from shared import log
    from shared.settings import settings_in_force

    settings = settings_in_force()
    log.configure(settings.log_level)
    built = _compose(settings)
    try:
        await _ensure(built)
    except BaseException:
        await built.account.close()
        raise
    return built


async def _ensure(gateway: Gateway) -> None:
    from shared.imports.catalogue import IMPORT_TYPES
    from shared.storage.names import TABLES

    kinds = IMPORT_TYPES.values()
    queues = [name for kind in kinds for name in kind.queues]
    await gateway.account.ensure(
        (*TABLES, *(kind.table for kind in kinds)),
        (*queues, *(f"{name}-poison" for name in queues)),
    )


def _compose(settings: Settings) -> Gateway:
    from shared.auth.callers import Callers
    from shared.auth.key_pair import KeyPairAuthenticator
    from shared.clock import RandomIds, SystemClock
    from shared.document_services import compose_documents
    from shared.identity import Identity
    from shared.services.cancelling import Cancelling
    from shared.services.clients import ClientService
    from shared.services.completions import Completions
    from shared.services.failed_rows import FailedRows
    from shared.services.import_log import ImportLog
    from shared.services.intake import Intake, PlanLimits
    from shared.services.licenses.imported_files import ImportedFiles
    from shared.services.offload import to_thread_if_large
    from shared.services.payloads import Payloads
    from shared.services.reference_lists import ReferenceLists
    from shared.services.repeat_store import RepeatStore
    from shared.services.repeats import Repeats
    from shared.services.reporting import Reporting
    from shared.services.results import Results
    from shared.services.retrying import Retrying
    from shared.services.sweeping import Sweep
    from shared.services.tenants import TenantService
    from shared.services.waiting import Waiting
    from shared.storage.account import Account

    account = Account(settings.storage)
    clock = SystemClock()
    imports = ImportLog(account.tables)
    results = Results(account.tables, account.blobs, to_thread_if_large)
    payloads = Payloads(account.blobs)
    completions = Completions()
    ids = RandomIds()
    lists = ReferenceLists(account.tables, clock, ids, settings.cache_seconds)
    tenants = TenantService(account.tables, clock)
    identity = Identity(settings, account.tables, clock, ids)
    intake = Intake(
        imports=imports,
        blobs=account.blobs,
        queues=account.queues,
        clock=clock,
        ids=ids,
        offload=to_thread_if_large,
        limits=PlanLimits(settings.max_rows, settings.chunk_rows, settings.chunk_bytes),
    )
    failed_rows = FailedRows(results, payloads)
    make_works = partial(_works, lists=lists, clock=clock)
    reporting = Reporting(imports, results, clock)
    authdata = _authdata(settings, account, imports, intake, reporting)
    chunks = _chunks(
        account, imports, results, payloads, completions, clock, settings, make_works, authdata
    )
    return Gateway(
        settings=settings,
        account=account,
        callers=Callers(
            KeyPairAuthenticator(account.tables, clock, settings.cache_seconds),
            identity,
        ),
        identity=identity,
        tenants=tenants,
        clients=ClientService(account.tables, tenants, clock, ids),
        lists=lists,
        files=ImportedFiles(account.tables, imports, clock),
        imports=imports,
        intake=intake,
        waiting=Waiting(imports, completions, clock),
        chunks=chunks,
        reporting=reporting,
        failed_rows=failed_rows,
        retrying=Retrying(
            failed_rows, intake, to_thread_if_large, settings.max_rows, authdata.retriers
        ),
        cancelling=Cancelling(imports, account.queues, clock),
        dry_runs=_dry_runs(account, make_works, settings),
        repeats=Repeats(
            store=RepeatStore(account.tables, account.blobs, ids, to_thread_if_large),
            clock=clock,
            ids=ids,
            keep_seconds=settings.idempotency_seconds,
            take_over_seconds=settings.take_over_seconds,
        ),
        documents=compose_documents(account, settings, clock, imports, chunks, reporting),
        authdata=authdata,
        sweep=Sweep(
            imports=imports,
            queues=account.queues,
            completions=completions,
            clock=clock,
            tenants=tenants.list_ids,
            quiet_seconds=settings.sweep_after_seconds,
            run_here=chunks.process,
            here_seconds=settings.document_sweep_seconds,
        ),
    )


def _dry_runs(account: Account, make_works: Callable[..., Works], settings: Settings) -> DryRuns:
    """Judges payloads by the works of a run."""
    from shared.services.dry_runs import DryRuns, NothingOpen

    return DryRuns(
        tables=account.tables,
        blobs=account.blobs,
        make_works=partial(make_works, NothingOpen()),
        max_rows=settings.dry_run_rows,
        max_bytes=settings.max_body_bytes,
    )


def _chunks(
    account: Account,
    imports: ImportLog,
    results: Results,
    payloads: Payloads,
    completions: Completions,
    clock: Clock,
    settings: Settings,
    make_works: Callable[[ImportLog, Tables, Blobs], Works],
    authdata: AuthdataServices,
) -> ChunkProcessor:
    """Works on the chunks of every type, documents among them, whose work may do another's."""
    from shared.imports.authdata.definition import AUTHDATA
    from shared.imports.documents.definition import DOCUMENTS
    from shared.services.chunks import ChunkProcessor
    from shared.services.document_work import DocumentWork

    async def run_earlier(message: ChunkMessage) -> None:
        await chunks.process(message)

    documents = DocumentWork(account.tables, imports, clock, run_earlier)
    works = make_works(imports, account.tables, account.blobs)
    chunks = ChunkProcessor(
        payloads=payloads,
        queues=account.queues,
        imports=imports,
        results=results,
        works=works.with_one(DOCUMENTS.name, documents).with_one(AUTHDATA.name, authdata.work),
        completions=completions,
        clock=clock,
        handler_seconds=settings.handler_seconds,
    )
    return chunks


def _works(
    earlier: EarlierImports,
    tables: Tables,
    blobs: Blobs,
    noticed: Noticed | None = None,
    *,
    lists: ReferenceLists,
    clock: Clock,
) -> Works:
    """Every type's work: on the account, or on what a dry run makes of it."""
    from shared.imports.licenses.definition import LICENSES
    from shared.services.keyed_work import KeyedWork
    from shared.services.licenses.work import LicenseWork
    from shared.services.offload import to_thread_if_large
    from shared.services.references import ReferenceReader
    from shared.services.work import Works

    keyed = KeyedWork(
        tables=tables,
        references=ReferenceReader(tables, earlier, lists),
        clock=clock,
        offload=to_thread_if_large,
        noticed=noticed,
    )
    licenses = LicenseWork(
        tables=tables, blobs=blobs, clock=clock, offload=to_thread_if_large, noticed=noticed
    )
    return Works(keyed, {LICENSES.name: licenses})


def _authdata(
    settings: Settings,
    account: Account,
    imports: ImportLog,
    intake: Intake,
    reporting: Reporting,
) -> AuthdataServices:
    """What authentication data needs besides."""
    from shared.clock import RandomIds, SystemClock
    from shared.services.authdata.services import AuthdataLimits, AuthdataParts
    from shared.services.intake import PlanLimits
    from shared.services.offload import to_thread_if_large
    from shared.services.payloads import Payloads

    parts = AuthdataParts(
        account.tables,
        account.blobs,
        Payloads(account.blobs),
        imports,
        SystemClock(),
        RandomIds(),
        to_thread_if_large,
        AuthdataLimits(
            plan=PlanLimits(settings.max_rows, settings.chunk_rows, settings.chunk_bytes),
            keys=settings.authdata_keys,
            cache_seconds=settings.cache_seconds,
            batch_seconds=settings.batch_seconds,
            orphan_seconds=settings.sweep_after_seconds,
        ),
    )
    return parts.services(intake, reporting)
