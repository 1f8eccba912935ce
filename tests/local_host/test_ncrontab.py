"""NCRONTAB schedules."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from local_host.ncrontab import Schedule

_START = datetime(2026, 1, 31, 23, 59, 30, 500, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "following"),
    [
        ("* * * * * *", "2026-01-31T23:59:31"),
        ("*/20 * * * * *", "2026-01-31T23:59:40"),
        ("0 */5 * * * *", "2026-02-01T00:00:00"),
        ("30 59 23 * * *", "2026-02-01T23:59:30"),
        ("0 0 12 29 2 *", "2028-02-29T12:00:00"),
        ("0 30 9 * * 1-5", "2026-02-02T09:30:00"),
        ("0 0 0 13 * FRI", "2026-02-13T00:00:00"),
        ("0 0 0 1 Mar,jun *", "2026-03-01T00:00:00"),
        ("0 15/20 6 * * *", "2026-02-01T06:15:00"),
        ("5,10 0 1-3/2 * * *", "2026-02-01T01:00:05"),
        ("30 4 * * *", "2026-02-01T04:30:00"),
    ],
)
def test_next_occurrence(text: str, following: str) -> None:
    assert Schedule.parse(text).next_after(_START) == datetime.fromisoformat(following + "+00:00")


def test_day_of_month_and_day_of_week_must_both_fit() -> None:
    first = Schedule.parse("0 0 0 1 * SUN").next_after(datetime(2026, 2, 1, tzinfo=UTC))
    assert first == datetime(2026, 3, 1, tzinfo=UTC)


def test_a_day_that_never_comes_has_no_occurrence() -> None:
    assert Schedule.parse("0 0 0 30 2 *").next_after(_START) is None


@pytest.mark.parametrize(
    "text", ["", "* * * *", "60 * * * * *", "* * 24 * * *", "* * * 0 * *", "*/0 * * * * *",
             "a * * * * *", "5-3 * * * * *", "* * * * * 7", "00:05:00"]
)  # fmt: skip
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the schedule"):
        Schedule.parse(text)
