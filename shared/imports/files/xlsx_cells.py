"""The cells of a spreadsheet (`.xlsx`), row by row, with what a person sees in them.

A cell is a text, a number, a boolean, a date, a time, an error, or a formula without a value. The
file has a date or a percentage as a bare number; only the number format of the cell says what it
is. So the formats are read too. docs/importing-files.md#spreadsheets lists what becomes of what.

The parts are parsed as a stream: memory holds the shared texts and one block of rows. Nothing of
the file decides how much memory is allocated (docs/decisions/0006-reading-spreadsheets.md).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, auto
from functools import lru_cache
from posixpath import dirname, join, normpath
from typing import Final, NamedTuple

from shared.errors import InvalidRequestError, TooLargeError
from shared.imports.files.xlsx_archive import Archive, damaged_error, too_many_elements_error
from shared.imports.text_checks import escaped, nearest

# Cells with a value or a format; a file of failed rows cannot have more either.
MAX_CELLS: Final = 5_000_000
# Elements of a part beside those that each cell or text has: rows, formats, links. Each costs time,
# and a few bytes, of which hundreds are one byte compressed.
MAX_ELEMENTS: Final = 2_000_000
_ELEMENTS_OF_CELL: Final = 4
_ELEMENTS_OF_TEXT: Final = 9
# What a sheet of a spreadsheet program has at most.
_MAX_ROW: Final = 1_048_576
_MAX_COLUMN: Final = 16_384
# Parts that name other parts, and the formats; each has a few entries per sheet.
_MAX_SHEETS: Final = 1_000
_MAX_FORMATS: Final = 100_000
_MOST_NAMED: Final = 10
# A spreadsheet keeps so many digits of a number.
DIGITS: Final = 15

_MACROS: Final = (
    "The spreadsheet has macros ({place}): save it as .xlsx without macros, or save the sheet as "
    "CSV."
)
_BINARY: Final = "The spreadsheet is a binary workbook (.xlsb): save it as .xlsx."
_OTHER_PROGRAM: Final = (
    "The file or body is no .xlsx but the file of another program (.ods, .numbers) or another "
    "archive: save the sheet as .xlsx."
)


class CellKind(Enum):
    """What a cell holds."""

    TEXT = auto()
    NUMBER = auto()
    BOOLEAN = auto()
    # ISO 8601, with a time of day where the cell shows one.
    DATE = auto()
    # A time of day, or a duration.
    TIME = auto()
    # A date that does not exist: negative, 29 February 1900, or after 9999.
    NO_DATE = auto()
    ERROR = auto()
    # A formula without the value that it had when the file was saved.
    NO_VALUE = auto()


class Shown(Enum):
    """How a cell shows its number."""

    PLAIN = auto()
    # With zeros in front, up to a width.
    PADDED = auto()
    PERCENT = auto()
    EXPONENT = auto()
    # The file has more digits than a spreadsheet keeps, so the last ones may be wrong.
    ROUNDED = auto()
    # With other characters than its digits, or as a fraction.
    DECORATED = auto()
    DATE = auto()
    DATE_TIME = auto()
    TIME = auto()


class NumberFormat(NamedTuple):
    """A number format; `width` is that of PADDED."""

    shown: Shown = Shown.PLAIN
    width: int = 0


GENERAL: Final = NumberFormat()


class Cell(NamedTuple):
    """One cell: its text is a JSON number for NUMBER, `true` or `false` for BOOLEAN."""

    kind: CellKind
    text: str
    format: NumberFormat = GENERAL


_NO_VALUE: Final = Cell(CellKind.NO_VALUE, "")


class SheetRow(NamedTuple):
    """A row with its number in the sheet, and its cells by the number of their column, from 0."""

    number: int
    cells: Mapping[int, Cell]


@dataclass(slots=True)
class _Sheet:
    name: str
    is_hidden: bool
    relation: str


@dataclass(slots=True)
class _Relation:
    type: str
    target: str


@dataclass(slots=True)
class _Book:
    """A workbook without its sheets' cells."""

    sheets: list[_Sheet] = field(default_factory=list)
    is_1904: bool = False
    must_calculate: bool = False


# Number formats.

