"""The health check of storage, whose result is cached for a second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from shared import log
from shared.clock import Clock
from shared.errors import StorageUnavailableError
from shared.storage_time import storage_time

_FRESH_SECONDS = 1.0
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
