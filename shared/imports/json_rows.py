"""Reading a JSON payload: from the bytes of a call to rows that know their identity.

A body is walked row by row and no row's objects outlive its turn, so memory holds the text once and
a few numbers per row. What docs/contracts.md#0 ("JSON in") refuses is refused here, for the whole
body: not UTF-8, not JSON, duplicate names (also those equal but for case), NaN and Infinity,
nesting over 32. A row over one of the caps below is refused with the whole body: the decoder makes
tens of bytes of each byte of it before its key can be known. The standard library's decoder is used
because it gives the span of each row, exact decimals (`parse_float`) and every name of an object
(`object_pairs_hook`) in one pass.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, NoReturn

from shared.errors import (
    InvalidRequestError,
    TooLargeError,
    UnreadablePayloadError,
    UnsupportedPayloadError,
)
from shared.imports.row_sets import rows_in

MAX_DEPTH = 32
"""Levels of the whole body, the array of the rows included."""
MAX_ROW_BYTES = 8 * 1024 * 1024
"""Characters of one row: eight times what a record may take."""
MAX_VALUES = 20_000
"""Values of one row: an assignment of 1,000 rates with all their fields has 18,000."""
MAX_NAMES = 500
"""Names of one object: the largest one of the contracts has some 80."""
MAX_NAME = 1_000
"""Characters of one name."""
MAX_DOCUMENT_VALUES = 2_000_000
"""Values of a body that is read as one document: 20 for each of 100,000 records."""
_FAR_TOO_MANY = 2
"""Times the limit of rows: from there on the rest of the body is not read."""
_BLANK = re.compile(r"[ \t\n\r]*")
_HEAD = re.compile(rb"([0-9]{1,9}):[0-9a-f]{8}")
"""Of a line: the index of its row and the checksum of index and JSON."""
_HEAD_BYTES = len(":01234567\t\n")
_LINE_BREAKS = str.maketrans("\r\n", "  ")
_MANY_COMMAS = re.compile(f"(?:[^,]*+,){{{MAX_VALUES}}}")
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)
"""A string, or a mark outside of strings; a string without an end goes on to the end."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row of the body that was not looked into: where it stands, and where it belongs.

    `start` and `end` are offsets in the payload's text. `place` orders rows by the record they
    speak of; None where the row has no usable key.
    """

    index: int
    place: str | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Payload:
    """The text of a call's body and the rows in it, in the order they were sent."""

    text: str
    rows: list[RawRow]

    def line_size(self, row: RawRow) -> int:
        """The length of the row's line in bytes."""
        if self.text.isascii():
            return len(str(row.index)) + row.end - row.start + _HEAD_BYTES
        return len(self.line(row))

    def line(self, row: RawRow) -> bytes:
        """The row as one line; line breaks of the JSON become blanks."""
        return line_of(row.index, self.text[row.start : row.end].translate(_LINE_BREAKS))


def read_payload(
    body: bytes,
    place: Callable[[Mapping[str, Any]], str | None],
    max_rows: int,
    max_row_bytes: int = MAX_ROW_BYTES,
) -> Payload:
    """Split a JSON array of objects into its rows.

    `place` is asked once per row, with its names in lower case. Raises InvalidRequestError (with
    line and column) for what cannot be parsed, UnsupportedPayloadError for JSON that is no array
    of objects, TooLargeError for too many rows (in this order) and for a row over a cap; never
    quoting the body.
    """
    text = _decode(body, "a JSON array of objects")
    try:
        rows, not_supported, count = _walk(text, place, max_rows, max_row_bytes)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _not_json("The body", error, where) from None
    if not_supported:
        raise UnsupportedPayloadError(f"Payload data not supported: {not_supported}.")
    if count > max_rows:
        raise _too_many(str(count), max_rows)
    return Payload(text, rows)


def read_document(body: bytes) -> Any:
    """A whole JSON document, for calls that are no plain array; all names in lower case.

    The same is refused as in a payload. Raises InvalidRequestError, which never quotes the body.
    """
    text = _decode(body, "a JSON object")
    if text.count(",") > MAX_DOCUMENT_VALUES:
        raise over_a_cap(None, f"{MAX_DOCUMENT_VALUES} values")
    try:
        start = _skip(text, 0)
        document, end = _decode_at(text, start, None)
        _expect_end(text, end)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _not_json("The body", error, where) from None
    return document


