"""A file cut into calls: nothing over the limits, nothing lost, the same keys each time."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.import_client import ChunkLimits, RowTooLargeError, cut_into_chunks

ROWS = st.lists(
    st.text(max_size=20).map(json.dumps).map(lambda text: f'{{"A":{text}}}'), max_size=40
)


@given(rows=ROWS, most=st.integers(1, 7), size=st.integers(200, 400))
def test_parts_keep_to_the_limits_and_together_are_the_file(
    rows: list[str], most: int, size: int
) -> None:
    parts = cut_into_chunks(rows, ChunkLimits(most, size), "workers", "pig_x")
    assert [row for part in parts for row in part.rows] == rows
    assert [part.first for part in parts] == [
        sum(len(earlier.rows) for earlier in parts[:place]) for place in range(len(parts))
    ]
    for part in parts:
        assert 1 <= len(part.rows) <= most
        assert len(part.body()) <= size
        assert json.loads(part.body()) == [json.loads(row) for row in part.rows]
    assert len({part.key for part in parts}) == len(parts)
    assert cut_into_chunks(rows, ChunkLimits(most, size), "workers", "pig_x") == parts


def test_a_key_says_which_rows_of_which_file_are_asked_for_how() -> None:
    limits = ChunkLimits(1, 1_000)
    keys = {
        part.key
        for rows in (['{"A":1}', '{"A":1}'], ['{"A":1}', '{"A":2}'])
        for asked in ("workers", "workers again")
        for part in cut_into_chunks(rows, limits, asked, "pig_x")
    }
    assert len(keys) == 8
    assert all(len(key) <= 255 for key in keys)


def test_a_row_that_no_call_carries_is_named() -> None:
    with pytest.raises(RowTooLargeError, match=r"index 1 \(line 6\) has 40 bytes"):
        cut_into_chunks(["{}", "x" * 40], ChunkLimits(10, 42), "", "pig_x", [2, 6])


def test_a_key_of_a_call_cannot_be_made_without_the_secret() -> None:
    limits = ChunkLimits(10, 1_000)
    keys = [
        cut_into_chunks(["{}"], limits, "authdata", secret)[0].key
        for secret in ("pig_x", "pig_y", "")
    ]
    assert len(set(keys)) == 3
