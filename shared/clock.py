"""Time and ids, injected: what a service needs of them, and the real ones.

Nothing else in the gateway asks the machine for the time or for a random id, so that a test, or
the order model, can decide both.
"""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """The time, twice: of the calendar, and for measuring how long something took."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""

    def elapsed(self) -> float:
        """Seconds since some fixed moment; never goes back."""


class Ids(Protocol):
    """A source of ids that nobody else has."""

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


# Times as they are kept and shown: ISO text in UTC with milliseconds.

# How far the clock of another machine may be ahead; a later time was written by a wrong clock.
_CLOCKS_DIFFER = timedelta(seconds=30)


def to_iso(moment: datetime) -> str:
    """`2026-01-31T09:05:00.000Z`; `moment` is aware, in UTC. Sorts as time does."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_iso(text: str) -> datetime:
    """The inverse of `to_iso`."""
    return datetime.fromisoformat(text)


def latest_now(now: datetime) -> str:
    """The latest time that another machine may have written by now, ISO text."""
    return to_iso(now + _CLOCKS_DIFFER)


def age_of(text: str, now: datetime) -> timedelta | None:
    """How long ago a stored time was; None where it counts as not set.

    That is one which is not there, cannot be read, or lies in the future: a clock that was ahead
    must not hold anything up until that time comes.
    """
    try:
        age = now - from_iso(text)
    except (ValueError, TypeError):
        return None
    return None if age < -_CLOCKS_DIFFER else max(age, timedelta(0))
