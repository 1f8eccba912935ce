"""Escapes characters that XML 1.0 does not have, because the parser refuses them.

.NET writes and reads them as references (`&#x1;`), and such a character is a fault of its row, not
of the body. So before parsing, each is replaced by two characters that XML allows in texts but not
in names. In the texts of the row it becomes a mark that reading reports as a fault of its field
(`xml_fault`). The parser refuses the body for NUL and half a surrogate pair, which no version of
XML has. The escape character itself is escaped the same way and restored as sent.
"""

from __future__ import annotations

import re
from typing import Any, Final

from shared.errors import InvalidRequestError
from shared.imports.model import XML_ESCAPE, xml_fault

# The maximum number of escaped characters of a body; each takes six bytes.
MAX_ESCAPED: Final = 1_000_000

# After the escape comes the character at this offset plus its number in `_ESCAPED`.
_OFFSET: Final = 0xE000
_ESCAPED: Final = "".join(map(chr, range(1, 0x20))) + "\ufffe\uffff" + XML_ESCAPE
_ALLOWED_CONTROLS: Final = "\t\n\r"
_NUMBERS: Final = {
    ord(character): number
    for number, character in enumerate(_ESCAPED)
    if character not in _ALLOWED_CONTROLS
}
_RAW = re.compile(rb"[\x01-\x08\x0b\x0c\x0e-\x1f]|\xef\xbf[\xbe\xbf]|\xef\xb7\x90")
_SUSPECT = re.compile(
    rb"&#(?:[xX]0{0,20}(?:1?[0-9a-f]|[fF]{3}[ef]|fdd0)"
    rb"|0{0,20}(?:[12]?[0-9]|3[01]|6[0-9]{4}));",
    re.IGNORECASE,
)
_REFERENCE: Final = rb"&#(?:x0{0,20}([0-9a-fA-F]{1,6})|0{0,20}([0-9]{1,7}));"
# A section without references, or a reference.
_SEGMENT = re.compile(
    rb"<!\[CDATA\[.*?(?:\]\]>|\Z)|<!--.*?(?:-->|\Z)|<\?.*?(?:\?>|\Z)|" + _REFERENCE, re.DOTALL
)
_IN_TEXT = re.compile(f"{XML_ESCAPE}(.)", re.DOTALL)


def escape_characters(xml: bytes) -> tuple[bytes, bool]:
    """The XML (in UTF-8) with such characters escaped, and whether there were any.

    Raises InvalidRequestError where there are more than MAX_ESCAPED.
    """
    xml, count = _RAW.subn(lambda match: _escaped(ord(match[0].decode())), xml, MAX_ESCAPED + 1)
    if count > MAX_ESCAPED:
        raise _too_many_error()
    if _SUSPECT.search(xml) is None:
        return xml, count > 0

    def replace(match: re.Match[bytes]) -> bytes:
        nonlocal count
        if match[1] is None and match[2] is None:
            return match[0]
        point = int(match[1], 16) if match[1] is not None else int(match[2])
        if point not in _NUMBERS:
            return match[0]
        count += 1
        if count > MAX_ESCAPED:
            raise _too_many_error()
        return _escaped(point)

    return _SEGMENT.sub(replace, xml), count > 0


def unescape_characters(value: Any) -> Any:
    """A row, or a value of it, with a mark for each escaped character, also in names."""
    if isinstance(value, str):
        if XML_ESCAPE not in value:
            return value
        return _IN_TEXT.sub(lambda match: _unescaped(_ESCAPED[ord(match[1]) - _OFFSET]), value)
    if isinstance(value, list):
        return [unescape_characters(item) for item in value]
    if isinstance(value, dict):
        return {unescape_characters(key): unescape_characters(item) for key, item in value.items()}
    return value


def _unescaped(character: str) -> str:
    return character if character == XML_ESCAPE else xml_fault(character)


def _escaped(point: int) -> bytes:
    return f"{XML_ESCAPE}{chr(_OFFSET + _NUMBERS[point])}".encode()


def _too_many_error() -> InvalidRequestError:
    return InvalidRequestError(
        f"The body has more than {MAX_ESCAPED} characters that XML 1.0 does not have: remove the "
        "control characters from its texts."
    )
