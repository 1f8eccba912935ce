"""When a document was made: `generationTime`, a time in the past (CONTRACTS 4)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_FORM = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?([Zz]|[+-][0-9]{2}:?[0-9]{2})?)?"
)


def past_moment(text: str, now: datetime) -> datetime | None:
    """The moment that the text names, in UTC; None where it is none, or after `now`.

    No offset means UTC, a date alone 00:00.
    """
    stripped = text.strip()
    if not _FORM.fullmatch(stripped):
        return None
    try:
        moment = datetime.fromisoformat(stripped.upper())
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        in_utc = aware.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return in_utc if in_utc <= now else None