# The formats that every spreadsheet has without naming them, by their numbers.
_DATES: Final = (14, 15, 16, 17, *range(27, 32), 36, *range(50, 55), 57, 58)
_BUILT_IN: Final[Mapping[int, NumberFormat]] = {
    **dict.fromkeys((9, 10), NumberFormat(Shown.PERCENT)),
    **dict.fromkeys((11, 48), NumberFormat(Shown.EXPONENT)),
    **dict.fromkeys((5, 6, 7, 8, 12, 13, 41, 42, 43, 44), NumberFormat(Shown.DECORATED)),
    **dict.fromkeys(_DATES, NumberFormat(Shown.DATE)),
    **dict.fromkeys((18, 19, 20, 21, 32, 33, 34, 35, 45, 46, 47, 55, 56), NumberFormat(Shown.TIME)),
    22: NumberFormat(Shown.DATE_TIME),
}
_ELAPSED: Final = re.compile(r"\[(?:h+|m+|s+)\]", re.IGNORECASE)
# What a cell does not show (colours, languages, the width of a character, filling with blanks), and
# what it shows beside its digits (text, filling with a character, other brackets: a currency, a
# condition, digits of another script).
_MARK: Final = re.compile(
    r"(?P<unseen>\[(?:black|blue|cyan|green|magenta|red|white|yellow|color ?[0-9]+|\$-[^\]]*)\]"
    r"|_.|\* )"
    r'|"[^"]*"?|\\.|\*.|\[[^\]]*\]',
    re.IGNORECASE,
)
_EXPONENT: Final = re.compile(r"E[+-]")
_DATE_LETTERS: Final = frozenset("ydgeb")
_TIME_LETTERS: Final = frozenset("hs")
# Digits without further zeros in front, in groups of thousands or not, and a fraction.
_PLAIN_FORMAT: Final = re.compile(r"(?:general|(?:[#?][#?,]*)?(?:0|(?<!,))(?:\.[0#?]*)?)?")
_PADDED_FORMAT: Final = re.compile(r"0{2,15}")
_LONGEST_FORMAT: Final = 255


def number_format(code: str) -> NumberFormat:
    """What a format code of a spreadsheet shows."""
    first = code[:_LONGEST_FORMAT].partition(";")[0].strip()
    if first.lower() in ("general", "", "@"):
        return GENERAL
    if _ELAPSED.search(first):
        return NumberFormat(Shown.TIME)
    visible = _MARK.sub(lambda mark: "" if mark["unseen"] else "\0", first).strip()
    if _EXPONENT.search(visible):
        return NumberFormat(Shown.EXPONENT)
    letters = {*visible.lower().replace("am/pm", "h").replace("general", "").replace("a/p", "h")}
    has_time = bool(letters & _TIME_LETTERS)
    if letters & _DATE_LETTERS or ("m" in letters and not has_time):
        return NumberFormat(Shown.DATE_TIME if has_time else Shown.DATE)
    if has_time:
        return NumberFormat(Shown.TIME)
    if "%" in visible:
        return NumberFormat(Shown.PERCENT)
    if _PADDED_FORMAT.fullmatch(visible):
        return NumberFormat(Shown.PADDED, len(visible))
    is_plain = _PLAIN_FORMAT.fullmatch(visible.lower())
    return GENERAL if is_plain else NumberFormat(Shown.DECORATED)


# Numbers and dates.

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?")
_ANY_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_LONGEST_NUMBER: Final = 64
_MOST_ZEROS: Final = 30


def plain_number(text: str) -> str:
    """A number of the file as a JSON number of at most 15 digits, as a spreadsheet shows it.

    The file has `1.1` as `1.1000000000000001`, because it has the nearest number in base 2. Raises
    ValueError for what is no number.
    """
    if len(text) <= DIGITS and text != "-0" and _NUMBER.fullmatch(text):
        return text
    if len(text) > _LONGEST_NUMBER or not _ANY_NUMBER.fullmatch(text):
        raise ValueError(text)
    number = Decimal(f"{float(text):.{DIGITS}g}")
    if not number.is_finite():
        raise ValueError(text)
    if number and abs(number.adjusted()) > _MOST_ZEROS:
        return str(number).replace("E+", "E")
    plain = format(number, "f")
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return "0" if plain == "-0" else plain


def _format_of(value: str, format_: NumberFormat) -> NumberFormat:
    """How a number is shown, also by how the file has it."""
    has_exponent = "E" in value or "e" in value
    if len(value) <= DIGITS and not has_exponent:
        return format_
    if abs(float(value)) >= 10**DIGITS:
        return NumberFormat(Shown.ROUNDED)
    return NumberFormat(Shown.EXPONENT) if has_exponent and format_ == GENERAL else format_


