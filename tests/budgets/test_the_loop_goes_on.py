"""While a worst-case body is read, the event loop goes on: other calls are answered meanwhile.

What holds up the loop is the time that its own thread computes between two turns. That is measured
as CPU time of the thread, so that a machine that is busy with something else does not count.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from contextlib import suppress

import pytest

from shared.errors import GatewayError
from shared.services.background import to_thread_if_large
from tests.budgets.entries import entries

MOST_SECONDS = 0.6
"""Generous: a body of 8 KiB takes a tenth of it, and one of 100 KB several times as much."""
_TURN_SECONDS = 0.005

ENTRIES = {entry.name: entry for entry in entries() if entry.bytes == 8_000}
WORST = [
    ("JSON rows of assignments", "empty objects in lists"),
    ("JSON rows of licenses", "rows that say nothing"),
    ("forms of licenses", "rows"),
    ("XML of licenses", "rows of 9,000 unknown elements"),
    ("authentication data", "records of marks"),
]


async def _longest_turn(work: Awaitable[object]) -> float:
    """The most CPU time that the thread of the loop took between two turns, in seconds."""
    longest = 0.0
    task = asyncio.ensure_future(work)
    last = time.thread_time()
    while not task.done():
        await asyncio.wait([task], timeout=_TURN_SECONDS)
        now = time.thread_time()
        longest, last = max(longest, now - last), now
    with suppress(GatewayError):
        task.result()
    return longest


@pytest.mark.parametrize("size", [8_000, 100_000])
@pytest.mark.parametrize(("name", "worst"), WORST)
def test_a_worst_case_body_leaves_the_loop(name: str, worst: str, size: int) -> None:
    entry = ENTRIES[name]
    body = entry.worst[worst](size)

    async def play() -> float:
        return await _longest_turn(to_thread_if_large(len(body), entry.read, body))

    assert asyncio.run(play()) < MOST_SECONDS
