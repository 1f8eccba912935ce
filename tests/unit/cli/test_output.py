"""Tables of the commands."""

from __future__ import annotations

from cli.output import columns


def test_columns_are_aligned_and_nothing_is_cut() -> None:
    assert columns(("ROUND", "STATUS"), [("2026-01", "Open")]) == [
        "ROUND    STATUS",
        "2026-01  Open",
    ]


def test_a_table_without_rows_says_so() -> None:
    assert columns(("DROP", "FAILED"), []) == ["There are none."]
