"""A clock that a test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self._elapsed = 1_000.0

    def now(self) -> datetime:
        return datetime(2026, 1, 31, tzinfo=UTC) + timedelta(seconds=self._elapsed)

    def elapsed(self) -> float:
        return self._elapsed

    def pass_by(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self._elapsed += seconds