_DATES_AND_TIMES: Final = frozenset((Shown.DATE, Shown.DATE_TIME, Shown.TIME))
_EPOCH_1904: Final = datetime(1904, 1, 1, tzinfo=UTC)
# Day 1 is 1 January 1900. Spreadsheets have a 29 February 1900, day 60, which never was.
_EPOCH_EARLY: Final = datetime(1899, 12, 31, tzinfo=UTC)
_EPOCH_LATE: Final = datetime(1899, 12, 30, tzinfo=UTC)
_NO_DAY: Final = 60
_FIRST_YEAR: Final = 1900
_END_OF_DAYS: Final = 2_958_466
_MILLISECONDS: Final = 24 * 60 * 60 * 1000


@lru_cache(maxsize=4096)
def date_cell(text: str, shown: Shown, is_1904: bool) -> Cell:
    """The cell of a number that is shown as a date or a time."""
    milliseconds = round(float(text) * _MILLISECONDS)
    day = milliseconds // _MILLISECONDS
    if shown is Shown.TIME:
        return Cell(CellKind.TIME, _time_text(timedelta(milliseconds=milliseconds)))
    if is_1904:
        is_day, epoch = 0 <= day < _END_OF_DAYS - 1462, _EPOCH_1904
    else:
        is_day = 0 < day < _END_OF_DAYS and day != _NO_DAY
        epoch = _EPOCH_EARLY if day < _NO_DAY else _EPOCH_LATE
    if not is_day:
        return Cell(CellKind.NO_DATE, text)
    moment = (epoch + timedelta(milliseconds=milliseconds)).replace(tzinfo=None)
    if shown is Shown.DATE:
        return Cell(CellKind.DATE, moment.date().isoformat())
    spec = "milliseconds" if moment.microsecond else "seconds"
    return Cell(CellKind.DATE, moment.isoformat(timespec=spec))


_ISO_TIME: Final = re.compile(r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?Z?")
_ISO_DATE: Final = re.compile(rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:[T ]{_ISO_TIME.pattern})?")


def iso_cell(text: str, shown: Shown) -> Cell:
    """The cell of a date or a time that the file has as ISO 8601, as few programs write it."""
    if _ISO_TIME.fullmatch(text) or shown is Shown.TIME:
        return Cell(CellKind.TIME, text[:40])
    try:
        moment = datetime.fromisoformat(text if _ISO_DATE.fullmatch(text) else "").replace(
            tzinfo=None
        )
    except ValueError:
        return Cell(CellKind.NO_DATE, text[:40])
    if moment.year < _FIRST_YEAR:
        return Cell(CellKind.NO_DATE, text[:40])
    if shown is Shown.DATE or "T" not in text.replace(" ", "T"):
        return Cell(CellKind.DATE, moment.date().isoformat())
    spec = "milliseconds" if moment.microsecond else "seconds"
    return Cell(CellKind.DATE, moment.replace(tzinfo=None).isoformat(timespec=spec))


def _time_text(time: timedelta) -> str:
    seconds = int(time.total_seconds())
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


# Parts as targets of the parser. Names are compared without their namespace, which differs between
# the two editions of the standard.


class _Part:
    """A target that ignores everything."""

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""

    def end(self, tag: str) -> None:
        """An element ends."""

    def data(self, text: str) -> None:
        """A part of a text."""


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _is_true(value: str | None) -> bool:
    return value in ("1", "true")


class _Relations(_Part):
    """The other parts that a part names, by their ids."""

    def __init__(self, base: str) -> None:
        self._base = base
        self.by_id: dict[str, _Relation] = {}

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if _local(tag) != "Relationship" or attributes.get("TargetMode") == "External":
            return
        if len(self.by_id) > _MAX_SHEETS * 2:
            raise damaged_error("it names too many parts")
        target = attributes.get("Target", "")
        path = target[1:] if target.startswith("/") else join(self._base, target)
        type_ = attributes.get("Type", "").rpartition("/")[2]
        self.by_id[attributes.get("Id", "")] = _Relation(type_, normpath(path))

    def find(self, type_: str) -> str | None:
        """The first part of a type."""
        return next((each.target for each in self.by_id.values() if each.type == type_), None)


class _ContentTypes(_Part):
    def __init__(self) -> None:
        self.has_macros = False
        self.is_binary = False

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        type_ = attributes.get("ContentType", "").lower()
        self.has_macros = self.has_macros or "macroenabled" in type_
        self.is_binary = self.is_binary or (".binary." in type_ and _local(tag) == "Override")


class _Workbook(_Part):
    def __init__(self) -> None:
        self.book = _Book()

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        match _local(tag):
            case "sheet":
                if len(self.book.sheets) >= _MAX_SHEETS:
                    raise TooLargeError(
                        f"The spreadsheet has more than {_MAX_SHEETS} sheets, which is the limit: "
                        "save the sheet in a new file."
                    )
                relation = next(
                    (value for name, value in attributes.items() if _local(name) == "id"), ""
                )
                is_hidden = attributes.get("state", "visible") != "visible"
                self.book.sheets.append(_Sheet(attributes.get("name", ""), is_hidden, relation))
            case "workbookPr":
                self.book.is_1904 = _is_true(attributes.get("date1904"))
            case "calcPr":
                self.book.must_calculate = _is_true(attributes.get("fullCalcOnLoad"))


class _Styles(_Part):
    """The number format of each style of cells."""

    def __init__(self) -> None:
        self._codes: dict[str, NumberFormat] = {}
        self._is_in_cells = False
        self.formats: list[NumberFormat] = []

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        match _local(tag):
            case "numFmt":
                code = attributes.get("formatCode", "")
                self._codes[attributes.get("numFmtId", "")] = number_format(code)
            case "cellXfs":
                self._is_in_cells = True
            case "xf" if self._is_in_cells:
                number = attributes.get("numFmtId", "0")
                is_short = number.isdecimal() and len(number) < 9
                built_in = _BUILT_IN.get(int(number), GENERAL) if is_short else GENERAL
                self.formats.append(self._codes.get(number, built_in))
        if len(self.formats) + len(self._codes) > _MAX_FORMATS:
            raise damaged_error("it has too many formats")

    def end(self, tag: str) -> None:
        if _local(tag) == "cellXfs":
            self._is_in_cells = False


# Characters that XML cannot have, and an underscore that would begin such an escape.
_ESCAPE: Final = re.compile(r"_x([0-9A-Fa-f]{4})_")


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_unescape, text) if "_x" in text else text


