"""No entry takes more time or memory for a byte than its budget, whatever the bytes are."""

from __future__ import annotations

import pytest

from tests.budgets.entries import entries
from tests.budgets.measuring import Entry, measure

ENTRIES = tuple(entries())


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
def test_every_input_costs_no_more_than_the_budget_of_its_entry(entry: Entry) -> None:
    faults = [fault for name in entry.worst for fault in measure(entry, name).faults()]
    assert not faults, "\n".join(faults)
