"""Waiting for a condition, with a deadline: the only pause that a test may make."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

_T = TypeVar("_T")
_PAUSE = 0.02


def wait_until(condition: Callable[[], _T | None], what: str, seconds: float = 30.0) -> _T:
    """The first value of `condition` that is true; fails at the deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(_PAUSE)
    raise AssertionError(f"not within {seconds} s: {what}")


async def until(
    condition: Callable[[], Awaitable[_T | None]], what: str, seconds: float = 30.0
) -> _T:
    """`wait_until` for conditions that are awaited."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = await condition()
        if value:
            return value
        await asyncio.sleep(_PAUSE)
    raise AssertionError(f"not within {seconds} s: {what}")
