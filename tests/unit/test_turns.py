"""Turns within one process."""

from __future__ import annotations

import asyncio

from shared.services.background import KeyedLocks
from tests.model.virtual_time import run_at_once


async def _play(names: list[str]) -> list[str]:
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
    seen = asyncio.run(_play(["a", "a", "a"]))
    assert seen == [f"{number} {what}" for number in range(3) for what in ("begins", "ends")]


def test_other_names_do_not_wait() -> None:
    assert asyncio.run(_play(["a", "b"]))[:2] == ["0 begins", "1 begins"]


def test_nobody_waits_long_for_a_turn_that_does_not_move_on() -> None:
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
