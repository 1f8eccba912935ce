"""Characters that XML 1.0 does not have, on their way through a parser that refuses them.

.NET writes and reads them as references (`&#x1;`), and such a character is a fault of its row, not
of the body. So before the parser sees it, each is written as two characters that XML has and that
no name may hold. In the texts of the row it becomes a mark that reading reports as a fault of its
field (`fields.xml_fault`). NUL and half a surrogate pair are
characters in no version of XML: the parser refuses the body for them. The escape character itself
is written the same way and comes back as it was sent.
"""

from __future__ import annotations

import re
from typing import Any, Final

from shared.errors import InvalidRequestError
from shared.imports.model import XML_ESCAPE, xml_fault

# Characters of a body that may be escaped: each takes six bytes instead.
MAX_ESCAPED: Final = 1_000_000

# Behind the escape comes the character at this place and its number in `_ESCAPED`.
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
# What has no references in it, as a whole, or a reference.
_PART = re.compile(
    rb"<!\[CDATA\[.*?(?:\]\]>|\Z)|<!--.*?(?:-->|\Z)|<\?.*?(?:\?>|\Z)|" + _REFERENCE, re.DOTALL
)
_IN_TEXT = re.compile(f"{XML_ESCAPE}(.)", re.DOTALL)


def escape_characters(xml: bytes) -> tuple[bytes, bool]:
    """The same XML (in UTF-8) without such characters, and whether there were any.

    Raises InvalidRequestError where there are more than any client means to send.
    """
    xml, count = _RAW.subn(lambda found: _escaped(ord(found[0].decode())), xml, MAX_ESCAPED + 1)
    if count > MAX_ESCAPED:
        raise _too_many()
    if _SUSPECT.search(xml) is None:
        return xml, count > 0

    def replace(found: re.Match[bytes]) -> bytes:
        nonlocal count
        if found[1] is None and found[2] is None:
            return found[0]
        point = int(found[1], 16) if found[1] is not None else int(found[2])
        if point not in _NUMBERS:
            return found[0]
        count += 1
        if count > MAX_ESCAPED:
            raise _too_many()
        return _escaped(point)

    return _PART.sub(replace, xml), count > 0


def unescape_characters(value: Any) -> Any:
    """A row, or a value of it, with a mark for each such character; names too."""
    if isinstance(value, str):
        if XML_ESCAPE not in value:
            return value
        return _IN_TEXT.sub(lambda found: _unescaped(_ESCAPED[ord(found[1]) - _OFFSET]), value)
    if isinstance(value, list):
        return [unescape_characters(item) for item in value]
    if isinstance(value, dict):
        return {unescape_characters(key): unescape_characters(item) for key, item in value.items()}
    return value


def _unescaped(character: str) -> str:
    return character if character == XML_ESCAPE else xml_fault(character)


def _escaped(point: int) -> bytes:
    return f"{XML_ESCAPE}{chr(_OFFSET + _NUMBERS[point])}".encode()


def _too_many() -> InvalidRequestError:
    return InvalidRequestError(
        f"The body has more than {MAX_ESCAPED} characters that XML 1.0 does not have: remove the "
        "control characters from its texts."
    )
