"""The text of references: what is trimmed, and what is warned of (2003).

A reference is kept as it was sent. So one with a character that cannot be seen in it, or one of
which a spreadsheet has made a formula or a rounded number, is a record of its own beside the one
that was meant. The warning says why, and shows the reference escaped.
"""

from __future__ import annotations

import re
from typing import Final

from shared.imports.messages import Message, MessageId

_BLANK_MARKS: Final = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
_MARKS_OF_NO_WIDTH: Final = (
    "\xad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062"
    "\u2063\u2064\u2066\u2067\u2068\u2069\u206a\u206b\u206c\u206d\u206e\u206f\ufeff"
)
ENDS: Final = _BLANK_MARKS + _MARKS_OF_NO_WIDTH
_MOST_SHOWN: Final = 200
"""Characters of a reference that a message shows."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9._/-][A-Za-z0-9 ._/-]*")
_SPREADSHEET: Final = re.compile(
    r"[=']"  # ="007", '008
    r"|[+-]?[0-9](?:[.,][0-9]+)?[eE]\+[0-9]{1,3}\Z"  # 1E+12, 1.23E+12
    r"|[+-]?[0-9][.,][0-9]+[eE]-?[0-9]{1,3}\Z"  # 1.23E12, 1.23E-5
    r"|#(?:N/A|NULL!|DIV/0!|VALUE!|REF!|NAME\?|NUM!|#+)\Z"
)
_HIDDEN_LETTERS: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters and marks that count as printable, and no font draws."""


def trimmed(text: str) -> str:
    """The text without blanks, no-break spaces and marks of no width at its ends."""
    return text.strip() if text.isascii() else text.strip(ENDS)


def is_blank(text: str) -> bool:
    """Whether the text holds nothing that could be seen."""
    return not trimmed(text)


def warn_of_reference(field: str, reference: str) -> Message | None:
    """The warning that a reference, as it is kept, gives rise to; None for a usual one."""
    if _PLAIN.fullmatch(reference) and not _SPREADSHEET.match(reference):
        return None
    if any(map(_is_hidden, reference)):
        detail = "it has characters that cannot be seen, which are shown escaped"
    elif _SPREADSHEET.match(reference):
        detail = "it is in the form of a spreadsheet; format the column as text"
    else:
        return None
    return Message(MessageId.IMPLAUSIBLE_VALUE, field, escaped(reference), detail)


def escaped(text: str) -> str:
    """The text with the code in place of each character that cannot be seen, cut to be shown."""
    return "".join(_escape(mark) if _is_hidden(mark) else mark for mark in text[:_MOST_SHOWN])


def without_hidden(text: str) -> str:
    """The text without the characters that cannot be seen."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(mark for mark in text if not _is_hidden(mark))


def _is_hidden(mark: str) -> bool:
    """Controls, marks that change the format, blanks other than the space, and the like."""
    return not mark.isprintable() or _HIDDEN_LETTERS.match(mark) is not None


def _escape(mark: str) -> str:
    code = ord(mark)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
