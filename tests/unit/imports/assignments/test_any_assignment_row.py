"""Whatever JSON a row holds, it ends with messages, and applying it twice changes nothing more."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings

from shared.imports.assignments.model import Assignment
from shared.imports.assignments.rules import RULES
from shared.imports.import_type import Options
from shared.imports.model import shape_of
from shared.imports.results import MAX_MESSAGES, Outcome, RowResult, pack_result
from tests.unit.imports.builders import an_assignment, good_rows, objects_of

any_assignment = objects_of(shape_of(Assignment))
good_assignments = good_rows(RULES.json_schema()).map(lambda fields: an_assignment(**fields))


@settings(deadline=None, max_examples=20)
@given(any_assignment)
def test_any_row_ends_with_messages(row: dict[str, Any]) -> None:
    result = RULES.read(3, row)
    key = RULES.identify({name.lower(): value for name, value in row.items()})
    folded = {name.lower() for name in row}
    if len(folded) == len(row) and key is None:
        assert not result.is_readable
    assert len(result.messages) <= MAX_MESSAGES
    packed = pack_result(RowResult(3, result.key, Outcome.FAILED, result.messages))
    assert json.dumps(packed, ensure_ascii=False).encode("utf-8")
    assert all(message.text for message in result.messages)


@settings(deadline=None, max_examples=50)
@given(good_assignments, good_assignments)
def test_a_row_applied_twice_is_unchanged_the_second_time(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    stored = None
    for row in (first, second):
        result = RULES.read(0, row)
        assert result.is_readable, result.messages
        decision = RULES.decide(result, stored, Options())
        assert decision.outcome in (Outcome.NEW, Outcome.UPDATED, Outcome.UNCHANGED)
        stored = decision.document or stored
        assert stored is not None
        assert json.loads(json.dumps(stored)) == stored
        again = RULES.decide(result, stored, Options())
        assert (again.outcome, again.document) == (Outcome.UNCHANGED, None)
        assert RULES.columns(stored)["AssignmentRef"] == "A1"
        assert [item.reference for item in RULES.references(stored)] == ["P1"]
        assert all(item.value for item in RULES.listed(stored))
