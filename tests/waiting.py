"""Time in tests: waiting for a condition with a deadline, and a clock that a test moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

# Waiting for a condition, with a deadline: the only pause that a test may make.

_T = TypeVar("_T")
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25


def wait_until(condition: Callable[[], _T | None], what: str, seconds: float = 60.0) -> _T:
    """The first value of `condition` that is true; fails at the deadline."""
    begun = time.monotonic()
    while (elapsed := time.monotonic() - begun) < seconds:
        value = condition()
        if value:
            return value
        time.sleep(_pause(elapsed))
    raise AssertionError(f"not within {seconds} s: {what}")


async def until(
    condition: Callable[[], Awaitable[_T | None]], what: str, seconds: float = 60.0
) -> _T:
    """`wait_until` for conditions that are awaited."""
    begun = time.monotonic()
    while (elapsed := time.monotonic() - begun) < seconds:
        value = await condition()
        if value:
            return value
        await asyncio.sleep(_pause(elapsed))
    raise AssertionError(f"not within {seconds} s: {what}")


def _pause(elapsed: float) -> float:
    """Seconds until the condition is asked for again: rarely where the wait is long."""
    return min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, elapsed / 20))


class HandClock:
    """A clock that shows the same time until the test moves it."""

    def __init__(self) -> None:
        self._elapsed = 1_000.0

    def now(self) -> datetime:
        return datetime(2026, 1, 31, tzinfo=UTC) + timedelta(seconds=self._elapsed)

    def elapsed(self) -> float:
        return self._elapsed

    def pass_by(self, seconds: float) -> None:
        """Move the clock by this many seconds."""
        self._elapsed += seconds
