"""Plans: rows of one record together, spans that say exactly which places a few rows touch."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared.imports.json_rows import Payload, read_lines, read_payload
from shared.imports.planning import SMALL_IMPORT, Plan, Span, plan, rows_per_chunk

KEYS = st.lists(st.one_of(st.none(), st.integers(0, 20)), max_size=300)


def _payload(keys: list[int | None]) -> Payload:
    rows = [{"k": key, "text": "é" * (index % 3)} for index, key in enumerate(keys)]
    body = json.dumps(rows, ensure_ascii=False).encode()
    return read_payload(body, lambda row: None if row["k"] is None else f"{row['k']:02d}", 10_000)


def _indexes(made: Plan) -> list[list[int]]:
    return [[index for index, _ in read_lines(data)] for data in made.lines()]


@given(KEYS, st.integers(1, 50))
def test_a_plan_has_every_row_once_and_keeps_the_rows_of_a_key_together(
    keys: list[int | None], chunk_rows: int
) -> None:
    made = plan(_payload(keys), chunk_rows=chunk_rows, chunk_bytes=100_000)
    chunks = _indexes(made)
    assert sorted(index for chunk in chunks for index in chunk) == list(range(len(keys)))
    homes: dict[int, int] = {}
    for number, chunk in enumerate(chunks):
        for index in chunk:
            key = keys[index]
            if key is not None:
                assert homes.setdefault(key, number) == number
    for chunk in chunks:
        placed = [(keys[index], index) for index in chunk if keys[index] is not None]
        assert placed == sorted(placed)


@given(KEYS, st.integers(1, 50))
def test_the_ranges_of_the_chunks_are_those_of_the_lines(
    keys: list[int | None], chunk_rows: int
) -> None:
    made = plan(_payload(keys), chunk_rows=chunk_rows, chunk_bytes=100_000)
    parts = list(made.lines())
    assert [chunk.end - chunk.start for chunk in made.chunks] == [len(part) for part in parts]
    assert all(before.end == after.start for before, after in pairwise(made.chunks))
    assert made.size == sum(len(part) for part in parts)
    assert [chunk.rows for chunk in made.chunks] == [len(part.splitlines()) for part in parts]


def test_chunks_are_small_for_small_imports_and_four_at_least_for_larger_ones() -> None:
    assert rows_per_chunk(1, 1_000) == SMALL_IMPORT
    assert rows_per_chunk(400, 1_000) == 100
    assert rows_per_chunk(2_000, 1_000) == 500
    assert rows_per_chunk(100_000, 1_000) == 1_000


def test_a_few_rows_meet_only_what_touches_the_same_records() -> None:
    few = Span("a1", "z1", frozenset({"a1", "z1"}))
    others = Span("a2", "z2", frozenset({"a2", "z2"}))
    same = Span("m", "z1", frozenset({"m", "z1"}))
    many = Span("b", "y")
    wide = Span("b", "z9")
    assert not few.overlaps(others)
    assert few.overlaps(same)
    assert same.overlaps(few)
    assert not few.overlaps(many)
    assert not many.overlaps(few)
    assert few.overlaps(wide)
    assert wide.overlaps(many)
    assert not Span("a", "b").overlaps(Span("c", "d"))
