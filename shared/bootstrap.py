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
from shared.storage_time import CALL_SECONDS, limited_wait, storage_time

if TYPE_CHECKING:
    from shared.app import AuthdataServices, DocumentServices
    from shared.auth.callers import Callers
    from shared.auth.failure_throttle import FailureThrottle
    from shared.identity import Identity
    from shared.services.accept import ImportAcceptor
    from shared.services.admin.clients import ClientService
    from shared.services.admin.reference_lists import ReferenceLists
    from shared.services.admin.tenants import TenantService
    from shared.services.authdata.trials import AuthdataTrials
    from shared.services.chunk_processor import ChunkProcessor
    from shared.services.dry_run import DryRuns
    from shared.services.fingerprint_keys import FingerprintKeys
    from shared.services.health import Health
    from shared.services.idempotency import Repeats
    from shared.services.import_log import ImportLog
    from shared.services.licenses.same_file import ImportedFiles
    from shared.services.retry_cancel import Cancelling, Retrying
    from shared.services.status import FailedRows, Reporting, Waiting
    from shared.services.sweep import Sweep
    from shared.services.tenant_shares import TenantShares
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
    fingerprint_keys: FingerprintKeys
    imports: ImportLog
    intake: ImportAcceptor
    waiting: Waiting
    chunks: ChunkProcessor
    reporting: Reporting
    failed_rows: FailedRows
    retrying: Retrying
    cancelling: Cancelling
    dry_runs: DryRuns
    shares: TenantShares
    repeats: Repeats
    documents: DocumentServices
    authdata: AuthdataServices
    trials: AuthdataTrials
    sweep: Sweep
    health: Health


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """A gateway of one's own, with its tables and queues in place; closed at the end."""
    from shared.app import compose

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
    building = _BUILDING.get(loop)
    if building is None or building.has_failed(loop.time()):
        building = _BUILDING[loop] = _Building(loop.create_task(_build()), loop.time())
    async with limited_wait():
        return await asyncio.shield(building.task)


def use_clock(clock: Clock) -> None:
    """Let the gateway of this process go by another clock; called before the gateway is built."""
    global _clock  # noqa: PLW0603 (the one gateway of a process has one clock)
    _clock = clock


_clock: Clock = SystemClock()


@dataclass(frozen=True, slots=True)
class _Building:
    task: asyncio.Task[Gateway]
    begun_at: float

    def has_failed(self, now: float) -> bool:
        """Whether it is to be tried again; at most once a second, as each time asks for much."""
        if not self.task.done() or now - self.begun_at < _PAUSE_SECONDS:
            return False
        return self.task.cancelled() or self.task.exception() is not None


_PAUSE_SECONDS = 1.0
_BUILDING: WeakKeyDictionary[asyncio.AbstractEventLoop, _Building] = WeakKeyDictionary()


async def _build() -> Gateway:
    from shared import log
    from shared.app import compose
    from shared.settings import settings_in_force

    settings = settings_in_force()
    log.configure(settings.log_level)
    announce_on_sigterm(PROCESS_STOP, settings.stop_seconds)
    built = compose(settings, _clock, PROCESS_STOP)
    try:
        with storage_time(CALL_SECONDS):
            await _ensure(built)
    except BaseException:
        await built.account.close()
        raise
    return built


async def _ensure(gateway: Gateway) -> None:
    from shared.imports.registry import IMPORT_TYPES
    from shared.storage.names import TABLES

    kinds = IMPORT_TYPES.values()
    queues = [name for kind in kinds for name in kind.queues]
    await gateway.account.ensure(
        (*TABLES, *(kind.table for kind in kinds)),
        (*queues, *(f"{name}-poison" for name in queues)),
    )
