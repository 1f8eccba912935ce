"""Budgets that refill with time."""

from __future__ import annotations

import pytest

from shared.budgets import Budgets
from tests.hand_clock import HandClock


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
