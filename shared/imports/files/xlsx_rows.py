"""The rows of a spreadsheet (`.xlsx`): its first row with a value names the columns."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Final

from shared.errors import InvalidRequestError, TooLargeError
from shared.imports.files.columns import (
    DATE,
    Cell,
    CellError,
    MakeRenderer,
    MissingCells,
    RowRenderer,
    check_not_header,
    check_row_size,
)
from shared.imports.files.xlsx_cells import (
    DIGITS,
    CellKind,
    SheetRow,
    Shown,
    cell_name,
    read_sheet,
)
from shared.imports.files.xlsx_cells import Cell as SheetCell
from shared.imports.json_rows import (
    RawRow,
    RowTable,
    RowText,
    SortKey,
    StoredBytes,
    line_of,
    read_row_of_line,
    split_line,
    too_many_rows_error,
)
from shared.imports.messages import MessageId
from shared.imports.text_checks import is_blank

# The columns of the header times the rows: a cell far to the right makes each row as wide.
# 100,000 rows of a template, whose columns are mostly empty, are 11,500,000.
MAX_AREA: Final = 20_000_000
# Faults of cells; each begins with the name of the cell.
_NO_HEADER: Final = (
    "The sheet has no header: its first row must name the columns, by the paths of the fields."
)
_SAVE: Final = "open the file in a spreadsheet program and save it"
_NO_VALUE: Final = f"has a formula without its value; {_SAVE}"
_ERROR: Final = "has an error of the spreadsheet; correct its formula, or clear the cell"
_ROUNDED: Final = (
    f"has a number of more than {DIGITS} digits, of which a spreadsheet keeps {DIGITS}; enter it "
    "as text"
)
_NO_DATE: Final = "shows a date that no calendar has; enter the date again"
_NO_VALUES: Final[Mapping[CellKind, str]] = {
    CellKind.NO_VALUE: _NO_VALUE,
    CellKind.ERROR: _ERROR,
    CellKind.NO_DATE: _NO_DATE,
}
_PERCENT: Final = "shows a percentage, and the file has a hundredth of it; enter it without %"
_TEXT_FAULTS: Final[Mapping[Shown, str]] = {
    Shown.EXPONENT: "shows a number with an exponent; enter it as text, as it was",
    Shown.PERCENT: "shows a percentage; enter it as text",
    Shown.DECORATED: "shows more than the digits of its number; enter it as text, as it is shown",
}
_NOT_TEXT: Final[Mapping[CellKind, str]] = {
    CellKind.DATE: "is a date, and text is expected; enter it as text",
    CellKind.TIME: "is a time, and text is expected; enter it as text",
    CellKind.BOOLEAN: "is true or false, and text is expected; enter it as text",
}
_FRACTION: Final = "has a number with a fraction, and text is expected; enter it as text"
_EXPECTED: Final = (
    ("boolean", "TRUE or FALSE"),
    ("number", "a number"),
    ("integer", "a number"),
    ("array", "a list"),
    ("object", "an object"),
)
_IS: Final[Mapping[CellKind, str]] = {
    CellKind.NUMBER: "is a number",
    CellKind.BOOLEAN: "is TRUE or FALSE",
    CellKind.DATE: "is a date",
    CellKind.TIME: "is a time",
}


@dataclass(frozen=True, slots=True)
class PlacedCell:
    """A cell that is no text, with its place; a `columns.TypedCell`."""

    cell: SheetCell
    row: int
    column: int

    @property
    def text(self) -> str:
        """What the cell holds as text, whether or not a field takes it."""
        return self.cell.text

    @property
    def fault(self) -> CellError | None:
        """See `columns.TypedCell`."""
        detail = self._no_value
        if detail is None and self.cell.kind is CellKind.NUMBER:
            detail = _TEXT_FAULTS.get(self.cell.format.shown)
        return None if detail is None else self._error(detail)

    @property
    def _no_value(self) -> str | None:
        """Why the cell has no value for any field; None where it has one."""
        if self.cell.kind is CellKind.NUMBER and self.cell.format.shown is Shown.ROUNDED:
            return _ROUNDED
        return _NO_VALUES.get(self.cell.kind)

    def json_text(self, types: frozenset[str]) -> str:
        """See `columns.TypedCell`."""
        cell = self.cell
        no_value = self._no_value
        if no_value is not None:
            raise self._error(no_value)
        if not types:
            # The value of an unknown column is not stored.
            is_bare = cell.kind in (CellKind.NUMBER, CellKind.BOOLEAN)
            return cell.text if is_bare else encode_basestring(cell.text)
        if DATE in types:
            return self._date_text()
        if "string" in types:
            return self._text_text()
        if cell.kind is CellKind.NUMBER and types & {"number", "integer"}:
            if cell.format.shown is Shown.PERCENT:
                raise self._error(_PERCENT)
            return cell.text
        if cell.kind is CellKind.BOOLEAN and "boolean" in types:
            return cell.text
        expected = next((text for name, text in _EXPECTED if name in types), "text")
        raise self._error(f"{_IS[cell.kind]}, and {expected} is expected; enter that")

    def _date_text(self) -> str:
        if self.cell.kind is CellKind.DATE:
            return encode_basestring(self.cell.text)
        if self.cell.kind is CellKind.TIME:
            raise self._error("is a time without a date; enter the date")
        raise self._error(f"{_IS[self.cell.kind]}, and a date is expected; format it as a date")

    def _text_text(self) -> str:
        cell = self.cell
        if cell.kind is not CellKind.NUMBER:
            raise self._error(_NOT_TEXT[cell.kind])
        fault = _TEXT_FAULTS.get(cell.format.shown)
        if fault is not None:
            raise self._error(fault)
        digits = cell.text.removeprefix("-")
        if not digits.isdecimal():
            raise self._error(_FRACTION)
        sign = "-" if digits != cell.text else ""
        return f'"{sign}{digits.zfill(cell.format.width)}"'

    def _error(self, detail: str) -> CellError:
        name = cell_name(self.row, self.column)
        return CellError(MessageId.WRONG_TYPE, f"the cell {name} {detail}", self.cell.text or None)


class SheetPayload:
    """The rows of a sheet, as the lines of the payload (`json_rows.line_of`).

    `start` and `end` of a row are offsets in these lines.
    """

    def __init__(self) -> None:
        self._lines = bytearray()
        self._rows = RowTable()
        self._numbers = array("I")
        self.skipped = 0

    @property
    def rows(self) -> Sequence[RawRow]:
        """The rows."""
        return self._rows

    def add(self, sort_key: str | None, line: bytes, number: int) -> None:
        """Add the line of the next row; `number` is that of its row in the sheet."""
        start = len(self._lines)
        self._lines += line
        self._rows.add(sort_key, start, len(self._lines))
        self._numbers.append(number)

    def line_of_file(self, row: RawRow) -> int:
        """The number of a row in the sheet."""
        return self._numbers[row.index]

    def row_text(self, row: RawRow) -> RowText:
        """See `Payload.row_text`."""
        _, text, notes = split_line(self.line(row).removesuffix(b"\n"))
        return RowText(text.decode(), notes.decode())

    def line_size(self, row: RawRow) -> int:
        """See `Payload.line_size`."""
        return row.end - row.start

    def line(self, row: RawRow) -> bytes:
        """See `Payload.line`."""
        return bytes(self._lines[row.start : row.end])


def read_xlsx(
    body: bytes,
    make_renderer: MakeRenderer,
    sort_key: SortKey,
    max_rows: int,
    *,
    sheet: str = "",
    max_bytes: int,
    max_stored: int,
    max_area: int = MAX_AREA,
) -> SheetPayload:
    """Read the rows of a sheet: of that name, else of the first visible one.

    `max_bytes` limits what is unpacked of the body, `max_stored` the bytes of the rows as they are
    stored. Raises InvalidRequestError with the problem and its place, TooLargeError.
    """
    payload = SheetPayload()
    stored_bytes = StoredBytes(max_stored)
    cell_bytes = StoredBytes(max_stored)
    renderer: RowRenderer | None = None
    names: list[str] = []
    missing_cells = MissingCells()
    area = 0
    for row in read_sheet(body, max_bytes, sheet):
        # Many cells may refer to one long text, so their texts are counted before they are read.
        size = sum(len(cell.text) for cell in row.cells.values())
        index = len(payload.rows)
        check_row_size(size, f"Row {row.number} of the sheet")
        cell_bytes.add(size)
        if not _has_value(row):
            continue
        width = max(row.cells) + 1
        if renderer is None:
            names = [_header_name(row, column) for column in range(width)]
            renderer = make_renderer(names, row.number)
            continue
        if index >= max_rows:
            raise too_many_rows_error(f"more than {max_rows}", max_rows)
        width = max(width, len(names))
        area += width
        if area > max_area:
            raise TooLargeError(
                f"Row {row.number} of the sheet has {width} columns, so with the empty ones the "
                f"sheet has more than {max_area} cells, which is the limit: delete blank cells on "
                "the right, or send the rows in several files."
            )
        missing_cells.add(width - len(row.cells), width)
        cells = _cells_of(row, width)
        check_not_header(cells, names, index, row.number)
        rendered = renderer.render(cells, index, row.number)
        if rendered is None:
            payload.skipped += 1
        else:
            values = read_row_of_line(rendered.text, index, row.number)
            line = line_of(index, *rendered)
            stored_bytes.add(len(line))
            payload.add(sort_key(values), line, row.number)
    if renderer is None:
        raise InvalidRequestError(_NO_HEADER)
    return payload


def _has_value(row: SheetRow) -> bool:
    return any(
        cell.kind is not CellKind.TEXT or not is_blank(cell.text) for cell in row.cells.values()
    )


def _header_name(row: SheetRow, column: int) -> str:
    cell = row.cells.get(column)
    return "" if cell is None else cell.text


def _cells_of(row: SheetRow, width: int) -> list[Cell]:
    cells: list[Cell] = [""] * width
    for column, cell in row.cells.items():
        is_text = cell.kind is CellKind.TEXT
        cells[column] = cell.text if is_text else PlacedCell(cell, row.number, column)
    return cells
