"""Reading a JSON payload: from the bytes of a call to rows that know their identity.

This module decodes a body row by row and keeps no row's objects, so memory holds the text once and
a few numbers per row. It refuses the whole body for what docs/contracts.md#0 ("JSON in") forbids:
not UTF-8, not JSON, duplicate names (also those equal but for case), NaN and Infinity, nesting over
32. A row over one of the limits below refuses the whole body too, because the decoder allocates
tens of bytes for each byte of a row before the row's key is known. The standard library's decoder
gives the span of each row, exact decimals (`parse_float`) and every name of an object
(`object_pairs_hook`) in one pass.
"""

from __future__ import annotations

import json
import re
import zlib
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple, NoReturn, Protocol, overload

from shared.errors import (
    InvalidRequestError,
    TooLargeError,
    UnreadablePayloadError,
    UnsupportedPayloadError,
)
from shared.imports.exact_json import ExactReader, read_exactly
from shared.imports.object_names import NamesCache
from shared.imports.results import rows_in

# Levels of nesting in the whole body, including the array of the rows.
MAX_DEPTH = 32
# Characters of one row: eight times the limit of a stored record.
MAX_ROW_BYTES = 8 * 1024 * 1024
# Bytes of all rows as they are stored, over those of a body: each row of a file gets the names of
# its columns, and a cell of a spreadsheet refers to a text that many cells share.
_STORED_RATIO = 4
# A small body may become this much.
_LEAST_STORED_BYTES = 16 * 1024 * 1024
# Values of one row: an assignment of 1,000 rates with all their fields has 18,000.
MAX_VALUES = 20_000
# Names of one object: the largest one of the contracts has some 80.
MAX_NAMES = 500
# Characters of one name.
MAX_NAME = 1_000
# Values of a body that is read as one document: 20 for each of 100,000 records.
MAX_DOCUMENT_VALUES = 2_000_000
# Reading stops at this multiple of the limit of rows; the exact count is not worth the time.
_ROW_LIMIT_FACTOR = 2
_WHITESPACE = re.compile(r"[ \t\n\r]*")
# The start of a stored line: the index of its row and the checksum of index and JSON.
_LINE_PREFIX = re.compile(rb"([0-9]{1,9}):[0-9a-f]{8}")
_LINE_OVERHEAD = len(":01234567\t\n")
# Between the JSON of a row and its notes. JSON has no raw control characters, so no row has it.
_NOTES_SEPARATOR = "\x1f"
_NOTES_BYTE = _NOTES_SEPARATOR.encode()
LINE_BREAKS = str.maketrans("\r\n", "  ")
_LINE_BREAK_BYTES = bytes.maketrans(b"\r\n", b"  ")
# Characters of the text in which commas are counted at once: some hundred rows of workers.
_WINDOW = 512 * 1024
_MANY_COMMAS = re.compile(f"(?:[^,]*+,){{{MAX_VALUES}}}")
# A string, or a structural character outside of strings. An unterminated string extends to the end
# of the text.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class RawRow:
    """The position of a row in the body, and the sort key of its record.

    `start` and `end` are offsets in the payload's text. Rows of the same record have the same
    `sort_key`; it is None where the row has no usable key.
    """

    index: int
    sort_key: str | None
    start: int
    end: int


class RowTable(Sequence[RawRow]):
    """The rows of a payload as numbers in arrays and a sort key each.

    A `RawRow` is made when it is asked for: an object for each of 100,000 rows would take more
    memory than the rows of a narrow file.
    """

    __slots__ = ("_ends", "_sort_keys", "_starts")

    def __init__(self) -> None:
        self._sort_keys: list[str | None] = []
        self._starts = array("L")
        self._ends = array("L")

    def add(self, sort_key: str | None, start: int, end: int) -> None:
        """Add the next row."""
        self._sort_keys.append(sort_key)
        self._starts.append(start)
        self._ends.append(end)

    def __len__(self) -> int:
        return len(self._sort_keys)

    @overload
    def __getitem__(self, index: int) -> RawRow: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[RawRow]: ...

    def __getitem__(self, index: int | slice) -> RawRow | Sequence[RawRow]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        return RawRow(at, self._sort_keys[at], self._starts[at], self._ends[at])

    def __iter__(self) -> Iterator[RawRow]:
        return map(RawRow, range(len(self)), self._sort_keys, self._starts, self._ends)


