"""The quick ways to parse and read a row give what the slow ones give, for any row."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import payloads
from shared.imports.assignments.model import Assignment
from shared.imports.exact_json import ExactReader, read_exactly
from shared.imports.import_type import ReadRow
from shared.imports.json_rows import fold_names, line_of, read_noted_lines
from shared.imports.licenses.model import License, LicenseIdentity
from shared.imports.model import MAX_TEXT, Record, schema_of, shape_of
from shared.imports.object_names import MAX_CHARACTERS, MAX_REMEMBERED, NamesCache
from shared.imports.placements.model import Placement
from shared.imports.row_reader import read_row, read_unusual_row
from shared.imports.timesheets.model import Timesheet, TimesheetV2
from shared.imports.valid_rows import read_valid_row
from shared.imports.workers.definition import WORKERS
from shared.imports.workers.model import Worker
from shared.services.record_processor import read_by_rules
from tests.unit.imports.builders import (
    Item,
    an_assignment,
    an_item,
    anything,
    good_rows,
    objects_of,
    spelled,
)

MODELS: dict[type[Record], dict[str, Any]] = {
    Item: an_item(),
    Worker: {"EmployerRef": "ER1", "PersonnelRef": "P1"},
    Assignment: an_assignment(),
    Placement: {"EmployerRef": "ER1"},
    Timesheet: {"TimesheetNumber": "T1", "EmployerRef": "E", "TimesheetDate": "2024-03-04"},
    TimesheetV2: {"TimesheetNumber": "T1", "EmployerRef": "E", "PersonnelRef": "P1"},
    License: {"companyCode": "C1"},
    LicenseIdentity: {"companyCode": "C1"},
}
models = pytest.mark.parametrize("model", MODELS)


def exactly(read: ReadRow) -> str:
    """All of a row with the order of its names and the types of its values."""
    return repr(read)


def assert_read_alike(row: dict[str, Any], model: type[Record]) -> None:
    key_fields = tuple(MODELS[model])[:2]
    before = repr(row)
    quick = read_row(7, row, model, key_fields)
    assert repr(row) == before
    assert exactly(quick) == exactly(read_unusual_row(7, row, model, key_fields))


@cache
def good_rows_of(model: type[Record]) -> st.SearchStrategy[dict[str, Any]]:
    return good_rows(schema_of(model, "")).map(lambda row: MODELS[model] | row)


@cache
def rows_of(model: type[Record]) -> st.SearchStrategy[dict[str, Any]]:
    """Rows without a fault of which some names are in another case and some values are wrong."""
    good = good_rows_of(model)
    names = st.sampled_from(sorted(shape_of(model).fields)).flatmap(spelled)
    wrong = st.dictionaries(names, anything | st.sampled_from(["***", "", " "]), max_size=2)
    return st.one_of(
        good,
        st.tuples(good, wrong).map(lambda both: both[0] | both[1]),
        objects_of(shape_of(model)).map(lambda row: MODELS[model] | row),
        objects_of(shape_of(model)),
    )


@models
@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_row_is_read_as_by_the_slow_way(model: type[Record], data: st.DataObject) -> None:
    assert_read_alike(data.draw(rows_of(model)), model)


@models
@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_row_of_the_schema_with_visible_texts_is_read_quickly(
    model: type[Record], data: st.DataObject
) -> None:
    row = data.draw(good_rows_of(model))
    slow = read_unusual_row(0, row, model, tuple(MODELS[model])[:2])
    has_reading_fault = any(message.id != 2003 for message in slow.messages)
    assert (read_valid_row(row, model) is None) <= (has_reading_fault or "***" in repr(row))


@pytest.mark.parametrize(
    "fields",
    [
        {"Note": "x" * MAX_TEXT},
        {"Note": "x" * (MAX_TEXT + 1)},
        {"Note": "\ud800"},
        {"Note": "\u00e9\u200b", "Name": "\u200b\u3000"},
        {"Note": "\u200b", "Spot": {"Row": "\u00a0", "Shelf": None}},
        {"NOTE": " ", "spot": {"row": "", "SHELF": 1}},
        {"Note": "a", "note": "b"},
        {"Secret": {"Number": "***1234"}},
        {"Secret": {"Number": "x***1234"}, "Settings": {"Pin": "****"}},
        {"Note": "***"},
        {"IsOpen": 1},
        {"IsOpen": ""},
        {"Count": True},
        {"Count": 5.0},
        {"Weight": 1.5},
        {"Weight": Decimal("-0.00")},
        {"Weight": Decimal("1E+3")},
        {"Weight": Decimal("100.0")},
        {"Spot": {}},
        {"Spot": []},
        {"Spot": {"Row": None}},
        {"Settings": {}},
        {"Settings": {"Colour": None}},
        {"Prices": []},
        {"Prices": [{}]},
        {"Prices": [None]},
        {"Prices": {"Code": "a"}},
        {"Prices": [{"Code": "a", "From": None, "Value": 1}, {"code": "b", "FROM": "2021-01-01"}]},
        {"Prices": [{"Code": "a"}] * 4},
        {"Offers": []},
        {"Offers": None},
        {"ItemRef": " a\u0301 "},
        {"ItemRef": "1E+12"},
        {"ItemRef": None},
        {"Name": None},
        {"\ud800": 1},
        {str(number): 1 for number in range(40)},
    ],
)
def test_a_hostile_row_is_read_as_by_the_slow_way(fields: dict[str, Any]) -> None:
    assert_read_alike(an_item(**fields), Item)


def test_a_row_without_a_required_field_is_read_as_by_the_slow_way() -> None:
    for name in an_item():
        row = an_item()
        del row[name]
        assert_read_alike(row, Item)
        assert read_valid_row(row, Item) is None


def test_the_sample_row_of_the_bench_is_read_quickly() -> None:
    [row] = json.loads(payloads.one_row(1))
    assert read_valid_row(row, Worker) is not None
    assert read_valid_row({name.upper(): value for name, value in row.items()}, Worker) is not None


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["EmployerRef", "personnelref"]), anything))
def test_a_row_has_the_key_that_planning_has_found(row: dict[str, Any]) -> None:
    sent = json.loads(json.dumps(row, default=float))
    [line] = read_noted_lines(line_of(0, json.dumps(sent)))
    key, _ = read_by_rules(WORKERS, line)
    assert key == WORKERS.rules.identify(fold_names(line.row))


# JSON texts.

numbers = st.from_regex(
    r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,3})?", fullmatch=True
)
texts = st.text(st.characters(), max_size=8).map(json.dumps)
json_texts = st.recursive(
    numbers | texts | st.sampled_from(["null", "true", "false", "NaN", "Infinity", '"\\ud800"']),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{' , '.join(items)}]"),
        st.lists(st.tuples(texts, inner), max_size=4).map(
            lambda pairs: f"{{{','.join(f'{name}: {value}' for name, value in pairs)}}}"
        ),
    ),
    max_leaves=12,
)


def parsed(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


@settings(deadline=None)
@given(json_texts)
def test_a_json_text_is_parsed_exactly(text: str) -> None:
    assert repr(read_exactly(text.encode())) == repr(parsed(text))


@settings(deadline=None)
@given(st.lists(json_texts, max_size=5), st.integers(0, 4), numbers)
def test_texts_are_parsed_exactly_one_after_the_other(
    rows: list[str], place: int, number: str
) -> None:
    rows.insert(place, number)
    read = ExactReader().read
    assert [repr(read(row.encode())) for row in rows] == [repr(parsed(row)) for row in rows]


@settings(deadline=None)
@given(st.text(max_size=6) | st.text('{}[]":,\\0123456789eE.+- \tntrufalse', max_size=12))
def test_what_is_no_json_is_refused(text: str) -> None:
    try:
        expected = repr(parsed(text))
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011
            read_exactly(text.encode("utf-8", "surrogatepass"))
    else:
        assert repr(read_exactly(text.encode())) == expected


@pytest.mark.parametrize("digits", range(4298, 4303))
def test_a_long_number_is_parsed_as_by_the_standard_library(digits: int) -> None:
    for text in ("1" * digits, "-" + "1" * digits):
        try:
            expected = parsed(text)
        except ValueError:
            with pytest.raises(ValueError, match="4300"):
                read_exactly(text.encode())
        else:
            assert read_exactly(text.encode()) == expected


# Names that are remembered.


def test_names_are_looked_up_once() -> None:
    asked: list[tuple[str, ...]] = []

    def count(names: tuple[str, ...]) -> int:
        asked.append(names)
        return len(names)

    lengths = NamesCache(count)
    assert [lengths.get(("a", "b")), lengths.get(("a", "b")), lengths.get(())] == [2, 2, 0]
    assert asked == [("a", "b"), ()]


def test_only_so_many_names_are_remembered() -> None:
    lengths = NamesCache(len)
    for number in range(3 * MAX_REMEMBERED):
        assert lengths.get((str(number),)) == 1
        assert len(lengths) <= MAX_REMEMBERED
    count = len(lengths)
    assert lengths.get(("x" * (MAX_CHARACTERS + 1),)) == 1
    assert len(lengths) == count
