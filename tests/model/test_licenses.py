"""Imports of licenses keep their order, their keys and their documents under every interleaving."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.model.license_judging import judge_licenses
from tests.model.license_simulation import LicenseSimulation
from tests.model.test_order_model import FIRST, RUNS


async def _play(seed: int) -> LicenseSimulation:
    world = LicenseSimulation(seed)
    await world.play()
    return world


def test_imports_of_licenses_leave_what_one_after_another_would_have_left() -> None:
    seen: Counter[str] = Counter()
    for seed in range(FIRST, FIRST + RUNS // 2):
        world = asyncio.run(_play(seed))
        try:
            judge_licenses(world)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        seen += world.seen
    assert {"crash", "straggler", "fault", "cancel"} <= set(seen), "the model must disturb"
    was = "former values"
    assert {was, f"{was} of a tombstone", f"{was} of a moved license"} <= set(seen)