def max_stored_bytes(max_body_bytes: int) -> int:
    """The most bytes that all rows of a file may have as they are stored (`StoredBytes`)."""
    return max(_LEAST_STORED_BYTES, _STORED_RATIO * max_body_bytes)


class StoredBytes:
    """Counts the bytes of the rows that a reader makes of a file, so that they stay bounded."""

    def __init__(self, limit: int) -> None:
        """`limit`: the most bytes of all rows (`max_stored_bytes`)."""
        self._limit = limit
        self._count = 0

    def add(self, size: int) -> None:
        """Count the bytes of a row. Raises TooLargeError over the limit."""
        self._count += size
        if self._count > self._limit:
            raise TooLargeError(
                f"The rows have more than {self._limit} bytes with the names of their columns and "
                "what a profile adds, which is the limit: send them in several files or calls, or "
                "shorten the names of the columns."
            )


class RowText(NamedTuple):
    """The JSON of a row, and the JSON of its notes (`shared.imports.files.notes`), if it has any.

    Only a reader of files writes notes. The JSON of a row cannot contain them, because no JSON text
    has the control character that separates both in a line.
    """

    text: str
    notes: str = ""


class Payload(Protocol):
    """The rows of a call's body or of a file, in the order they were sent."""

    @property
    def rows(self) -> Sequence[RawRow]:
        """The rows."""

    @property
    def skipped(self) -> int:
        """How many more rows were sent, which a mapping profile passes over."""

    def row_text(self, row: RawRow) -> RowText:
        """The JSON of a row, in one line, and its notes."""

    def line_size(self, row: RawRow) -> int:
        """The length of the row's line in bytes."""

    def line(self, row: RawRow) -> bytes:
        """The row as one line (`line_of`)."""


# The sort key of a row whose names are in lower case; None if the row has no usable key.
SortKey = Callable[[Mapping[str, Any]], str | None]
# Reads the bytes of a body into its rows, up to the given number (`read_payload`).
Reader = Callable[[bytes, SortKey, int], Payload]


@dataclass(frozen=True, slots=True)
class TextPayload:
    """A payload whose text is in memory; `notes` has the notes of rows by their index."""

    text: str
    rows: Sequence[RawRow]
    notes: Mapping[int, str] = field(default_factory=dict)
    skipped: int = 0

    def row_text(self, row: RawRow) -> RowText:
        """See `Payload.row_text`; line breaks of the JSON become blanks."""
        text = self.text[row.start : row.end]
        if "\n" in text or "\r" in text:
            text = text.translate(LINE_BREAKS)
        return RowText(text, self.notes.get(row.index, ""))

    def line_size(self, row: RawRow) -> int:
        """See `Payload.line_size`."""
        if self.text.isascii() and not self.notes:
            return len(str(row.index)) + row.end - row.start + _LINE_OVERHEAD
        return len(self.line(row))

    def line(self, row: RawRow) -> bytes:
        """See `Payload.line`."""
        return line_of(row.index, *self.row_text(row))


@dataclass(frozen=True, slots=True)
class AsciiPayload:
    """The rows of a body in ASCII. Its bytes are its text, so memory holds it once."""

    body: bytes
    rows: Sequence[RawRow]
    notes: Mapping[int, str] = field(default_factory=dict)
    skipped: int = 0

    def row_text(self, row: RawRow) -> RowText:
        """See `Payload.row_text`; line breaks of the JSON become blanks."""
        return RowText(self._row(row).decode(), self.notes.get(row.index, ""))

    def line_size(self, row: RawRow) -> int:
        """See `Payload.line_size`."""
        if row.index in self.notes:
            return len(self.line(row))
        return len(str(row.index)) + row.end - row.start + _LINE_OVERHEAD

    def line(self, row: RawRow) -> bytes:
        """See `Payload.line`."""
        if row.index in self.notes:
            return line_of(row.index, *self.row_text(row))
        return _line(row.index, self._row(row))

    def _row(self, row: RawRow) -> bytes:
        data = self.body[row.start : row.end]
        # To find that there is no line break takes a tenth of a translation.
        has_line_break = b"\n" in data or b"\r" in data
        return data.translate(_LINE_BREAK_BYTES) if has_line_break else data


