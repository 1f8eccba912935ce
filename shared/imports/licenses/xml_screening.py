"""What is looked at before a body is given to the XML parser: its encoding and its limits.

The parser's own limit of ten million characters for one text is too small for a document, and it
comes only together with the others (LIBRARIES 3). So the parser runs without, and what made them
necessary is refused here, on the bytes, before a tree grows: any document type (with it every
entity but XML's own five), thousands of attributes, millions of elements.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Final

from shared.errors import InvalidRequestError
from shared.imports.licenses.xml_characters import escape_characters

MAX_ATTRIBUTES: Final = 100
"""Attributes of one element."""
MAX_ATTRIBUTE: Final = 1_000
"""Bytes of one attribute. A namespace is one, and is a part of the name of each element in it."""
MAX_TAGS: Final = 10_000_000
"""Opening and closing tags of a body: 100,000 licenses of 50 elements."""
MAX_PROLOG: Final = 1000
"""Comments and instructions before the root."""

_DECLARATION = re.compile(rb"<\?xml\s[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
_BLANK = re.compile(rb"[ \t\r\n]*")
_ATTRIBUTES = re.compile(
    rb"<[^!?/<>][^<>\"']*+(?:(?:\"[^\"<]*+\"|'[^'<]*+')[^<>\"']*+){%d}" % (MAX_ATTRIBUTES + 1)
)
_LONG_ATTRIBUTE = re.compile(
    rb"<[^!?/<>][^<>\"']*+(?:(?:\"[^\"<]{0,%(most)d}+\"|'[^'<]{0,%(most)d}+')[^<>\"']*+)*+"
    rb"(?:\"[^\"<]{%(over)d}|'[^'<]{%(over)d})"
    % {b"most": MAX_ATTRIBUTE, b"over": MAX_ATTRIBUTE + 1}
)
_ENCODINGS: Final = {
    codecs.BOM_UTF8: ("utf-8", (b"utf-8",)),
    codecs.BOM_UTF16_LE: ("utf-16-le", (b"utf-16", b"utf-16le")),
    codecs.BOM_UTF16_BE: ("utf-16-be", (b"utf-16", b"utf-16be")),
}
_WITHOUT_MARK: Final = (b"utf-8", b"us-ascii", b"ascii")


@dataclass(frozen=True, slots=True)
class ScreenedXml:
    """A body in UTF-8 without byte order mark, and the offset of its root element.

    `is_escaped`: it had characters that XML does not have (`xml_characters`).
    """

    data: bytes
    start: int
    is_escaped: bool


def screened_xml(body: bytes) -> ScreenedXml:
    """The body as the parser takes it.

    Raises InvalidRequestError for another encoding than UTF-8 or UTF-16 with its mark, for a
    document type, and for more or longer attributes or more tags than any license has.
    Well-formedness is the parser's matter.
    """
    if not body:
        raise InvalidRequestError("The body is empty: send an ArrayOfEmployeeLicenseImportDTO.")
    xml, is_escaped = escape_characters(_in_utf8(body))
    if xml.count(b"<") > MAX_TAGS:
        raise InvalidRequestError(
            f"The body has more than {MAX_TAGS} tags: send it in several calls."
        )
    if _ATTRIBUTES.search(xml):
        raise InvalidRequestError(
            f"An element of the body has over {MAX_ATTRIBUTES} attributes: send the vendor's "
            "namespaces and no other attributes."
        )
    if _LONG_ATTRIBUTE.search(xml):
        raise InvalidRequestError(
            f"An attribute of the body has over {MAX_ATTRIBUTE} bytes: send the vendor's "
            "namespaces and no other attributes."
        )
    return ScreenedXml(xml, _root_offset(xml), is_escaped)


def not_well_formed(line: int, column: int) -> InvalidRequestError:
    """The refusal of a body that is no XML; the parser's own words would quote the body."""
    place = f" (line {line}, column {column})" if line > 0 else ""
    return InvalidRequestError(
        f"The body is not well-formed XML{place}: correct it there and send it again."
    )


def _in_utf8(body: bytes) -> bytes:
    for mark, (encoding, names) in _ENCODINGS.items():
        if body.startswith(mark):
            return _checked(_decoded(body[len(mark) :], encoding), names)
    return _checked(body, _WITHOUT_MARK)


def _decoded(body: bytes, encoding: str) -> bytes:
    if encoding == "utf-8":
        return body
    try:
        return body.decode(encoding).encode()
    except UnicodeDecodeError:
        raise InvalidRequestError(
            "The body has a UTF-16 mark and is not UTF-16: send UTF-8, or UTF-16 whole."
        ) from None


def _checked(xml: bytes, names: tuple[bytes, ...]) -> bytes:
    declared = _DECLARATION.match(xml)
    if declared is not None and declared[1].lower() not in names:
        raise InvalidRequestError(
            "The XML declaration names another encoding than the body has: send UTF-8 or UTF-16, "
            "and name it or leave the declaration out."
        )
    return xml


def _root_offset(xml: bytes) -> int:
    """Where the root element starts: behind declaration, comments and instructions."""
    position = _skip_blank(xml, 0)
    for _ in range(MAX_PROLOG):
        if not xml.startswith((b"<?", b"<!"), position):
            break
        if xml.startswith(b"<!--", position):
            end = xml.find(b"-->", position + 4) + 3
        elif xml.startswith(b"<?", position):
            end = xml.find(b"?>", position + 2) + 2
        else:
            raise InvalidRequestError("The body has a document type: send XML without DOCTYPE.")
        if end < position:
            raise not_well_formed(*_place(xml, position))
        position = _skip_blank(xml, end)
    if not xml.startswith(b"<", position) or xml.startswith((b"<?", b"<!"), position):
        raise not_well_formed(*_place(xml, position))
    return position


def _skip_blank(xml: bytes, position: int) -> int:
    match = _BLANK.match(xml, position)
    return position if match is None else match.end()


def _place(xml: bytes, position: int) -> tuple[int, int]:
    return xml.count(b"\n", 0, position) + 1, position - xml.rfind(b"\n", 0, position)
