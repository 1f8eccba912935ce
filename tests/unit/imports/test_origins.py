"""Which rows of a retry are as they were sent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.imports.results import NO_ORIGINS, Origins, unpack_origins


@given(st.lists(st.sampled_from([0, 0, 7, 12])))
def test_origins_come_back_as_they_were_packed(numbers: list[int]) -> None:
    origins = Origins(tuple(numbers))
    assert unpack_origins(origins.pack()) == origins


def test_a_row_of_no_retry_has_none() -> None:
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
