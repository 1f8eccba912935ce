"""Failed rows: as CSV, corrected in the body of a retry, and which are sent unchanged."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidRequestError, TooLargeError, UnsupportedPayloadError
from shared.imports.csv_export import (
    Columns,
    bounded_columns,
    header_line,
    neutralised,
    note_columns,
    restored,
    row_line,
)
from shared.imports.files.corrections import read_corrections
from shared.imports.json_rows import is_same_row
from shared.imports.results import NO_ORIGINS, Origins, unpack_origins
from shared.imports.workers.definition import WORKERS
from shared.services.failed_rows import row_masks

# Failed rows as CSV: nothing in it is a formula, and everything in it can be had back.

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
def test_every_value_comes_back_from_csv_as_it_was_sent(text: str) -> None:
    cell = neutralised(text)
    assert restored(cell) == text
    assert cell[:1] not in set("=+-@\t\r\n")


@pytest.mark.parametrize("text", ["Ada", "007", "a=b", "'quoted'", "O'Neill", "null", "", "[]"])
def test_text_that_is_not_a_formula_comes_back_unchanged(text: str) -> None:
    assert restored(neutralised(text)) == text


def test_names_are_neutralised_like_values() -> None:
    [row] = _file({"=cmd": "x"})
    assert row["'=cmd"] == "x"


def test_there_is_a_column_for_every_field_that_occurs() -> None:
    rows = _file(
        {"PersonnelRef": "007", "WorkerAddress": {"Postcode": "PC1"}},
        {"personnelref": "008", "Rates": [{"PayRate": 1.50}, {"PayRate": 2}], "Gender": -1},
    )
    names = ["PersonnelRef", "WorkerAddress.Postcode", "Rates[0].PayRate", "Rates[1].PayRate"]
    assert list(rows[0]) == ["_index", "_error", *names, "Gender", "_more"]
    assert [rows[0][name] for name in names] == ["007", "PC1", "", ""]
    assert [rows[1][name] for name in names] == ["008", "", "1.5", "2"]
    assert rows[1]["Gender"] == "-1", "a number is no formula"


def test_null_blank_and_nothing_are_three_things() -> None:
    rows = _file({"A": None, "B": [], "C": {}, "D": True}, {"A": "null", "B": ""})
    assert [rows[0][name] for name in "ABCD"] == ["null", "[]", "{}", "true"]
    assert [rows[1][name] for name in "ABCD"] == ["'null", "'", "", ""]


def test_numbers_keep_their_digits() -> None:
    columns: Columns = {}
    text = '{"A": 10.00, "B": 1e400, "C": 123456789012345678901234567890}'
    note_columns(columns, text)
    line = row_line(columns, 3, "no", text)
    assert line == '"3","no","10.00","1e400","123456789012345678901234567890",""\r\n'


def test_fields_beyond_the_last_column_share_one_cell() -> None:
    row = {f"N{number}": number for number in range(1_200)}
    columns: Columns = {}
    note_columns(columns, json.dumps(row))
    assert len(bounded_columns(columns, 1)) == 1_000
    columns = bounded_columns(columns, 100_000)
    assert len(columns) == 100
    [cells] = _file(row, columns=columns)
    assert json.loads(cells["_more"]) == {f"N{at}": str(at) for at in range(100, 1_200)}


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=5))
def test_a_separator_or_a_line_break_does_not_part_a_cell(row: dict[str, str]) -> None:
    columns: Columns = {}
    text = json.dumps(row)
    note_columns(columns, text)
    [cells] = list(csv.reader([row_line(columns, 0, "a;b,c", text)], strict=True))[:1]
    if len({name.lower() for name in row}) == len(row):
        assert [restored(cell) for cell in cells[2:-1]] == list(row.values())


# The body of a retry: corrected rows by index, as the text that they are.

ROW = '{"Surname" : "Zo\\u00eb {\\"row\\":1}", "Amount": 10.50, "Rates":[{"row":[]}]}'
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def _read(text: str) -> dict[int, str]:
    read = read_corrections(text.encode(), 100)
    return {index: row.text for index, row in read.items()}


def test_rows_stay_the_text_that_they_are() -> None:
    body = (
        f'\ufeff [ {{"messages":[{{"row":1}}], "Row" :{ROW} , "INDEX":5}},{{"index":0,"row":{{}}}}]'
    )
    assert _read(body) == {5: ROW, 0: "{}"}


@pytest.mark.parametrize("body", ["", "  ", "[]"])
def test_a_retry_may_have_no_corrections(body: str) -> None:
    assert _read(body) == {}


@pytest.mark.parametrize(
    "item",
    [
        {"index": 1},
        {"row": {}},
        {"index": -1, "row": {}},
        {"index": True, "row": {}},
        {"index": "1", "row": {}},
        {"index": 1.0, "row": {}},
        {"index": 1, "row": [{}]},
        {"index": 1, "row": None},
    ],
)
def test_an_item_without_index_or_row_is_refused(item: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="Item 1 "):
        _read(json.dumps([{"index": 0, "row": {}}, item]))


def test_a_row_that_is_there_twice_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="index 3 twice"):
        _read(json.dumps([{"index": 3, "row": {}}] * 2))


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ("{", InvalidRequestError),
        ('[{"index":1,"row":{"a":1,"A":2}}]', InvalidRequestError),
        ('{"index":1,"row":{}}', UnsupportedPayloadError),
        (json.dumps([{"index": at, "row": {}} for at in range(101)]), TooLargeError),
    ],
)
def test_a_body_that_is_not_an_array_of_rows_is_refused_like_a_payload(
    body: str, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        _read(body)


@given(st.dictionaries(st.text(), JSON, max_size=4), st.sampled_from([None, 1]))
def test_a_row_is_the_same_however_it_is_written(row: dict[str, Any], indent: int | None) -> None:
    other = dict(reversed(row.items()))
    assert is_same_row(json.dumps(row), json.dumps(other, ensure_ascii=False, indent=indent))


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ('{"A":1}', '{"A":"1"}'),
        ('{"A":1}', '{"A":true}'),
        ('{"A":1.0}', '{"A":1.00}'),
        ("{}", '{"A":null}'),
    ],
)
def test_a_row_that_says_something_else_is_another(text: str, other: str) -> None:
    assert not is_same_row(text, other)


# Which rows of a retry are as they were sent.


@given(st.lists(st.sampled_from([0, 0, 7, 12])))
def test_origins_come_back_as_they_were_packed(numbers: list[int]) -> None:
    origins = Origins(tuple(numbers))
    assert unpack_origins(origins.pack()) == origins


def test_a_row_that_is_not_of_a_retry_has_no_origin() -> None:
    assert NO_ORIGINS.find(5) == 0
    assert NO_ORIGINS.lowest == 0


def test_the_lowest_is_that_of_the_rows_that_were_not_corrected() -> None:
    assert Origins((0, 7, 12)).lowest == 7
    assert Origins((0, 0)).lowest == 0
    assert [Origins((0, 7)).find(index) for index in (0, 1, 2)] == [0, 7, 0]


def test_a_row_is_overtaken_by_a_later_import_than_the_one_that_brought_it() -> None:
    origins = Origins((0, 7))
    assert [origins.is_overtaken(1, number) for number in (0, 6, 7, 8)] == [False] * 3 + [True]
    assert not origins.is_overtaken(0, 99), "a corrected row is a row like any other"


def test_masks_that_come_back_stand_for_the_values_that_they_were_shown_for() -> None:
    masks = row_masks(WORKERS.rules, None, is_mapped=False)
    assert masks is not None
    bank = '"PrimaryBankDetails":{"BankAccountNumber":"12345678","BankSortCode":"1020"}'
    row = f'{{"Surname":"A","Salary":10.50,"Odd":[12345678901,null,""],{bank}}}'
    shown = masks.masked(row)
    assert json.loads(shown, parse_float=str) == {
        "Surname": "A",
        "Salary": "***",
        "Odd": ["***", None, ""],
        "PrimaryBankDetails": {"BankAccountNumber": "***5678", "BankSortCode": "***"},
    }
    assert is_same_row(masks.unmasked(shown, row), row)
    # The path counts in any case, and a mask of another value stays one.
    changed = shown.replace('"Odd"', '"odd"').replace("***5678", "***5679")
    again = masks.unmasked(changed, row)
    assert is_same_row(again, row.replace('"Odd"', '"odd"').replace('12345678"', '***5679"'))
