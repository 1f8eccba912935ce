"""Look-ups that are remembered for a few seconds, in bounded space.

What was found and what was not found are kept apart: a flood of made-up keys fills only the small
store of misses and can push out nothing that somebody uses. Callers that ask for the same thing at
the same time share one read. An answer's age counts from the start of its read, so a change is seen
at most `seconds` after it was made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from shared.clock import Clock
from shared.storage_time import CALL_SECONDS, limited_wait, storage_time

Found = TypeVar("Found")

MOST_FOUND = 10_000
MOST_MISSING = 1_000


class CachedLookups(Generic[Found]):
    """Remembers what `load(key)` answered; None means that there is no such thing.

    A failed read is not remembered: its error goes to everybody who waited for it.
    """

    def __init__(
        self, load: Callable[[str], Awaitable[Found | None]], clock: Clock, seconds: float
    ) -> None:
        self._load = load
        self._clock = clock
        self._found: _Remembered[Found] = _Remembered(clock, seconds, MOST_FOUND)
        self._missing: _Remembered[None] = _Remembered(clock, seconds, MOST_MISSING)
        self._running: dict[str, asyncio.Task[Found | None]] = {}

    def __len__(self) -> int:
        """How many answers are held."""
        return len(self._found) + len(self._missing)

    async def get(self, key: str) -> Found | None:
        """The answer for `key`, remembered or read. Raises what `load` raises."""
        if key in self._found:
            return self._found[key]
        if key in self._missing:
            return None
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._read(key))
            task.add_done_callback(_take_notice)
        # Shielded: one caller who goes away must not take the answer from the others.
        async with limited_wait():
            return await asyncio.shield(task)

    async def _read(self, key: str) -> Found | None:
        asked = self._clock.elapsed()
        try:
            with storage_time(CALL_SECONDS):
                found = await self._load(key)
        finally:
            del self._running[key]
        if found is None:
            self._missing.put(key, None, asked)
        else:
            self._found.put(key, found, asked)
        return found


class _Remembered(Generic[Found]):
    """Answers by key, oldest first; all live equally long, so the oldest is the next to go."""

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

    def put(self, key: str, value: Found, asked: float) -> None:
        self._answers.pop(key, None)
        self._answers[key] = (asked, value)
        while len(self._answers) > self._most or not self._oldest_is_fresh():
            del self._answers[next(iter(self._answers))]

    def _oldest_is_fresh(self) -> bool:
        return not self._answers or next(iter(self._answers)) in self


def _take_notice(task: asyncio.Task[Found | None]) -> None:
    """Look at the error of a read whose callers have all gone; asyncio would complain of it."""
    if not task.cancelled():
        task.exception()
