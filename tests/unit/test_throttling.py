"""Limits within one process: budgets that refill, wrong credentials, shares of tenants."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from shared.budgets import Budgets, FailureThrottle, caller_address
from shared.errors import StorageUnavailableError, TooManyRequestsError
from shared.services.background import KeyedLocks
from shared.services.tenant_shares import OpenImportLimit, TenantPlaces
from shared.storage_time import storage_time
from tests.model.harness import run_at_once
from tests.waiting import HandClock

# Budgets that refill with time.


def test_budget_is_spent_and_refills_evenly() -> None:
    clock = HandClock()
    budgets = Budgets(3, 60, clock)
    assert [budgets.spend("a") for _ in range(4)] == [0, 0, 0, 20]
    clock.pass_by(19)
    assert budgets.spend("a") == 1
    clock.pass_by(1)
    assert [budgets.spend("a"), budgets.spend("a")] == [0, 20]
    clock.pass_by(3600)
    assert [budgets.spend("a") for _ in range(4)] == [0, 0, 0, 20]


def test_refused_use_costs_nothing() -> None:
    clock = HandClock()
    budgets = Budgets(1, 60, clock)
    assert budgets.spend("a") == 0
    assert [budgets.spend("a") for _ in range(1_000)] == [60] * 1_000
    clock.pass_by(60)
    assert budgets.spend("a") == 0


def test_keys_do_not_share() -> None:
    budgets = Budgets(1, 60, HandClock())
    assert [budgets.spend(key) for key in ("a", "b", "a")] == [0, 0, 60]


@pytest.mark.parametrize("cost", [10, 25])
def test_cost_over_the_budget_overdraws_a_full_one(cost: int) -> None:
    clock = HandClock()
    budgets = Budgets(10, 100, clock)
    assert budgets.spend("a", cost) == 0
    assert budgets.spend("a", cost) == cost * 10
    clock.pass_by(cost * 10)
    assert budgets.spend("a", cost) == 0


def test_memory_is_bounded_and_what_is_used_stays() -> None:
    budgets = Budgets(1, 60, HandClock(), most_keys=100)
    budgets.spend("mine")
    for number in range(10_000):
        budgets.spend(str(number))
        if number == 99:
            assert budgets.spend("mine") == 0, "the least recently used key was forgotten"
    assert len(budgets) == 100
    assert budgets.spend("9999") == 60


# Wrong credentials are slowed down by credential and by source.


def refused(throttle: FailureThrottle, credential: str, forwarded: str = "") -> int:
    """The seconds to wait, 0 where the failure may be answered as what it is."""
    try:
        throttle.count({"x-forwarded-for": forwarded}, "function key", credential)
    except TooManyRequestsError as error:
        return error.retry_after
    return 0


def test_one_credential_is_slowed_down_without_the_others() -> None:
    throttle = FailureThrottle(HandClock(), 3, 1_000, is_forwarded=False)
    assert [refused(throttle, "a") for _ in range(4)] == [0, 0, 0, 20]
    assert refused(throttle, "b") == 0


def test_always_another_credential_is_slowed_down_by_its_source() -> None:
    clock = HandClock()
    throttle = FailureThrottle(clock, 3, 10, is_forwarded=True)
    answers = [refused(throttle, str(n), f"9.9.9.{n}, 10.0.0.1:4{n}") for n in range(20)]
    assert answers == [0] * 10 + [6] * 10
    assert refused(throttle, "other", "10.0.0.1, 10.0.0.2:40") == 0
    clock.pass_by(6)
    assert refused(throttle, "again", "10.0.0.1") == 0


def test_flood_with_one_credential_leaves_its_source_its_budget() -> None:
    throttle = FailureThrottle(HandClock(), 3, 10, is_forwarded=True)
    for _ in range(100):
        refused(throttle, "a", "10.0.0.1")
    assert [refused(throttle, str(n), "10.0.0.1") for n in range(7)] == [0] * 7


def test_an_address_header_without_a_front_end_is_ignored() -> None:
    throttle = FailureThrottle(HandClock(), 3, 10, is_forwarded=False)
    answers = [refused(throttle, str(n), f"10.0.0.{n}") for n in range(20)]
    assert answers == [0] * 10 + [6] * 10


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.4:5678", "1.2.3.4"),
        ("9.9.9.9, 1.2.3.4:5678", "1.2.3.4"),
        ("[2001:db8:1:2:3:4:5:6]:443", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("1.2.3.4,", ""),
        ("somebody", ""),
        ("[", ""),
        ("", ""),
        ("1.2.3.4:" + "9" * 10_000, "1.2.3.4"),
    ],
)
def test_address_is_the_last_entry_without_its_port(header: str, address: str) -> None:
    assert caller_address({"x-forwarded-for": header}) == address


def test_without_the_header_there_is_no_address() -> None:
    assert caller_address({"x-azure-clientip": "1.2.3.4", "x-real-ip": "1.2.3.4"}) == ""


# Shares of tenants within one process: turns between them, limits for each, refusals.


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


def run_scenario(story: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await story()

    asyncio.run(limited())


def test_a_tenant_with_many_calls_does_not_keep_another_waiting() -> None:
    async def story() -> None:
        calls = Calls(places=3, per_tenant=2)
        await calls.start("a1", "a2", "a3", "a4", "b1")
        assert calls.begun == ["a1", "a2", "b1"]

    run_scenario(story)


def test_tenants_whose_calls_wait_get_places_in_turn() -> None:
    async def story() -> None:
        calls = Calls(places=1, per_tenant=1)
        await calls.start("a1", "a2", "a3", "b1", "b2", "c1")
        await calls.end("a1", "a2", "b1", "c1", "a3", "b2")
        assert calls.begun == ["a1", "a2", "b1", "c1", "a3", "b2"]

    run_scenario(story)


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

    run_scenario(story)


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

    run_scenario(story)


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

    run_scenario(story)


def test_calls_that_waited_for_one_that_storage_failed_do_not_ask_storage_one_after_another() -> (
    None
):
    async def story() -> None:
        places = TenantPlaces("calls", places=1, per_tenant=1, most_waiting=10)
        failing = asyncio.Event()
        seconds_left: list[float] = []

        async def fail() -> None:
            async with places.place("a"):
                await failing.wait()
                raise StorageUnavailableError("storage did not answer")

        async def look() -> None:
            with storage_time(8) as time:
                async with places.place("a"):
                    seconds_left.append(time.left)

        first = asyncio.create_task(fail())
        await _settled()
        others = [asyncio.create_task(look()) for _ in range(3)]
        await asyncio.sleep(0.05)
        failing.set()
        await asyncio.gather(*others)
        with pytest.raises(StorageUnavailableError):
            await first
        assert all(each < 8 for each in seconds_left)

    run_scenario(story)


class _Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def elapsed(self) -> float:
        return self.seconds


class _OpenImports:
    """How many imports are open, and how often they were counted."""

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

    run_scenario(story)


def test_a_tenant_with_few_open_imports_is_counted_seldom() -> None:
    async def story() -> None:
        clock, opened = _Clock(), _OpenImports(2)
        limit = OpenImportLimit(800, clock, opened.count_open)
        for _ in range(1_000):
            clock.seconds += 1
            await limit.check("a")
        assert opened.counted <= 11

    run_scenario(story)


def test_imports_that_this_process_accepts_are_counted_between_two_looks() -> None:
    async def story() -> None:
        limit = OpenImportLimit(100, _Clock(), _OpenImports(10).count_open)
        for _ in range(90):
            await limit.check("a")
        with pytest.raises(TooManyRequestsError):
            await limit.check("a")
        await limit.check("b")

    run_scenario(story)


# Turns within one process.


async def take_turns(names: list[str]) -> list[str]:
    """What happens when everybody takes a turn under one of these names, in two steps."""
    turns, seen = KeyedLocks(), list[str]()

    async def take(number: int, name: str) -> None:
        async with turns.take(name):
            seen.append(f"{number} begins")
            for _ in range(3):
                await asyncio.sleep(0)
            seen.append(f"{number} ends")

    await asyncio.gather(*(take(number, name) for number, name in enumerate(names)))
    return seen


def test_turns_of_one_name_follow_one_another_in_order() -> None:
    seen = asyncio.run(take_turns(["a", "a", "a"]))
    assert seen == [f"{number} {what}" for number in range(3) for what in ("begins", "ends")]


def test_locks_of_different_names_do_not_wait_for_each_other() -> None:
    assert asyncio.run(take_turns(["a", "b"]))[:2] == ["0 begins", "1 begins"]


def test_a_call_does_not_wait_long_for_a_place_that_is_not_freed() -> None:
    async def play() -> list[str]:
        turns, seen, is_over = KeyedLocks(), list[str](), asyncio.Event()

        async def hang() -> None:
            async with turns.take("a"):
                await is_over.wait()
            seen.append("the first ends")

        async def follow(number: int) -> None:
            async with turns.take("a"):
                seen.append(f"{number} goes ahead")

        first = asyncio.create_task(hang())
        await asyncio.gather(*(follow(number) for number in range(3)))
        is_over.set()
        await first
        async with turns.take("a"):
            return [*seen, "the turn is free again"]

    *ahead, end, free = run_at_once(play())
    assert sorted(ahead) == [f"{number} goes ahead" for number in range(3)]
    assert (end, free) == ("the first ends", "the turn is free again")


def test_a_call_that_is_cancelled_while_it_waits_leaves_the_turn_to_the_others() -> None:
    async def play() -> str:
        turns, is_over = KeyedLocks(), asyncio.Event()

        async def hold() -> None:
            async with turns.take("a"):
                await is_over.wait()

        async def follow() -> None:
            async with turns.take("a"):
                pass

        first, second = asyncio.create_task(hold()), asyncio.create_task(follow())
        await asyncio.sleep(0.1)
        second.cancel()
        is_over.set()
        await asyncio.gather(first, second, return_exceptions=True)
        async with asyncio.timeout(0.5), turns.take("a"):
            return "has the turn"

    assert run_at_once(play()) == "has the turn"
