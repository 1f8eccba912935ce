"""Files of text as senders save them: which charset they are in, and what ends them."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Final

from shared.errors import GatewayError

_BYTE_ORDER_MARKS: Final = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_BYTE_ORDER_MARK: Final = "\ufeff"
_END_OF_FILE: Final = "\x1a"
"""Ctrl-Z, which programs in the tradition of DOS write behind the last line."""
_PADDING: Final = "\x1a\x00 \t\r\n"
_ZIP: Final = b"PK\x03\x04"
_ARCHIVES: Final = (
    *(_ZIP, b"PK\x05\x06", b"PK\x07\x08"),
    *(
        b"\x1f\x8b",
        b"BZh91AY&SY",
        b"\xfd7zXZ\0",
        b"7z\xbc\xaf\x27\x1c",
        b"\x28\xb5\x2f\xfd",
        b"Rar!\x1a",
    ),
)
"""Zip (also empty or in parts), gzip, bzip2, xz, 7-Zip, Zstandard, RAR."""
_OLD_OFFICE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""Spreadsheets before 2007, and newer ones behind a password."""
_SHEET_MARKS: Final = (b"xl/", b"opendocument.spreadsheet", b"Index/Tables")
"""Excel, LibreOffice, Numbers: names in the directory of the archive."""
_SPREADSHEETS: Final = frozenset(
    {".xlsx", ".xlsm", ".xlsb", ".xltx", ".xls", ".ods", ".fods", ".numbers"}
)
_ENCODING_NAMES: Final = {"utf-8": "UTF-8", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}


class UnreadableFileError(GatewayError):
    """The file cannot be read; the message says where and why, and quotes nothing of it."""


def read_text_file(path: Path) -> str:
    """The text of a file, without its byte order mark and a closing Ctrl-Z.

    UTF-8; UTF-16 and UTF-32 with their byte order mark, UTF-16 also without one where its first
    character shows it. Raises UnreadableFileError.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableFileError(f"{path.name} cannot be read: {error.strerror}.") from None
    other = _describe_binary(path, content)
    if other:
        raise UnreadableFileError(f"{path.name} {other}")
    encoding = _encoding_of(content)
    try:
        # Some editors put a second byte order mark in front of the first.
        text = content.decode(encoding).lstrip(_BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        raise UnreadableFileError(
            f"{path.name} is not {_ENCODING_NAMES.get(encoding, 'UTF-32')}: "
            f"{_describe_place(content, error)} does not fit. {_encoding_advice(encoding)}"
        ) from None
    end = text.rstrip(_PADDING)
    return end if _END_OF_FILE in text[len(end) :] else text


def _describe_binary(path: Path, content: bytes) -> str:
    """What the file is where it is no text, and what to do; "" where it may be text."""
    is_zip = content.startswith(_ZIP)
    is_named_so = path.suffix.lower() in _SPREADSHEETS and not _is_saved_as_text(content)
    if is_named_so or content.startswith(_OLD_OFFICE) or (is_zip and _has_sheets(content)):
        return "is a spreadsheet: save it as CSV (in a spreadsheet program as “CSV UTF-8”)."
    if content.startswith(_ARCHIVES):
        return "is compressed: unpack it."
    if content.startswith(b"%PDF-"):
        return "is a PDF document: export the rows as CSV, JSON or NDJSON."
    return ""


def _is_saved_as_text(content: bytes) -> bool:
    """Some programs export CSV under the ending of a spreadsheet."""
    return bool(content) and not content.startswith((_ZIP, _OLD_OFFICE)) and b"\0" not in content


def _has_sheets(content: bytes) -> bool:
    return any(mark in content for mark in _SHEET_MARKS)


def _encoding_of(content: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return encoding
    # The first character of a file of rows is ASCII, of which UTF-16 makes a zero byte.
    first, second = (*content[:2], 1, 1)[:2]
    if first == 0 < second:
        return "utf-16-be"
    return "utf-16-le" if second == 0 < first else "utf-8"


def _describe_place(content: bytes, error: UnicodeDecodeError) -> str:
    if error.encoding != "utf-8":
        return f"what stands at offset {error.start}"
    line = content.count(b"\n", 0, error.start) + 1
    column = error.start - content.rfind(b"\n", 0, error.start)
    return f"the byte at offset {error.start} (line {line}, byte {column} of it)"


def _encoding_advice(encoding: str) -> str:
    if encoding != "utf-8":
        return "It may be cut off: save it again, in UTF-8."
    return (
        "It may be in Windows-1252 or another older charset: save it as UTF-8 (in a spreadsheet "
        "program as “CSV UTF-8”), or convert it, for example with "
        "`iconv -f WINDOWS-1252 -t UTF-8`."
    )
