"""Look-ups that are cached for a few seconds, in bounded memory.

Hits and misses are cached separately: a flood of made-up keys fills only the small cache of misses
and cannot evict keys that are in use. Callers that look up the same key at the same time share one
read. The age of an answer counts from the start of its read, so a change is visible at most
`seconds` after it was made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from shared.clock import Clock
from shared.errors import ForbiddenError
from shared.storage.entities import encode
from shared.storage.names import TENANTS
from shared.storage.ports import Tables
from shared.storage_time import CALL_SECONDS, limited_wait, storage_time

Found = TypeVar("Found")

MOST_FOUND = 10_000
MOST_MISSING = 1_000


class CachedLookups(Generic[Found]):
    """Caches the answers of `load(key)`, which returns None if nothing has that key.

    A failed read is not cached. Its error goes to every caller that waited for it.
    """

    def __init__(
        self, load: Callable[[str], Awaitable[Found | None]], clock: Clock, seconds: float
    ) -> None:
        self._load = load
        self._clock = clock
        self._found: _AnswerCache[Found] = _AnswerCache(clock, seconds, MOST_FOUND)
        self._missing: _AnswerCache[None] = _AnswerCache(clock, seconds, MOST_MISSING)
        self._running: dict[str, asyncio.Task[Found | None]] = {}

    def __len__(self) -> int:
        return len(self._found) + len(self._missing)

    async def get(self, key: str) -> Found | None:
        """The cached answer for `key`, or a new read. Raises what `load` raises."""
        if key in self._found:
            return self._found[key]
        if key in self._missing:
            return None
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._read(key))
            task.add_done_callback(_retrieve_error)
        # Shielded, so that the read goes on for the others if one caller is cancelled.
        async with limited_wait():
            return await asyncio.shield(task)

    async def _read(self, key: str) -> Found | None:
        read_at = self._clock.elapsed()
        try:
            with storage_time(CALL_SECONDS):
                value = await self._load(key)
        finally:
            del self._running[key]
        if value is None:
            self._missing.put(key, None, read_at)
        else:
            self._found.put(key, value, read_at)
        return value


class _AnswerCache(Generic[Found]):
    """Answers by key, oldest first. All are kept equally long, so the oldest expires next."""

    def __init__(self, clock: Clock, seconds: float, most: int) -> None:
        self._clock = clock
        self._seconds = seconds
        self._most = most
        self._answers: dict[str, tuple[float, Found]] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def __contains__(self, key: str) -> bool:
        answer = self._answers.get(key)
        return answer is not None and self._clock.elapsed() - answer[0] < self._seconds

    def __getitem__(self, key: str) -> Found:
        return self._answers[key][1]

    def put(self, key: str, value: Found, read_at: float) -> None:
        self._answers.pop(key, None)
        self._answers[key] = (read_at, value)
        while len(self._answers) > self._most or not (
            not self._answers or next(iter(self._answers)) in self
        ):
            del self._answers[next(iter(self._answers))]


def _retrieve_error(task: asyncio.Task[Found | None]) -> None:
    """Retrieve the error of a read, since asyncio logs errors that no caller has retrieved."""
    if not task.cancelled():
        task.exception()


# Whether a tenant is enabled, for a call, a token request or a dropped file.

# All tenants share a partition: they are few, and listed in order of their id.
PARTITION: Final = "tenants"

# The property of a tenant's record; a tenant without it is enabled.
DISABLED: Final = "disabled"


class TenantLookups:
    """Finds out whether tenants are enabled. Caches the answers for `cache_seconds`."""

    def __init__(self, tables: Tables, clock: Clock, cache_seconds: float) -> None:
        self._tables = tables
        self._lookups = CachedLookups(self._read, clock, cache_seconds)

    async def is_disabled(self, tenant: str) -> bool:
        """Whether an administrator has disabled it. Raises StorageUnavailableError."""
        return await self._lookups.get(tenant) or False

    async def read_disabled(self, tenant: str) -> bool | None:
        """The same, read now; None where there is no such tenant."""
        return await self._read(tenant)

    async def check_enabled(self, tenant: str) -> None:
        """Raises ForbiddenError for a disabled tenant, StorageUnavailableError."""
        if await self.is_disabled(tenant):
            raise ForbiddenError(disabled_message(tenant))

    async def _read(self, tenant: str) -> bool | None:
        entity = await self._tables.get(TENANTS, PARTITION, encode(tenant))
        return None if entity is None else entity.flag(DISABLED)


def disabled_message(tenant: str) -> str:
    """The message for callers of a disabled tenant; no quotes, because OAuth errors allow none."""
    return (
        f"The tenant {tenant} is disabled, so the gateway takes no calls for it and nothing was "
        "done. Ask the operator of the gateway to enable it."
    )
