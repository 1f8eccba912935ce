"""Files of rows: JSON, NDJSON or CSV, read as the JSON text and the line of each row.

The format is decided by the file's ending (`.json`; `.ndjson`, `.jsonl`; `.csv`, `.tsv`), else by
the first character. Rows are sent exactly as they are in the file, and only CSV is converted
(`cli.csv_files`). Failed rows that the gateway returned (`{"index", "row",
"messages"}`, with `line` if a command wrote them) are read too; the row is their `row`. So are
records that the gateway returned (`{"record", "type", "createdAt", …}`); the row is their `record`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from cli.csv_files import RowFile, read_csv
from shared.errors import GatewayError, RefusedError
from shared.imports.json_rows import member_text, read_payload, read_row_of_line

# The charsets of text files, and marks at their ends.

_BYTE_ORDER_MARKS: Final = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_BYTE_ORDER_MARK: Final = "\ufeff"
# Ctrl-Z, which programs in the tradition of DOS write behind the last line.
_END_OF_FILE: Final = "\x1a"
_PADDING: Final = "\x1a\x00 \t\r\n"
_ZIP: Final = b"PK\x03\x04"
# Zip (also empty or in parts), gzip, bzip2, xz, 7-Zip, Zstandard, RAR.
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
# Spreadsheets before 2007, and newer ones behind a password.
_OLD_OFFICE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# Excel, LibreOffice, Numbers: names in the directory of the archive.
_SHEET_MARKS: Final = (b"xl/", b"opendocument.spreadsheet", b"Index/Tables")
_SPREADSHEETS: Final = frozenset(
    {".xlsx", ".xlsm", ".xlsb", ".xltx", ".xls", ".ods", ".fods", ".numbers"}
)
_ENCODING_NAMES: Final = {"utf-8": "UTF-8", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}


class UnreadableFileError(GatewayError):
    """The file cannot be read. The message has the place and the reason, but no content."""


def read_text_file(path: Path) -> str:
    """Read the text of a file, without its byte order mark and a closing Ctrl-Z.

    The charset is UTF-8, or UTF-16 or UTF-32 with their byte order mark, or UTF-16 without one if
    its first character shows it. Raises UnreadableFileError.
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
    """The kind of a file that is not text, and what to do; "" if it may be text."""
    is_zip = content.startswith(_ZIP)
    has_sheets = any(mark in content for mark in _SHEET_MARKS)
    is_named_so = path.suffix.lower() in _SPREADSHEETS and not _is_saved_as_text(content)
    if is_named_so or content.startswith(_OLD_OFFICE) or (is_zip and has_sheets):
        return "is a spreadsheet: save it as CSV (in a spreadsheet program as “CSV UTF-8”)."
    if content.startswith(_ARCHIVES):
        return "is compressed: unpack it."
    if content.startswith(b"%PDF-"):
        return "is a PDF document: export the rows as CSV, JSON or NDJSON."
    return ""


def _is_saved_as_text(content: bytes) -> bool:
    """Some programs export CSV under the ending of a spreadsheet."""
    return bool(content) and not content.startswith((_ZIP, _OLD_OFFICE)) and b"\0" not in content


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
        return f"the text at offset {error.start}"
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


# The number of rows of a file is limited by memory only, that of a call by its part.
FAR_MORE_THAN_ANY = 2**40


_XML: Final = re.compile(r"\s*<(?:[A-Za-z_]|\?xml|!)")


class RowFileError(UnreadableFileError):
    """The rows of the file cannot be read. The message has the place and the reason, no content."""


