"""The demo's batch: what counts as designed, and what it prints."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cli.calls import Answer
from cli.demo import BATCH_FILE, batch_lines, batch_totals, find_batch_fault
from cli.environment import ROOT
from shared.imports.authdata.model import Stored
from tests.unit.imports.authdata.plain_batches import judge, read_all


def as_designed(**changes: Any) -> dict[str, Any]:
    rows = json.loads((ROOT / BATCH_FILE).read_text("utf-8"))["employee"]
    return {**judge(read_all(rows), Stored()).answer, **changes}


def an_answer(**changes: Any) -> Answer:
    return Answer(200, {}, as_designed(**changes))


def test_the_sample_is_as_designed() -> None:
    assert find_batch_fault(an_answer(), an_answer()) == ""


@pytest.mark.parametrize(
    "processed",
    [
        Answer(503, {}, {"message": "Storage did not answer."}),
        an_answer(totalNew=0),
        an_answer(totalErrors=2),
    ],
)
def test_anything_else_is_a_fault(processed: Answer) -> None:
    assert find_batch_fault(an_answer(), processed)


def test_totals_and_records_are_lines() -> None:
    assert batch_totals(as_designed()) == (
        "5 records: 3 new, 0 updates, 0 no change, 1 duplicates, 1 errors"
    )
    assert [*batch_lines(as_designed())][-3:] == [
        "       (no id)  Error",
        "         index 4: employeeId: Required field missing or empty  (bad on purpose)",
        "       00412    Duplicate: another record of the batch counts",
    ]