def read_payload(
    body: bytes,
    sort_key: SortKey,
    max_rows: int,
    max_row_bytes: int = MAX_ROW_BYTES,
) -> TextPayload | AsciiPayload:
    """Split a JSON array of objects into its rows, as `read_text_payload` does."""
    payload = read_text_payload(body, sort_key, max_rows, max_row_bytes)
    is_ascii = len(payload.text) == len(body)
    return AsciiPayload(body, payload.rows) if is_ascii else payload


def read_text_payload(
    body: bytes,
    sort_key: SortKey,
    max_rows: int,
    max_row_bytes: int = MAX_ROW_BYTES,
) -> TextPayload:
    """Split a JSON array of objects into its rows.

    `sort_key` is called once per row, with its names in lower case. Raises InvalidRequestError
    (with line and column) for what cannot be parsed, UnsupportedPayloadError for JSON that is not
    an array of objects, TooLargeError for too many rows (in this order) and for a row over a limit.
    The messages never quote the body.
    """
    text = _decode_utf8(body, "a JSON array of objects")
    try:
        rows, not_supported, count = _read_rows(text, sort_key, max_rows, max_row_bytes)
    except json.JSONDecodeError as error:
        location = f"line {error.lineno}, column {error.colno}"
        raise _invalid_json_error("The body", error, location) from None
    if not_supported:
        raise UnsupportedPayloadError(f"Payload data not supported: {not_supported}.")
    if count > max_rows:
        raise too_many_rows_error(str(count), max_rows)
    return TextPayload(text, rows)


def read_document(body: bytes) -> Any:
    """Read a whole JSON document, for calls that are not a plain array; all names in lower case.

    It refuses the same as `read_payload`. Raises InvalidRequestError, which never quotes the body.
    """
    text = _decode_utf8(body, "a JSON object")
    if text.count(",") > MAX_DOCUMENT_VALUES:
        raise over_limit_error(None, f"{MAX_DOCUMENT_VALUES} values")
    try:
        start = _skip(text, 0)
        document, end = _decode_at(text, start, None, _FOLDING_DECODER)
        _expect_end(text, end)
    except json.JSONDecodeError as error:
        location = f"line {error.lineno}, column {error.colno}"
        raise _invalid_json_error("The body", error, location) from None
    return document


def read_row_of_line(line: str, index: int, number: int) -> Mapping[str, Any]:
    """Read the object on a line of NDJSON; its own names in lower case.

    `index` and `number` are the row's index and the line's number, for messages. It refuses the
    same as `read_payload`. Raises InvalidRequestError and TooLargeError, which name the line and
    never quote it.
    """
    name = f"index {index}, line {number}"
    if len(line) > MAX_ROW_BYTES:
        raise over_limit_error(name, f"{MAX_ROW_BYTES} bytes")
    try:
        element, end = _BoundedDecoder(line, _FOLDING_DECODER).decode(_skip(line, 0), name)
        _expect_end(line, end)
    except json.JSONDecodeError as error:
        raise _invalid_json_error(name, error, f"column {error.colno}") from None
    if not isinstance(element, dict):
        raise InvalidRequestError(
            f"{name} is {json_kind(element)}: each line must hold one JSON object; correct it and "
            "send the rows again."
        )
    return element


