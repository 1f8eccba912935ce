"""The storage of the bench `scaling`, which throttles, and its simulation at a small size."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.measuring.throttled_storage import Targets, Throttle, ThrottledAccount
from benchmarks.scaling import COLUMNS, PAGE, PLOT, cells, write_page
from benchmarks.scaling_simulation import Growth, Load, simulate

RATE = 2_000


def refusals(each_second: int, seconds: int = 10, amount: int = 100) -> int:
    """How many of so many evenly spread requests are refused."""
    throttle = Throttle(burst_seconds=0.1)
    return sum(
        not throttle.passes([(("partition",), RATE, amount)], at / each_second)
        for at in range(each_second * seconds)
    )


@pytest.mark.parametrize("each_second", [1, 10, 20])
def test_nothing_is_refused_up_to_the_target(each_second: int) -> None:
    assert refusals(each_second) == 0


@pytest.mark.parametrize("each_second", [25, 40, 400])
def test_past_the_target_as_many_pass_as_the_target_lets(each_second: int) -> None:
    assert each_second * 10 - refusals(each_second) == pytest.approx(200, abs=5)


def test_a_refused_request_takes_nothing_from_any_bucket() -> None:
    throttle = Throttle(burst_seconds=0.1)
    account, partition = (("account",), 10 * RATE, 100.0), (("partition",), RATE, 100.0)
    passed = [throttle.passes([account, partition], 0.0) for _ in range(10)]
    assert passed == [True, True] + [False] * 8
    assert [throttle.passes([account], 0.0) for _ in range(19)] == [True] * 18 + [False]


LOAD = Load("one employer", tenants=1, employers=1, rows=400)


def test_handlers_wait_for_storage_that_throttles_and_no_row_is_lost() -> None:
    """Eight handlers ask for several times what the partition takes."""
    account = ThrottledAccount(replace(Targets(), partition_entities=400))
    growth = simulate(LOAD, 8, account, chunk_rows=50)
    assert growth.busy > 10
    assert (growth.came_back, growth.refused, growth.lost) == (0, 0, 0)
    assert growth.entities_per_row > 2
    # Half of the entities are names, in another partition.
    assert 100 < growth.rows_per_second * growth.entities_per_row < 1.1 * 2 * 400
    assert growth.seconds < 15


def test_the_same_simulation_is_the_same_again() -> None:
    small = replace(LOAD, rows=100)
    assert simulate(small, 4) == simulate(small, 4)


def test_the_page_has_the_columns_of_the_simulation(tmp_path: Path) -> None:
    growth = Growth(4, 1_000.5, 12.34, 2.1, 0.0456, 17, 1, 2, 3)
    assert len(cells(growth)) == len(COLUMNS)
    page = tmp_path / "scaling.md"
    page.write_text(PAGE.read_text("utf-8"), "utf-8")
    (tmp_path / "images").mkdir()
    write_page(page, {"a load": [growth]}, Counter(transaction=25, queue=10), 1_000)
    text = page.read_text("utf-8")
    assert "| a load | 4 | 1,000 | 2,101 | 0.046 | 17 | 1 | 2 | 3 | 12.3 |" in text
    assert "| tables, all operations | 25,000 | 0.00036 | 0.0009 |" in text
    assert (tmp_path / "images" / PLOT).read_text("utf-8").startswith("<svg")
    heads = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| load | ")]
    assert f"| load | {' | '.join(COLUMNS)} |" in heads
