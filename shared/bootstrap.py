"""The gateway of a process: what triggers and commands call, built once, on first use.

`shared.composition` puts it together. Nothing connects and nothing slow is imported when the app is
indexed; the first call, message or timer builds the gateway in the loop it runs in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from shared.clock import Clock, SystemClock
from shared.process_stop import ProcessStop, announce_on_sigterm

if TYPE_CHECKING:
    from shared.auth.callers import Callers
    from shared.auth.failure_throttle import FailureThrottle
    from shared.composition.documents import DocumentServices
    from shared.identity import Identity
    from shared.services.authdata.services import AuthdataServices
    from shared.services.authdata.trials import AuthdataTrials
    from shared.services.cancelling import Cancelling
    from shared.services.chunks import ChunkProcessor
    from shared.services.clients import ClientService
    from shared.services.dry_runs import DryRuns
    from shared.services.failed_rows import FailedRows
    from shared.services.import_log import ImportLog
    from shared.services.intake import Intake
    from shared.services.licenses.imported_files import ImportedFiles
    from shared.services.reference_lists import ReferenceLists
    from shared.services.repeats import Repeats
    from shared.services.reporting import Reporting
    from shared.services.retrying import Retrying
    from shared.services.sweeping import Sweep
    from shared.services.tenants import TenantService
    from shared.services.waiting import Waiting
    from shared.settings import Settings
    from shared.storage.account import Account


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
    trials: AuthdataTrials
    sweep: Sweep


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """A gateway of one's own, with its tables and queues in place; closed at the end."""
    from shared.composition.gateway import compose

    gateway = compose(settings)
    try:
        await _ensure(gateway)
        yield gateway
    finally:
        await gateway.account.close()


PROCESS_STOP = ProcessStop()
"""The announced end of this process, as calls and the gateway of the process know it."""


async def gateway() -> Gateway:
    """The gateway of this process, built on first use in the loop of the app.

    Raises SettingsError, and StorageUnavailableError where its tables cannot be made ready.
    """
    loop = asyncio.get_running_loop()
    task = _BUILDING.get(loop)
    if task is None or _has_failed(task):
        task = _BUILDING[loop] = loop.create_task(_build())
    return await asyncio.shield(task)


def use_clock(clock: Clock) -> None:
    """Let the gateway of this process go by another clock; called before the gateway is built."""
    global _clock  # noqa: PLW0603 (the one gateway of a process has one clock)
    _clock = clock


_clock: Clock = SystemClock()
_BUILDING: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[Gateway]] = WeakKeyDictionary()


def _has_failed(task: asyncio.Task[Gateway]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


async def _build() -> Gateway:
    from shared import log
    from shared.composition.gateway import compose
    from shared.settings import settings_in_force

    settings = settings_in_force()
    log.configure(settings.log_level)
    announce_on_sigterm(PROCESS_STOP, settings.stop_seconds)
    built = compose(settings, _clock, PROCESS_STOP)
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
