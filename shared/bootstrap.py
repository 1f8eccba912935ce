"""The gateway of a process, which is built once, on first use.

`shared.app` composes it. Nothing connects and nothing slow is imported while the app is indexed.
The first call, message or timer builds the gateway in its event loop.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from shared.clock import Clock, StoredTime, SystemClock, same_time
from shared.process_stop import PROCESS_STOP, announce_on_sigterm
from shared.storage_time import CALL_SECONDS, limited_wait, storage_time

if TYPE_CHECKING:
    from shared.gateway import Gateway
    from shared.imports.sender import NamedCaller
    from shared.settings import Settings
    from shared.storage_account import StorageAccount


@asynccontextmanager
async def open_gateway(
    settings: Settings, caller: NamedCaller | None = None
) -> AsyncIterator[Gateway]:
    """Open a separate gateway, with its tables and queues created, and close it at the end.

    A process creates those of a storage account once. `caller` is who administers the gateway, for
    the audit log.
    """
    from shared.app import compose

    gateway = compose(settings, caller=caller)
    try:
        if settings.storage not in _CREATED:
            await _create_tables_and_queues(gateway)
            _CREATED.add(settings.storage)
        yield gateway
    finally:
        await gateway.account.close()


_CREATED: set[StorageAccount] = set()


async def gateway() -> Gateway:
    """The gateway of this process, built on first use in the loop of the app.

    Raises SettingsError, and StorageUnavailableError if its tables cannot be created.
    """
    loop = asyncio.get_running_loop()
    building = _BUILDING.get(loop)
    if building is None or building.has_failed(loop.time()):
        building = _BUILDING[loop] = _Building(loop.create_task(_build()), loop.time())
    async with limited_wait():
        return await asyncio.shield(building.task)


def renew_gateway() -> Gateway | None:
    """Replace the gateway of this process by one with empty caches, on the tables there are.

    Returns the former one, which running calls may still use: the caller closes it. Returns None
    where there was none.
    """
    from shared.app import compose
    from shared.settings import settings_in_force

    loop = asyncio.get_running_loop()
    building = _BUILDING.get(loop)
    if building is None or not building.task.done() or building.task.exception() is not None:
        return None

    async def keep(renewed: Gateway) -> Gateway:
        return renewed

    renewed = compose(settings_in_force(), _clock, PROCESS_STOP, stored_time=_stored_time)
    _BUILDING[loop] = _Building(loop.create_task(keep(renewed)), loop.time())
    return building.task.result()


def use_clock(clock: Clock, stored_time: StoredTime = same_time) -> None:
    """Set the clock of the gateway of this process; to be called before the gateway is built.

    Only a host that loads the app by itself can call it: the deployed app never does.
    """
    global _clock, _stored_time
    _clock, _stored_time = clock, stored_time


_clock: Clock = SystemClock()
_stored_time: StoredTime = same_time


@dataclass(frozen=True, slots=True)
class _Building:
    task: asyncio.Task[Gateway]
    started_at: float

    def has_failed(self, now: float) -> bool:
        """Whether to build again. At most once a second, because each attempt is expensive."""
        if not self.task.done() or now - self.started_at < _PAUSE_SECONDS:
            return False
        return self.task.cancelled() or self.task.exception() is not None


_PAUSE_SECONDS = 1.0
# Python looks for cycles after so many new objects, 700 by default, and in the older generations
# after so many looks. Rows are thousands of objects without cycles, so it looked too often: for a
# twentieth of the processor time of an import. The rows that are in memory at a time stay below
# this number, nearly always.
_COLLECTIONS = (40_000, 20, 10)
# A thread that reads a large body keeps the interpreter for so long while the event loop has work,
# which waits for it several times in each request to storage. Python's own 5 ms add up.
_SWITCH_SECONDS = 0.0005
_BUILDING: WeakKeyDictionary[asyncio.AbstractEventLoop, _Building] = WeakKeyDictionary()


async def _build() -> Gateway:
    from shared import log
    from shared.app import compose
    from shared.process_memory import return_large_blocks
    from shared.settings import settings_in_force

    settings = settings_in_force()
    sys.setswitchinterval(_SWITCH_SECONDS)
    return_large_blocks()
    log.configure(settings.log_level)
    gc.set_threshold(*_COLLECTIONS)
    announce_on_sigterm(PROCESS_STOP, settings.stop_seconds)
    built = compose(settings, _clock, PROCESS_STOP, stored_time=_stored_time)
    try:
        with storage_time(CALL_SECONDS):
            await _create_tables_and_queues(built)
    except BaseException:
        await built.account.close()
        raise
    return built


async def _create_tables_and_queues(gateway: Gateway) -> None:
    from shared.imports.registry import IMPORT_TYPES
    from shared.storage.names import TABLES

    kinds = IMPORT_TYPES.values()
    queues = [name for kind in kinds for name in kind.queues]
    await gateway.account.ensure(
        (*TABLES, *(kind.table for kind in kinds)),
        (*queues, *(f"{name}-poison" for name in queues)),
    )
