"""Turns within one process."""

from __future__ import annotations

import asyncio

from shared.services.turns import Turns


async def _play(names: list[str]) -> list[str]:
    """What happens when everybody takes a turn under one of these names, in two steps."""
    turns, seen = Turns(), list[str]()

    async def take(number: int, name: str) -> None:
        async with turns.of(name):
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
