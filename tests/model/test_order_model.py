"""The order of imports holds under every interleaving that the model can think of.

`ORDER_MODEL_RUNS` sets how many seeds are played, `ORDER_MODEL_FIRST` the first of them: a failure
names its seed, and the same seed plays the same run.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter

import pytest

from tests.model.judging import judge
from tests.model.simulation import Simulation
from tests.model.unswept_simulation import UnsweptSimulation

RUNS = int(os.environ.get("ORDER_MODEL_RUNS", "600"))
FIRST = int(os.environ.get("ORDER_MODEL_FIRST", "0"))
pytestmark = pytest.mark.timeout(120 + RUNS)


async def _play(world: Simulation) -> Simulation:
    await world.play()
    return world


def test_imports_leave_what_one_after_another_would_have_left() -> None:
    seen: Counter[str] = Counter()
    for seed in range(FIRST, FIRST + RUNS):
        world = asyncio.run(_play(Simulation(seed)))
        try:
            judge(world)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        seen += world.seen
    assert {"crash", "straggler", "fault", "cancel", "retry"} <= set(seen), "the model must disturb"
    assert {"repair", "partial retry", "retry of a retry", "nothing is out"} <= set(seen)
    assert "former values" in seen, "records must be changed by a second import"


def test_no_import_needs_the_sweep_where_every_call_has_sent_its_messages() -> None:
    seen: Counter[str] = Counter()
    for seed in range(FIRST, FIRST + RUNS // 2):
        try:
            world = asyncio.run(_play(UnsweptSimulation(seed)))
            judge(world)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        seen += world.seen
    assert {"crash", "straggler", "fault", "cancel", "retry"} <= set(seen), "the model must disturb"
