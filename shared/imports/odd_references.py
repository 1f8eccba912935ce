"""References that look like another one, or were changed by a spreadsheet: Warning 2003.

A reference is kept as it was sent. So one with a character that cannot be seen in it, or one of
which a spreadsheet has made a formula or a rounded number, is a record of its own beside the one
that was meant. The warning says why, and shows the reference escaped.
"""

from __future__ import annotations

import re
from typing import Final

from shared.imports.faults import MAX_SHOWN, printable
from shared.imports.messages import Message

LOOKS_WRONG: Final = 2003
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
    return Message(LOOKS_WRONG, field, escaped(reference), detail)


def escaped(text: str) -> str:
    """The text with the code in place of each character that cannot be seen, cut to be shown."""
    marks = (_escape(mark) if _is_hidden(mark) else mark for mark in text[:MAX_SHOWN])
    return printable("".join(marks))


def _is_hidden(mark: str) -> bool:
    """Controls, marks that change the format, blanks other than the space, and the like."""
    return not mark.isprintable() or _HIDDEN_LETTERS.match(mark) is not None


def _escape(mark: str) -> str:
    code = ord(mark)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
