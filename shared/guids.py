"""GUIDs as texts."""

from __future__ import annotations

import re
from typing import Final

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
