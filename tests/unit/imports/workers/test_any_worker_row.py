"""Whatever JSON a row holds, it ends with messages, and applying it twice changes nothing more."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.imports.definition import Options
from shared.imports.outcomes import MAX_MESSAGES, Outcome, RowResult, pack_result
from shared.imports.shapes import Shape, shape_of
from shared.imports.workers.model import Worker
from shared.imports.workers.rules import RULES
from tests.unit.imports.builders import a_worker

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(), max_size=20)
    | st.dates().map(str)
    | st.sampled_from(["", " ", "\0", "\ud800", "123456", "12345678", "x" * 61, 10**400])
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


def spelled(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from([name, name.lower(), name.upper()])


def objects_of(shape: Shape) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that often have the names of the shape, with any value."""
    names = st.sampled_from(sorted(shape.fields)).flatmap(spelled) | st.text(max_size=5)
    nested = [objects_of(inner) for inner in shape.nested.values()]
    return st.dictionaries(names, st.one_of(anything, *nested), max_size=12)


any_worker = objects_of(shape_of(Worker))
readable_scalars = {
    "string": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    "integer": st.none() | st.integers(-5, 5),
    "boolean": st.none() | st.booleans(),
}


def kind_of(schema: dict[str, Any]) -> str:
    kinds = schema.get("type", "object")
    kind = kinds[0] if isinstance(kinds, list) else kinds
    return kind if isinstance(kind, str) else "object"


def good_objects(schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    """Objects without a fault: each property absent, null, or of its type."""
    optional = {}
    for name, item in schema["properties"].items():
        if "anyOf" in item:
            inner = definitions[item["anyOf"][0]["$ref"].rpartition("/")[2]]
            optional[name] = st.none() | good_objects(inner, definitions)
        elif "[0-9]{4}" in item.get("pattern", ""):
            optional[name] = st.none() | st.dates().map(str)
        elif "pattern" not in item:
            optional[name] = readable_scalars[kind_of(item)]
    return st.fixed_dictionaries({}, optional=optional)


SCHEMA = RULES.json_schema()
good_workers = good_objects(SCHEMA, SCHEMA["$defs"]).map(lambda fields: a_worker(**fields))


@settings(deadline=None, max_examples=30)
@given(any_worker)
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
@given(good_workers, good_workers)
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
        assert RULES.columns(stored)["PersonnelRef"] == "P1"
        assert len(RULES.lookups(stored)) <= 1
