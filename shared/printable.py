r"""Text of callers for a terminal: names, keys, messages and file names may hold any character.

A terminal obeys control characters: an escape sequence can change what is on the screen, what the
clipboard holds, and what the next line seems to say. Marks of direction (bidi) show text in another
order than it has. So each such character is shown as its escape (`\x1b`, `\u202e`), and a line
break as `\n`: what is one line here is one line on the screen.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_MAYBE: Final = re.compile(r"[^\x20-\x7e]")
# Unicode categories: controls, format and direction marks, halves of pairs, unassigned, breaks.
_UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str) -> str:
    """`text` on one line, with an escape in place of each character that a terminal may obey."""
    return _MAYBE.sub(_escaped, text)


def printable_json(document: str) -> str:
    """A JSON document that means the same, its unprintable characters as escapes of JSON.

    JSON itself asks only for the escape of the first 32 characters.
    """
    return re.sub(r"[^\n\x20-\x7e]", _escaped_for_json, document)


def is_printable(character: str) -> bool:
    """Whether a terminal shows the character and does nothing else."""
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
