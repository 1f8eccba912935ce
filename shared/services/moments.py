"""Times as they are kept and shown: ISO text in UTC with milliseconds."""

from __future__ import annotations

from datetime import datetime


def iso(moment: datetime) -> str:
    """`2026-01-31T09:05:00.000Z`; `moment` is aware, in UTC. Sorts as time does."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_iso(text: str) -> datetime:
    """The inverse of `iso`."""
    return datetime.fromisoformat(text)
