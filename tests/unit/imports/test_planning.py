"""Rows of an import: how they are planned and packed, and what the import object counts."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import UnreadableDataError
from shared.imports.import_type import Options
from shared.imports.json_rows import (
    AsciiPayload,
    Payload,
    TextPayload,
    read_lines,
    read_payload,
    read_text_payload,
)
from shared.imports.planning import SMALL_IMPORT, Plan, Span, plan, rows_per_chunk
from shared.imports.results import (
    pack_rows,
    positions_in,
    row_set,
    rows_in,
    select_rows,
    unite,
    unpack_rows,
)
from shared.services.import_views import import_view
from shared.services.status import ImportReport, ImportState, Throughput
from shared.storage.import_records import Counts, ImportRecord, Parent

# Plans: rows of one record together, spans that say exactly which places a few rows touch.

KEYS = st.lists(st.one_of(st.none(), st.integers(0, 20)), max_size=300)


def _payload(keys: list[int | None]) -> Payload:
    rows = [{"k": key, "text": "é" * (index % 3)} for index, key in enumerate(keys)]
    body = json.dumps(rows, ensure_ascii=False).encode()
    return read_payload(body, lambda row: None if row["k"] is None else f"{row['k']:02d}", 10_000)


def _indexes(chunk_plan: Plan) -> list[list[int]]:
    return [[index for index, _ in read_lines(data)] for data in chunk_plan.lines()]


@given(KEYS, st.integers(1, 50))
def test_a_plan_has_every_row_once_and_keeps_the_rows_of_a_key_together(
    keys: list[int | None], chunk_rows: int
) -> None:
    chunk_plan = plan(_payload(keys), chunk_rows=chunk_rows, chunk_bytes=100_000)
    chunks = _indexes(chunk_plan)
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
    chunk_plan = plan(_payload(keys), chunk_rows=chunk_rows, chunk_bytes=100_000)
    parts = list(chunk_plan.lines())
    assert [chunk.end - chunk.start for chunk in chunk_plan.chunks] == [len(part) for part in parts]
    assert all(before.end == after.start for before, after in pairwise(chunk_plan.chunks))
    assert chunk_plan.size == sum(len(part) for part in parts)
    assert [chunk.rows for chunk in chunk_plan.chunks] == [len(part.splitlines()) for part in parts]
    assert b"".join(chunk_plan.parts()) == b"".join(parts)


def test_a_large_plan_is_written_in_parts_of_about_a_mebibyte() -> None:
    rows = [{"k": index, "text": "x" * 10_000} for index in range(400)]
    payload = read_payload(json.dumps(rows).encode(), lambda row: str(row["k"]), 10_000)
    parts = list(plan(payload, chunk_rows=1_000, chunk_bytes=4 * 1024 * 1024).parts())
    assert len(parts) == 4
    assert all(len(part) < 1024 * 1024 + 11_000 for part in parts)


@given(
    st.lists(st.dictionaries(st.text("ab\t ", max_size=3), st.text("xy\r\n ", max_size=5))),
    st.sampled_from([None, 0, 2]),
    st.dictionaries(st.integers(0, 3), st.text("é\n", min_size=1, max_size=3)),
)
def test_a_body_in_ascii_has_the_lines_of_its_text(
    rows: list[dict[str, str]], indent: int | None, notes: dict[int, str]
) -> None:
    body = json.dumps(rows, indent=indent).replace("\n", "\r\n").encode()
    of_text = replace(read_text_payload(body, str, 100), notes=notes)
    of_body = replace(read_payload(body, str, 100), notes=notes)
    assert (type(of_text), type(of_body)) == (TextPayload, AsciiPayload)
    for row in of_text.rows:
        assert of_body.line(row) == of_text.line(row)
        assert of_body.line_size(row) == of_text.line_size(row) == len(of_text.line(row))
        assert of_body.row_text(row) == of_text.row_text(row)


@pytest.mark.parametrize("body", ['[{"a": "é"}]'.encode(), b'\xef\xbb\xbf[{"a": "e"}]'])
def test_a_body_that_is_not_its_own_text_is_decoded(body: bytes) -> None:
    assert isinstance(read_payload(body, lambda _row: None, 100), TextPayload)


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


# Sets of rows as bits: they keep the order of the rows and pack small.

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


def test_a_text_that_is_not_a_row_set_is_refused() -> None:
    assert unpack_rows(b"") == 0
    some = pack_rows(row_set([1, 5, 900]))
    too_many = zlib.compress(b"\xff" * 125_001)
    for data in (b"no set", some[:-1], some[:3], some[:-1] + b"\0", too_many):
        with pytest.raises(UnreadableDataError):
            unpack_rows(data)
    assert unpack_rows(pack_rows(row_set([999_999]))).bit_count() == 1


# The import object: what it counts, how fast it is, where one can go from it.

RUNNING = ImportRecord(
    tenant="tenant",
    number=7,
    import_id="i7",
    type_name="workers",
    rows=10,
    chunks=(),
    options=Options(),
    accepted_at="2026-01-01T00:00:00.000Z",
)
ENDED = replace(RUNNING, ended_at="2026-01-01T00:00:01.000Z")
SOME_FAILED = Counts(new=3, failed=1)


def _links(record: ImportRecord, counts: Counts = SOME_FAILED) -> set[str]:
    links: dict[str, str] = import_view(ImportReport(record, counts, ImportState.PROCESSING))[
        "links"
    ]
    return set(links)


def test_links_name_what_can_be_done_now() -> None:
    always = {"self", "results", "failures", "answer"}
    assert _links(RUNNING, Counts()) == {*always, "cancel"}
    assert _links(RUNNING) == {*always, "failedRows", "cancel"}
    assert _links(replace(RUNNING, cancelled_at="2026")) == {*always, "failedRows"}
    assert _links(ENDED) == {*always, "failedRows", "retry", "undo"}
    assert _links(ENDED, Counts(new=10)) == {*always, "undo"}
    assert _links(ENDED, Counts(unchanged=9, failed=1)) == {*always, "failedRows", "retry"}
    assert _links(replace(ENDED, parent=Parent("i1", 1)), Counts()) == {*always, "parent"}
    assert _links(replace(ENDED, payload_expired_at="2026")) == {*always, "undo"}
    expired = replace(ENDED, payload_expired_at="2026", results_expired_at="2026")
    assert _links(expired) == {"self"}


def test_a_document_is_neither_retried_nor_cancelled() -> None:
    ended = replace(ENDED, type_name="documents")
    assert _links(ended) == {"self", "results", "failures", "answer", "failedRows", "undo"}
    assert "cancel" not in _links(replace(RUNNING, type_name="documents"))


def test_the_pace_is_rounded_and_unknown_before_the_first_rows() -> None:
    def shown_pace(pace: Throughput) -> tuple[object, object]:
        view = import_view(ImportReport(RUNNING, Counts(), ImportState.PROCESSING, pace))
        return view["rowsPerSecond"], view["secondsLeft"]

    assert shown_pace(Throughput()) == (None, None)
    assert shown_pace(Throughput(1234.56, 7.6)) == (1234.6, 8)


def test_only_a_cancelled_import_counts_what_the_cancel_ended() -> None:
    counts = Counts(new=3, failed=7, cancelled=6)
    cancelled = replace(ENDED, cancelled_at="2026")
    report = ImportReport(cancelled, counts, ImportState.CANCELLED)
    assert import_view(report)["rows"]["cancelled"] == 6
    assert "cancelled" not in import_view(replace(report, record=ENDED))["rows"]