def read_row_of_line(line: str, index: int, number: int) -> Mapping[str, Any]:
    """The object on a line of NDJSON, the row of an index; its own names in lower case.

    The same is refused as in a payload. Raises InvalidRequestError, UnsupportedPayloadError and
    TooLargeError, which name the line and never quote it.
    """
    name = f"index {index}, line {number}"
    if len(line) > MAX_ROW_BYTES:
        raise over_a_cap(name, f"{MAX_ROW_BYTES} bytes")
    try:
        element, end = _BoundedDecoder(line).decode(_skip(line, 0), name)
        _expect_end(line, end)
    except json.JSONDecodeError as error:
        raise _not_json(name, error, f"column {error.colno}") from None
    if not isinstance(element, dict):
        raise UnsupportedPayloadError(
            f"{name} is {json_kind(element)}: each line must hold one JSON object."
        )
    return element


def json_kind(value: Any) -> str:
    """What a JSON value is, in the words of messages."""
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


def payload_of(
    rows: Iterable[Mapping[str, Any]], place: Callable[[Mapping[str, Any]], str | None]
) -> Payload:
    """A payload of rows that were read from another format, as JSON."""
    texts: list[str] = []
    raw: list[RawRow] = []
    start = 0
    for index, row in enumerate(rows):
        text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        raw.append(RawRow(index, place(fold_names(row)), start, start + len(text)))
        texts.append(text)
        start += len(text)
    return Payload("".join(texts), raw)


def line_of(index: int, text: str) -> bytes:
    """The line of a row: index, colon, checksum, tab, JSON.

    A byte that storage garbles may leave valid JSON: without the checksum a wrong amount would be
    imported.
    """
    sent = text.encode()
    return b"%d:%08x\t%b\n" % (index, _checksum(index, sent), sent)


def _checksum(index: int, text: bytes) -> int:
    return zlib.crc32(text, index)


