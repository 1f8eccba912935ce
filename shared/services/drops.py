"""What all dropped files share: the sweep of their container, and those that failed too often.

Documents and rows are dropped into containers of their own, and each has its own `DropImporter`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from itertools import chain, zip_longest
from typing import Final, Protocol

from shared import log
from shared.clock import Clock
from shared.errors import GatewayError, StorageUnavailableError
from shared.imports.file_names import plain_name
from shared.storage.dropped_blobs import Drop, DroppedBlobs, PoisonedBlob, PoisonQueue

# After this time without a change a drop is imported even if it has a lease.
LEASE_SECONDS: Final = 60.0
# A sweep waits so long for a drop, and goes on to the next one. A large file takes minutes.
_SECONDS_PER_DROP: Final = 60.0
# Drops that a sweep no longer waits for, in all and of one tenant. Beyond these it starts no more.
_MAX_CONTINUING: Final = 32
_MAX_CONTINUING_PER_TENANT: Final = 4
_MAX_DROPS_PER_RUN: Final = 500
_MAX_LISTED: Final = 20_000
_CONCURRENCY: Final = 8


class DropOutcome(Enum):
    """What became of a call of `import_drop`."""

    # The drop is accepted as an import, or settled.
    DONE = auto()
    # Another call did that before, or there is no drop of this name.
    NOTHING_TO_DO = auto()
    # The drop cannot be imported yet, or another call is importing it.
    WAITS = auto()


class DropImporter(Protocol):
    """Imports dropped files of one kind."""

    async def import_drop(self, name: str) -> DropOutcome:
        """Import or reject the drop of this name, if there is one; any number of times.

        Raises StorageUnavailableError where the caller should try again.
        """


class DropRuns:
    """The calls of `import_drop` for a sweep of this process, at most one at a time for a drop."""

    def __init__(self, seconds: float = _SECONDS_PER_DROP) -> None:
        """`seconds` is how long `run` waits for a drop."""
        self._seconds = seconds
        self._running: dict[tuple[str, str], asyncio.Task[DropOutcome]] = {}
        self._continuing: set[tuple[str, str]] = set()

    async def run(self, importer: DropImporter, name: str, container: str = "") -> DropOutcome:
        """Import a drop. One that fails is left for later.

        One that takes longer goes on while the caller does something else: a cancelled call would
        only waste the time that its thread has spent on the file.
        """
        key = (container, name)
        if key in self._running or not self._may_start(name):
            return DropOutcome.WAITS
        task = asyncio.create_task(_import_drop(importer, name))
        self._running[key] = task
        task.add_done_callback(lambda _: self._forget(key))
        try:
            done, _ = await asyncio.wait({task}, timeout=self._seconds)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if done:
            return task.result()
        self._continuing.add(key)
        log.event("drop.continues", drop=plain_name(name))
        return DropOutcome.WAITS

    def _may_start(self, name: str) -> bool:
        tenant = _tenant_part(name)
        same_tenant = [each for each in self._continuing if _tenant_part(each[1]) == tenant]
        return (
            len(self._continuing) < _MAX_CONTINUING
            and len(same_tenant) < _MAX_CONTINUING_PER_TENANT
        )

    def _forget(self, key: tuple[str, str]) -> None:
        del self._running[key]
        self._continuing.discard(key)


async def _import_drop(importer: DropImporter, name: str) -> DropOutcome:
    try:
        return await importer.import_drop(name)
    except Exception as error:
        log.failure("drop.failed", error, drop=plain_name(name))
        return DropOutcome.WAITS


def _tenant_part(name: str) -> str:
    return name.partition("/")[0]


@dataclass(frozen=True, slots=True)
class RequeueResult:
    """A failed drop, and whether it is settled now: imported, rejected or deleted."""

    container: str
    name: str
    is_settled: bool


class PoisonedDrops:
    """Drops that failed too often in the blob trigger: the host's poison queue of blobs.

    They are still in their container, so the sweep retries them too. An administrator uses this to
    see them, or to retry them at once. Messages about other containers stay in the queue.
    """

    def __init__(self, queue: PoisonQueue, importers: Mapping[str, DropImporter]) -> None:
        """`importers` import the drops of each container, by its name."""
        self._queue = queue
        self._importers = importers
        self._runs = DropRuns()

    async def failed(self) -> list[PoisonedBlob]:
        """Up to 32 drops that failed too often, the oldest first."""
        return [blob for blob in await self._queue.peek() if blob.container in self._importers]

    async def requeue(self) -> list[RequeueResult]:
        """Import every failed drop again; delete the message of a settled one.

        A drop that fails again does not stop the others. Raises StorageUnavailableError where the
        queue does not answer.
        """
        results: list[RequeueResult] = []
        for blob in await self._queue.receive():
            importer = self._importers.get(blob.container)
            outcome = DropOutcome.WAITS
            if importer is not None:
                outcome = await self._runs.run(importer, blob.name, blob.container)
            is_settled = outcome is not DropOutcome.WAITS
            if importer is not None:
                results.append(RequeueResult(blob.container, blob.name, is_settled))
            try:
                await (self._queue.delete(blob) if is_settled else self._queue.release(blob))
            except StorageUnavailableError as error:
                # The message becomes visible again later, and `import_drop` is repeatable.
                log.failure("poison.kept", error, drop=plain_name(blob.name))
        return results


class DropSweep:
    """Imports the drops of a container that the blob trigger has missed.

    Those are the drops that have not changed for `quiet_seconds`.
    """

    def __init__(
        self,
        container: DroppedBlobs,
        importer: DropImporter,
        clock: Clock,
        quiet_seconds: float,
        tenants: Callable[[], Awaitable[list[str]]],
    ) -> None:
        self._container = container
        self._importer = importer
        self._runs = DropRuns()
        self._clock = clock
        self._quiet = timedelta(seconds=quiet_seconds)
        self._quiet_if_leased = timedelta(seconds=max(quiet_seconds, LEASE_SECONDS))
        self._tenants = tenants
        self._run_number = 0

    async def run(self) -> None:
        """Import the drops of the container; a drop that fails does not stop the others."""
        slots = asyncio.Semaphore(_CONCURRENCY)

        async def import_drop(drop: Drop) -> None:
            async with slots:
                await self._import(drop)

        drops = select_drops(await self._list_drops(), self._run_number)
        self._run_number += 1
        await asyncio.gather(*(import_drop(drop) for drop in drops))

    async def _import(self, drop: Drop) -> None:
        if await self._runs.run(self._importer, drop.name) is DropOutcome.DONE:
            log.warning("sweep.drop_imported", drop=plain_name(drop.name))

    async def _list_drops(self) -> list[Drop]:
        try:
            return await self._list_quiet("")
        except GatewayError as error:
            log.failure("sweep.drops_not_listed", error)
        # A list that fails as a whole may be readable by tenant (an emulator fails on names that
        # XML cannot contain), so that the drops of one tenant do not stop those of others.
        drops: list[Drop] = []
        for tenant in await self._tenants():
            try:
                drops += await self._list_quiet(f"{tenant}/")
            except GatewayError as error:
                log.failure("sweep.drops_not_listed", error, tenant=tenant)
        return drops

    async def _list_quiet(self, prefix: str) -> list[Drop]:
        now = self._clock.now()
        drops: list[Drop] = []
        async for drop in self._container.list_before(now - self._quiet, prefix):
            if not drop.is_leased or drop.changed_at <= now - self._quiet_if_leased:
                drops.append(drop)
            if len(drops) == _MAX_LISTED:
                break
        # In the order in which they were dropped, as far as storage tells.
        return sorted(drops, key=lambda drop: drop.changed_at)


def select_drops(drops: Sequence[Drop], run_number: int) -> list[Drop]:
    """The drops for one run of the sweep, taken from each tenant in turn.

    Each run starts where the one before it ended, so that drops that always fail do not exclude the
    same other drops from every run.
    """
    by_tenant: dict[str, list[Drop]] = defaultdict(list)
    for drop in drops:
        by_tenant[_tenant_part(drop.name)].append(drop)
    share = max(1, _MAX_DROPS_PER_RUN // max(1, len(by_tenant)))
    for tenant_drops in by_tenant.values():
        first = run_number * share % len(tenant_drops)
        tenant_drops[:] = tenant_drops[first:] + tenant_drops[:first]
    ordered = chain.from_iterable(zip_longest(*by_tenant.values()))
    return [drop for drop in ordered if drop is not None][:_MAX_DROPS_PER_RUN]
