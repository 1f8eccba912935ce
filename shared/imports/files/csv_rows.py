"""CSV as rows: a column per field, named by its path (`shared.imports.files.columns`).

Quotes as RFC 4180 has them. The header is the first line that is neither blank nor `sep=;`, with
which spreadsheets name their delimiter; otherwise the delimiter is found from the header. Blank
rows are ignored.

Memory holds the bytes of the file, some numbers per row, and the stored lines of the first rows,
compressed. The rows whose lines do not fit are read a second time when they are stored.
"""

from __future__ import annotations

import csv
import re
import zlib
from array import array
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from io import BytesIO, TextIOWrapper
from typing import Final

from shared.errors import InvalidRequestError
from shared.imports.files.columns import (
    MakeRenderer,
    MissingCells,
    RowRenderer,
    check_not_header,
    check_row_size,
)
from shared.imports.files.text import check_not_empty, not_utf8_error
from shared.imports.json_rows import (
    MAX_ROW_BYTES,
    RawRow,
    RowTable,
    RowText,
    SortKey,
    StoredBytes,
    line_of,
    read_row_of_line,
    too_many_rows_error,
)
from shared.imports.text_checks import ENDS, is_blank

_DELIMITERS: Final = ",;\t"
_SEPARATOR_LINE: Final = re.compile(r'"?sep=([^\w\s"]|\t)"?[,;\t]*[\r\n]*', re.IGNORECASE)
# The characters of a line of blank cells, with any delimiter.
_BLANK_CELLS: Final = ENDS + _DELIMITERS + "\"'"
_NO_HEADER: Final = (
    "The file has no header: its first line must name the columns, by the paths of the fields."
)
_LONGEST_CELL: Final = 16 * 1024 * 1024
# The stored lines of the first rows are kept, compressed, so that they need not be made again: up
# to so many times the size of the file.
_KEPT_RATIO: Final = 0.5
# The window in which a compressed line finds repeated text, 8 KiB; negative means without a header.
_WINDOW_BITS: Final = -13
_MEMORY_LEVEL: Final = 6


