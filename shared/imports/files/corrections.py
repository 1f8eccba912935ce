"""The body of a retry: corrected rows by their index in the parent (docs/contracts.md#5).

    [{"index": 5, "row": {…}}, …]

`failed-rows` returns this JSON, so a user can correct a file and send it back; NDJSON has such an
object in each line, CSV and spreadsheets the index in the column `_index`. Rows stay text, so that
no digit changes. Of the other members of an object only `messages` count: they name refused cells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from shared.errors import InvalidRequestError
from shared.imports.csv_export import INDEX
from shared.imports.files.columns import Cell, CellError, MakeRenderer, RowRenderer
from shared.imports.files.formats import FileFormat, ReadOptions, header_maker, reader_of
from shared.imports.files.mapping import ProfileMapping
from shared.imports.files.ndjson_rows import numbered_lines, text_of_lines
from shared.imports.files.notes import Notes
from shared.imports.files.refused_cells import refused_cell_faults
from shared.imports.import_type import Rules
from shared.imports.json_rows import (
    RowText,
    member_text,
    read_row_of_line,
    read_text_payload,
    too_many_rows_error,
)
from shared.imports.text_checks import trimmed

# Reads the body of a retry into the corrected rows by their index, up to the given number.
CorrectionsReader = Callable[[bytes, int], dict[int, RowText]]

_INDEX: Final = re.compile("[0-9]{1,9}")


def corrections_reader(
    file_format: FileFormat,
    rules: Rules,
    options: ReadOptions,
    mapping: ProfileMapping | None = None,
) -> CorrectionsReader:
    """The reader of corrected rows of a type in a format. Text must be in UTF-8.

    `mapping` is the profile that made the rows of the import, so that the corrected ones are in the
    layout of their sender.
    """
    if file_format is FileFormat.NDJSON:
        return _read_ndjson
    if file_format is FileFormat.JSON:
        return read_corrections
    make_renderer = mapping.make_sent_header if mapping else header_maker(rules, options)
    return partial(_read_columns, file_format, rules, options, make_renderer)


def read_corrections(body: bytes, max_rows: int) -> dict[int, RowText]:
    """Each corrected row by its index; an empty body has none.

    Raises InvalidRequestError, UnsupportedPayloadError or TooLargeError; the messages never quote
    the body.
    """
    if not body.strip():
        return {}
    indexes: list[int | None] = []
    notes: list[str] = []

    def note_item(item: Mapping[str, Any]) -> None:
        indexes.append(_index_of(item))
        notes.append(_notes_of(item))

    payload = read_text_payload(body, note_item, max_rows)
    corrections: dict[int, RowText] = {}
    for raw, index in zip(payload.rows, indexes, strict=True):
        if index is None:
            raise InvalidRequestError(
                f"Item {raw.index} (counted from 0) needs an index (a whole number) and a row "
                "(an object)."
            )
        if index in corrections:
            raise InvalidRequestError(f"The body has the row of index {index} twice: send it once.")
        text = member_text(payload.text, raw.start, "row")
        corrections[index] = RowText(text, notes[raw.index])
    return corrections


def _index_of(item: Mapping[str, Any]) -> int | None:
    """The index of a corrected row; None for what is none."""
    index = item.get("index")
    is_correction = type(index) is int and index >= 0 and isinstance(item.get("row"), dict)
    return index if is_correction else None


def _notes_of(item: Mapping[str, Any]) -> str:
    """The notes of a corrected row: the faults of refused cells that are still empty."""
    return Notes(messages=refused_cell_faults(item)).to_text()


def _read_ndjson(body: bytes, max_rows: int) -> dict[int, RowText]:
    corrections: dict[int, RowText] = {}
    for number, match in numbered_lines(text_of_lines(body)):
        line, place = match[0], len(corrections)
        if place >= max_rows:
            raise too_many_rows_error(f"more than {max_rows}", max_rows)
        item = read_row_of_line(line, place, number)
        index = _index_of(item)
        if index is None:
            raise InvalidRequestError(
                f"Line {number} needs an index (a whole number) and a row (an object)."
            )
        if index in corrections:
            raise _index_twice_error(index)
        text = member_text(line, line.index("{"), "row")
        corrections[index] = RowText(text, _notes_of(item))
    return corrections


def _index_twice_error(index: int) -> InvalidRequestError:
    return InvalidRequestError(f"The file has the row of index {index} twice: send it once.")


def _read_columns(
    file_format: FileFormat,
    rules: Rules,
    options: ReadOptions,
    make_header: MakeRenderer,
    body: bytes,
    max_rows: int,
) -> dict[int, RowText]:
    make_renderer = _IndexedMaker(make_header)
    reader = reader_of(file_format, rules, replace(options, make_renderer=make_renderer))
    payload = reader(body, lambda _row: None, max_rows)
    corrections: dict[int, RowText] = {}
    for row in payload.rows:
        index = make_renderer.indexes[row.index]
        if index in corrections:
            raise _index_twice_error(index)
        corrections[index] = payload.row_text(row)
    return corrections


class _IndexedMaker:
    """Makes the renderer of a file, which also notes the index that each row names."""

    def __init__(self, make_renderer: MakeRenderer) -> None:
        self.indexes: dict[int, int] = {}
        self._make_renderer = make_renderer

    def __call__(self, names: Sequence[str], line: int) -> RowRenderer:
        found = [at for at, name in enumerate(names) if trimmed(name).lower() == INDEX]
        if not found:
            raise InvalidRequestError(
                f"The header in line {line} has no column {INDEX}: send the rows with the indexes "
                "that failed-rows gave them."
            )
        return _IndexedRenderer(self._make_renderer(names, line), found[0], self.indexes)


class _IndexedRenderer:
    def __init__(self, renderer: RowRenderer, place: int, indexes: dict[int, int]) -> None:
        self._renderer = renderer
        self._place = place
        self._indexes = indexes

    def render(self, cells: Sequence[Cell], index: int, line: int) -> RowText | None:
        """See `RowRenderer.render`."""
        text = ""
        if self._place < len(cells):
            cell = cells[self._place]
            try:
                text = cell if isinstance(cell, str) else cell.json_text(frozenset({"integer"}))
            except CellError:
                text = ""
        if not _INDEX.fullmatch(text.strip()):
            raise InvalidRequestError(
                f"The row in line {line} has no whole number in the column {INDEX}: send it with "
                "the index that failed-rows gave it."
            )
        self._indexes[index] = int(text)
        return self._renderer.render(cells, index, line)
