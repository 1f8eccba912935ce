"""Checks of texts: references (their ends, Warning 2003), masks, and names that are misspelled.

The gateway stores a reference as the caller sent it. So a reference with an invisible character, or
one that a spreadsheet has turned into a formula or a rounded number, makes a second record beside
the intended one. The warning explains this and shows the reference escaped.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Final

from shared.imports.messages import Message, MessageId

_BLANKS: Final = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
_ZERO_WIDTH: Final = (
    "\xad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062"
    "\u2063\u2064\u2066\u2067\u2068\u2069\u206a\u206b\u206c\u206d\u206e\u206f\ufeff"
)
ENDS: Final = _BLANKS + _ZERO_WIDTH
# Characters of a reference that a message shows.
_MAX_SHOWN: Final = 200
_PLAIN: Final = re.compile(r"[A-Za-z0-9._/-][A-Za-z0-9 ._/-]*")
_SPREADSHEET: Final = re.compile(
    r"[=']"  # ="007", '008
    r"|[+-]?[0-9](?:[.,][0-9]+)?[eE]\+[0-9]{1,3}\Z"  # 1E+12, 1.23E+12
    r"|[+-]?[0-9][.,][0-9]+[eE]-?[0-9]{1,3}\Z"  # 1.23E12, 1.23E-5
    r"|#(?:N/A|NULL!|DIV/0!|VALUE!|REF!|NAME\?|NUM!|#+)\Z"
)
# Letters and marks that Unicode counts as printable and no font draws.
_HIDDEN_LETTERS: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def trimmed(text: str) -> str:
    """The text without blanks, no-break spaces and zero-width characters at its ends."""
    return text.strip() if text.isascii() else text.strip(ENDS)


def is_blank(text: str) -> bool:
    """Whether the text has no visible character."""
    return not trimmed(text)


def warn_of_reference(field: str, reference: str) -> Message | None:
    """The warning about a reference as it is stored; None for a usual one."""
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
    """The text with a code in place of each invisible character, shortened for messages."""
    return "".join(_escape(char) if _is_hidden(char) else char for char in text[:_MAX_SHOWN])


def without_hidden(text: str) -> str:
    """The text without its invisible characters."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char for char in text if not _is_hidden(char))


def _is_hidden(char: str) -> bool:
    """Whether it is a control or format character, a blank other than the space, or similar."""
    return not char.isprintable() or _HIDDEN_LETTERS.match(char) is not None


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# Masks: what a caller is shown in place of a sensitive value, and sends back by mistake.

# Replaces a sensitive value.
MASK: Final = "***"
# The least characters of a sensitive value of which the last ones are shown, and how many.
_LEAST_SHOWN_LENGTH: Final = 8
_SHOWN_LENGTH: Final = 4
MASK_SENT: Final = (
    "this is the mask that records are shown with; send the value itself, or leave the field out"
)


def masked_value(value: Any) -> str:
    """A sensitive value of a record as it is shown: the last four of eight or more characters."""
    if isinstance(value, str) and len(value) >= _LEAST_SHOWN_LENGTH:
        return f"{MASK}{value[-_SHOWN_LENGTH:]}"
    return MASK


def looks_masked(value: Any) -> bool:
    """Whether a value may be the result of `masked_value`, also one that has lost some characters
    or got blanks at its ends.
    """
    if not isinstance(value, str) or MASK not in value:
        return False
    text = trimmed(value)
    return text.startswith(MASK) and len(text) <= len(MASK) + _SHOWN_LENGTH


# Misspelled names: how near two names are, and which known name the sender most likely meant.
#
# Names are compared by their letters and digits without case, so that `dry_run`, `dry-run` and
# `dryRun` are equal here.

# Characters of a name that are compared; no known name is longer.
MAX_COMPARED_LENGTH: Final = 100
# The ratio from which `difflib` calls a match close.
_MIN_SIMILARITY: Final = 0.6
_MAX_CANDIDATES: Final = 5


def folded(name: str) -> str:
    """The letters and digits of a name, in one case and one width."""
    plain = unicodedata.normalize("NFKC", name[:MAX_COMPARED_LENGTH]).casefold()
    return "".join(character for character in plain if character.isalnum())


def is_one_slip_away(name: str, known: str) -> bool:
    """Whether the name is `known`, or differs by one letter added, missing, wrong or swapped."""
    text, expected = folded(name), folded(known)
    if abs(len(text) - len(expected)) > 1:
        return False
    start = 0
    while start < min(len(text), len(expected)) and text[start] == expected[start]:
        start += 1
    text, expected = text[start:], expected[start:]
    is_swapped = text[:2] == expected[1::-1] and text[2:] == expected[2:]
    return is_swapped or text[1:] == expected[1:] or text[1:] == expected or text == expected[1:]


def is_like_dry_run(name: str) -> bool:
    """Whether the sender must have meant a dry run; to import the rows instead would do damage.

    Names that are further away count too: `isDryRun`, `dry`, `dryMode`, `amp;dryRun`.
    """
    text = folded(name)
    return "dryrun" in text or text.startswith("dry") or is_one_slip_away(name, "dryRun")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most similar to `name`; None where none is similar.

    The whole path (`WorkerAddress.Postcode`) and its last step are compared.
    """
    by_text: dict[str, str] = {}
    for known_name in known:
        by_text.setdefault(folded(known_name), known_name)
    for known_name in list(by_text.values()):
        by_text.setdefault(folded(_last_step(known_name)), known_name)
    for text in dict.fromkeys((folded(name), folded(_last_step(name)))):
        matches = difflib.get_close_matches(text, by_text, _MAX_CANDIDATES, _MIN_SIMILARITY)
        if matches:
            # Of equally similar names the first one of the contract is taken.
            order = {known_text: position for position, known_text in enumerate(by_text)}
            best = max(
                matches,
                key=lambda match: (
                    difflib.SequenceMatcher(None, match, text).ratio(),
                    -order[match],
                ),
            )
            return by_text[best]
    return None


def _last_step(path: str) -> str:
    return path.rpartition(".")[2]
