"""Time and ids, injected: what a service needs of them, and the real ones.

Nothing else in the gateway asks the machine for the time or for a random id, so that a test, or
the order model, can decide both.
"""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
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
