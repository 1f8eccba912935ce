"""Threads that read large bodies let small imports of other tenants go first."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from typing import Any, Final

from shared.clock import SystemClock
from shared.dependencies import Dependencies
from shared.imports.json_rows import Payload, SortKey, read_payload
from shared.imports.workers.definition import WORKERS
from shared.process_stop import ProcessStop
from shared.services.background import SmallImportsFirst
from tests.builders import body_of, workers
from tests.emulator import settings_for
from tests.memory_storage import MemoryBlobs, MemoryQueues, MemoryTables

_SOON: Final = 0.1
"""Seconds in which a thread without a pause would have gone on; less than the longest pause."""
_LATEST: Final = 20
_ROWS: Final = 300


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test in an event loop."""

    @wraps(test)
    def run_test() -> None:
        asyncio.run(test())

    return run_test


class WatchedReader:
    """A `Reader` that shows how far a thread has come."""

    def __init__(self) -> None:
        self.begins = threading.Event()
        self.has_read_a_row = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()

    def __call__(self, body: bytes, sort_key: SortKey, max_rows: int) -> Payload:
        self.begins.set()

        def noted(row: Mapping[str, Any]) -> str | None:
            key = sort_key(row)
            self.has_read_a_row.set()
            return key

        payload = read_payload(body, noted, max_rows)
        assert self.may_end.wait(_LATEST)
        return payload


def _dependencies() -> Dependencies:
    return Dependencies.from_storage(
        settings_for("nothing connects to it"),
        MemoryTables(),
        MemoryBlobs(),
        MemoryQueues(),
        SystemClock(),
        ProcessStop(),
    )


async def _happens(event: threading.Event, seconds: float = _LATEST) -> bool:
    return await asyncio.to_thread(event.wait, seconds)


@run
async def test_a_thread_reads_no_row_while_a_small_import_runs() -> None:
    dependencies, reader = _dependencies(), WatchedReader()
    body = body_of(workers(_ROWS))
    with dependencies.small_first.working(is_small=True):
        reading = asyncio.ensure_future(dependencies.intake.read(WORKERS, "T", body, reader))
        assert await _happens(reader.begins)
        assert not await _happens(reader.has_read_a_row, _SOON)
    assert (await reading).rows == _ROWS


@run
async def test_small_imports_without_end_do_not_stop_a_thread() -> None:
    dependencies, body = _dependencies(), body_of(workers(_ROWS))
    with dependencies.small_first.working(is_small=True):
        assert (await dependencies.intake.read(WORKERS, "T", body)).rows == _ROWS


@run
async def test_one_thread_reads_at_a_time_where_small_imports_follow() -> None:
    dependencies, first, second = _dependencies(), WatchedReader(), WatchedReader()
    body = body_of(workers(_ROWS))
    with dependencies.small_first.working(is_small=True):
        pass
    first.may_end.clear()
    readings = [asyncio.ensure_future(dependencies.intake.read(WORKERS, "T", body, first))]
    assert await _happens(first.has_read_a_row)
    readings.append(asyncio.ensure_future(dependencies.intake.read(WORKERS, "U", body, second)))
    assert await _happens(second.begins)
    assert not await _happens(second.has_read_a_row, _SOON)
    first.may_end.set()
    assert [plan.rows for plan in await asyncio.gather(*readings)] == [_ROWS, _ROWS]


@run
async def test_threads_read_side_by_side_where_there_are_no_small_imports() -> None:
    dependencies, first, second = _dependencies(), WatchedReader(), WatchedReader()
    body = body_of(workers(_ROWS))
    first.may_end.clear()
    reading = asyncio.ensure_future(dependencies.intake.read(WORKERS, "T", body, first))
    assert await _happens(first.has_read_a_row)
    assert (await dependencies.intake.read(WORKERS, "U", body, second)).rows == _ROWS
    first.may_end.set()
    await reading


def test_a_thread_that_waited_too_long_for_its_turn_works_without_it() -> None:
    small_first = SmallImportsFirst()

    async def small_import() -> None:
        with small_first.working(is_small=True):
            pass

    asyncio.run(small_import())
    with small_first.turns_of_thread() as first, small_first.turns_of_thread() as second:
        first()
        # It has the only turn, so the other one waits in vain; and then not before each row.
        second()
        second()
        second()
