"""The clock of the app, which a test can advance (docs/stand-in.md#clock).

Only this host can move it: it hands the clock to the app before the app builds its gateway. The
time of the storage emulator stays that of the machine, so its times are translated.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from datetime import UTC, datetime, timedelta


class StandInClock:
    """A clock that is ahead of the machine's by what it was advanced."""

    def __init__(self) -> None:
        self._elapsed_ahead = 0.0
        # From which time of the machine the clock has been ahead, and by how much.
        self._moved_at = [datetime.min.replace(tzinfo=UTC)]
        self._ahead = [timedelta(0)]

    @property
    def ahead(self) -> timedelta:
        """By how much it is ahead now."""
        return self._ahead[-1]

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""
        return datetime.now(UTC) + self._ahead[-1]

    def elapsed(self) -> float:
        """Seconds of the monotonic clock; they go on when the clock is advanced."""
        return time.monotonic() + self._elapsed_ahead

    def advance(self, by: timedelta) -> None:
        """Move the clock ahead."""
        self._elapsed_ahead += by.total_seconds()
        self._move(self.ahead + by)

    def go_back(self) -> None:
        """Show the machine's time again."""
        if self.ahead:
            self._move(timedelta(0))

    def from_stored(self, stored: datetime) -> datetime:
        """What this clock showed when the storage wrote a time.

        Storage writes whole seconds. What it wrote in the second of a move counts as before it.
        """
        return stored + self._ahead[max(0, bisect_left(self._moved_at, stored) - 1)]

    def _move(self, ahead: timedelta) -> None:
        self._moved_at.append(datetime.now(UTC))
        self._ahead.append(ahead)
