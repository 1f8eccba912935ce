"""NDJSON as rows: a JSON object per line, read as strictly as an array (`json_rows`).

Blank lines are ignored. Failed rows and records that the gateway has returned are read too, here
and in a file with an array (`read_json_file`): the row of `{"index", "row", "messages"}`, the
record of `{"record", "type", "createdAt", …}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from shared.errors import InvalidRequestError
from shared.imports.files.notes import Notes, line_notes
from shared.imports.files.refused_cells import refused_cell_faults
from shared.imports.files.text import check_not_empty, not_utf8_error
from shared.imports.json_rows import (
    Payload,
    RawRow,
    RowTable,
    SortKey,
    TextPayload,
    fold_names,
    member_span,
    read_payload,
    read_row_of_line,
    too_many_rows_error,
)
from shared.imports.messages import Message

_LINE: Final = re.compile(r"[^\r\n]+")
_LINE_BREAK: Final = re.compile(r"\r\n|\r|\n")
FAILED_ROW: Final = frozenset({"index", "line", "row", "messages"})
# Names of rows are in lower case by then.
RECORD: Final = frozenset({"record", "type", "createdat", "createdby", "changedat", "changedby"})


class Wrapping:
    """What the rows of a file stand in, where all stand in the same: failed rows, or records."""

    def __init__(self) -> None:
        self._members = {"row", "record"}
        self._count = 0
        self._faults: dict[int, Sequence[Message]] = {}

    def note(self, row: Mapping[str, Any]) -> None:
        """Look at the next row. Raises InvalidRequestError for a record without a row to import."""
        index = self._count
        self._count += 1
        if not (FAILED_ROW.issuperset(row) and isinstance(row.get("row"), dict)):
            self._members.discard("row")
        elif faults := refused_cell_faults(row):
            self._faults[index] = faults
        if not RECORD.issubset(row):
            self._members.discard("record")
        elif row["record"] is None:
            state = "is deleted" if row.get("deleted") else "could not be read"
            raise InvalidRequestError(
                f"The record of index {index} {state}: leave it out of the file."
            )

    @property
    def member(self) -> str:
        """The member that has the row; "" where the rows stand alone."""
        return next(iter(self._members)) if self._count and len(self._members) == 1 else ""

    @property
    def faults(self) -> Mapping[int, Sequence[Message]]:
        """The faults of refused cells that are still empty in failed rows, by the row's index."""
        return self._faults if self.member == "row" else {}


def read_ndjson(body: bytes, sort_key: SortKey, max_rows: int) -> TextPayload:
    """The row of each line of a body in UTF-8.

    Raises InvalidRequestError and TooLargeError, which name the line.
    """
    check_not_empty(body)
    text = text_of_lines(body)
    wrapping = Wrapping()
    rows = RowTable()
    notes: dict[int, str] = {}
    for number, match in numbered_lines(text):
        index = len(rows)
        if index >= max_rows:
            raise too_many_rows_error(f"more than {max_rows}", max_rows)
        row = read_row_of_line(match[0], index, number)
        wrapping.note(row)
        rows.add(sort_key(row), *match.span())
        notes[index] = line_notes(number)
    if wrapping.member:
        rows = _unwrap(text, rows, wrapping.member, sort_key)
    for index, faults in wrapping.faults.items():
        notes[index] = Notes(Notes.from_text(notes[index]).line, faults).to_text()
    return TextPayload(text, rows, notes)


def read_json_file(body: bytes, sort_key: SortKey, max_rows: int) -> Payload:
    """The rows of a file with a JSON array, which may be failed rows or records.

    Raises what `read_payload` raises.
    """
    wrapping = Wrapping()

    def note(row: Mapping[str, Any]) -> str | None:
        wrapping.note(row)
        return sort_key(row)

    payload = read_payload(body, note, max_rows)
    if not wrapping.member:
        return payload
    text = payload.text if isinstance(payload, TextPayload) else payload.body.decode()
    rows = _unwrap(text, payload.rows, wrapping.member, sort_key)
    notes = {index: Notes(messages=faults).to_text() for index, faults in wrapping.faults.items()}
    return TextPayload(text, rows, notes)


def text_of_lines(body: bytes) -> str:
    """The text of a body, without byte order marks. Raises InvalidRequestError."""
    try:
        return body.decode("utf-8-sig").lstrip("\ufeff")
    except UnicodeDecodeError:
        raise not_utf8_error(body) from None


def numbered_lines(text: str) -> Iterator[tuple[int, re.Match[str]]]:
    """The lines that are not blank, with their numbers from 1."""
    number, end = 1, 0
    for match in _LINE.finditer(text):
        number += len(_LINE_BREAK.findall(text, end, match.start()))
        end = match.end()
        if match[0].strip():
            yield number, match


def _unwrap(
    text: str,
    rows: Sequence[RawRow],
    member: str,
    sort_key: SortKey,
) -> RowTable:
    unwrapped = RowTable()
    for row in rows:
        start, end = member_span(text, text.index("{", row.start), member)
        inner = read_row_of_line(text[start:end], row.index, 0)
        unwrapped.add(sort_key(fold_names(inner)), start, end)
    return unwrapped
