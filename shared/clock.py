"""Time and ids, which services get injected: the protocols and the real implementations.

Nothing else in the gateway asks the machine for the time or for a random id, so that a test or
a model test can control both.
"""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """The time of day, and a monotonic time for measuring durations."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""

    def elapsed(self) -> float:
        """Seconds since some fixed time; never decreases."""


class Ids(Protocol):
    """A source of unique ids."""

    def new(self) -> str:
        """A new GUID, lower case with hyphens."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""
        return datetime.now(UTC)

    def elapsed(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()


class RandomIds:
    """Random GUIDs (version 4)."""

    def new(self) -> str:
        """A new GUID, lower case with hyphens."""
        return str(uuid.uuid4())


# Times are stored and shown as ISO text in UTC with milliseconds.

# How far the clock of another machine may be ahead. A stored time beyond it is taken as wrong.
_CLOCKS_DIFFER = timedelta(seconds=30)


def to_iso(time: datetime) -> str:
    """`2026-01-31T09:05:00.000Z`; `time` is aware, in UTC. Sorts as time does."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_iso(text: str) -> datetime:
    """Parse the text that `to_iso` writes."""
    return datetime.fromisoformat(text)


def latest_now(now: datetime) -> str:
    """The latest time that another machine may have written by now, ISO text."""
    return to_iso(now + _CLOCKS_DIFFER)


def age_of(text: str, now: datetime) -> timedelta | None:
    """The age of a stored time; None if the time is missing, unreadable or in the future.

    A time in the future comes from a clock that was ahead, and must not delay anything until then.
    """
    try:
        age = now - from_iso(text)
    except (ValueError, TypeError):
        return None
    return None if age < -_CLOCKS_DIFFER else max(age, timedelta(0))