def read_lines(data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """The inverse of `Payload.line`: index and row of each line, names as sent.

    Raises UnreadablePayloadError for a line that is broken.
    """
    for line in data.splitlines():
        index, row = read_line(line)
        yield index, row


def read_line(line: bytes) -> tuple[int, dict[str, Any]]:
    """Index and row of one line. Raises UnreadablePayloadError."""
    try:
        index, text = split_line(line)
        row = json.loads(text, parse_float=Decimal)
        if isinstance(row, dict):
            return index, row
    except (ValueError, ArithmeticError, RecursionError):
        pass
    raise UnreadablePayloadError("a row in the payload of the import")


def split_line(line: bytes) -> tuple[int, bytes]:
    """Index and JSON of a line. Raises ValueError where it is not as it was written."""
    head, _, text = line.partition(b"\t")
    index = _index_of(head)
    if int(head[-8:], 16) != _checksum(index, text):
        raise ValueError("the checksum does not fit")
    return index, text


def _index_of(head: bytes) -> int:
    found = _HEAD.fullmatch(head)
    if found is None:
        raise ValueError("no index")
    return int(found[1])


def read_texts(data: bytes) -> Iterator[tuple[int, str]]:
    """Index and text of the row of each line, the JSON as it was sent.

    Broken lines are left out.
    """
    found: set[int] = set()
    for line in data.split(b"\n"):
        with suppress(ValueError):
            index, text = split_line(line)
            if index not in found:
                found.add(index)
                yield index, text.decode()


def is_row(text: str) -> bool:
    """Whether a text is a JSON object, as every row is."""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


@dataclass(frozen=True, slots=True)
class ChunkLines:
    """The lines of a chunk that can be used.

    `order` names the rows of the other lines too, as far as their index can be read; it is None
    where no line is broken.
    """

    usable: bytes
    rows: int
    order: Sequence[int] | None = None


def is_whole(data: bytes, rows: int, rows_of_import: int) -> bool:
    """Whether a chunk's bytes have a line for each of its rows, every one with another index.

    Its JSON is not looked at: that is read once, by the type's own work.
    """
    lines = data.split(b"\n")
    if len(lines) != rows + 1 or lines.pop():
        return False
    try:
        indexes = {split_line(line)[0] for line in lines}
    except ValueError:
        return False
    return len(indexes) == rows and max(indexes, default=0) < rows_of_import


def screen_lines(
    data: bytes, rows: int, is_readable: Callable[[int, Mapping[str, Any]], bool]
) -> ChunkLines:
    """Leave the broken lines of a chunk out; `rows` is how many rows the import has.

    `is_readable` is the type's own word on a row that is JSON. Of two lines of one row, which are
    equal, the first counts.
    """
    lines: dict[int, bytes] = {}
    for line in data.split(b"\n"):
        with suppress(ValueError):
            index = _index_of(line.partition(b"\t")[0])
            if index < rows and not lines.get(index):
                lines[index] = line + b"\n" if _is_usable(line, is_readable) else b""
    usable = [line for line in lines.values() if line]
    return ChunkLines(b"".join(usable), len(usable), list(lines))


def _is_usable(line: bytes, is_readable: Callable[[int, Mapping[str, Any]], bool]) -> bool:
    try:
        return is_readable(*read_line(line))
    except Exception:
        # Whatever a garbled row makes its reader raise, it is that row's fault alone.
        return False


def member_text(text: str, start: int, name: str) -> str:
    """The text of a member of the JSON object that begins at `start`; see `member_span`."""
    begin, end = member_span(text, start, name)
    return text[begin:end]


def member_span(text: str, start: int, name: str) -> tuple[int, int]:
    """Where a member of the JSON object that begins at `start` is; its name in any case.

    The object was read before, so nothing can be wrong with it, and it has the member.
    """
    position = _skip(text, start + 1)
    while True:
        found, position = _AS_IT_STANDS.raw_decode(text, position)
        begin = _skip(text, _skip(text, position) + 1)
        _, end = _AS_IT_STANDS.raw_decode(text, begin)
        if found.lower() == name:
            return begin, end
        position = _skip(text, _skip(text, end) + 1)


def fold_names(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its own names in lower case (names inside its values stay)."""
    return {name.lower(): value for name, value in row.items()}


def _decode(body: bytes, wanted: str) -> str:
    if not body:
        raise InvalidRequestError(f"The body is empty: send {wanted}, with a Content-Length.")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequestError(
            f"The body is not UTF-8: the byte at offset {error.start} does not fit. It may be in "
            "Windows-1252 or another older charset: convert it to UTF-8 and send it again."
        ) from None


def _not_json(name: str, error: json.JSONDecodeError, where: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{name} is not valid JSON: {error.msg} ({where}); correct it there and send it again."
    )


def _walk(
    text: str,
    place: Callable[[Mapping[str, Any]], str | None],
    max_rows: int,
    max_row_bytes: int,
) -> tuple[list[RawRow], str, int]:
    """The rows kept, which element is no object ("" where all are), and how many there were."""
    rows: list[RawRow] = []
    not_supported = ""
    index = -1
    is_array = text.startswith("[", _skip(text, 0))
    for index, (element, start, end) in enumerate(_elements(text)):
        if index >= _FAR_TOO_MANY * max_rows:
            raise _too_many(f"more than {_FAR_TOO_MANY * max_rows}", max_rows)
        if end - start > max_row_bytes:
            raise over_a_cap(_RowPlace(text, index, start), f"{max_row_bytes} bytes")
        if not_supported:
            continue
        if not isinstance(element, dict) or not is_array:
            not_supported = _not_supported(text, element, index if is_array else None, start)
        elif index < max_rows:
            rows.append(RawRow(index, place(element), start, end))
    return rows, not_supported, index + 1


def _not_supported(text: str, element: Any, index: int | None, start: int) -> str:
    """Which element is no row, and what it is; `index` is None where it is the whole body."""
    if index is None:
        return f"the body is {json_kind(element)}; send a JSON array of objects"
    return (
        f"{_RowPlace(text, index, start)} is {json_kind(element)}; send a JSON array of objects, "
        "each of them a row"
    )


class _RowPlace(NamedTuple):
    """Where a row of an array is, for messages; the lines are counted when it is shown."""

    text: str
    row: int
    start: int

    def __str__(self) -> str:
        line = self.text.count("\n", 0, self.start) + 1
        return f"index {self.row} (line {line})"


def _elements(text: str) -> Iterator[tuple[Any, int, int]]:
    """Each element of the array with its span; a document of another kind comes as one element."""
    decoder = _BoundedDecoder(text)
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
        element, end = decoder.decode(position, _RowPlace(text, row, position))
        yield element, position, end
        row += 1
        position = _skip(text, end)
        mark = text[position : position + 1]
        if mark == "]":
            _expect_end(text, position + 1)
            return
        if mark != ",":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
        position = _skip(text, position + 1)


_RowName = _RowPlace | str | None
"""What messages call a row; None for the whole body."""


class _BoundedDecoder:
    """Decodes elements one by one, and none that has more than MAX_VALUES values.

    The library cannot be told to stop at a number of values, so it is given a window of the text
    with so many commas, from the start of some element on. Nearly all elements end in the window of
    an earlier one, so the commas of the text are counted about once, in C.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._window, self._start, self._end = text, 0, -1

    def decode(self, position: int, row: _RowName) -> tuple[Any, int]:
        """The element at a position and its end; `row` is what messages call it."""
        if position >= self._end:
            self._open_window(position)
        while self._end < len(self._text):
            try:
                element, end = _decode_at(self._window, position - self._start, row)
            except json.JSONDecodeError:
                if self._start < position:
                    self._open_window(position)
                    continue
                # Too many values, or commas within a text, or no JSON: which one is found out now.
                _check_values(self._text, position, row)
                break
            return element, self._start + end
        return _decode_at(self._text, position, row)

    def _open_window(self, position: int) -> None:
        found = _MANY_COMMAS.match(self._text, position)
        self._start, self._end = position, found.end() if found else len(self._text)
        self._window = self._text[position : self._end] if found else ""


def _check_values(text: str, start: int, row: _RowName) -> None:
    """Raises TooLargeError where the value that begins here has too many values in it."""
    depth = count = 0
    for found in _TOKEN.finditer(text, start):
        mark = found[0]
        if mark == ",":
            count += 1
            if count >= MAX_VALUES:
                raise over_a_cap(row, f"{MAX_VALUES} values")
        elif mark in "{[":
            depth += 1
        elif mark in "}]":
            depth -= 1
            if depth <= 0:
                return


def _skip(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return position if match is None else match.end()


def _expect_end(text: str, position: int) -> None:
    position = _skip(text, position)
    if position != len(text):
        raise json.JSONDecodeError("Extra data", text, position)


def _decode_at(text: str, position: int, row: _RowName) -> tuple[Any, int]:
    """The value at a position and its end; `row` is what messages call it."""
    try:
        element, end = _DECODER.raw_decode(text, position)
    except _DuplicateNameError:
        raise InvalidRequestError(
            f"{_named(row)} has a property name twice; leave one of them out (names that differ "
            "only in upper and lower case count as the same)."
        ) from None
    except _TooManyNamesError as error:
        raise over_a_cap(row, str(error)) from None
    except (InvalidOperation, OverflowError):
        raise InvalidRequestError(
            f"{_named(row)} has a number out of range; send a smaller exponent."
        ) from None
    except json.JSONDecodeError:
        raise
    except ValueError:
        raise InvalidRequestError(
            f"{_named(row)} has a number with too many digits, or NaN or Infinity; send a number "
            "of the field's range."
        ) from None
    except RecursionError:
        raise _too_deep(row) from None
    if _is_too_deep(text, position, end, element):
        raise _too_deep(row)
    _check_surrogates(text, position, end, element, row)
    return element, end


def _is_too_deep(text: str, start: int, end: int, element: Any) -> bool:
    if text.count("{", start, end) + text.count("[", start, end) < MAX_DEPTH:
        return False
    level = [element]
    for _ in range(MAX_DEPTH - 1):
        level = [child for node in level for child in _children(node)]
    return bool(level)


def _children(node: Any) -> list[Any]:
    values = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [value for value in values if isinstance(value, (dict, list))]


def _named(row: _RowName) -> str:
    if isinstance(row, _RowPlace):
        return f"The row of {row}"
    return "The body" if row is None else row


def _check_surrogates(text: str, start: int, end: int, element: Any, row: _RowName) -> None:
    """Half a surrogate pair is no character: it could not be stored."""
    if text.find("\\u", start, end) < 0:
        return
    try:
        json.dumps(element, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidRequestError(
            f"{_named(row)} has half a surrogate pair in an escape, which is no character; send "
            "both halves."
        ) from None


def _too_many(count: str, most: int) -> TooLargeError:
    return TooLargeError(
        f"The payload has {count} rows and the limit is {most}: send it in several calls."
    )


def over_a_cap(row: _RowName, cap: str) -> TooLargeError:
    """The refusal of a body for one of its rows (None: for the whole body), which names the cap."""
    return TooLargeError(f"{_named(row)} has more than {cap}, which is the limit: send less of it.")


def _too_deep(row: _RowName) -> InvalidRequestError:
    return InvalidRequestError(
        f"{_named(row)} is nested more than {MAX_DEPTH} levels deep; send the fields of the schema "
        "only."
    )


class _DuplicateNameError(ValueError):
    """Two names of one object are equal but for case."""


class _TooManyNamesError(ValueError):
    """An object has too many names, or one that is too long; the argument is the cap."""


def _fold(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_NAMES:
        raise _TooManyNamesError(f"{MAX_NAMES} names in one object")
    folded = {name.lower(): value for name, value in pairs}
    if len(folded) != len(pairs):
        raise _DuplicateNameError
    if max(map(len, folded), default=0) > MAX_NAME:
        raise _TooManyNamesError(f"{MAX_NAME} characters in a name")
    return folded


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_fold, parse_float=Decimal, parse_constant=_refuse_constant
)
_AS_IT_STANDS = json.JSONDecoder(parse_float=str, parse_int=str)


# The body of a retry: corrected rows by their index in the parent (docs/contracts.md#5).
#
#     [{"index": 5, "row": {…}}, …]
#
# It is what `failed-rows` gives as JSON, so that a file can be corrected and sent back as it is;
# other properties are read over. Rows stay the text that they are: digits are not touched.

_ROW = "row"
_NAMED = 5


def read_corrections(body: bytes, max_rows: int) -> dict[int, str]:
    """The text of each corrected row by its index; an empty body has none.

    Raises InvalidRequestError, UnsupportedPayloadError or TooLargeError, never quoting the body.
    """
    if not body.strip():
        return {}
    indexes: list[int | None] = []

    def look_at(item: Mapping[str, Any]) -> None:
        indexes.append(_index(item))

    payload = read_payload(body, look_at, max_rows)
    corrections: dict[int, str] = {}
    for raw, index in zip(payload.rows, indexes, strict=True):
        if index is None:
            raise InvalidRequestError(
                f"Item {raw.index} (counted from 0) needs an index (a whole number) and a row "
                "(an object)."
            )
        if index in corrections:
            raise InvalidRequestError(f"The row of index {index} is there twice: send it once.")
        corrections[index] = member_text(payload.text, raw.start, _ROW)
    return corrections


def check_indexes(corrections: Collection[int], failed: Collection[int], repaired: int) -> None:
    """Raises InvalidRequestError for rows that did not fail, or that a retry brought in since.

    `repaired` is the set of the rows that were brought in.
    """
    brought_in = sorted(set(corrections) & set(rows_in(repaired)))
    if brought_in:
        raise InvalidRequestError(
            f"An earlier retry has imported the row of index {name_indexes(brought_in)}: leave it "
            "out. failed-rows has the rows that can still be retried."
        )
    strange = sorted(set(corrections) - set(failed))
    if strange:
        raise InvalidRequestError(
            f"No failed row has the index {name_indexes(strange)}: take the indexes from "
            "failed-rows."
        )


def name_indexes(indexes: Sequence[int]) -> str:
    """The first of these indexes, and how many more there are."""
    named = ", ".join(str(index)[:20] for index in indexes[:_NAMED])
    more = f" and {len(indexes) - _NAMED} more" if len(indexes) > _NAMED else ""
    return f"{named}{more}"


def is_same_row(text: str, other: str) -> bool:
    """Whether two rows say the same, however they are spaced, ordered and escaped."""
    return text == other or _canonical(text) == _canonical(other)


def _index(item: Mapping[str, Any]) -> int | None:
    """The index of an item whose names are in lower case; None where the item is none."""
    index = item.get("index")
    is_index = type(index) is int and index >= 0
    return index if is_index and isinstance(item.get(_ROW), dict) else None


def _canonical(text: str) -> str:
    row = json.loads(text, parse_float=_number, parse_int=_number)
    return json.dumps(row, sort_keys=True)


def _number(text: str) -> dict[str, str]:
    """A number as it is written: it equals no text, and 10 is not 10.0."""
    return {"": text}
