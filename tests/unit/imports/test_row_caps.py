"""A row over a cap refuses its call with the row and the cap; one at the cap is taken."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.errors import InvalidRequestError, TooLargeError
from shared.imports.json_rows import (
    MAX_NAME,
    MAX_NAMES,
    MAX_ROW_BYTES,
    MAX_VALUES,
    read_document,
    read_payload,
)


def rows_of(*rows: Any) -> list[int]:
    payload = read_payload(json.dumps(rows).encode(), lambda _row: None, 1_000)
    return [row.index for row in payload.rows]


FINE = {"a": 1}


@pytest.mark.parametrize(
    ("row", "cap"),
    [
        ({"x": [1] * (MAX_VALUES + 1)}, f"{MAX_VALUES} values"),
        ({"x": [[[1, 2]] * (MAX_VALUES // 2 + 1)]}, f"{MAX_VALUES} values"),
        ({f"a{place}": 1 for place in range(MAX_NAMES + 1)}, f"{MAX_NAMES} names"),
        ({"x": {f"a{place}": 1 for place in range(MAX_NAMES + 1)}}, f"{MAX_NAMES} names"),
        ({"n" * (MAX_NAME + 1): 1}, f"{MAX_NAME} characters in a name"),
        ({"x": "y" * MAX_ROW_BYTES}, f"{MAX_ROW_BYTES} bytes"),
    ],
    ids=["values", "nested values", "names", "nested names", "long name", "bytes"],
)
def test_a_row_over_a_cap_refuses_the_call(row: dict[str, Any], cap: str) -> None:
    with pytest.raises(TooLargeError, match=rf"index 1 \(line 1\) .* more than {cap}"):
        rows_of(FINE, row, FINE)


@pytest.mark.parametrize(
    "row",
    [
        {"x": [1] * MAX_VALUES},
        {f"a{place}": 1 for place in range(MAX_NAMES)},
        {"n" * MAX_NAME: 1},
        {"x": "a,b" * MAX_VALUES},
        {"x": '"],{' * MAX_VALUES, "y": [1, 2]},
        {"x": ["a,b"] * (MAX_VALUES - 1)},
    ],
    ids=["values", "names", "long name", "commas in a text", "marks in a text", "texts of commas"],
)
def test_a_row_at_a_cap_is_taken(row: dict[str, Any]) -> None:
    assert rows_of(FINE, row, FINE, row, FINE) == [0, 1, 2, 3, 4]


def test_many_rows_may_have_more_values_than_one() -> None:
    rows = [{"a": [1] * 300, "b": "c,d"}] * 500
    assert rows_of(*rows) == list(range(500))


@pytest.mark.parametrize("tail", [b"x", b'{"a":1,}', b'{"a":"b', b"{", b'"'])
def test_a_fault_behind_many_rows_is_still_named_by_its_place(tail: bytes) -> None:
    body = b"[" + b'{"a":[' + b"1," * 5_000 + b"1]},\n"
    body = body[:1] + body[1:] * 9 + tail
    with pytest.raises(InvalidRequestError, match=r"line 10, column \d+"):
        read_payload(body, lambda _row: None, 1_000)


def test_a_document_has_a_cap_on_its_values_too() -> None:
    with pytest.raises(TooLargeError, match="The body has more than 2000000 values"):
        read_document(b'{"employee":[' + b"1," * 2_000_001 + b"1]}")
