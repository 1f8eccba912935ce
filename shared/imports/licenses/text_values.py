"""Text of XML and forms, where every value is text, as the type of its field (CONTRACTS 2).

What is no such value stays text, so that reading reports it as a fault of its row.
"""

from __future__ import annotations

import re
from typing import Any

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")


def typed(text: str, kind: type) -> Any:
    """The text as a `bool` (true, false, 1, 0 in any case), an `int`, or as it is."""
    if kind is bool:
        return _TRUTHS.get(text.strip().lower(), text)
    if kind is int:
        trimmed = text.strip()
        return int(trimmed) if _INTEGER.fullmatch(trimmed) else text
    return text
