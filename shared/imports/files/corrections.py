"""Corrected rows of a retry in files: what failed-rows gave as CSV, NDJSON or a spreadsheet.

Each row names its index in the parent: CSV and spreadsheets in the column `_index`, NDJSON as
`{"index", "row"}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from shared.errors import InvalidRequestError
from shared.imports.csv_export import INDEX
from shared.imports.files.columns import Cell, CellError, MakeRenderer, RowRenderer
from shared.imports.files.formats import FileFormat, ReadOptions, header_maker, reader_of
from shared.imports.files.mapping import ProfileMapping
from shared.imports.import_type import Rules
from shared.imports.json_rows import RowText, read_corrections
from shared.imports.text_checks import trimmed

# Reads the body of a retry into the corrected rows by their index, up to the given number.
CorrectionsReader = Callable[[bytes, int], dict[int, RowText]]

_INDEX: Final = re.compile("[0-9]{1,9}")
_LINE_BREAK: Final = re.compile(rb"[\r\n]+")


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


def _read_ndjson(body: bytes, max_rows: int) -> dict[int, RowText]:
    lines = [line for line in _LINE_BREAK.split(body) if line.strip()]
    return read_corrections(b"[" + b",".join(lines) + b"]", max_rows)


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
            raise InvalidRequestError(f"The file has the row of index {index} twice: send it once.")
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
