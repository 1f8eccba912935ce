"""Files of rows: JSON, NDJSON or CSV, read as the JSON text of each row.

The format is that of the file's ending (`.json`; `.ndjson`, `.jsonl`; `.csv`, `.tsv`), else what
the first character says. Rows stay as they stand in the file, digits and all: only what CSV cannot
say is translated (`cli.csv_files`). Failed rows as the gateway gives them out (`{"index", "row",
"messages"}`) are read too: their `row` is the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from cli.csv_files import read_csv
from shared.errors import GatewayError, RefusedError
from shared.imports.payload import member_text, read_payload

FAR_MORE_THAN_ANY = 2**40
"""Rows of a file are limited by memory alone; those of a call by its part."""


class RowFileError(GatewayError):
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
_FAILED_ROW = frozenset({"index", "row", "messages"})


def format_of(path: Path, text: str = "") -> Format:
    """The format of a file, by its ending, else by how its text begins."""
    known = _ENDINGS.get(path.suffix.lower())
    if known is not None:
        return known
    return {"[": Format.JSON, "{": Format.NDJSON}.get(text.lstrip()[:1], Format.CSV)


def read_rows(path: Path, schema: Mapping[str, Any], *, blank_clears: bool = False) -> list[str]:
    """The JSON text of each row of the file. Raises RowFileError.

    `schema` is the JSON Schema of a row, for the types of CSV's cells; `blank_clears` makes an
    empty cell null instead of leaving the field out.
    """
    try:
        # Some editors put a second mark of the byte order before the first.
        text = path.read_bytes().decode("utf-8").lstrip("\ufeff")
    except UnicodeDecodeError as error:
        raise RowFileError(
            f"{path.name} is not UTF-8: the byte at offset {error.start} does not fit."
        ) from None
    except OSError as error:
        raise RowFileError(f"{path.name} cannot be read: {error.strerror}.") from None
    try:
        match format_of(path, text):
            case Format.JSON:
                return _array(text)
            case Format.NDJSON:
                return _array(_lines_as_array(text))
            case Format.CSV:
                return read_csv(text, schema, blank_clears=blank_clears)
    except (RefusedError, ValueError) as error:
        said = error.message if isinstance(error, RefusedError) else str(error)
        raise RowFileError(f"{path.name}{_taken_for(path, text)}: {said}") from None


def _taken_for(path: Path, text: str) -> str:
    """For an ending that says nothing: what the file was taken for."""
    if path.suffix.lower() in _ENDINGS:
        return ""
    return f" (read as {format_of(path, text).value.upper()}, since its ending names no format)"


def _array(text: str) -> list[str]:
    """The rows of a JSON array, read as strictly as the gateway reads it."""
    are_failed_rows = True

    def look(row: Mapping[str, Any]) -> None:
        nonlocal are_failed_rows
        are_failed_rows &= _FAILED_ROW.issuperset(row) and isinstance(row.get("row"), dict)

    if not text.strip():
        return []
    payload = read_payload(text.encode(), look, FAR_MORE_THAN_ANY)
    rows = [payload.text[row.start : row.end] for row in payload.rows]
    return [member_text(row, 0, "row") for row in rows] if are_failed_rows else rows


def _lines_as_array(text: str) -> str:
    """A row per line as one array with the same line numbers; blank lines are passed over."""
    is_first = True
    lines = []
    for line in text.split("\n"):
        is_blank = not line.strip()
        lines.append(line if is_blank or is_first else f",{line}")
        is_first = is_first and is_blank
    return f"[{chr(10).join(lines)}]"
