"""The body of a retry: corrected rows by index, as the text that they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidRequestError, TooLargeError, UnsupportedPayloadError
from shared.imports.json_rows import is_same_row, read_corrections

ROW = '{"Surname" : "Zo\\u00eb {\\"row\\":1}", "Amount": 10.50, "Rates":[{"row":[]}]}'
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def _read(text: str) -> dict[int, str]:
    return read_corrections(text.encode(), 100)


def test_rows_stay_the_text_that_they_are() -> None:
    body = (
        f'\ufeff [ {{"messages":[{{"row":1}}], "Row" :{ROW} , "INDEX":5}},{{"index":0,"row":{{}}}}]'
    )
    assert _read(body) == {5: ROW, 0: "{}"}


@pytest.mark.parametrize("body", ["", "  ", "[]"])
def test_there_may_be_none(body: str) -> None:
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
    with pytest.raises(InvalidRequestError, match="index 3 is there twice"):
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
def test_what_is_no_array_of_rows_is_refused_like_a_payload(
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
