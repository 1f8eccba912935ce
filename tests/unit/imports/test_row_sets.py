"""Sets of rows as bits: they keep the order of the rows and pack small."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import UnreadableDataError
from shared.imports.row_sets import (
    pack_rows,
    positions_in,
    row_set,
    rows_in,
    select_rows,
    unite,
    unpack_rows,
)

INDEXES = st.frozensets(st.integers(0, 500))


@given(INDEXES, INDEXES)
def test_a_set_has_the_rows_that_were_put_in(some: frozenset[int], others: frozenset[int]) -> None:
    assert list(rows_in(row_set(some))) == sorted(some)
    assert unpack_rows(pack_rows(row_set(some))) == row_set(some)
    assert unite([row_set(some), row_set(others)]) == row_set(some | others)
    assert row_set(some).bit_count() == len(some)


@given(INDEXES, st.data())
def test_rows_are_selected_by_their_places_and_found_again(
    rows: frozenset[int], data: st.DataObject
) -> None:
    places = data.draw(st.frozensets(st.integers(0, max(0, len(rows) - 1)), max_size=len(rows)))
    chosen = [row for place, row in enumerate(sorted(rows)) if place in places]
    selected = select_rows(row_set(rows), row_set(places))
    assert list(rows_in(selected)) == chosen
    if rows:
        assert positions_in(selected, all_rows=row_set(rows)) == row_set(places)


def test_a_hundred_thousand_rows_pack_into_one_property() -> None:
    every_third = row_set(range(0, 100_000, 3))
    assert len(pack_rows(every_third)) < 16_000
    assert len(list(rows_in(every_third))) == 33_334


def test_what_is_no_set_is_unreadable() -> None:
    assert unpack_rows(b"") == 0
    some = pack_rows(row_set([1, 5, 900]))
    too_many = zlib.compress(b"\xff" * 125_001)
    for data in (b"no set", some[:-1], some[:3], some[:-1] + b"\0", too_many):
        with pytest.raises(UnreadableDataError):
            unpack_rows(data)
    assert unpack_rows(pack_rows(row_set([999_999]))).bit_count() == 1
