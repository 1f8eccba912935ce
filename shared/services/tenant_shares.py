"""The limits of one tenant in a process, so that other tenants need not wait.

Within a process calls of the same kind take places, which tenants get in turn. Between processes
the queues limit a tenant (`chunk_processor.HoldBack`), and its number of open imports is limited in
storage.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.clock import Clock
from shared.errors import StorageUnavailableError, TooManyRequestsError
from shared.storage_time import storage_time_now

_SECONDS_BETWEEN_COUNTS = 1.0
_TENANTS_REMEMBERED = 1_000


class TenantPlaces:
    """A limited number of places for calls of one kind.

    Tenants whose calls wait get places in turn, and none has more than `per_tenant`. If
    `most_waiting` calls of a tenant wait, its next one is refused. A wait for calls that failed
    because of storage counts against the waiting call's `storage_time`, so that the next calls fail
    immediately and not one after another.
    """

    def __init__(self, kind: str, *, places: int, per_tenant: int, most_waiting: int) -> None:
        self._kind = kind
        self._free = places
        self._per_tenant = per_tenant
        self._most_waiting = most_waiting
        self._storage_failed_at = 0.0
        self._working: dict[str, int] = {}
        # The tenant whose turn is next comes first.
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def place(self, tenant: str) -> AsyncIterator[None]:
        """Take a place for the time of the block. Raises TooManyRequestsError."""
        now = asyncio.get_running_loop().time
        started_at = now()
        await self._take_place(tenant)
        if self._storage_failed_at > started_at:
            storage_time_now().spend(now() - started_at)
        try:
            yield
        except StorageUnavailableError:
            self._storage_failed_at = now()
            raise
        finally:
            self._release_place(tenant)

    async def _take_place(self, tenant: str) -> None:
        if self._may_start(tenant) and tenant not in self._waiting:
            self._occupy(tenant)
            return
        queue = self._waiting.setdefault(tenant, deque())
        if len(queue) >= self._most_waiting:
            raise TooManyRequestsError(
                f"{self._most_waiting} {self._kind} of this tenant are waiting already: send fewer "
                "at a time, and this one again later.",
                retry_after=5,
            )
        place = asyncio.get_running_loop().create_future()
        queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._release_place(tenant)
            else:
                queue.remove(place)
                self._forget_empty(tenant)
            raise

    def _may_start(self, tenant: str) -> bool:
        return self._free > 0 and self._working.get(tenant, 0) < self._per_tenant

    def _occupy(self, tenant: str) -> None:
        self._free -= 1
        self._working[tenant] = self._working.get(tenant, 0) + 1

    def _release_place(self, tenant: str) -> None:
        self._free += 1
        self._working[tenant] -= 1
        if not self._working[tenant]:
            del self._working[tenant]
        for waiting in list(self._waiting):
            if self._may_start(waiting):
                self._occupy(waiting)
                self._waiting[waiting].popleft().set_result(None)
                self._waiting.move_to_end(waiting)
                self._forget_empty(waiting)

    def _forget_empty(self, tenant: str) -> None:
        if tenant in self._waiting and not self._waiting[tenant]:
            del self._waiting[tenant]


@dataclass
class _Count:
    """The counted open imports of a tenant, and those that were accepted here since."""

    counted: int = 0
    accepted_since: int = 0
    counted_at: float | None = None


class OpenImportLimit:
    """Refuses a call that would add an import if the tenant has too many open ones.

    Open imports are counted at the first call of a tenant, for every `limit / 8` imports that this
    process accepts, and once a second if there are many. So each process can exceed the limit by
    that number, and counting costs a tenant with few imports nothing.
    """

    def __init__(
        self, limit: int, clock: Clock, count_open: Callable[[str, int], Awaitable[int]]
    ) -> None:
        self._limit = limit
        self._clock = clock
        self._count_open = count_open
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    async def check(self, tenant: str) -> None:
        """To be called before an import is accepted. Raises TooManyRequestsError."""
        count = self._counts.setdefault(tenant, _Count())
        self._counts.move_to_end(tenant)
        if len(self._counts) > _TENANTS_REMEMBERED:
            self._counts.popitem(last=False)
        if self._is_due(count):
            count.counted_at = self._clock.elapsed()
            count.accepted_since = 0
            count.counted = await self._count_open(tenant, self._limit)
        if count.counted + count.accepted_since >= self._limit:
            raise TooManyRequestsError(
                f"This tenant has {self._limit} open imports or more: wait until some have ended, "
                "and send this call again.",
                retry_after=10,
            )
        count.accepted_since += 1

    def _is_due(self, count: _Count) -> bool:
        if count.counted_at is None:
            return True
        is_old = self._clock.elapsed() - count.counted_at >= _SECONDS_BETWEEN_COUNTS
        is_near = count.counted + count.accepted_since >= self._limit // 2
        return is_old and (is_near or count.accepted_since >= self._limit // 8)


@dataclass(frozen=True)
class TenantShares:
    """The limits that tenants share in a process."""

    acceptance: TenantPlaces
    exports: TenantPlaces
    open_imports: OpenImportLimit

    @asynccontextmanager
    async def accepting(self, tenant: str) -> AsyncIterator[None]:
        """Take a place for accepting an import. Raises TooManyRequestsError."""
        async with self.acceptance.place(tenant):
            await self.open_imports.check(tenant)
            yield