def _unescape(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return found[0] if 0xD800 <= code < 0xE000 else chr(code)


class _Texts(_Part):
    """The shared texts: of runs in several formats, and without how to pronounce them."""

    def __init__(self, max_elements: int = MAX_ELEMENTS) -> None:
        self.texts: list[Cell | None] = []
        self._max_elements = self._elements_left = max_elements
        self._pieces: list[str] = []
        self._is_text = False
        self._is_pronunciation = False

    def start(self, tag: str, _attributes: Mapping[str, str]) -> None:
        self._elements_left -= 1
        match _local(tag):
            case "t":
                self._is_text = not self._is_pronunciation
            case "rPh":
                self._is_pronunciation = True
            case "si":
                self._pieces = []
                self._elements_left += _ELEMENTS_OF_TEXT
        if self._elements_left < 0:
            raise too_many_elements_error(self._max_elements)

    def data(self, text: str) -> None:
        if self._is_text:
            self._pieces.append(text)

    def end(self, tag: str) -> None:
        match _local(tag):
            case "t":
                self._is_text = False
            case "rPh":
                self._is_pronunciation = False
            case "si":
                text = _unescaped("".join(self._pieces))
                self.texts.append(Cell(CellKind.TEXT, text) if text else None)


@lru_cache(maxsize=_MAX_COLUMN)
def _column_number(letters: str) -> int:
    """`A` is 0. Raises ValueError."""
    number = 0
    for letter in letters:
        if not "A" <= letter <= "Z":
            raise ValueError(letters)
        number = number * 26 + ord(letter) - 64
    if not 0 < number <= _MAX_COLUMN:
        raise ValueError(letters)
    return number - 1


def cell_name(row: int, column: int) -> str:
    """The name of a cell: row 7 and column 2 are `C7`."""
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return f"{letters}{row}"


_DIGITS: Final = "0123456789"
_ROW_ELEMENTS: Final = frozenset(("row", "c", "v", "f", "is", "t", "rPh", "mergeCell"))
# Their names with a namespace: a file has one namespace.
_MOST_NAMES: Final = 20


class _Rows(_Part):
    """The rows of a sheet; the reader takes them after each block."""

    def __init__(
        self,
        book: _Book,
        formats: Sequence[NumberFormat],
        texts: Sequence[Cell | None],
        max_elements: int = MAX_ELEMENTS,
    ) -> None:
        self._max_elements = self._elements_left = max_elements
        self._book = book
        self._formats = formats
        self._texts = texts
        self.rows: list[SheetRow] = []
        self._count = 0
        self._number = 0
        self._cells: dict[int, Cell] = {}
        # The cell that is being read.
        self._column = -1
        self._is_in_cell = False
        self._type = ""
        self._style = ""
        self._has_formula = False
        self._pieces: list[str] = []
        self._has_value = False
        self._collects = False
        self._names: dict[str, str] = {}
        self._is_pronunciation = False

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        name = self._names.get(tag) or self._name(tag)
        # Eight attributes count as one element more; cells have two or three.
        self._elements_left -= 1 + (len(attributes) >> 3)
        if self._elements_left < 0:
            raise too_many_elements_error(self._max_elements)
        if name in {"v", "t"}:
            self._collects = self._is_in_cell and not self._is_pronunciation
            self._has_value = self._has_value or self._collects
        elif name == "c":
            self._start_cell(attributes)
        elif name == "f":
            self._has_formula = self._is_in_cell
        elif name == "row":
            self._start_row(attributes.get("r"))
        elif name == "rPh":
            self._is_pronunciation = True
        elif name == "mergeCell":
            place = escaped(attributes.get("ref", ""))[:20]
            raise InvalidRequestError(
                f"The cells {place} of the sheet are merged, so it is not clear which rows and "
                "columns their value belongs to: unmerge them."
            )

    def data(self, text: str) -> None:
        if self._collects:
            self._pieces.append(text)

    def end(self, tag: str) -> None:
        name = self._names.get(tag)
        if name in {"v", "t"}:
            self._collects = False
        elif name == "c":
            self._is_in_cell = False
            cell = self._finished_cell("".join(self._pieces))
            if cell is not None:
                if self._column in self._cells:
                    raise damaged_error(f"{self._place} is in its row twice")
                self._cells[self._column] = cell
        elif name == "rPh":
            self._is_pronunciation = False
        elif name == "row" and self._cells:
            self.rows.append(SheetRow(self._number, self._cells))
            self._cells = {}

    def _name(self, tag: str) -> str:
        """The name of an element; those of a sheet are remembered, the others may be endless."""
        name = _local(tag)
        if name in _ROW_ELEMENTS and len(self._names) < _MOST_NAMES:
            self._names[tag] = name
        return name

    def _start_row(self, number: str | None) -> None:
        before = self._number
        self._column = -1
        try:
            self._number = before + 1 if number is None else int(number[:10])
        except ValueError:
            self._number = 0
        if not before < self._number <= _MAX_ROW:
            raise damaged_error(f"its rows are in no order behind row {before}")

    def _start_cell(self, attributes: Mapping[str, str]) -> None:
        self._count += 1
        self._elements_left += _ELEMENTS_OF_CELL
        if self._count > MAX_CELLS:
            raise _too_many_cells_error()
        place = attributes.get("r")
        try:
            self._column = (
                self._column + 1 if place is None else _column_number(place.rstrip(_DIGITS)[:4])
            )
        except ValueError:
            raise damaged_error(f"row {self._number} has a cell without a place") from None
        if self._column >= _MAX_COLUMN:
            raise damaged_error(f"row {self._number} has too many cells")
        self._type = attributes.get("t", "n")
        self._style = attributes.get("s", "")
        self._has_formula = False
        self._has_value = False
        self._pieces = []
        self._is_in_cell = True

    def _finished_cell(self, value: str) -> Cell | None:
        """The cell that was read; None for an empty one."""
        if self._type == "s":
            if not value:
                return None
            if not value.isdecimal() or len(value) > 9 or int(value) >= len(self._texts):
                raise damaged_error(f"{self._place} has a text that is missing")
            return self._texts[int(value)]
        if self._type in ("str", "inlineStr"):
            if value:
                return Cell(CellKind.TEXT, _unescaped(value))
            return _NO_VALUE if self._has_formula and not self._has_value else None
        value = value.strip()
        if not value:
            return _NO_VALUE if self._has_formula else None
        if self._type == "e":
            return Cell(CellKind.ERROR, value[:20])
        if self._type == "b":
            return Cell(CellKind.BOOLEAN, "true" if _is_true(value.lower()) else "false")
        if self._type == "d":
            return iso_cell(value, self._format.shown)
        return self._number_cell(value)

    @property
    def _format(self) -> NumberFormat:
        style = int(self._style[:9] or 0)
        return self._formats[style] if 0 <= style < len(self._formats) else GENERAL

    def _number_cell(self, value: str) -> Cell:
        if value == "0" and self._has_formula and self._book.must_calculate:
            # Libraries that cannot calculate write 0 and ask the program to calculate.
            return _NO_VALUE
        try:
            format_ = self._format
            text = plain_number(value)
            if format_.shown in _DATES_AND_TIMES:
                return date_cell(value, format_.shown, self._book.is_1904)
        except (ValueError, OverflowError):
            raise damaged_error(f"{self._place} has a number that cannot be read") from None
        return Cell(CellKind.NUMBER, text, _format_of(value, format_))

    @property
    def _place(self) -> str:
        return f"the cell {cell_name(self._number, self._column)}"


def _too_many_cells_error() -> TooLargeError:
    return TooLargeError(
        f"The sheet has more than {MAX_CELLS} cells, which is the limit: delete empty rows and "
        "columns that have a format, or send the rows in several files."
    )


def read_sheet(
    body: bytes, max_bytes: int, sheet: str = "", *, max_elements: int = MAX_ELEMENTS
) -> Iterator[SheetRow]:
    """The rows of a sheet that have a cell with a value: of that name, else the first visible one.

    `max_bytes` limits what is kept of the file, and with it what its sheet unpacks to (`Archive`).
    Hidden rows and columns are read like others. Raises InvalidRequestError and TooLargeError, also
    while it yields: merged cells stand at the end of a sheet.
    """
    archive = Archive(body, max_bytes)
    content_types = _ContentTypes()
    if "[Content_Types].xml" not in archive.names:
        raise InvalidRequestError(_OTHER_PROGRAM)
    archive.feed("[Content_Types].xml", content_types)
    root = _Relations("")
    archive.feed("_rels/.rels", root)
    place = root.find("officeDocument")
    if content_types.is_binary:
        raise InvalidRequestError(_BINARY)
    if place is None or dirname(place) == "word":
        raise InvalidRequestError(_OTHER_PROGRAM)
    macros = next((name for name in archive.names if name.endswith("vbaProject.bin")), None)
    if macros or content_types.has_macros:
        raise InvalidRequestError(_MACROS.format(place=escaped(macros or place)[:60]))
    workbook = _Workbook()
    archive.feed(place, workbook)
    relations = _Relations(dirname(place))
    archive.feed(join(dirname(place), "_rels", f"{place.rpartition('/')[2]}.rels"), relations)
    part = _sheet_part(workbook.book.sheets, relations.by_id, sheet)
    styles, texts = _Styles(), _Texts(max_elements)
    name = relations.find("styles")
    if name is not None and name in archive.names:
        archive.feed(name, styles)
    name = relations.find("sharedStrings")
    if name is not None and name in archive.names:
        for _ in archive.feed_in_blocks(name, texts):
            if len(texts.texts) > MAX_CELLS:
                raise _too_many_cells_error()
    rows = _Rows(workbook.book, styles.formats, texts.texts, max_elements)
    for _ in archive.feed_in_blocks(part, rows, is_streamed=True):
        yield from rows.rows
        rows.rows = []


def _sheet_part(sheets: Sequence[_Sheet], relations: Mapping[str, _Relation], wanted: str) -> str:
    """The part of the sheet that is to be read."""
    if any(_type_of(each, relations).endswith("Macrosheet") for each in sheets):
        name = next(each for each in sheets if _type_of(each, relations).endswith("Macrosheet"))
        raise InvalidRequestError(_MACROS.format(place=f"the sheet {escaped(name.name)[:60]}"))
    tables = [each for each in sheets if _type_of(each, relations) == "worksheet"]
    if wanted:
        named = [each for each in tables if each.name.casefold() == wanted.casefold()]
        if not named:
            names = [each.name for each in tables]
            shown = ", ".join(escaped(name)[:60] for name in names[:_MOST_NAMED])
            meant = nearest(wanted, names)
            advice = f" Did you mean {escaped(meant)[:60]}?" if meant else ""
            raise InvalidRequestError(
                f"The spreadsheet has no sheet of that name; its sheets are: {shown}.{advice}"
            )
        return relations[named[0].relation].target
    visible = [each for each in tables if not each.is_hidden]
    if not visible:
        raise InvalidRequestError("The spreadsheet has no visible sheet with cells: name one.")
    return relations[visible[0].relation].target


def _type_of(sheet: _Sheet, relations: Mapping[str, _Relation]) -> str:
    relation = relations.get(sheet.relation)
    return "" if relation is None else relation.type


# Everything in a spreadsheet, for the search for a person.

# Parts without values of cells: pictures, formats, and where things stand.
_NO_VALUES: Final = re.compile(
    r"(?:.*\.(?:rels|vml|png|jpe?g|gif|emf|wmf|tiff?|svg)|.*/printerSettings[0-9]*\.bin"
    r"|.*/theme[0-9]*\.xml|\[Content_Types\]\.xml|.*/)",
    re.IGNORECASE | re.DOTALL,
)
_OUTSIDE_NUMBER: Final = re.compile(r"\s*-?[0-9.]+\s*")


class _Everything(_Rows):
    """The cells of a sheet, also merged ones, and the texts of any other part."""

    def __init__(
        self,
        book: _Book,
        formats: Sequence[NumberFormat],
        texts: Sequence[Cell | None],
        number_elements: Collection[str],
    ) -> None:
        """`number_elements` may have a number that is a value; others have numbers of places."""
        super().__init__(book, formats, texts)
        self.texts: list[Cell] = []
        self._number_elements = number_elements
        self._outside: list[str] = []

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._end_text("")
        if tag.endswith("mergeCell"):
            return
        if not self._is_in_cell and "v" in attributes and _local(tag) in ("s", "n"):
            # What a pivot table keeps of the cells.
            self.texts.append(Cell(CellKind.TEXT, _unescaped(attributes["v"])))
        super().start(tag, attributes)

    def data(self, text: str) -> None:
        super().data(text)
        if not self._is_in_cell:
            self._outside.append(text)

    def end(self, tag: str) -> None:
        self._end_text(tag)
        super().end(tag)

    def _end_text(self, tag: str) -> None:
        if not self._outside:
            return
        text = "".join(self._outside)
        self._outside = []
        if not _OUTSIDE_NUMBER.fullmatch(text) or _local(tag) in self._number_elements:
            self.texts.append(Cell(CellKind.TEXT, _unescaped(text)))


def all_cells(body: bytes, max_bytes: int) -> Iterator[Cell]:
    """The cells of all sheets, hidden ones too, and what else has texts: comments, names of sheets,
    shared texts that no cell has any more.

    Raises what `read_sheet` raises, at the end also where a part is none that can be read.
    """
    archive = Archive(body, max_bytes)
    root = _Relations("")
    if "_rels/.rels" in archive.names:
        archive.feed("_rels/.rels", root)
    place = root.find("officeDocument") or ""
    workbook, relations = _Workbook(), _Relations(dirname(place))
    rels = join(dirname(place), "_rels", f"{place.rpartition('/')[2]}.rels")
    if place in archive.names and rels in archive.names:
        archive.feed(place, workbook)
        archive.feed(rels, relations)
    styles, texts = _Styles(), _Texts()
    styles_place, texts_place = relations.find("styles"), relations.find("sharedStrings")
    if styles_place in archive.names:
        archive.feed(styles_place, styles)
    if texts_place in archive.names:
        for _ in archive.feed_in_blocks(texts_place, texts):
            if len(texts.texts) > MAX_CELLS:
                raise _too_many_cells_error()
    yield from (Cell(CellKind.TEXT, each.name) for each in workbook.book.sheets)
    yield from (each for each in texts.texts if each is not None)
    is_readable = True
    for name in sorted(archive.names - {styles_place, texts_place}):
        if _NO_VALUES.fullmatch(name):
            continue
        if not name.lower().endswith(".xml"):
            is_readable = False  # an embedded file, macros, a sheet of .xlsb
            continue
        # A chart has the numbers of dates; those of its other values are in cells too.
        elements = ("t",) if "/charts/" in name else ("t", "v")
        part = _Everything(workbook.book, styles.formats, texts.texts, elements)
        for _ in archive.feed_in_blocks(name, part, is_streamed=True):
            yield from part.texts
            yield from (cell for row in part.rows for cell in row.cells.values())
            part.texts, part.rows = [], []
    if not is_readable:
        raise damaged_error("a part of it is of another program")
