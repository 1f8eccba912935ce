"""Converts bodies in any charset to UTF-8 for the readers of bodies.

The bytes take precedence over the Content-Type: a byte order mark, or the zero byte of UTF-16 in
the first character, decides the charset. Without them the charset of the Content-Type decides.
"""

from __future__ import annotations

import codecs
from encodings import normalize_encoding
from encodings.aliases import aliases
from typing import Final

from werkzeug.http import parse_options_header

from shared.errors import InvalidRequestError

_MARKS: Final = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf_32_le"),
    (codecs.BOM_UTF32_BE, "utf_32_be"),
    (codecs.BOM_UTF8, "utf_8"),
    (codecs.BOM_UTF16_LE, "utf_16_le"),
    (codecs.BOM_UTF16_BE, "utf_16_be"),
)
_TOLD_BY_BYTES: Final = ("", "utf_8", "ascii", "utf_16", "utf_16_le", "utf_16_be")
# Codecs of the library that are no charsets.
_NO_CHARSETS: Final = frozenset(
    (
        "base64_codec", "bz2_codec", "hex_codec", "mbcs", "quopri_codec", "rot_13", "tactis",
        "utf_7", "uu_codec", "zlib_codec",
    )
)  # fmt: skip
_CHARSETS: Final = frozenset(aliases.values()) - _NO_CHARSETS
_MAX_NAME: Final = 40


def marked_utf16(body: bytes, charset: str) -> bytes:
    """Add the byte order mark to XML whose Content-Type says UTF-16, if it is missing."""
    is_utf16 = normalize_encoding(charset[:_MAX_NAME]).lower().startswith("utf_16")
    if not is_utf16 or body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return body
    if body.startswith(b"\0"):
        return codecs.BOM_UTF16_BE + body
    return codecs.BOM_UTF16_LE + body if body[1:2] == b"\0" else body


def charset_of(content_type: str) -> str:
    """The charset in a Content-Type header, as it was sent; "" if there is none."""
    return parse_options_header(content_type)[1].get("charset", "")


def utf8_body(body: bytes, charset: str) -> bytes:
    """Convert a body to UTF-8. A body that counts as UTF-8 is returned unchecked.

    Raises InvalidRequestError for an unknown charset, and for bytes that are invalid in it.
    """
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            return body if encoding == "utf_8" else _decoded(body[len(mark) :], encoding)
    name = _known_charset(charset)
    first, second = (*body[:2], 1, 1)[:2]
    if name in _TOLD_BY_BYTES:
        # Every body begins with an ASCII character, of which UTF-16 makes a zero byte.
        if first == 0 < second:
            return _decoded(body, "utf_16_be")
        return _decoded(body, "utf_16_le") if second == 0 < first else body
    return _decoded(body, name)


def _known_charset(charset: str) -> str:
    """The library's name of a charset. Only names of a fixed list are looked up."""
    if not charset:
        return ""
    name = normalize_encoding(charset[:_MAX_NAME]).lower() if charset.isascii() else ""
    name = aliases.get(name, name)
    if name not in _CHARSETS or len(charset) > _MAX_NAME:
        raise InvalidRequestError(
            "The Content-Type names an unknown charset: send UTF-8, with charset=utf-8 or without "
            "a charset."
        )
    return name


def _decoded(body: bytes, encoding: str) -> bytes:
    try:
        return body.decode(encoding).encode()
    except UnicodeError as error:
        at = f" at offset {error.start}" if isinstance(error, UnicodeDecodeError) else ""
        raise InvalidRequestError(
            f"The body has bytes{at} that its charset ({encoding.replace('_', '-')}) does not "
            "have: send UTF-8, or name the charset that the body is in."
        ) from None
