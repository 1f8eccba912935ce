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


class DropOutcome(Enum):
    """What a call of `import_drop` did: its work, nothing as it was done, or nothing for now."""

    DONE = auto()
    NOTHING_TO_DO = auto()
    WAITS = auto()


class DropImporter(Protocol):
    """Imports dropped files of one kind."""

    async def import_drop(self, name: str) -> DropOutcome:
        """Import or reject the drop of this name, if there is one; any number of times.

        Raises StorageUnavailableError where the caller should try again.
        """


# Drops that failed too often in the blob trigger; `manage.py poison` lists and retries them.
#
# They are still in their container, so the sweep retries them too. An administrator uses this to
# see them, or to retry them at once.

_SECONDS_PER_DROP: Final = 60


@dataclass(frozen=True, slots=True)
class RequeueResult:
    """A failed drop, and whether it is settled now: imported, rejected or deleted."""

    container: str
    name: str
    is_settled: bool


class PoisonedDrops:
    """The host's poison queue of blobs; messages about other containers stay in it."""

    def __init__(self, queue: PoisonQueue, importers: Mapping[str, DropImporter]) -> None:
        """`importers` import the drops of each container, by its name."""
        self._queue = queue
        self._importers = importers

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
                outcome = await _try_import(importer, blob.name)
            is_settled = outcome is not DropOutcome.WAITS
            if importer is not None:
                results.append(RequeueResult(blob.container, blob.name, is_settled))
            try:
                await (self._queue.delete(blob) if is_settled else self._queue.release(blob))
            except StorageUnavailableError as error:
                # The message becomes visible again later, and `import_drop` is repeatable.
                log.failure("poison.kept", error, drop=plain_name(blob.name))
        return results


async def _try_import(importer: DropImporter, name: str) -> DropOutcome:
    """Import a drop within a minute. One that fails is left for later."""
    try:
        async with asyncio.timeout(_SECONDS_PER_DROP):
            return await importer.import_drop(name)
    except Exception as error:
        log.failure("drop.failed", error, drop=plain_name(name))
        return DropOutcome.WAITS


# The sweep of the drop container imports drops that the blob trigger has missed.

_MAX_DROPS_PER_RUN = 500
_MAX_LISTED = 20_000
_CONCURRENCY = 8
# After this time without a change a drop is imported even if it has a lease.
MOST_WAIT_SECONDS: Final = 60.0


class DropSweep:
    """Imports drops that have not changed for `quiet_seconds`."""

    def __init__(
        self,
        files: DroppedBlobs,
        drops: DropImporter,
        clock: Clock,
        quiet_seconds: float,
        tenants: Callable[[], Awaitable[list[str]]],
    ) -> None:
        self._files = files
        self._drops = drops
        self._clock = clock
        self._quiet = timedelta(seconds=quiet_seconds)
        self._quiet_if_leased = timedelta(seconds=max(quiet_seconds, MOST_WAIT_SECONDS))
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
        if await _try_import(self._drops, drop.name) is DropOutcome.DONE:
            log.warning("sweep.drop_taken_in", drop=plain_name(drop.name))

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
        async for drop in self._files.list_before(now - self._quiet, prefix):
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
        by_tenant[drop.name.partition("/")[0]].append(drop)
    share = max(1, _MAX_DROPS_PER_RUN // max(1, len(by_tenant)))
    for tenant_drops in by_tenant.values():
        first = run_number * share % len(tenant_drops)
        tenant_drops[:] = tenant_drops[first:] + tenant_drops[:first]
    ordered = chain.from_iterable(zip_longest(*by_tenant.values()))
    return [drop for drop in ordered if drop is not None][:_MAX_DROPS_PER_RUN]
