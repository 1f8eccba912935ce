"""A body is refused, or its rows are named, in the same way when their names are remembered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import GatewayError
from shared.imports.json_rows import (
    MAX_NAME,
    MAX_NAMES,
    MAX_VALUES,
    fold_names,
    read_payload,
    read_row_of_line,
)

UNUSUAL = [
    '{"Ref":"A","ref":"B"}',
    '{"Ref":"A","Ref":"A"}',
    '{"Ref":"A","x":{"k":1,"k":1}}',
    '{"Ref":"A","x":{"k":1,"K":1}}',
    '{"Ref":"A","x":[{"k":"1","k":1}]}',
    '{"Ref":"A","\\u0072ef":1}',
    '{"Ref":"a \\"quoted\\" text","n":1}',
    '{"Ref":"\\\\","n":"\\\\\\\\"}',
    '{"Ref":"\\u0022","x":{"k":1}}',
    '{"Ref":"},{\\"Ref"}',
    '{"Ref":"},{"}',
    '{"Ref":"A","x":[{"Ref":1},{"Ref":2}]}',
    '{"Ref":"A","x":{},"y":[]}',
    '{"Ref":"\\ud83d\\ude00"}',
    '{"Ref":"\\ud83d"}',
    '{"Ref":"\\udc00"}',
    '{"Ref":"\u00e9\u2028"}',
    '{"Ref":NaN}',
    '{"Ref":Infinity}',
    '{"Ref":-Infinity}',
    '{"Ref":1e400}',
    '{"Ref":1e-400}',
    '{"Ref":0.0}',
    '{"Ref":0e99999999999999999999}',
    '{"Ref":1e-99999999999999999999}',
    '{"Ref":1e99999999999999999999}',
    '{"Ref":12345678901234567890.1234567890}',
    '{"Ref":' + "1" * 4300 + "}",
    '{"Ref":' + "1" * 4301 + "}",
    '{"Ref":-' + "1" * 4300 + "}",
    '{"Ref":' + "[" * 30 + "]" * 30 + "}",
    '{"Ref":' + "[" * 31 + "]" * 31 + "}",
    '{"Ref":' + '{"a":' * 30 + "1" + "}" * 30 + "}",
    '{"Ref":' + '{"a":' * 29 + "[]" + "}" * 29 + "}",
    '{"Ref":' + '{"a":' * 300 + "1" + "}" * 300 + "}",
    '{"Ref":[' + "1," * (MAX_VALUES - 1) + "1]}",
    '{"Ref":[' + "1," * MAX_VALUES + "1]}",
    '{"Ref":{' + ",".join(f'"{n}":1' for n in range(MAX_NAMES)) + "}}",
    '{"Ref":{' + ",".join(f'"{n}":1' for n in range(MAX_NAMES + 1)) + "}}",
    '{"Ref":1,"' + "x" * MAX_NAME + '":1}',
    '{"Ref":1,"' + "x" * (MAX_NAME + 1) + '":1}',
    '{"Ref":1,"\u0130":1,"i\u0307":2}',
    '{"Ref":1,}',
    '{"Ref":01}',
    '{"Ref":"\t"}',
    '{"Ref":1 "n":2}',
    '{"Ref":1',
    "{}",
    "null",
    "17",
    "[]",
    '"},{"',
]


def decoded(rows: list[str], separator: str = ",") -> list[str] | str:
    """Each row with its own names in lower case, or the message that refuses the body."""
    text = f"[{separator.join(rows)}]"
    found: list[str] = []

    def note(row: Mapping[str, Any]) -> None:
        found.append(repr({name: row[name] for name in row}))
        assert len(row) == len(dict(row))

    try:
        payload = read_payload(text.encode("utf-8", "surrogatepass"), note, 100)
    except GatewayError as error:
        return str(error)
    assert [text[row.start : row.end] for row in payload.rows] == rows
    return found


def folded(row: str) -> str:
    return repr(fold_names(json.loads(row, parse_float=Decimal)))


def is_refused_as_a_line(row: str) -> bool:
    """Whether NDJSON refuses the row, whose names are folded one by one."""
    try:
        read_row_of_line(row, 0, 1)
    except GatewayError:
        return True
    return False


def assert_decoded_alike(row: str, separator: str = ",") -> None:
    alone = decoded([row])
    assert decoded([row]) == alone
    if isinstance(alone, str):
        assert is_refused_as_a_line(row)
    else:
        assert decoded([row, row, "{}", row], separator) == [folded(row)] * 2 + ["{}", folded(row)]
        assert not is_refused_as_a_line(row)


@pytest.mark.parametrize("row", UNUSUAL)
@pytest.mark.parametrize("separator", [",", " ,\r\n  "])
def test_an_unusual_row(row: str, separator: str) -> None:
    assert_decoded_alike(row, separator)


texts = st.text(max_size=3).map(json.dumps) | st.sampled_from(['"a"', '"A"', '"\\ud800"'])
values = st.recursive(
    texts | st.sampled_from(["null", "1", "1.50", "0e9999999999999999999", "NaN", "-", ""]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
        st.lists(st.tuples(texts, inner), max_size=3).map(
            lambda members: f"{{{','.join(f'{name}:{value}' for name, value in members)}}}"
        ),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.lists(st.tuples(texts, values), max_size=4))
def test_a_row_of_any_content(members: list[tuple[str, str]]) -> None:
    assert_decoded_alike(f"{{{','.join(f'{name}:{value}' for name, value in members)}}}")


@pytest.mark.parametrize("commas", [MAX_VALUES - 2, MAX_VALUES - 1, MAX_VALUES])
@pytest.mark.parametrize("before", [0, 30_000, 600_000])
def test_a_row_with_as_many_values_as_allowed(commas: int, before: int) -> None:
    """Behind rows of few values, of many values, or of more than one window."""
    row = '{"a":[' + "1," * commas + "1]}"
    others = ['{"a":"%s"}' % ("," * 10_000)] * (before // 10_000)
    found = decoded([*others, row])
    if commas < MAX_VALUES:
        assert not isinstance(found, str)
    else:
        assert "more than 20000 values" in found
