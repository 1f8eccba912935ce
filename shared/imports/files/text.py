"""The text of a body or a file as UTF-8, whatever its charset; and what is no text.

The bytes take precedence over what is said of them: a byte order mark, or the zero byte of UTF-16
in the first character, decides the charset. Without them the charset of the Content-Type decides.
"""

from __future__ import annotations

import codecs
from encodings import normalize_encoding
from encodings.aliases import aliases
from typing import Final

from shared.errors import InvalidRequestError

_MARKS: Final = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf_32_le"),
    (codecs.BOM_UTF32_BE, "utf_32_be"),
    (codecs.BOM_UTF8, "utf_8"),
    (codecs.BOM_UTF16_LE, "utf_16_le"),
    (codecs.BOM_UTF16_BE, "utf_16_be"),
)
_DETECTED_FROM_BYTES: Final = ("", "utf_8", "ascii", "utf_16", "utf_16_le", "utf_16_be")
# Codecs of the library that are no charsets.
_NO_CHARSETS: Final = frozenset(
    (
        "base64_codec", "bz2_codec", "hex_codec", "mbcs", "quopri_codec", "rot_13", "tactis",
        "utf_7", "uu_codec", "zlib_codec",
    )
)  # fmt: skip
_CHARSETS: Final = frozenset(aliases.values()) - _NO_CHARSETS
MAX_CHARSET_NAME: Final = 40


def utf8_body(body: bytes, charset: str) -> bytes:
    """Convert a body to UTF-8. A body that counts as UTF-8 is returned unchecked.

    Raises InvalidRequestError for an unknown charset, and for bytes that are invalid in it.
    """
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            return body if encoding == "utf_8" else _decoded(body[len(mark) :], encoding)
    name = _known_charset(charset)
    first, second = (*body[:2], 1, 1)[:2]
    if name in _DETECTED_FROM_BYTES:
        # Every body begins with an ASCII character, of which UTF-16 makes a zero byte.
        if first == 0 < second:
            return _decoded(body, "utf_16_be")
        return _decoded(body, "utf_16_le") if second == 0 < first else body
    return _decoded(body, name)


def _known_charset(charset: str) -> str:
    """The library's name of a charset. Only names of a fixed list are looked up."""
    if not charset:
        return ""
    name = normalize_encoding(charset[:MAX_CHARSET_NAME]).lower() if charset.isascii() else ""
    name = aliases.get(name, name)
    if name not in _CHARSETS or len(charset) > MAX_CHARSET_NAME:
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
            f"The text has bytes{at} that its charset ({encoding.replace('_', '-')}) does not "
            "have: send UTF-8, or name the charset that it is in."
        ) from None


def check_not_empty(body: bytes) -> None:
    """Raises InvalidRequestError for no bytes at all, as a chunked body comes."""
    if not body:
        raise InvalidRequestError(
            "The file or body is empty: send rows (a call needs a Content-Length)."
        )


def not_utf8_error(body: bytes) -> InvalidRequestError:
    """The error for a body that is not UTF-8; it names the first byte that does not fit."""
    offset = 0
    try:
        body.decode()
    except UnicodeDecodeError as error:
        offset = error.start
    line = body.count(b"\n", 0, offset) + 1
    column = offset - body.rfind(b"\n", 0, offset)
    return InvalidRequestError(
        f"The text is not UTF-8: the byte at offset {offset} (line {line}, byte {column} of it) "
        "does not fit. It may be in Windows-1252 or another older charset: save it as UTF-8 (in a "
        "spreadsheet program as “CSV UTF-8”), convert it (`iconv -f WINDOWS-1252 "
        "-t UTF-8`), or name its charset in the call, as in `text/csv; charset=windows-1252`."
    )


# Marks at the ends of text files, and files that are no text.

# Ctrl-Z, which programs in the tradition of DOS write behind the last line.
_END_OF_FILE: Final = b"\x1a"
_PADDING: Final = b"\x1a\x00 \t\r\n"
_PADDING_BLOCK: Final = 4096
ZIP: Final = b"PK\x03\x04"
# Zip (also empty or in parts), gzip, bzip2, xz, 7-Zip, Zstandard, RAR.
_ARCHIVES: Final = (
    *(ZIP, b"PK\x05\x06", b"PK\x07\x08"),
    *(
        b"\x1f\x8b",
        b"BZh91AY&SY",
        b"\xfd7zXZ\0",
        b"7z\xbc\xaf\x27\x1c",
        b"\x28\xb5\x2f\xfd",
        b"Rar!\x1a",
    ),
)
# Spreadsheets before 2007, and newer ones behind a password.
OLD_OFFICE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# Excel, LibreOffice, Numbers: names in the directory of the archive.
_SHEET_MARKS: Final = (b"xl/", b"opendocument.spreadsheet", b"Index/Tables")


def without_end_mark(body: bytes) -> bytes:
    """The text without a closing Ctrl-Z. A body that has none is not copied."""
    size = len(body)
    while size:
        start = max(0, size - _PADDING_BLOCK)
        rest = len(body[start:size].rstrip(_PADDING))
        size = start + rest
        if rest:
            break
    return body[:size] if body.find(_END_OF_FILE, size) >= 0 else body


def is_zip(content: bytes) -> bool:
    """Whether a content is a zip archive, as spreadsheets are."""
    return content.startswith(ZIP)


def describe_binary(content: bytes) -> tuple[str, str] | None:
    """The kind of a content that is not text, and what to do; None if it may be text."""
    has_sheets = is_zip(content) and any(mark in content for mark in _SHEET_MARKS)
    if has_sheets or content.startswith(OLD_OFFICE):
        return "a spreadsheet", (
            "save it as .xlsx and send it as that (by its Content-Type, or the ending of its "
            "name), or save it as CSV (in a spreadsheet program as “CSV UTF-8”)"
        )
    if content.startswith(_ARCHIVES):
        return "compressed", "unpack it, or compress it with gzip, once"
    if content.startswith(b"%PDF-"):
        return "a PDF document", "export the rows as CSV, JSON or NDJSON"
    return None