class Format(StrEnum):
    """The format of a file of rows."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


_ENDINGS = {
    ".json": Format.JSON,
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
}
_FAILED_ROW = frozenset({"index", "line", "row", "messages"})
# Names of rows are in lower case by then.
_RECORD = frozenset({"record", "type", "createdat", "createdby", "changedat", "changedby"})


def format_of(path: Path, text: str = "") -> Format:
    """The format of a file, by its ending, else by how its text begins."""
    formats = _ENDINGS.get(path.suffix.lower())
    if formats is not None:
        return formats
    return {"[": Format.JSON, "{": Format.NDJSON}.get(text.lstrip()[:1], Format.CSV)


def read_rows(path: Path, schema: Mapping[str, Any], *, blank_clears: bool = False) -> RowFile:
    """The rows of the file. Raises RowFileError.

    `schema` is the JSON Schema of a row, for the types of CSV's cells; `blank_clears` makes an
    empty cell null instead of leaving the field out.
    """
    try:
        text = read_text_file(path)
    except UnreadableFileError as error:
        raise RowFileError(str(error)) from None
    if _XML.match(text):
        raise RowFileError(
            f"{path.name} is XML or HTML: save the rows as CSV, JSON or NDJSON. XML of licenses is "
            "taken by POST /v1/imports/licenses alone."
        )
    try:
        match format_of(path, text):
            case Format.JSON:
                return read_array(text)
            case Format.NDJSON:
                return _read_ndjson(text)
            case Format.CSV:
                return read_csv(text, schema, blank_clears=blank_clears)
    except (RefusedError, ValueError) as error:
        reason = error.message if isinstance(error, RefusedError) else str(error)
        raise RowFileError(f"{path.name}{_format_note(path, text)}: {reason}") from None


def _format_note(path: Path, text: str) -> str:
    """A note about the assumed format of a file whose ending is unknown."""
    if path.suffix.lower() in _ENDINGS:
        return ""
    return f" (read as {format_of(path, text).value.upper()}, since its ending names no format)"


class _Wrapping:
    """What the rows of a file stand in, where all stand in the same: failed rows, or records."""

    def __init__(self) -> None:
        self._members = {"row", "record"}
        self._count = 0

    def note(self, row: Mapping[str, Any]) -> None:
        """Look at the next row. Raises ValueError for a record without anything to import."""
        index = self._count
        self._count += 1
        if not (_FAILED_ROW.issuperset(row) and isinstance(row.get("row"), dict)):
            self._members.discard("row")
        if not _RECORD.issubset(row):
            self._members.discard("record")
        elif row["record"] is None:
            state = "is deleted" if row.get("deleted") else "could not be read"
            raise ValueError(f"the record of index {index} {state}; leave it out of the file.")

    def unwrap(self, rows: Sequence[str]) -> Sequence[str]:
        """The rows alone."""
        if len(self._members) != 1:
            return rows
        [member] = self._members
        return [member_text(row, 0, member) for row in rows]


def read_array(text: str) -> RowFile:
    """The rows of a JSON array, read as strictly as the gateway reads it.

    Raises RefusedError, ValueError.
    """
    if not text.strip():
        return RowFile((), ())
    wrapping = _Wrapping()
    payload = read_payload(text.encode(), wrapping.note, FAR_MORE_THAN_ANY)
    rows = [payload.text[row.start : row.end] for row in payload.rows]
    lines = _lines_of(payload.text, [row.start for row in payload.rows])
    return RowFile(wrapping.unwrap(rows), lines)


def _lines_of(text: str, starts: Iterable[int]) -> list[int]:
    """The 1-based line of each position in a text. The positions are ascending."""
    if "\n" not in text:
        text = text.replace("\r", "\n")
    lines = []
    line, numbered = 1, 0
    for start in starts:
        line += text.count("\n", numbered, start)
        numbered = start
        lines.append(line)
    return lines


def _read_ndjson(text: str) -> RowFile:
    """The row of each line, read as strictly as an array. Blank lines are ignored."""
    wrapping = _Wrapping()
    rows: list[str] = []
    numbers: list[int] = []
    # A JSON text has no line break within a string, so a carriage return ends a line too.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        if line.strip():
            wrapping.note(read_row_of_line(line, len(rows), number))
            rows.append(line.strip())
            numbers.append(number)
    return RowFile(wrapping.unwrap(rows), numbers)
