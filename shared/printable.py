r"""Escapes text of callers for a terminal. Names, keys and messages may contain any character.

A terminal obeys control characters: an escape sequence can change the screen and the clipboard.
Direction marks (bidi) show text in another order than it has. So each such character is printed as
its escape (`\x1b`, `\u202e`), and a line break as `\n`, so that one line stays one line.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_MAYBE: Final = re.compile(r"[^\x20-\x7e]")
# Unicode categories: controls, format and direction marks, surrogates, unassigned, line breaks.
_UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str) -> str:
    """`text` on one line, with each character escaped that a terminal may obey."""
    return _MAYBE.sub(_escaped, text)


def printable_json(document: str) -> str:
    """The same JSON document with its unprintable characters as JSON escapes.

    JSON itself requires escapes only for the first 32 characters.
    """
    return re.sub(r"[^\n\x20-\x7e]", _escaped_for_json, document)


def is_printable(character: str) -> bool:
    """Whether a terminal only shows the character."""
    return unicodedata.category(character) not in _UNPRINTABLE


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if is_printable(character):
        return character
    return character.encode("unicode_escape").decode("ascii")


def _escaped_for_json(match: re.Match[str]) -> str:
    character = match[0]
    if is_printable(character):
        return character
    data = character.encode("utf-16-be", "surrogatepass")
    units = (data[at : at + 2].hex() for at in range(0, len(data), 2))
    return "".join(f"\\u{unit}" for unit in units)
