"""Rows in the layout of their sender, made into rows of a type by a mapping profile.

A profile is compiled once and bound to the header of a file once; the work for a row is linear in
its cells. The notes of a row keep what its sender sent, so that a failed row is given back in the
sender's layout (docs/mapping-profiles.md).
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from shared.errors import InvalidRequestError
from shared.imports.csv_export import ERROR, INDEX, LINE, MORE, is_guarded, leaves_of, restored
from shared.imports.files.columns import (
    DATE,
    Cell,
    CellError,
    Tree,
    TypedCell,
    check_names,
    more_cells,
    more_twice_error,
    place_value,
    places_of_elements,
    rendered,
    row_name,
    shown_path,
    typed_text,
)
from shared.imports.files.notes import Notes
from shared.imports.files.profile import (
    Field,
    Otherwise,
    Profile,
    ProfileRef,
    Scalar,
    ValueTable,
    column_key,
    fields_of,
)
from shared.imports.files.refused_cells import RefusedCells, refused_cell_fault
from shared.imports.json_rows import (
    LINE_BREAKS,
    Payload,
    RawRow,
    Reader,
    RowTable,
    RowText,
    SortKey,
    StoredBytes,
    line_of,
    read_row_of_line,
)
from shared.imports.messages import Message, MessageId, bounded
from shared.imports.results import RowResult
from shared.imports.text_checks import escaped, trimmed

# Characters of a value that a message shows.
_MAX_SHOWN: Final = 200
# Columns that the profile does not name and that get a message each.
_MOST_REPORTED: Final = 20
_MOST_NAMED: Final = 10
# Faults of the cells of one row that have a message each.
_MOST_FAULTS: Final = 100
# Characters of a number with its groups.
_LONGEST_NUMBER: Final = 60
# The mark of groups that belongs to each decimal mark, and those that belong to both.
_GROUP_MARK: Final = {",": ".", ".": ","}
_OTHER_GROUP_MARKS: Final = " \u00a0\u202f'\u2019"
_ISO_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T.*)?")
_JSON_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_NO_DIGIT: Final = re.compile("[^0-9]")
_OWN_COLUMNS: Final = frozenset((INDEX, LINE, ERROR, MORE))
_TEXT: Final = frozenset(("string",))
# What a spreadsheet shows, and writes into CSV, where a cell is true or false.
_SHOWN_WORDS: Final[Mapping[str, str]] = {"true": "TRUE", "false": "FALSE"}

_NO_TEXTS: Final[frozenset[str]] = frozenset()


class _Value(NamedTuple):
    """What a cell says: its text, or that it clears its field.

    `typed` is a spreadsheet's cell that is no text, or the JSON text of a value that is none.
    `is_empty`: it is `null`, an empty list or an empty object.
    """

    text: str
    typed: TypedCell | str = ""
    is_cleared: bool = False
    is_empty: bool = False


_CLEARED: Final = _Value("null", is_cleared=True, is_empty=True)
# Cells of text that are no value.
_EMPTY: Final[Mapping[str, _Value]] = {
    "null": _CLEARED,
    "[]": _Value("[]", "[]", is_empty=True),
    "{}": _Value("{}", "{}", is_empty=True),
}


class Target(NamedTuple):
    """The field of a column, with what the profile says about it. Its entries are JSON text."""

    field: Field
    steps: tuple[str | int, ...]
    types: frozenset[str]
    is_sensitive: bool
    is_date: bool
    is_number: bool
    table: ValueTable | None
    entries: Mapping[str, str]
    otherwise_value: str


class ProfileMapping:
    """A version of a profile, compiled: it makes rows of what a sender sends."""

    def __init__(self, ref: ProfileRef, profile: Profile) -> None:
        self.ref = ref
        self.profile = profile
        self._targets = {
            column_key(name): _target(each, profile) for name, each in profile.columns.items()
        }
        self._skip = {column_key(name): texts for name, texts in profile.skip.items()}
        fields = fields_of(profile.kind)
        self._constants = [
            (fields.find(path).steps, _json_text(value))
            for path, value in profile.constants.items()
        ]
        self._columns = {each.path.lower(): name for name, each in profile.columns.items()}
        self._has_lists = any("[" in path for path in self._columns)
        self._number = _number_pattern(profile.decimal) if profile.decimal else None

    def make_renderer(self, names: Sequence[str], line: int) -> MappedHeader:
        """The renderer of a file with these columns (`columns.MakeRenderer`)."""
        return MappedHeader(self, names, line)

    def make_sent_header(self, names: Sequence[str], line: int) -> SentHeader:
        """The renderer of rows that stay in the layout of their sender."""
        return SentHeader(self, names, line)

    def target(self, name: str) -> Target | None:
        """The field of a column of the sender; None for one that the profile does not name."""
        return self._targets.get(column_key(name))

    def column_of(self, path: str | None) -> str | None:
        """The column of the sender that gives the field at a path."""
        return None if path is None else self._columns.get(path.lower())

    def with_columns(self, results: Iterable[RowResult]) -> list[RowResult]:
        """The results with the columns of the sender in their messages."""
        return [
            replace(result, messages=tuple(map(self._with_column, result.messages)))
            if result.messages
            else result
            for result in results
        ]

    def _with_column(self, message: Message) -> Message:
        column = self.column_of(message.field)
        return message if column is None else replace(message, column=column)

    def shows(self, name: str) -> bool:
        """Whether the values of a column may be shown.

        A column that the profile does not name may hold anything, so its values may not.
        """
        target = self.target(name)
        return target is not None and not target.is_sensitive

    def is_known(self, name: str) -> bool:
        """Whether the profile says anything about a column."""
        key = column_key(name)
        return key in self._targets or key in self._skip

    def skip_texts(self, name: str) -> frozenset[str] | None:
        """The texts in a column that make its row be passed over; None: any text."""
        return self._skip.get(column_key(name), _NO_TEXTS) if self._skip else _NO_TEXTS

    def render(
        self,
        values: Iterable[tuple[Target, _Value]],
        row: str,
        known_faults: Sequence[Message] = (),
    ) -> MappedRow:
        """The row of these values; `row` is its name in refusals.

        `known_faults` are those of cells that are no values of a field.
        """
        faults = [*known_faults]
        tree: Tree = {}
        for target, value in values:
            try:
                text = self._json_of(value, target)
            except CellError as error:
                faults.append(_fault_message(error, value, target))
            else:
                if text:
                    place_value(tree, target.steps, text, row)
        for steps, text in self._constants:
            place_value(tree, steps, text, row)
        lists: Mapping[str, Sequence[int]] | None = None
        if self._has_lists:
            lists = {shown_path(path): places for path, places in places_of_elements(tree)}
        return MappedRow(rendered(tree), bounded(faults, _MOST_FAULTS), lists)

    def render_object(self, row: Mapping[str, Any], name: str) -> MappedRow | None:
        """The row of an object of the sender, whose paths are its columns; None for one to skip.

        Raises InvalidRequestError for an object that has a column twice.
        """
        values: list[tuple[Target, _Value]] = []
        seen: set[str] = set()
        for column, value in leaves_of(row):
            key = column_key(column)
            if key in seen:
                raise InvalidRequestError(
                    f"{name} has the column {escaped(column)} twice: leave one of them out (case, "
                    "width and blanks are not compared)."
                )
            seen.add(key)
            cell = _value_of_json(value)
            if _skips(cell, self.skip_texts(column)):
                return None
            target = self._targets.get(key)
            if target is not None:
                values.append((target, cell))
        return self.render(values, name)

    def corrected(self, correction: RowText, index: int, notes: Notes) -> RowText:
        """The row of a corrected row in the layout of its sender; `notes` are of its original.

        Raises InvalidRequestError.
        """
        name = f"The row of index {index}"
        text = correction.text.translate(LINE_BREAKS)
        mapped = self.render_object(read_row_of_line(text, index, notes.line or 0), name)
        if mapped is None:
            raise InvalidRequestError(
                f"{name} is one that the profile {self.ref.name} skips: leave it out."
            )
        faults = (*self._faults_of_blanks(text, notes), *cell_faults(correction), *mapped.faults)
        return RowText(
            mapped.text, Notes(notes.line, faults, lists=mapped.lists, sent=text).to_text()
        )

    def _faults_of_blanks(self, sent: str, notes: Notes) -> Iterator[Message]:
        """The faults of cells that were refused, and given back empty, where the profile has an
        entry for an empty cell: left empty, the cell does not mean that entry.
        """
        texts: Mapping[str, str | None] | None = None
        for message in notes.messages:
            column = self.column_of(message.field)
            if column is None or not message.is_error or message.id == MessageId.NO_ENTRY:
                continue
            texts = _texts_of(sent) if texts is None else texts
            if "" in self._targets[column_key(column)].entries and column_key(column) not in texts:
                yield message

    def cell_fault(self, value: _Value, target: Target | None) -> CellError | None:
        """Why a cell of a spreadsheet is not taken; None for one that is taken, or has only no
        entry. What it shows is not certain then, so its text must not come in later either.
        """
        if isinstance(value.typed, str):
            return None
        if target is None:
            return value.typed.fault
        try:
            self._json_of(value, target)
        except CellError as error:
            return None if error.message_id == MessageId.NO_ENTRY else error
        return None

    def sent_value(self, value: _Value) -> Any:
        """A cell as its sender would write it in a file of text; for `null`, `[]` and `{}`, in
        which there is no text, the JSON value.
        """
        if value.is_empty:
            return json.loads(value.text)
        text, profile = value.text, self.profile
        if value.typed and profile.dates and _ISO_DATE.fullmatch(text):
            return profile.dates.from_iso(text)
        if value.typed and profile.decimal == "," and _JSON_NUMBER.fullmatch(text):
            return text.replace(".", ",")
        return text

    def _json_of(self, value: _Value, target: Target) -> str:
        """The JSON text of a cell for its field; "" where the field is not sent.

        Raises CellError.
        """
        text = trimmed(value.text)
        if target.table is not None:
            if not isinstance(value.typed, str) and value.typed.fault is not None:
                raise value.typed.fault
            entry = target.entries.get(text)
            if entry is not None:
                return entry
            if text and not value.is_cleared:
                if target.table.otherwise is Otherwise.ERROR:
                    name = f"{self.ref.name}, version {self.ref.version}"
                    raise CellError(
                        MessageId.NO_ENTRY,
                        f"add one to {name}, and send the file again, or correct the value",
                    )
                if target.table.otherwise is Otherwise.VALUE:
                    return target.otherwise_value
        if value.is_cleared:
            return "null"
        if isinstance(value.typed, str) and value.typed:
            return value.typed
        if not isinstance(value.typed, str):
            return value.typed.json_text(target.types)
        if not value.text:
            return ""
        dates = self.profile.dates
        if dates is not None and target.is_date and text:
            day = dates.to_iso(text)
            if day is None:
                raise CellError(MessageId.NOT_A_DATE, f"a day as {dates.text} is expected")
            return f'"{day}"'
        if self._number is not None and target.is_number and text:
            return self._number_of(text, self._number)
        return typed_text(value.text, target.types)

    def _number_of(self, text: str, pattern: re.Pattern[str]) -> str:
        match = pattern.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None
        if match is None:
            mark = self.profile.decimal
            example = f"1{_GROUP_MARK[mark]}234{mark}5"
            raise CellError(MessageId.WRONG_TYPE, f"a number is expected, as in {example}")
        whole = _NO_DIGIT.sub("", match["whole"]).lstrip("0") or "0"
        fraction = f".{match['fraction']}" if match["fraction"] else ""
        return f"{'-' if match['sign'] == '-' else ''}{whole}{fraction}"


def _skips(value: _Value, texts: frozenset[str] | None) -> bool:
    """Whether a value makes its row be passed over; `texts` as in `Profile.skip`."""
    text = trimmed(value.text)
    if texts is None:
        return bool(text) and not value.is_empty
    return bool(text) and text in texts


def _skip_fault(name: str, value: _Value) -> Message | None:
    """The fault of a cell without a value, which cannot say whether its row is passed over."""
    if isinstance(value.typed, str):
        return None
    try:
        value.typed.json_text(frozenset())
    except CellError as error:
        return Message(error.message_id, escaped(name)[:_MAX_SHOWN], None, error.detail)
    return None


class MappedRow(NamedTuple):
    """The JSON of a row, the faults of its cells, and `Notes.lists`."""

    text: str
    faults: Sequence[Message]
    lists: Mapping[str, Sequence[int]] | None


def _fault_message(error: CellError, value: _Value, target: Target) -> Message:
    shown = None if target.is_sensitive else escaped(value.text)[:_MAX_SHOWN]
    return Message(error.message_id, target.field.path, shown, error.detail)


def _target(field: Field, profile: Profile) -> Target:
    table = profile.values.get(field.path)
    return Target(
        field=field,
        steps=field.steps,
        types=field.types | {DATE} if field.is_date else field.types,
        is_sensitive=profile.kind.rules.is_sensitive(field.steps),
        is_date=field.is_date,
        is_number=field.is_number,
        table=table,
        entries={code: _json_text(each) for code, each in table.entries.items()} if table else {},
        otherwise_value=_json_text(table.value) if table else "",
    )


def _json_text(value: Scalar) -> str:
    return json.dumps(value, ensure_ascii=False, default=float)


def _number_pattern(mark: str) -> re.Pattern[str]:
    """Numbers with this decimal mark; digits are grouped by threes, with one mark."""
    groups = re.escape(_GROUP_MARK[mark] + _OTHER_GROUP_MARKS)
    return re.compile(
        r"(?P<sign>[+-]?)"
        rf"(?P<whole>[0-9]+|[0-9]{{1,3}}(?P<group>[{groups}])[0-9]{{3}}(?:(?P=group)[0-9]{{3}})*)"
        rf"(?:{re.escape(mark)}(?P<fraction>[0-9]+))?"
    )


def _value_of_cell(cell: Cell) -> _Value:
    """What a cell of a file says."""
    if isinstance(cell, str):
        if cell in _EMPTY:
            return _EMPTY[cell]
        return _Value(restored(cell) if is_guarded(cell) else cell)
    try:
        return _Value(str(json.loads(cell.json_text(_TEXT) or '""')), cell)
    except CellError as error:
        text = error.value or ""
        return _Value(_SHOWN_WORDS.get(text, text), cell)


def _value_of_json(value: Any) -> _Value:
    """What a value of a JSON row says."""
    if value is None:
        return _CLEARED
    if isinstance(value, str):
        return _Value(value)
    if isinstance(value, list | dict):
        text = json.dumps(value)
        return _Value(text, text, is_empty=not value)
    text = json.dumps(value) if isinstance(value, bool) else str(value)
    return _Value(text, text)


class SentHeader:
    """The header of a file in the layout of its sender, whose rows stay in that layout.

    A `RowRenderer`: a row is an object with what each column has.
    """

    def __init__(self, mapping: ProfileMapping, names: Sequence[str], line: int) -> None:
        """Raises InvalidRequestError for a header that has a column twice."""
        self._line = line
        self._mapping = mapping
        self.names = [restored(trimmed(name)) for name in names]
        self._keys = [column_key(name) for name in self.names]
        self._nameless = [at for at, key in enumerate(self._keys) if not key]
        self._more_at = self._keys.index(MORE) if MORE in self._keys else len(names)
        self.columns = {
            at: self.names[at]
            for at, key in enumerate(self._keys)
            if key and key not in _OWN_COLUMNS
        }
        self._places: dict[str, int] = {}
        for at, key in enumerate(self._keys):
            if key and self._places.setdefault(key, at) != at:
                raise InvalidRequestError(
                    f"The header in line {line} has more than one column of the same name: "
                    f"{escaped(self.names[at])}; leave one of them (case, width and blanks are not "
                    "compared)."
                )

    def check(self, cells: Sequence[Cell], row: str) -> None:
        """Raises InvalidRequestError for a value in a column without a name."""
        if self._nameless or len(cells) > len(self.names):
            check_names(cells, self._nameless, len(self.names), row, self._line)

    def more(self, cells: Sequence[Cell], row: str) -> Mapping[str, str]:
        """The cells of columns that are in the cell `_more`; `row` is its name in refusals."""
        if self._more_at >= len(cells):
            return {}
        more: dict[str, str] = {}
        for name, text in more_cells(cells[self._more_at], row).items():
            at = self._places.get(column_key(name))
            if at is not None and at < len(cells) and cells[at]:
                raise more_twice_error(name, row)
            more[name if at is None else self.names[at]] = text
        return more

    def render(self, cells: Sequence[Cell], index: int, line: int) -> RowText:
        """See `RowRenderer.render`."""
        name = row_name(index, line)
        self.check(cells, name)
        found = {name: cells[at] if at < len(cells) else "" for at, name in self.columns.items()}
        mapping, faults = self._mapping, []
        sent: dict[str, Any] = {}
        for column, cell in {**found, **self.more(cells, name)}.items():
            value, target = _value_of_cell(cell), mapping.target(column)
            fault = mapping.cell_fault(value, target)
            sent[column] = mapping.sent_value(value) if fault is None else ""
            if fault is not None and target is not None:
                faults.append(_fault_message(fault, value, target))
        text = json.dumps(sent, ensure_ascii=False)
        return RowText(text, Notes(line, bounded(faults, _MOST_FAULTS)).to_text())


class MappedHeader:
    """The header of a file in the layout of its sender, bound to a profile; a `RowRenderer`."""

    def __init__(self, mapping: ProfileMapping, names: Sequence[str], line: int) -> None:
        """Raises InvalidRequestError for a header that the profile cannot be applied to."""
        self._mapping = mapping
        self._header = SentHeader(mapping, names, line)
        self._columns = [
            _Column(at, name, mapping.target(name), mapping.skip_texts(name))
            for at, name in self._header.columns.items()
        ]
        if not any(column.target for column in self._columns):
            raise _no_column_error(f"The header in line {line}", mapping)
        self._unknown = [
            column.name for column in self._columns if not mapping.is_known(column.name)
        ]
        self._refused = RefusedCells(self._header.names)

    def _name_of_field(self, at: int) -> str:
        """How messages name what the column at a place gives."""
        name = self._header.names[at]
        target = self._mapping.target(name)
        return name if target is None else target.field.path

    def render(self, cells: Sequence[Cell], index: int, line: int) -> RowText | None:
        """See `RowRenderer.render`."""
        row, mapping = row_name(index, line), self._mapping
        sent: dict[str, Any] = {}
        values: list[tuple[Target, _Value]] = []
        faults: list[Message] = []
        width = len(cells)
        self._header.check(cells, row)
        refused = self._refused.still_empty(cells)
        faults += [refused_cell_fault(self._name_of_field(at)) for at in refused]
        for at, name, target, skip in self._columns:
            cell = cells[at] if at < width else ""
            # Most cells are plain text, so this is quick.
            if isinstance(cell, str) and cell not in _EMPTY and cell[:1] != "'":
                value = _Value(cell)
                sent[name] = cell
            else:
                value = _value_of_cell(cell)
                has_fault = mapping.cell_fault(value, target) is not None
                sent[name] = "" if has_fault else mapping.sent_value(value)
            if skip is not _NO_TEXTS:
                skip_fault = _skip_fault(name, value)
                if skip_fault is not None:
                    faults += [skip_fault] if target is None else []
                elif _skips(value, skip):
                    return None
            if target is not None and (cell or target.table) and at not in refused:
                values.append((target, value))
        for name, text in self._header.more(cells, row).items():
            value, target = _value_of_cell(text), mapping.target(name)
            sent[name] = mapping.sent_value(value)
            if target is not None:
                values.append((target, value))
        mapped = mapping.render(values, row, faults)
        messages = (*mapped.faults, *(() if index else _unknown_messages(self._unknown)))
        text = json.dumps(sent, ensure_ascii=False)
        notes = Notes(line, messages, lists=mapped.lists, sent=text)
        return RowText(mapped.text, notes.to_text())


class _Column(NamedTuple):
    """A column of a file: its place, its name, its field, and the texts that skip a row."""

    at: int
    name: str
    target: Target | None
    skip: frozenset[str] | None


def is_same_sent(row: str, sent: str) -> bool:
    """Whether two rows of a sender say the same: by the texts of their columns, as a file of CSV
    has them. Both are JSON text.
    """
    return _texts_of(row) == _texts_of(sent)


def _texts_of(text: str) -> dict[str, str | None]:
    cells = leaves_of(json.loads(text, parse_int=str, parse_float=str))
    values = {column_key(name): _value_of_json(value) for name, value in cells}
    return {
        key: None if value.is_cleared else value.text for key, value in values.items() if value.text
    }


def cell_faults(correction: RowText) -> Sequence[Message]:
    """The faults of the cells of a corrected row, which its text does not have."""
    if '"messages"' not in correction.notes:
        return ()
    return [each for each in Notes.from_text(correction.notes).messages if each.is_error]


def _no_column_error(subject: str, mapping: ProfileMapping) -> InvalidRequestError:
    names = [escaped(name)[:60] for name in mapping.profile.columns]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return InvalidRequestError(
        f"{subject} has no column of the profile {mapping.ref.name}: check the file, how its "
        "columns are separated, and the name of the profile. The columns of the profile are "
        f"{', '.join(names[:_MOST_NAMED])}{more}."
    )


def _unknown_messages(names: Sequence[str]) -> Sequence[Message]:
    """The messages about columns that the profile does not name."""
    messages = [
        Message(
            MessageId.UNKNOWN_FIELD, escaped(name), detail="the profile does not name the column"
        )
        for name in names[:_MOST_REPORTED]
    ]
    return bounded(messages, _MOST_REPORTED, len(names) - len(messages))


class MappedPayload:
    """The rows that a profile makes of JSON rows; a `Payload`.

    Memory holds the rows of the sender; each row is mapped again when it is stored.
    """

    def __init__(self, mapping: ProfileMapping, source: Payload, max_stored: int) -> None:
        """`max_stored`: the most bytes of all rows (`json_rows.StoredBytes`)."""
        self._mapping = mapping
        self._source = source
        self._stored_bytes = StoredBytes(max_stored)
        self._rows = RowTable()
        # The place of each row in the source, which has the rows that are skipped too.
        self._places = array("I")
        self._sizes = array("I")
        self._unknown: Sequence[str] = ()
        self.skipped = 0

    @property
    def rows(self) -> Sequence[RawRow]:
        """The rows, without those that were skipped."""
        return self._rows

    def read(self, sort_key: SortKey) -> None:
        """Find the rows and their keys. Raises InvalidRequestError, TooLargeError."""
        has_known, has_rows = False, False
        for place, raw in enumerate(self._source.rows):
            has_rows = True
            sent = read_row_of_line(self._source.row_text(raw).text, raw.index, 0)
            columns = [name for name, _ in leaves_of(sent)]
            has_known = has_known or any(map(self._mapping.target, columns))
            index = len(self._rows)
            if not index:
                self._unknown = [name for name in columns if not self._mapping.is_known(name)]
            mapped = self._mapping.render_object(sent, f"The row of index {raw.index}")
            if mapped is None:
                self.skipped += 1
                continue
            key = sort_key(read_row_of_line(mapped.text, raw.index, 0))
            self._places.append(place)
            self._rows.add(key, raw.start, raw.end)
            self._sizes.append(len(self.line(self._rows[-1])))
            self._stored_bytes.add(self._sizes[-1])
        if has_rows and not has_known:
            raise _no_column_error("No row", self._mapping)

    def row_text(self, row: RawRow) -> RowText:
        """See `Payload.row_text`."""
        raw = self._source.rows[self._places[row.index]]
        text, source_notes = self._source.row_text(raw)
        sent = read_row_of_line(text, raw.index, 0)
        mapped = self._mapping.render_object(sent, f"The row of index {raw.index}")
        assert mapped is not None, "a skipped row is no row of the payload"
        source = Notes.from_text(source_notes)
        unknown = () if row.index else _unknown_messages(self._unknown)
        messages = (*source.messages, *mapped.faults, *unknown)
        notes = Notes(source.line, messages, lists=mapped.lists, sent=text)
        return RowText(mapped.text, notes.to_text())

    def line_size(self, row: RawRow) -> int:
        """See `Payload.line_size`."""
        return self._sizes[row.index]

    def line(self, row: RawRow) -> bytes:
        """See `Payload.line`."""
        return line_of(row.index, *self.row_text(row))


def read_mapped(
    mapping: ProfileMapping,
    read: Reader,
    body: bytes,
    sort_key: SortKey,
    max_rows: int,
    *,
    max_stored: int,
) -> MappedPayload:
    """Read the rows of a body whose format `read` reads as JSON rows of the sender.

    Raises what `read` raises, InvalidRequestError, and TooLargeError for rows that have more than
    `max_stored` bytes as they are stored.
    """
    payload = MappedPayload(mapping, read(body, _no_key, max_rows), max_stored)
    payload.read(sort_key)
    return payload


def _no_key(_row: Mapping[str, Any]) -> None:
    return None