class KeptLines:
    """The stored lines of the first rows, within a limit of bytes.

    Each is compressed alone, since they are read in another order than they are added. The rows of
    a file have the same names and similar values, so the first line is the dictionary of the rest.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._packed = bytearray()
        self._ends = array("L")
        self._dictionary = b""
        self._is_full = False

    def add(self, line: bytes) -> None:
        """Keep the line of the next row, unless this one or one before it does not fit."""
        if self._is_full:
            return
        compressor = zlib.compressobj(
            zlib.Z_BEST_SPEED,
            zlib.DEFLATED,
            _WINDOW_BITS,
            _MEMORY_LEVEL,
            zlib.Z_DEFAULT_STRATEGY,
            self._dictionary,
        )
        packed = compressor.compress(line) + compressor.flush()
        if len(self._packed) + len(packed) > self._most:
            self._is_full = True
            return
        self._packed += packed
        self._ends.append(len(self._packed))
        self._dictionary = self._dictionary or line[: 1 << -_WINDOW_BITS]

    def get(self, index: int) -> bytes | None:
        """The line of a row; None where it was not kept."""
        if index >= len(self._ends):
            return None
        start = self._ends[index - 1] if index else 0
        decompressor = zlib.decompressobj(_WINDOW_BITS, self._dictionary if index else b"")
        return decompressor.decompress(self._packed[start : self._ends[index]])


class CsvPayload:
    """The rows of a file of CSV in UTF-8; a `Payload`.

    The `start` and `end` of a row are byte offsets in the file.
    """

    def __init__(self, body: bytes, delimiter: str, renderer: RowRenderer) -> None:
        self._body = body
        self._delimiter = delimiter
        self._renderer = renderer
        self._rows = RowTable()
        self._sizes = array("I")
        self._lines = array("I")
        self._kept = KeptLines(int(_KEPT_RATIO * len(body)))
        self.skipped = 0

    @property
    def rows(self) -> Sequence[RawRow]:
        """The rows."""
        return self._rows

    def add(
        self, sort_key: str | None, start: int, end: int, line: int, stored_line: bytes
    ) -> None:
        """Add the next row: the line of the file that it begins in, and its stored line."""
        self._rows.add(sort_key, start, end)
        self._lines.append(line)
        self._sizes.append(len(stored_line))
        self._kept.add(stored_line)

    def line_of_file(self, row: RawRow) -> int:
        """The line of the file that a row begins in, from 1."""
        return self._lines[row.index]

    def row_text(self, row: RawRow) -> RowText:
        """See `Payload.row_text`."""
        text = self._body[row.start : row.end].decode()
        [cells] = csv.reader([text], delimiter=self._delimiter, strict=True)
        rendered = self._renderer.render(cells, row.index, self._lines[row.index])
        assert rendered is not None, "a skipped row is no row of the payload"
        return rendered

    def line_size(self, row: RawRow) -> int:
        """See `Payload.line_size`."""
        return self._sizes[row.index]

    def line(self, row: RawRow) -> bytes:
        """See `Payload.line`."""
        kept = self._kept.get(row.index)
        return line_of(row.index, *self.row_text(row)) if kept is None else kept


def read_csv(
    body: bytes,
    make_renderer: MakeRenderer,
    sort_key: SortKey,
    max_rows: int,
    max_stored: int,
) -> CsvPayload:
    """Read the rows of a body in UTF-8; `max_stored` limits their bytes as they are stored.

    Raises InvalidRequestError with the problem and its line, TooLargeError.
    """
    csv.field_size_limit(_LONGEST_CELL)
    check_not_empty(body)
    try:
        start, lines_above, delimiter = _find_header(body)
    except UnicodeDecodeError:
        raise not_utf8_error(body) from None
    source = _Lines(body, start)
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    line = lines_above + 1
    payload: CsvPayload | None = None
    stored_bytes = StoredBytes(max_stored)
    missing_cells = MissingCells()
    index = width = 0
    ends_in_line_break = body.endswith((b"\n", b"\r"))
    try:
        header = next(reader, None)
        if header is None:
            raise InvalidRequestError(_NO_HEADER)
        check_row_size(sum(map(len, header)), f"The header in line {line}")
        renderer = make_renderer(header, line)
        width = max(at for at, name in enumerate(header, 1) if name.strip())
        payload = CsvPayload(body, delimiter, renderer)
        start, line = source.offset, lines_above + reader.line_num + 1
        for cells in reader:
            if any(cells) and not all(map(is_blank, cells)):
                if source.offset - start > MAX_ROW_BYTES:
                    check_row_size(sum(map(len, cells)), f"index {index}, line {line}")
                missing_cells.add(len(header) - len(cells), len(header))
                if len(cells) < width and source.offset == len(body) and not ends_in_line_break:
                    raise _cut_off_error(index, line, len(cells), width)
                check_not_header(cells, header, index, line)
                rendered = renderer.render(cells, index, line)
                if rendered is None:
                    payload.skipped += 1
                else:
                    row = read_row_of_line(rendered.text, index, line)
                    stored_line = line_of(index, *rendered)
                    stored_bytes.add(len(stored_line))
                    payload.add(sort_key(row), start, source.offset, line, stored_line)
                    index += 1
                    if index > max_rows:
                        raise too_many_rows_error(f"more than {max_rows}", max_rows)
            start, line = source.offset, lines_above + reader.line_num + 1
    except csv.Error as error:
        raise InvalidRequestError(_describe(error, index, line, payload is None)) from None
    except UnicodeDecodeError:
        raise not_utf8_error(body) from None
    return payload


def _cut_off_error(index: int, line: int, cells: int, columns: int) -> InvalidRequestError:
    """The refusal of a last row that ends before its last column, without a line break."""
    return InvalidRequestError(
        f"The row of index {index} (line {line}) is the last one and has {cells} of {columns} "
        "cells, and no line break behind it, so the file may be cut off: send it as a whole, or "
        "complete the row."
    )


class _Lines:
    """The lines of a file from a byte offset on, with their ends; `offset` is behind the last."""

    def __init__(self, body: bytes, start: int) -> None:
        stream = BytesIO(body)
        stream.seek(start)
        self.offset = start
        self._text = TextIOWrapper(stream, "utf-8", newline="")

    def __iter__(self) -> Iterator[str]:
        for line in self._text:
            self.offset += len(line) if line.isascii() else len(line.encode())
            yield line


def _find_header(body: bytes) -> tuple[int, int, str]:
    """The offset of the header, the number of lines above it, and the delimiter: the one that they
    name, else the one that gives the header most columns.
    """
    start = 0
    while body.startswith(BOM_UTF8, start):
        # Some editors put a second byte order mark in front of the first.
        start += len(BOM_UTF8)
    count, delimiter = 0, ""
    lines = _Lines(body, start)
    for line in lines:
        separator = _SEPARATOR_LINE.fullmatch(line)
        if separator is None and line.strip(_BLANK_CELLS):
            break
        delimiter = separator[1] if separator else delimiter
        start, count = lines.offset, count + 1
    if not delimiter:
        delimiter = max(_DELIMITERS, key=lambda mark: _count_columns(body, start, mark))
    return start, count, delimiter


def _count_columns(body: bytes, start: int, delimiter: str) -> int:
    """The number of columns of the header with a delimiter."""
    try:
        return len(next(csv.reader(_Lines(body, start), delimiter=delimiter), []))
    except csv.Error:
        return 0


def _describe(error: csv.Error, index: int, line: int, is_header: bool) -> str:
    """An error of the library as a sentence about the row in a line, or the header."""
    text = str(error)
    if "unexpected end of data" in text:
        subject = "a cell begins with a quotation mark that is never closed; close it"
    elif "expected after" in text:
        subject = "text follows the closing quotation mark of a cell; write a mark within it twice"
    elif "field limit" in text:
        subject = f"a cell has more than {_LONGEST_CELL} characters, which is the limit; shorten it"
    else:
        subject = text
    row = "The header" if is_header else f"The row of index {index}"
    return f"{row} that begins in line {line} cannot be read: {subject}."