def json_kind(value: Any) -> str:
    """The name of a JSON value's type, as messages show it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a string"
        case int():
            return "a number"
        case Decimal() | float():
            return "a number with a fraction"
        case list():
            return "a list"
        case _:
            return "an object"


def payload_from_rows(rows: Iterable[Mapping[str, Any]], sort_key: SortKey) -> TextPayload:
    """Make a payload of rows that were read from another format."""
    texts: list[str] = []
    raw_rows: list[RawRow] = []
    start = 0
    for index, row in enumerate(rows):
        text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        raw_rows.append(RawRow(index, sort_key(fold_names(row)), start, start + len(text)))
        texts.append(text)
        start += len(text)
    return TextPayload("".join(texts), raw_rows)


def line_of(index: int, text: str, notes: str = "") -> bytes:
    """The line of a row: index, colon, checksum, tab, JSON, and the notes behind a separator.

    A byte that storage garbles may leave valid JSON. Without the checksum a wrong amount would be
    imported.
    """
    return _line(index, (f"{text}{_NOTES_SEPARATOR}{notes}" if notes else text).encode())


def _line(index: int, data: bytes) -> bytes:
    return b"%d:%08x\t%b\n" % (index, _checksum(index, data), data)


def _checksum(index: int, text: bytes) -> int:
    return zlib.crc32(text, index)


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a stored payload: its index, its values with names as sent, its notes as JSON."""

    index: int
    row: dict[str, Any]
    notes: str = ""


