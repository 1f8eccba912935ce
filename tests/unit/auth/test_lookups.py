"""Remembered look-ups: bounded, short-lived, one read for callers at the same time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from shared.auth.lookups import MOST_FOUND, MOST_MISSING, CachedLookups
from shared.errors import StorageUnavailableError


class HandClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def elapsed(self) -> float:
        return self.seconds


class Register:
    """A slow source that notes its reads; `gate` holds them up, `asked` says that one began."""

    def __init__(self, **answers: str) -> None:
        self.answers = dict(answers)
        self.reads: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()

    async def load(self, key: str) -> str | None:
        self.reads.append(key)
        self.asked.set()
        await self.gate.wait()
        if key == "broken":
            raise StorageUnavailableError("storage did not answer")
        return self.answers.get(key)


def test_an_answer_is_read_once_until_it_expires() -> None:
    async def story() -> None:
        clock, register = HandClock(), Register(a="first")
        lookups = CachedLookups(register.load, clock, 3)
        assert await lookups.get("a") == "first"
        register.answers["a"] = "second"
        clock.seconds = 2.9
        assert await lookups.get("a") == "first"
        clock.seconds = 3.0
        assert await lookups.get("a") == "second"
        assert register.reads == ["a", "a"]

    asyncio.run(story())


def test_what_is_missing_is_remembered_as_long() -> None:
    async def story() -> None:
        clock, register = HandClock(), Register()
        lookups = CachedLookups(register.load, clock, 3)
        assert [await lookups.get("a"), await lookups.get("a")] == [None, None]
        assert register.reads == ["a"]
        register.answers["a"] = "there now"
        clock.seconds = 3.0
        assert await lookups.get("a") == "there now"

    asyncio.run(story())


def test_the_age_of_an_answer_counts_from_the_start_of_its_read() -> None:
    async def story() -> None:
        clock, register = HandClock(), Register(a="first")
        lookups = CachedLookups(register.load, clock, 3)
        register.gate.clear()
        waiting = asyncio.create_task(lookups.get("a"))
        await register.asked.wait()
        clock.seconds = 4.0
        register.gate.set()
        assert await waiting == "first"
        register.answers["a"] = "second"
        assert await lookups.get("a") == "second"

    asyncio.run(story())


def test_callers_at_the_same_time_share_one_read_and_one_may_go_away() -> None:
    async def story() -> None:
        register = Register(a="found")
        lookups = CachedLookups(register.load, HandClock(), 3)
        register.gate.clear()
        callers = [asyncio.create_task(lookups.get("a")) for _ in range(20)]
        await register.asked.wait()
        callers[0].cancel()
        register.gate.set()
        assert await asyncio.gather(*callers[1:]) == ["found"] * 19
        assert callers[0].cancelled()
        assert register.reads == ["a"]

    asyncio.run(story())


def test_a_failed_read_reaches_everybody_and_is_not_remembered() -> None:
    async def story() -> None:
        register = Register()
        lookups = CachedLookups(register.load, HandClock(), 3)
        both = await asyncio.gather(
            lookups.get("broken"), lookups.get("broken"), return_exceptions=True
        )
        assert [type(error) for error in both] == [StorageUnavailableError] * 2
        with pytest.raises(StorageUnavailableError):
            await lookups.get("broken")
        assert register.reads == ["broken", "broken"]
        assert len(lookups) == 0

    asyncio.run(story())


def test_a_flood_of_unknown_keys_stays_in_its_own_small_store() -> None:
    async def story() -> None:
        register = Register(good="found")
        lookups = CachedLookups(register.load, HandClock(), 3)
        await lookups.get("good")
        for number in range(2_000):
            assert await lookups.get(f"guess-{number}") is None
        assert len(lookups) == MOST_MISSING + 1
        assert await lookups.get("good") == "found"
        assert register.reads.count("good") == 1

    asyncio.run(story())


def test_known_keys_are_bounded_too_and_expired_ones_are_let_go() -> None:
    async def story() -> None:
        clock = HandClock()
        register = Register(**{f"key{number}": "found" for number in range(MOST_FOUND + 5)})
        lookups = CachedLookups(register.load, clock, 3)
        for key in register.answers:
            await lookups.get(key)
        assert len(lookups) == MOST_FOUND
        clock.seconds = 3.0
        await lookups.get("key1")
        assert len(lookups) == 1

    asyncio.run(story())


def test_zero_seconds_remember_nothing() -> None:
    async def story() -> None:
        register = Register(a="found")
        lookups = CachedLookups(register.load, HandClock(), 0)
        assert await lookups.get("a") == await lookups.get("a") == "found"
        assert register.reads == ["a", "a"]
        assert len(lookups) == 0

    asyncio.run(story())
