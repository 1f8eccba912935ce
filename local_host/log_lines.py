"""Log lines of the local host, with control characters escaped.

An error of the app may quote text of a caller, and a terminal obeys control characters.
"""

from __future__ import annotations

import logging
import re
import unicodedata

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_MAYBE = re.compile(r"[^\n\t\x20-\x7e]")
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class PrintableFormatter(logging.Formatter):
    """Formats a line, or a traceback, without characters that a terminal obeys."""

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record."""
        return printable_lines(super().format(record))


def printable_lines(text: str) -> str:
    """`text` with escapes in place of control, format and direction marks, but for line breaks."""
    return _MAYBE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if unicodedata.category(character) not in _UNPRINTABLE:
        return character
    return character.encode("unicode_escape").decode("ascii")