def read_lines(data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Index and row of each line, names as sent. Raises UnreadablePayloadError for a broken line.

    For rows that have no notes, or whose notes do not matter; see `read_noted_lines`.
    """
    for line in map(read_line, _split_lines(data)):
        yield line.index, line.row


def read_noted_lines(data: bytes) -> Iterator[Line]:
    """The inverse of `Payload.line`. Raises UnreadablePayloadError for a broken line."""
    read = ExactReader().read
    for line in _split_lines(data):
        yield read_line(line, read)


def _split_lines(data: bytes) -> Iterator[bytes]:
    """The lines one by one; in a list they would be in memory a second time."""
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        yield data[start:end]
        start = end + 1
    if start < len(data):
        yield data[start:]


def read_line(line: bytes, read: Callable[[bytes], Any] = read_exactly) -> Line:
    """Read one line; `read` is that of an `ExactReader`. Raises UnreadablePayloadError."""
    try:
        index, text, notes = split_line(line)
        row = read(text)
        if isinstance(row, dict):
            return Line(index, row, notes.decode())
    except (ValueError, ArithmeticError, RecursionError):
        pass
    raise UnreadablePayloadError("a row in the payload of the import")


class LinePlace(NamedTuple):
    """Where a line of a chunk is: its start and end, and the start and end of its JSON.

    The end of the line is that of its notes. `row` is the index of the row.
    """

    row: int
    start: int
    text: int
    text_end: int
    end: int


def line_places(data: bytes) -> Iterator[LinePlace]:
    """The places of the lines of a chunk, none of which is broken (`is_whole`)."""
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        text = data.find(b"\t", start, end) + 1
        row = int(data[start : data.find(b":", start, end)])
        notes = data.find(_NOTES_BYTE, text, end)
        yield LinePlace(row, start, text, end if notes < 0 else notes, end)
        start = end + 1


def split_line(line: bytes) -> tuple[int, bytes, bytes]:
    """Index, JSON and notes of a line. Raises ValueError where the line was changed since."""
    head, _, text = line.partition(b"\t")
    index = _parse_index(head)
    if int(head[-8:], 16) != _checksum(index, text):
        raise ValueError("the checksum does not fit")
    text, _, notes = text.partition(_NOTES_BYTE)
    return index, text, notes


def _parse_index(head: bytes) -> int:
    match = _LINE_PREFIX.fullmatch(head)
    if match is None:
        raise ValueError("no index")
    return int(match[1])


def read_row_texts(data: bytes) -> Iterator[tuple[int, RowText]]:
    """Index and text of the row of each line, the JSON as it was sent; skips broken lines."""
    seen_indexes: set[int] = set()
    for line in _split_lines(data):
        with suppress(ValueError):
            index, text, notes = split_line(line)
            if index not in seen_indexes:
                seen_indexes.add(index)
                yield index, RowText(text.decode(), notes.decode())


def is_row(text: str) -> bool:
    """Whether a text is a JSON object, as every row is."""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


@dataclass(frozen=True, slots=True)
class ChunkLines:
    """The readable lines of a chunk.

    `order` has the indexes of all rows, also of the broken lines whose index can be read; it is
    None where no line is broken.
    """

    usable: bytes
    rows: int
    order: Sequence[int] | None = None


def is_whole(data: bytes, rows: int, rows_of_import: int) -> bool:
    """Whether a chunk's bytes have a line for each of its rows, each with a different index.

    This does not parse the JSON; the type's own processor does that once.
    """
    if data.count(b"\n") != rows or (data and not data.endswith(b"\n")):
        return False
    try:
        indexes = {split_line(line)[0] for line in _split_lines(data)}
    except ValueError:
        return False
    return len(indexes) == rows and max(indexes, default=0) < rows_of_import


def drop_broken_lines(
    data: bytes, rows: int, is_readable: Callable[[int, Mapping[str, Any]], bool]
) -> ChunkLines:
    """Drop the broken lines of a chunk; `rows` is how many rows the import has.

    `is_readable` is the type's own check of a row that is valid JSON. Of two lines with the same
    index, which are equal, the first is used.
    """
    lines: dict[int, bytes] = {}
    for line in data.split(b"\n"):
        with suppress(ValueError):
            index = _parse_index(line.partition(b"\t")[0])
            if index < rows and not lines.get(index):
                lines[index] = line + b"\n" if _is_usable(line, is_readable) else b""
    usable = [line for line in lines.values() if line]
    return ChunkLines(b"".join(usable), len(usable), list(lines))


def _is_usable(line: bytes, is_readable: Callable[[int, Mapping[str, Any]], bool]) -> bool:
    try:
        read = read_line(line)
        return is_readable(read.index, read.row)
    except Exception:
        # A garbled row can make its reader raise anything; only this row is broken.
        return False


def member_text(text: str, start: int, name: str) -> str:
    """The text of a member of the JSON object that begins at `start`; its name in any case."""
    begin, end = member_span(text, start, name)
    return text[begin:end]


def member_span(text: str, start: int, name: str) -> tuple[int, int]:
    """The start and end of a member's value in the JSON object that begins at `start`.

    The object must be valid JSON and have the member. The member's name may be in any case.
    """
    position = _skip(text, start + 1)
    while True:
        member_name, position = _UNCONVERTED_DECODER.raw_decode(text, position)
        value_start = _skip(text, _skip(text, position) + 1)
        _, value_end = _UNCONVERTED_DECODER.raw_decode(text, value_start)
        if member_name.lower() == name:
            return value_start, value_end
        position = _skip(text, _skip(text, value_end) + 1)


def fold_names(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its own names in lower case (names inside its values stay as they are)."""
    return {name.lower(): value for name, value in row.items()}


def _decode_utf8(body: bytes, expected: str) -> str:
    if not body:
        raise InvalidRequestError(f"The body is empty: send {expected}, with a Content-Length.")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequestError(
            f"The body is not UTF-8: the byte at offset {error.start} does not fit. It may be in "
            "Windows-1252 or another older charset: convert it to UTF-8 and send it again."
        ) from None


def _invalid_json_error(
    name: str, error: json.JSONDecodeError, location: str
) -> InvalidRequestError:
    is_other_format = name == "The body" and error.pos == 0
    other = " Other formats need their Content-Type, a CSV text/csv." if is_other_format else ""
    return InvalidRequestError(
        f"{name} is not valid JSON: {error.msg} ({location}); correct it there and send it again."
        f"{other}"
    )


def _read_rows(
    text: str,
    sort_key: SortKey,
    max_rows: int,
    max_row_bytes: int,
) -> tuple[RowTable, str, int]:
    """The rows, the fault of an element that is not an object ("" without one), and the count."""
    rows = RowTable()
    not_supported = ""
    index = -1
    is_array = text.startswith("[", _skip(text, 0))
    for index, (element, start, end) in enumerate(_elements(text)):
        if index >= _ROW_LIMIT_FACTOR * max_rows:
            raise too_many_rows_error(f"more than {_ROW_LIMIT_FACTOR * max_rows}", max_rows)
        if end - start > max_row_bytes:
            raise over_limit_error(_RowPosition(text, index, start), f"{max_row_bytes} bytes")
        if not_supported:
            continue
        if not isinstance(element, dict) or not is_array:
            name = _RowPosition(text, index, start) if is_array else "the body"
            ending = ", each of them a row" if is_array else ""
            not_supported = f"{name} is {json_kind(element)}; send a JSON array of objects{ending}"
        elif index < max_rows:
            rows.add(sort_key(_FoldedRow(element)), start, end)
    return rows, not_supported, index + 1


class _RowPosition(NamedTuple):
    """The position of a row for messages; `str` counts the lines, so it costs nothing unused."""

    text: str
    row: int
    start: int

    def __str__(self) -> str:
        line = self.text.count("\n", 0, self.start) + 1
        return f"index {self.row} (line {line})"


def _elements(text: str) -> Iterator[tuple[Any, int, int]]:
    """Each element of the array with its span; another document is yielded as one element.

    All names are as sent.
    """
    decoder = _BoundedDecoder(text, _ROW_DECODER)
    position = _skip(text, 0)
    if text[position : position + 1] != "[":
        element, end = decoder.decode(position, None)
        _expect_end(text, end)
        yield element, position, end
        return
    position = _skip(text, position + 1)
    if text[position : position + 1] == "]":
        _expect_end(text, position + 1)
        return
    row = 0
    while True:
        element, end = decoder.decode(position, _RowPosition(text, row, position))
        yield element, position, end
        row += 1
        position = _skip(text, end)
        delimiter = text[position : position + 1]
        if delimiter == "]":
            _expect_end(text, position + 1)
            return
        if delimiter != ",":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
        position = _skip(text, position + 1)


# How messages name a row; None for the whole body.
_RowLabel = _RowPosition | str | None


class _BoundedDecoder:
    """Decodes elements one by one and refuses one that has more than MAX_VALUES values.

    The library cannot stop at a number of values. So this class gives it a window of the text that
    has fewer than MAX_VALUES commas. Nearly all elements end in the window that an earlier element
    opened, so the commas of the text are counted about once, in C.
    """

    def __init__(self, text: str, decoder: json.JSONDecoder) -> None:
        self._text = text
        self._decoder = decoder
        self._window, self._start, self._end = text, 0, -1
        self._is_largest = False

    def decode(self, position: int, row: _RowLabel) -> tuple[Any, int]:
        """The element at a position and its end; `row` is its name in messages."""
        if position >= self._end:
            self._open_window(position)
        while self._end < len(self._text):
            try:
                element, end = _decode_at(self._window, position - self._start, row, self._decoder)
            except json.JSONDecodeError:
                if self._start < position:
                    self._open_window(position)
                    continue
                if not self._is_largest:
                    self._open_largest_window(position)
                    continue
                # The element has too many values, or commas within a text, or is not JSON.
                _check_values(self._text, position, row)
                break
            return element, self._start + end
        return _decode_at(self._text, position, row, self._decoder)

    def _open_window(self, position: int) -> None:
        size = _WINDOW
        while self._text.count(",", position, position + size) >= MAX_VALUES:
            size //= 2
        self._set_window(position, min(position + size, len(self._text)), is_largest=False)

    def _open_largest_window(self, position: int) -> None:
        """Up to the comma of number MAX_VALUES; looking for it takes longer than counting."""
        window_match = _MANY_COMMAS.match(self._text, position)
        end = window_match.end() if window_match else len(self._text)
        self._set_window(position, end, is_largest=True)

    def _set_window(self, start: int, end: int, *, is_largest: bool) -> None:
        self._start, self._end, self._is_largest = start, end, is_largest
        self._window = self._text[start:end] if end < len(self._text) else ""


def _check_values(text: str, start: int, row: _RowLabel) -> None:
    """Raises TooLargeError where the value that begins at `start` contains too many values."""
    depth = count = 0
    for token in _TOKEN.finditer(text, start):
        character = token[0]
        if character == ",":
            count += 1
            if count >= MAX_VALUES:
                raise over_limit_error(row, f"{MAX_VALUES} values")
        elif character in "{[":
            depth += 1
        elif character in "}]":
            depth -= 1
            if depth <= 0:
                return


def _skip(text: str, position: int) -> int:
    match = _WHITESPACE.match(text, position)
    return position if match is None else match.end()


def _expect_end(text: str, position: int) -> None:
    position = _skip(text, position)
    if position != len(text):
        raise json.JSONDecodeError("Extra data", text, position)


def _decode_at(
    text: str, position: int, row: _RowLabel, decoder: json.JSONDecoder
) -> tuple[Any, int]:
    """The value at a position and its end; `row` is its name in messages."""
    try:
        element, end = decoder.raw_decode(text, position)
    except _DuplicateNameError:
        raise InvalidRequestError(
            f"{_label(row)} has a property name twice; leave one of them out (names that differ "
            "only in upper and lower case count as the same)."
        ) from None
    except _TooManyNamesError as error:
        raise over_limit_error(row, str(error)) from None
    except (InvalidOperation, OverflowError):
        raise InvalidRequestError(
            f"{_label(row)} has a number out of range; send a smaller exponent."
        ) from None
    except json.JSONDecodeError:
        raise
    except ValueError:
        raise InvalidRequestError(
            f"{_label(row)} has a number with too many digits, or NaN or Infinity; send a number "
            "of the field's range."
        ) from None
    except RecursionError:
        raise _too_deep_error(row) from None
    if _is_too_deep(text, position, end, element):
        raise _too_deep_error(row)
    _check_surrogates(text, position, end, element, row)
    return element, end


def _is_too_deep(text: str, start: int, end: int, element: Any) -> bool:
    if text.count("{", start, end) + text.count("[", start, end) < MAX_DEPTH:
        return False
    level = [element] if isinstance(element, (dict, list)) else []
    for _ in range(MAX_DEPTH - 1):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
    return bool(level)


def _label(row: _RowLabel) -> str:
    if isinstance(row, _RowPosition):
        return f"The row of {row}"
    return "The body" if row is None else row


def _check_surrogates(text: str, start: int, end: int, element: Any, row: _RowLabel) -> None:
    """Refuse half a surrogate pair: it is not a character and storage cannot hold it."""
    # A single character is found several times as quickly as two.
    if text.find("\\", start, end) < 0 or text.find("\\u", start, end) < 0:
        return
    try:
        json.dumps(element, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidRequestError(
            f"{_label(row)} has half a surrogate pair in an escape, which is no character; send "
            "both halves."
        ) from None


def too_many_rows_error(count: str, limit: int) -> TooLargeError:
    """The error for a payload of more rows than a call may have."""
    return TooLargeError(
        f"The payload has {count} rows and the limit is {limit}: send it in several calls."
    )


def over_limit_error(row: _RowLabel, limit: str) -> TooLargeError:
    """The error for a row (None: the whole body) that is over a limit; the message names it."""
    return TooLargeError(
        f"{_label(row)} has more than {limit}, which is the limit: send less of it."
    )


def _too_deep_error(row: _RowLabel) -> InvalidRequestError:
    return InvalidRequestError(
        f"{_label(row)} is nested more than {MAX_DEPTH} levels deep; send the fields of the schema "
        "only."
    )


class _DuplicateNameError(ValueError):
    """Two names of one object are equal but for case."""


class _TooManyNamesError(ValueError):
    """An object has too many names, or one that is too long; the argument is the limit."""


def _fold_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_NAMES:
        raise _TooManyNamesError(f"{MAX_NAMES} names in one object")
    folded = {name.lower(): value for name, value in pairs}
    if len(folded) != len(pairs):
        raise _DuplicateNameError
    if max(map(len, folded), default=0) > MAX_NAME:
        raise _TooManyNamesError(f"{MAX_NAME} characters in a name")
    return folded


def _find_folded(names: tuple[str, ...]) -> Mapping[str, str] | None:
    """The names of an object by their lower-case form; None where `_fold_pairs` refuses them."""
    try:
        return _fold_pairs([(name, name) for name in names])
    except (_DuplicateNameError, _TooManyNamesError):
        return None


_FOLDED = NamesCache(_find_folded)


def _check_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object with its names as sent; it refuses the same as `_fold_pairs`."""
    members = dict(pairs)
    if len(members) != len(pairs) or _FOLDED.get(tuple(members)) is None:
        return _fold_pairs(pairs)
    return members


class _FoldedRow(Mapping[str, Any]):
    """A row that `_check_pairs` has made, with its own names in lower case."""

    __slots__ = ("_names", "_row")

    def __init__(self, row: dict[str, Any]) -> None:
        self._names = _FOLDED.get(tuple(row)) or {}
        self._row = row

    def __getitem__(self, name: str) -> Any:
        return self._row[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


_FOLDING_DECODER = json.JSONDecoder(
    object_pairs_hook=_fold_pairs, parse_float=Decimal, parse_constant=_refuse_constant
)
_ROW_DECODER = json.JSONDecoder(
    object_pairs_hook=_check_pairs, parse_float=Decimal, parse_constant=_refuse_constant
)
_UNCONVERTED_DECODER = json.JSONDecoder(parse_float=str, parse_int=str)


# The rows of a retry: what is said about their indexes, and whether they were corrected.

_MAX_NAMED_INDEXES = 5


def check_indexes(corrections: Collection[int], failed: Collection[int], repaired: int) -> None:
    """Raises InvalidRequestError for rows that did not fail, or that a retry has imported since.

    `repaired` is the set of rows that retries have imported.
    """
    imported = sorted(set(corrections) & set(rows_in(repaired)))
    if imported:
        raise InvalidRequestError(
            f"An earlier retry has imported the row of index {name_indexes(imported)}: leave it "
            "out. failed-rows has the rows that can still be retried."
        )
    unknown_indexes = sorted(set(corrections) - set(failed))
    if unknown_indexes:
        raise InvalidRequestError(
            f"No failed row has the index {name_indexes(unknown_indexes)}: take the indexes from "
            "failed-rows."
        )


def name_indexes(indexes: Sequence[int]) -> str:
    """The first of these indexes and the number of the others, for messages."""
    names = ", ".join(str(index)[:20] for index in indexes[:_MAX_NAMED_INDEXES])
    rest = (
        f" and {len(indexes) - _MAX_NAMED_INDEXES} more"
        if len(indexes) > _MAX_NAMED_INDEXES
        else ""
    )
    return f"{names}{rest}"


def is_same_row(text: str, other: str) -> bool:
    """Whether two rows are equal as JSON; spacing, order of names and escapes do not count."""
    return text == other or _canonical(text) == _canonical(other)


def _canonical(text: str) -> str:
    row = json.loads(text, parse_float=_number, parse_int=_number)
    return json.dumps(row, sort_keys=True)


def _number(text: str) -> dict[str, str]:
    """A number as it was written, so that it equals no text and 10 differs from 10.0."""
    return {"": text}


# A stored document and its text, a few times as quickly as `json` does the same. The module is
# imported late, because the app does not need it to be indexed.


@cache
def _quick_json() -> ModuleType:
    # A statement that imports from it would take as long as a small text.
    import pydantic_core

    return pydantic_core


def json_text(value: Any) -> str:
    """The compact JSON text of a value."""
    return json_bytes(value).decode()


def json_bytes(value: Any) -> bytes:
    """The compact JSON text of a value, in UTF-8."""
    text: bytes = _quick_json().to_json(value)
    return text


def read_json_text(text: str | bytes) -> Any:
    """The value of a JSON text that `json_text` has made. Raises ValueError for another text."""
    return _quick_json().from_json(text, cache_strings="keys")
