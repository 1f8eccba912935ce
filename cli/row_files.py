"""Files of rows: JSON, NDJSON or CSV, read as the JSON text and the line of each row.

The format is that of the file's ending (`.json`; `.ndjson`, `.jsonl`; `.csv`, `.tsv`), else what
the first character says. Rows stay as they stand in the file, digits and all: only what CSV cannot
say is translated (`cli.csv_files`). Failed rows as the gateway gives them out (`{"index", "row",
"messages"}`, with `line` where a command wrote them) are read too: their `row` is the row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from cli.csv_files import RowFile, read_csv
from cli.text_files import UnreadableFileError, read_text_file
from shared.errors import RefusedError
from shared.imports.json_rows import member_text, read_payload, read_row_of_line

FAR_MORE_THAN_ANY = 2**40
"""Rows of a file are limited by memory alone; those of a call by its part."""


_XML: Final = re.compile(r"\s*<(?:[A-Za-z_]|\?xml|!)")


class RowFileError(UnreadableFileError):
    """The file cannot be read as rows; the message says where and why, and quotes nothing."""


class Format(StrEnum):
    """How rows stand in a file."""

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


def format_of(path: Path, text: str = "") -> Format:
    """The format of a file, by its ending, else by how its text begins."""
    known = _ENDINGS.get(path.suffix.lower())
    if known is not None:
        return known
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
        said = error.message if isinstance(error, RefusedError) else str(error)
        raise RowFileError(f"{path.name}{_format_note(path, text)}: {said}") from None


def _format_note(path: Path, text: str) -> str:
    """For an ending that says nothing: what the file was taken for."""
    if path.suffix.lower() in _ENDINGS:
        return ""
    return f" (read as {format_of(path, text).value.upper()}, since its ending names no format)"


def read_array(text: str) -> RowFile:
    """The rows of a JSON array, read as strictly as the gateway reads it. Raises RefusedError."""
    are_failed_rows = True

    def look(row: Mapping[str, Any]) -> None:
        nonlocal are_failed_rows
        are_failed_rows &= _is_failed_row(row)

    if not text.strip():
        return RowFile((), ())
    payload = read_payload(text.encode(), look, FAR_MORE_THAN_ANY)
    rows = [payload.text[row.start : row.end] for row in payload.rows]
    lines = _lines_of(payload.text, [row.start for row in payload.rows])
    return RowFile(_without_messages(rows) if are_failed_rows else rows, lines)


def _lines_of(text: str, starts: Iterable[int]) -> list[int]:
    """The line, from 1, of each place of a text; the places ascend."""
    if "\n" not in text:
        text = text.replace("\r", "\n")
    lines = []
    line, counted = 1, 0
    for start in starts:
        line += text.count("\n", counted, start)
        counted = start
        lines.append(line)
    return lines


def _read_ndjson(text: str) -> RowFile:
    """The row of each line, read as strictly; blank lines are passed over."""
    are_failed_rows = True
    rows: list[str] = []
    numbers: list[int] = []
    # A JSON text has no line break within a string, so a carriage return ends a line too.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        if line.strip():
            are_failed_rows &= _is_failed_row(read_row_of_line(line, len(rows), number))
            rows.append(line.strip())
            numbers.append(number)
    return RowFile(_without_messages(rows) if are_failed_rows else rows, numbers)


def _is_failed_row(row: Mapping[str, Any]) -> bool:
    return _FAILED_ROW.issuperset(row) and isinstance(row.get("row"), dict)


def _without_messages(rows: Sequence[str]) -> list[str]:
    return [member_text(row, 0, "row") for row in rows]
