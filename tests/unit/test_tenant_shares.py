"""Shares of tenants within one process: turns between them, limits for each, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from shared.errors import StorageUnavailableError, TooManyRequestsError
from shared.services.tenant_shares import OpenImportLimit, TenantPlaces
from shared.storage_time import storage_time


class Calls:
    """Calls that take places, end when the test says so, and note when they began."""

    def __init__(self, places: int, per_tenant: int, most_waiting: int = 10) -> None:
        self.places = TenantPlaces(
            "calls", places=places, per_tenant=per_tenant, most_waiting=most_waiting
        )
        self.begun: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self, *names: str) -> None:
        """Begin calls; the first letter of a name is the tenant."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._call(name))
        await _settled()

    async def end(self, *names: str) -> None:
        """Let calls end, one after another."""
        for name in names:
            self._ends[name].set()
            await self._tasks[name]
            await _settled()

    async def give_up(self, name: str) -> None:
        """Cancel a call."""
        self._tasks[name].cancel()
        with suppress(asyncio.CancelledError):
            await self._tasks[name]
        await _settled()

    async def _call(self, name: str) -> None:
        async with self.places.place(name[0]):
            self.begun.append(name)
            await self._ends[name].wait()


async def _settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def _play(story: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await story()

    asyncio.run(limited())


def test_a_tenant_with_many_calls_does_not_keep_another_waiting() -> None:
    async def story() -> None:
        calls = Calls(places=3, per_tenant=2)
        await calls.start("a1", "a2", "a3", "a4", "b1")
        assert calls.begun == ["a1", "a2", "b1"]

    _play(story)


def test_tenants_whose_calls_wait_get_places_in_turn() -> None:
    async def story() -> None:
        calls = Calls(places=1, per_tenant=1)
        await calls.start("a1", "a2", "a3", "b1", "b2", "c1")
        await calls.end("a1", "a2", "b1", "c1", "a3", "b2")
        assert calls.begun == ["a1", "a2", "b1", "c1", "a3", "b2"]

    _play(story)


def test_a_call_that_gives_up_gives_its_place_to_the_next_one() -> None:
    async def story() -> None:
        calls = Calls(places=1, per_tenant=1)
        await calls.start("a1", "a2", "b1")
        await calls.give_up("a2")
        await calls.give_up("a1")
        assert calls.begun == ["a1", "b1"]
        await calls.end("b1")
        await calls.start("c1")
        assert calls.begun == ["a1", "b1", "c1"]

    _play(story)


def test_a_call_that_gives_up_in_the_moment_of_its_turn_loses_no_place() -> None:
    async def story() -> None:
        places = TenantPlaces("calls", places=1, per_tenant=1, most_waiting=10)
        async with places.place("a"):
            waiting = asyncio.create_task(_pass_through(places))
            await _settled()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with places.place("a"):
            pass

    _play(story)


async def _pass_through(places: TenantPlaces) -> None:
    async with places.place("a"):
        await asyncio.sleep(0)


def test_only_the_tenant_whose_calls_wait_in_great_number_is_refused() -> None:
    async def story() -> None:
        calls = Calls(places=1, per_tenant=1, most_waiting=2)
        await calls.start("a1", "a2", "a3")
        with pytest.raises(TooManyRequestsError, match="calls of this tenant") as refused:
            async with calls.places.place("a"):
                pass
        assert refused.value.retry_after >= 1
        await calls.start("b1")
        await calls.end("a1", "a2")
        assert calls.begun == ["a1", "a2", "b1"]

    _play(story)


def test_calls_that_waited_for_one_that_storage_failed_do_not_ask_storage_one_after_another() -> (
    None
):
    async def story() -> None:
        places = TenantPlaces("calls", places=1, per_tenant=1, most_waiting=10)
        failing = asyncio.Event()
        left: list[float] = []

        async def fail() -> None:
            async with places.place("a"):
                await failing.wait()
                raise StorageUnavailableError("storage did not answer")

        async def look() -> None:
            with storage_time(8) as time:
                async with places.place("a"):
                    left.append(time.left)

        first = asyncio.create_task(fail())
        await _settled()
        others = [asyncio.create_task(look()) for _ in range(3)]
        await asyncio.sleep(0.05)
        failing.set()
        await asyncio.gather(*others)
        with pytest.raises(StorageUnavailableError):
            await first
        assert all(each < 8 for each in left)

    _play(story)


class _Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def elapsed(self) -> float:
        return self.seconds


class _OpenImports:
    """How many imports are open, and how often somebody counted."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.counted = 0

    async def count_open(self, _tenant: str, most: int) -> int:
        self.counted += 1
        return min(most, self.count)


def test_a_tenant_with_too_many_open_imports_is_refused_until_some_have_ended() -> None:
    async def story() -> None:
        clock, opened = _Clock(), _OpenImports(100)
        limit = OpenImportLimit(100, clock, opened.count_open)
        for _ in range(5):
            with pytest.raises(TooManyRequestsError, match="100 open imports"):
                await limit.check("a")
        assert opened.counted == 1, "a refused caller that asks again costs nothing"
        opened.count = 99
        clock.seconds = 1
        await limit.check("a")
        with pytest.raises(TooManyRequestsError):
            await limit.check("a")

    _play(story)


def test_a_tenant_with_few_open_imports_is_counted_seldom() -> None:
    async def story() -> None:
        clock, opened = _Clock(), _OpenImports(2)
        limit = OpenImportLimit(800, clock, opened.count_open)
        for _ in range(1_000):
            clock.seconds += 1
            await limit.check("a")
        assert opened.counted <= 11

    _play(story)


def test_imports_that_this_process_accepts_are_counted_between_two_looks() -> None:
    async def story() -> None:
        limit = OpenImportLimit(100, _Clock(), _OpenImports(10).count_open)
        for _ in range(90):
            await limit.check("a")
        with pytest.raises(TooManyRequestsError):
            await limit.check("a")
        await limit.check("b")

    _play(story)
