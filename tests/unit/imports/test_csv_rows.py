"""Failed rows as CSV: nothing in it is a formula, and everything in it can be had back."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.imports.csv_export import (
    Columns,
    bounded_columns,
    header_line,
    neutralised,
    note_columns,
    restored,
    row_line,
)

FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\ufeff=1",
    "\uff1d1",
    "\x00=1",
    "\u200e=1",
    "\u00ad =1",
]


def _file(*rows: dict[str, Any], columns: Columns | None = None) -> list[dict[str, str]]:
    """The rows as a CSV reader finds them."""
    texts = [json.dumps(row) for row in rows]
    if columns is None:
        columns = {}
        for text in texts:
            note_columns(columns, text)
    lines = [header_line(columns), *(row_line(columns, 0, "", text) for text in texts)]
    return list(csv.DictReader("".join(lines).splitlines(keepends=True)))


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_text_in_the_file(text: str) -> None:
    cell = neutralised(text)
    assert cell == f"'{text}"
    assert restored(cell) == text


@given(st.text())
def test_whatever_is_sent_comes_back(text: str) -> None:
    cell = neutralised(text)
    assert restored(cell) == text
    assert cell[:1] not in set("=+-@\t\r\n")


@pytest.mark.parametrize("text", ["Ada", "007", "a=b", "'quoted'", "O'Neill", "null", "", "[]"])
def test_other_text_comes_back_too(text: str) -> None:
    assert restored(neutralised(text)) == text


def test_names_are_neutralised_like_values() -> None:
    [row] = _file({"=cmd": "x"})
    assert row["'=cmd"] == "x"


def test_there_is_a_column_for_every_field_that_occurs() -> None:
    found = _file(
        {"PersonnelRef": "007", "WorkerAddress": {"Postcode": "PC1"}},
        {"personnelref": "008", "Rates": [{"PayRate": 1.50}, {"PayRate": 2}], "Gender": -1},
    )
    names = ["PersonnelRef", "WorkerAddress.Postcode", "Rates[0].PayRate", "Rates[1].PayRate"]
    assert list(found[0]) == ["_index", "_error", *names, "Gender", "_more"]
    assert [found[0][name] for name in names] == ["007", "PC1", "", ""]
    assert [found[1][name] for name in names] == ["008", "", "1.5", "2"]
    assert found[1]["Gender"] == "-1", "a number is no formula"


def test_null_blank_and_nothing_are_three_things() -> None:
    found = _file({"A": None, "B": [], "C": {}, "D": True}, {"A": "null", "B": ""})
    assert [found[0][name] for name in "ABCD"] == ["null", "[]", "{}", "true"]
    assert [found[1][name] for name in "ABCD"] == ["'null", "'", "", ""]


def test_numbers_keep_their_digits() -> None:
    columns: Columns = {}
    text = '{"A": 10.00, "B": 1e400, "C": 123456789012345678901234567890}'
    note_columns(columns, text)
    line = row_line(columns, 3, "no", text)
    assert line == '"3","no","10.00","1e400","123456789012345678901234567890",""\r\n'


def test_fields_beyond_the_last_column_stand_together() -> None:
    row = {f"N{number}": number for number in range(1_200)}
    columns: Columns = {}
    note_columns(columns, json.dumps(row))
    assert len(bounded_columns(columns, 1)) == 1_000
    columns = bounded_columns(columns, 100_000)
    assert len(columns) == 100
    [found] = _file(row, columns=columns)
    assert json.loads(found["_more"]) == {f"N{at}": str(at) for at in range(100, 1_200)}


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=5))
def test_a_separator_or_a_line_break_does_not_part_a_cell(row: dict[str, str]) -> None:
    columns: Columns = {}
    text = json.dumps(row)
    note_columns(columns, text)
    [cells] = list(csv.reader([row_line(columns, 0, "a;b,c", text)], strict=True))[:1]
    if len({name.lower() for name in row}) == len(row):
        assert [restored(cell) for cell in cells[2:-1]] == list(row.values())
