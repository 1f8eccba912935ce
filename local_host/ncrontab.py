"""NCRONTAB: cron with seconds first, as the timer trigger reads it (docs/platform.md#4).

This module has its own parser, because croniter 7.0 differs. With `day_or=False` and
`second_at_beginning=True` it finds the same times, except for `5-5`, which it reads as every value.
It accepts `5-3`, the weekday 7, `?`, `L`, `W`, `#` and `R`, which the platform's host is not known
to accept, and refuses `March`. Refusing all of that would need a parser too.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_RANGES = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_PART = re.compile(r"(\*|\w+)(?:-(\w+))?(?:/([0-9]+))?", re.ASCII)
_FURTHEST = timedelta(days=366 * 8)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The values that each of the six fields takes, in ascending order."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """Parse six fields, or five (seconds are 0 then); raises ValueError."""
        fields = text.split()
        if len(fields) == 5:
            fields = ["0", *fields]
        if len(fields) != 6:
            raise ValueError(f"the schedule {text!r} must have six fields, seconds first")
        try:
            second, minute, hour, day, month, weekday = (
                _parse_field(field, position) for position, field in enumerate(fields)
            )
        except ValueError:
            raise ValueError(f"the schedule {text!r} cannot be read") from None
        return cls(second, minute, hour, frozenset(day), frozenset(month), frozenset(weekday))

    def next_after(self, time: datetime) -> datetime | None:
        """The first occurrence later than `time`, or None within eight years."""
        start = time.replace(microsecond=0) + timedelta(seconds=1)
        day = start
        while day - start < _FURTHEST:
            if self._takes_day(day) and (first := self._first_from(day)):
                return first
            day = (day + timedelta(days=1)).replace(hour=0, minute=0, second=0)
        return None

    def _takes_day(self, day: datetime) -> bool:
        return (
            day.month in self.months
            and day.day in self.days
            and day.isoweekday() % 7 in self.weekdays
        )

    def _first_from(self, time: datetime) -> datetime | None:
        """The first time of that day at or after `time`."""
        for hour in (h for h in self.hours if h >= time.hour):
            is_first_hour = hour == time.hour
            for minute in (m for m in self.minutes if not is_first_hour or m >= time.minute):
                is_first_minute = is_first_hour and minute == time.minute
                for second in self.seconds:
                    if not is_first_minute or second >= time.second:
                        return time.replace(hour=hour, minute=minute, second=second)
        return None


def _parse_field(field: str, position: int) -> tuple[int, ...]:
    values: set[int] = set()
    for part in field.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(part)
        values |= set(_part_values(match[1], match[2], match[3], position))
    return tuple(sorted(values))


def _part_values(first: str, last: str | None, step: str | None, position: int) -> range:
    low, high = _RANGES[position]
    if first == "*":
        start, end = low, high
    else:
        start = _number(first, position)
        end = _number(last, position) if last else (high if step else start)
    if not low <= start <= end <= high or step == "0":
        raise ValueError(first)
    return range(start, end + 1, int(step or 1))


def _number(text: str, position: int) -> int:
    names = {4: _MONTHS, 5: _DAYS}.get(position, [])
    if text.lower()[:3] in names:
        return names.index(text.lower()[:3]) + (position == 4)
    return int(text)
