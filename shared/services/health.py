"""The health check of storage, whose result is cached for a second, and a look at the queues."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared import log
from shared.clock import Clock
from shared.errors import StorageUnavailableError
from shared.services.poisoned_chunks import poison_queue
from shared.storage_time import storage_time

_FRESH_SECONDS = 1.0
# A look at the queues takes two requests for each queue, and one more where messages wait.
_QUEUES_FRESH_SECONDS = 5.0
_CHECK_SECONDS = 5.0


class Health:
    """Caches the result of the last check for a second. Concurrent calls share one check.

    `check` raises StorageUnavailableError if storage does not accept writes.
    """

    def __init__(self, check: Callable[[], Awaitable[None]], clock: Clock) -> None:
        self._check = check
        self._clock = clock
        self._last_check: tuple[float, bool] | None = None
        self._running: asyncio.Task[bool] | None = None

    async def is_storage_working(self) -> bool:
        """Whether tables, queues and blobs accept writes."""
        if (
            self._last_check is not None
            and self._clock.elapsed() - self._last_check[0] < _FRESH_SECONDS
        ):
            return self._last_check[1]
        if self._running is None:
            self._running = asyncio.create_task(self._run_check())
        # Shielded, so that the check goes on for the others if one caller is cancelled.
        return await asyncio.shield(self._running)

    async def _run_check(self) -> bool:
        try:
            with storage_time(_CHECK_SECONDS):
                await self._check()
            is_working = True
        except StorageUnavailableError as error:
            log.failure("health.storage_unavailable", error)
            is_working = False
        finally:
            self._running = None
        self._last_check = self._clock.elapsed(), is_working
        return is_working


class CountedQueues(Protocol):
    """Queue storage whose messages are counted."""

    async def count(self, queue: str) -> int:
        """About how many messages a queue has, with those that are being processed.

        0 of a queue that is missing. Raises StorageUnavailableError.
        """

    async def oldest(self, queue: str) -> datetime | None:
        """When the first message that waits was sent; None where none waits.

        Raises StorageUnavailableError.
        """


@dataclass(frozen=True, slots=True)
class QueueState:
    """How many messages a queue has, since when the oldest one waits, and how many failed."""

    queue: str
    messages: int
    oldest_at: datetime | None
    poisoned: int


@dataclass(frozen=True, slots=True)
class QueueStates:
    """The queues of the gateway at a time. `poisoned_drops` are files that failed too often."""

    checked_at: datetime
    queues: tuple[QueueState, ...]
    poisoned_drops: int


class QueueHealth:
    """Looks at the queues of all types. The result is kept for five seconds."""

    def __init__(
        self, queues: CountedQueues, names: Sequence[str], drops_queue: str, clock: Clock
    ) -> None:
        self._queues = queues
        self._names = names
        self._drops_queue = drops_queue
        self._clock = clock
        self._lock = asyncio.Lock()
        self._last: tuple[float, QueueStates] | None = None

    async def read(self) -> QueueStates:
        """The queues, at most five seconds ago. Raises StorageUnavailableError."""
        async with self._lock:
            now = self._clock.elapsed()
            if self._last is None or now - self._last[0] >= _QUEUES_FRESH_SECONDS:
                self._last = now, await self._read()
            return self._last[1]

    async def _read(self) -> QueueStates:
        with storage_time(_CHECK_SECONDS):
            queues, poisoned_drops = await asyncio.gather(
                asyncio.gather(*(self._state(name) for name in self._names)),
                self._queues.count(self._drops_queue),
            )
        return QueueStates(self._clock.now(), tuple(queues), poisoned_drops)

    async def _state(self, name: str) -> QueueState:
        messages, poisoned = await asyncio.gather(
            self._queues.count(name), self._queues.count(poison_queue(name))
        )
        oldest_at = await self._queues.oldest(name) if messages else None
        return QueueState(name, messages, oldest_at, poisoned)
