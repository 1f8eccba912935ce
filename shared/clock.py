"""Time and ids, which services get injected: the protocols and the real implementations.

Nothing else in the gateway asks the machine for the time or for a random id, so that a test or
a model test can control both.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

# When this process began to load the gateway's code, in seconds as files have them.
PROCESS_STARTED: Final = time.time()


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


# Translates a time that the storage account has written into the time of the gateway's clock.
StoredTime = Callable[[datetime], datetime]

# After every time that storage has written.
ANY_TIME: Final = datetime.max.replace(tzinfo=UTC)


def same_time(time: datetime) -> datetime:
    """The `StoredTime` of a gateway with the machine's clock, which is the account's too."""
    return time


class RandomIds:
    """Random GUIDs (version 4)."""

    def new(self) -> str:
        """A new GUID, lower case with hyphens."""
        return str(uuid.uuid4())


def drawn_pause(seconds: float) -> float:
    """A pause of between half and one and a half of so many seconds.

    So handlers that storage has refused together do not come back together.
    """
    return seconds * random.uniform(0.5, 1.5)  # noqa: S311


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


# GUIDs as texts.

ZERO_GUID: Final = "00000000-0000-0000-0000-000000000000"
GUID_FORM: Final = "8-4-4-4-12 hexadecimal digits"

_WITH_DASHES = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# All dashes or none, and a closing bracket of either kind only where there is an opening one.
_ANY_FORM = re.compile(
    r"(?P<open>[{(])?"
    r"([0-9a-f]{8})(?P<dash>-)?([0-9a-f]{4})(?(dash)-)([0-9a-f]{4})(?(dash)-)([0-9a-f]{4})"
    r"(?(dash)-)([0-9a-f]{12})"
    r"(?(open)[)}])"
)


def is_guid(text: str) -> bool:
    """Whether a text is a GUID with dashes, in upper or lower case, and nothing else."""
    return _WITH_DASHES.fullmatch(text) is not None


def parse_guid(text: str) -> str | None:
    """A GUID in lower case with dashes; None where the text is not a GUID.

    The text may be in upper case, without dashes, in braces or parentheses, or between blanks.
    """
    match = _ANY_FORM.fullmatch(text.strip().lower())
    return None if match is None else "-".join(match.group(2, 4, 5, 6, 7))


def derived_id(*parts: str) -> str:
    """A GUID (version 8) that is derived from these parts."""
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    variant = "89ab"[int(digest[16], 16) % 4]
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
