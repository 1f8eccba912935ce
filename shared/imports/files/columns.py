"""The columns of a file: which field each one is, and how its cells become the JSON of a row.

A column is named by the path of its field, as messages name it (`WorkerAddress.Postcode`,
`Rates[0].Code`), in any case. The schema of the type decides the type of a cell. A text field keeps
its characters (`007` stays `007`). The cell of a number or boolean field becomes one where it holds
one. Otherwise it stays text, so that the rules report the error in that row. An empty cell leaves
the field out; `null`, `[]` and `{}` are those values. Failed rows that the gateway returned as CSV
are read back as they were sent (`shared.imports.csv_export`). Any of its own columns (`_index`,
`_line`, `_error`, `_more`) may have been deleted.
"""

from __future__ import annotations

import json
import re
from collections import ChainMap, Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from json.encoder import encode_basestring
from typing import Any, Final, Protocol

from shared.errors import InvalidRequestError, TooLargeError
from shared.imports.csv_export import ERROR, INDEX, LINE, MORE, WORDS, is_guarded, restored
from shared.imports.files.notes import Notes, line_notes
from shared.imports.files.refused_cells import RefusedCells, refused_cell_fault
from shared.imports.json_rows import (
    MAX_DEPTH,
    MAX_NAME,
    MAX_ROW_BYTES,
    MAX_VALUES,
    RowText,
    over_limit_error,
)
from shared.imports.messages import Message, MessageId, bounded
from shared.imports.text_checks import escaped, is_blank, nearest, trimmed, without_hidden

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_STEP: Final = re.compile(r"([^.\[\]]+)|\[([0-9]{1,4})\]")
_PATH: Final = re.compile(r"[^.\[\]]+(?:\[[0-9]{1,4}\]|\.[^.\[\]]+)*")
_PLACE: Final = re.compile(r"\[[0-9]+\]")
_MOST_NAMED: Final = 10
# Characters of column names that a refusal repeats.
_MAX_SHOWN: Final = 200
# The most columns of a file, and the most of them for which the nearest field is searched.
MAX_COLUMNS: Final = MAX_VALUES
# Cells that all rows together may have fewer than the header, and those behind the 200th of a row.
MAX_MISSING_CELLS: Final = 20_000_000
MAX_FAR_CELLS: Final = 1_000_000
_NEAR_CELLS: Final = 200
_MOST_COMPARED: Final = 50
# Faults of the cells of one row that have a message each.
_MAX_FAULTS: Final = 100
# Unknown columns that get a message each.
_MOST_REPORTED: Final = 20

# Among the JSON types of a field: text in the form of a date.
DATE: Final = "date"
_DATE_PATTERN: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"

Step = str | int
# A row that is being built: objects by name, lists by index, JSON text as leaves.
Tree = dict[Step, Any]


class CellError(ValueError):
    """A cell that cannot be a value of its field. Its row fails with the message."""

    def __init__(self, message_id: int, detail: str, value: str | None = None) -> None:
        """`detail` names the cell; `value` is its content, shown unless the field is sensitive."""
        super().__init__(detail)
        self.message_id = message_id
        self.detail = detail
        self.value = value


class TypedCell(Protocol):
    """A cell of a spreadsheet that is no text: a number, a date, true or false, an error."""

    @property
    def fault(self) -> CellError | None:
        """Why it is not certain what the cell says; None where it is."""

    def json_text(self, types: frozenset[str]) -> str:
        """Its JSON text for a field of these JSON types, "" if it is empty. Raises CellError."""


# A cell of text, as CSV has no other, or a typed one.
Cell = str | TypedCell


class RowRenderer(Protocol):
    """Makes rows of the cells of a file, whose header it knows."""

    def render(self, cells: Sequence[Cell], index: int, line: int) -> RowText | None:
        """The row, or None for one to be skipped.

        `index` is the index that it would have, `line` where it begins. The same cells always give
        the same row. Raises InvalidRequestError for a row that makes the whole file unreadable.
        """


# Makes the renderer of a file from the names in its header and the line of the header. Raises
# InvalidRequestError.
MakeRenderer = Callable[[Sequence[str], int], RowRenderer]
IsSensitive = Callable[[Sequence[Step]], bool]


@dataclass(frozen=True, slots=True)
class UnknownColumn:
    """A column that is no field of the type, and the field that was perhaps meant."""

    name: str
    line: int
    nearest: str | None


@dataclass(frozen=True)
class Column:
    """One column: the path of its field, and the types of the field in the schema."""

    path: tuple[Step, ...]
    types: frozenset[str]

    @cached_property
    def is_text(self) -> bool:
        """Whether each text is a value of it."""
        return self.types.isdisjoint({"number", "integer", "boolean"})


_MORE: Final = Column((MORE,), frozenset())
_IGNORED: Final = ((INDEX,), (LINE,), (ERROR,))
_NAMELESS: Final = Column((), frozenset())


class MissingCells:
    """Counts the cells that the rows have fewer than the header. Each costs time and no byte, so a
    small file of a wide header could cost minutes.
    """

    def __init__(self) -> None:
        self._count = 0
        self._far = 0

    def add(self, missing: int, columns: int) -> None:
        """Count those of a row. Raises TooLargeError over a limit."""
        if missing <= 0:
            return
        self._count += missing
        self._far += max(0, missing - _NEAR_CELLS)
        if self._count > MAX_MISSING_CELLS or self._far > MAX_FAR_CELLS:
            raise TooLargeError(
                f"The header has {columns} columns, and the rows have far fewer cells: more "
                f"than {MAX_FAR_CELLS} are missing, which is the limit: remove the columns that "
                "have no value."
            )


class Header:
    """The columns of a file under contract names; a `RowRenderer`."""

    def __init__(
        self,
        names: Sequence[str],
        line: int,
        schema: Mapping[str, Any],
        is_sensitive: IsSensitive,
        *,
        blank_clears: bool = False,
    ) -> None:
        """`blank_clears`: an empty cell is null instead of leaving the field out.

        Raises InvalidRequestError for a header that cannot be read.
        """
        self._line = line
        self._schema = schema
        self._is_sensitive = is_sensitive
        self._blank_clears = blank_clears
        self._spellings: dict[tuple[Step, ...], Step] = {}
        self._columns = _read_columns(names, schema, line, self._spellings)
        self._more_at = self._columns.index(_MORE) if _MORE in self._columns else len(names)
        self._nameless = [at for at, each in enumerate(self._columns) if each is _NAMELESS]
        self.unknown_columns = _unknown_columns(self._columns, schema, line)
        paths = [each.path if each and each is not _MORE else () for each in self._columns]
        self._layout = None if blank_clears else layout_of(paths)
        self._list_columns = _list_columns(paths)
        self._refused = RefusedCells(
            [
                _name(name, schema, line) if column is None else shown_path(column.path)
                for name, column in zip(names, self._columns, strict=True)
            ]
        )
        self._check_some_known()

    def _check_some_known(self) -> None:
        """Raises InvalidRequestError for a header of unknown columns, which is perhaps a title."""
        known = len([each for each in self._columns if each is not None and each is not _NAMELESS])
        if known > len(self.unknown_columns):
            return
        first = self.unknown_columns[0] if self.unknown_columns else None
        meant = f" Did you mean {first.nearest}?" if first and first.nearest else ""
        shown = f", which begins with {escaped(first.name)[:_MAX_SHOWN]}," if first else ""
        raise InvalidRequestError(
            f"Line {self._line}{shown} has no column of this type: it must be the header, and name "
            f"the columns by the paths of the fields, or name a profile that maps them.{meant}"
        )

    def render(self, cells: Sequence[Cell], index: int, line: int) -> RowText:
        """See `RowRenderer.render`."""
        name = row_name(index, line)
        check_names(cells, self._nameless, len(self._columns), name, self._line)
        faults = [
            refused_cell_fault(self._contract_name(at)) for at in self._refused.still_empty(cells)
        ]
        if self._layout is not None and not self._has_more(cells):
            texts = self._texts(cells, faults)
            lists = self._places_of_elements(texts) if self._list_columns else None
            return RowText(
                self._layout.render(texts) or "{}", self._notes(index, line, faults, lists)
            )
        columns, row_cells = self._with_more(cells[: len(self._columns)], name)
        tree: Tree = {}
        for path, value in self._values(columns, row_cells, faults, name).items():
            if len(path) == 1 and path[0] not in tree:
                tree[path[0]] = value
            else:
                place_value(tree, path, value, name)
        lists = {
            shown_path(_contract_path(path, self._schema)): places
            for path, places in places_of_elements(tree)
        }
        return RowText(rendered(tree), self._notes(index, line, faults, lists))

    def _contract_name(self, at: int) -> str:
        column = self._columns[at]
        return shown_path(_contract_path(column.path, self._schema)) if column else ""

    def _places_of_elements(self, texts: Sequence[str]) -> dict[str, list[int]]:
        """`Notes.lists` of a row of these texts."""
        lists = {}
        for path, columns in self._list_columns.items():
            places = list(dict.fromkeys(place for place, at in columns if texts[at]))
            if places and places[-1] >= len(places):
                lists[shown_path(_contract_path(path, self._schema))] = places
        return lists

    def _notes(
        self,
        index: int,
        line: int,
        faults: Sequence[Message],
        lists: Mapping[str, Sequence[int]] | None,
    ) -> str:
        if not faults and not self.unknown_columns and not lists:
            return line_notes(line)
        unknown = [] if index else _unknown_messages(self.unknown_columns)
        messages = (*bounded(faults, _MAX_FAULTS), *unknown)
        return Notes(line, messages, bool(self.unknown_columns), lists or None).to_text()

    def _has_more(self, cells: Sequence[Cell]) -> bool:
        return self._more_at < len(cells) and bool(cells[self._more_at])

    def _with_more(
        self, cells: Sequence[Cell], name: str
    ) -> tuple[Sequence[Column | None], Sequence[Cell]]:
        """The row with the fields that had no column of their own; the cell `_more` has them."""
        columns, place = self._columns, self._more_at
        if place >= len(cells):
            return columns, cells
        more = more_cells(cells[place], name)
        known = [*columns]
        known[place] = None
        spellings = ChainMap({}, self._spellings)
        paths = (_same_case(path_of(each), spellings) for each in more)
        return (
            [*known, *(_column(path, self._schema) for path in paths)],
            [*cells, *[""] * (len(known) - len(cells)), *more.values()],
        )

    def _texts(self, cells: Sequence[Cell], faults: list[Message]) -> list[str]:
        """The JSON text of each cell, "" for an empty one; faults of cells are added."""
        texts = [""] * len(self._columns)
        for at, (column, cell) in enumerate(zip(self._columns, cells, strict=False)):
            if column is None or not cell:
                continue
            if column.is_text and type(cell) is str and cell[0] != "'":
                # Nearly every cell, so this is quick.
                texts[at] = cell if cell in WORDS else encode_basestring(cell)
            elif column is not _NAMELESS and column is not _MORE:
                texts[at] = self._text(column, cell, faults)
        return texts

    def _text(self, column: Column, cell: Cell, faults: list[Message]) -> str:
        """The JSON text of a cell, "" for an empty or a faulty one; its fault is added."""
        try:
            if isinstance(cell, str):
                return cell and _text_value(cell, column.types)
            return cell.json_text(column.types)
        except CellError as error:
            path = _contract_path(column.path, self._schema)
            shown = None if self._is_sensitive(path) else error.value
            faults.append(Message(error.message_id, shown_path(path), shown, error.detail))
            return ""

    def _values(
        self,
        columns: Sequence[Column | None],
        cells: Sequence[Cell],
        faults: list[Message],
        row: str,
    ) -> dict[tuple[Step, ...], str]:
        """The JSON text of each cell with a meaning, by its path; faults of cells are added.

        With `blank_clears`, a list is cleared by blanks in all its cells. A blank cell of another
        list is ignored, because the row's list has fewer elements than that of another row, or an
        element lacks a property. A blank cell is also ignored if another cell is above or below its
        path. Raises InvalidRequestError for a field that has a value in its column and in `_more`.
        """
        values: dict[tuple[Step, ...], str] = {}
        blank: dict[tuple[Step, ...], str] = {}
        for column, cell in zip(columns, cells, strict=False):
            if column is None or column is _NAMELESS:
                continue
            count = len(faults)
            text = self._text(column, cell, faults)
            if len(faults) > count:
                continue
            if text:
                if column.path in values:
                    raise more_twice_error(shown_path(column.path), row)
                values[column.path] = text
            elif self._blank_clears:
                blank[_list_of(column.path) or column.path] = "null"
        if blank:
            taken = {path[:steps] for path in values for steps in range(1, len(path) + 1)}
            for path in sorted(blank, key=len):
                parent = (path[:steps] for steps in range(1, len(path)))
                if path not in taken and not any(each in values for each in parent):
                    values[path] = "null"
        return values


def more_cells(cell: Cell, row: str) -> dict[str, str]:
    """The fields that have no column of their own, of a cell of `_more`.

    Raises InvalidRequestError.
    """
    try:
        text = restored(cell) or "{}" if isinstance(cell, str) else ""
        more = json.loads(text, object_pairs_hook=_more_fields)
        if not isinstance(more, dict):
            raise TypeError("no object")
    except (ValueError, TypeError, RecursionError):
        raise InvalidRequestError(
            f"{row}: the column {MORE} must hold what the gateway has put there, or nothing."
        ) from None
    for name in more:
        _check_name(name, f"{row}, column {MORE}")
    return more


def _more_fields(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """The object of texts. Raises ValueError and TypeError for what is none."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a name twice")
    # Half a surrogate pair is no character.
    "".join((*fields, *fields.values())).encode()
    return fields


def more_twice_error(name: str, row: str) -> InvalidRequestError:
    """The refusal of a row with a field that has two values."""
    return InvalidRequestError(
        f"{row} has a value for {escaped(name)} in its column and in the column {MORE}: leave one "
        "of them out."
    )


def _check_name(name: str, place: str) -> None:
    """Raises InvalidRequestError and TooLargeError for a path that no row may have."""
    if name.count(".") + name.count("[") >= MAX_DEPTH:
        raise InvalidRequestError(
            f"{place} has a name that is nested more than {MAX_DEPTH} levels deep; correct it."
        )
    if len(name) > MAX_NAME and max(len(str(step)) for step in path_of(name)) > MAX_NAME:
        raise over_limit_error(place, f"{MAX_NAME} characters in a name")


def row_name(index: int, line: int) -> str:
    """How refusals name a row of a file."""
    return f"The row of index {index} (line {line})"


def check_row_size(size: int, row: str) -> None:
    """Raises TooLargeError for the cells of a row, or of the header, that have too many characters,
    before the row is made of them.
    """
    if size > MAX_ROW_BYTES:
        raise over_limit_error(row, f"{MAX_ROW_BYTES} characters")


def check_not_header(cells: Sequence[Cell], header: Sequence[str], index: int, line: int) -> None:
    """Raises InvalidRequestError for a row that repeats the header, as joined files have it."""
    first = cells[0]
    if not isinstance(first, str) or first.strip().lower() != header[0].strip().lower():
        return
    texts = [cell.strip().lower() if isinstance(cell, str) else None for cell in cells]
    if len(texts) > 1 and texts == [name.strip().lower() for name in header]:
        raise InvalidRequestError(
            f"The row of index {index} (line {line}) repeats the header: remove that line, and "
            "check that the rows below it have the same columns."
        )


def _read_columns(
    header: Sequence[str],
    schema: Mapping[str, Any],
    line: int,
    spellings: MutableMapping[tuple[Step, ...], Step],
) -> list[Column | None]:
    """The columns of a header; `spellings` gets how it writes each name (`_same_case`)."""
    if len(header) > MAX_COLUMNS:
        raise InvalidRequestError(
            f"The header in line {line} has {len(header)} columns and the limit is {MAX_COLUMNS}: "
            "check how the columns are separated."
        )
    names = [_name(name, schema, line) for name in header]
    paths = [_same_case(path_of(name), spellings) if name else () for name in names]
    counts = Counter(path for path in paths if path)
    first = dict(zip(reversed(paths), reversed(names), strict=True))
    repeated = sorted(first[path] for path, count in counts.items() if count > 1)
    if repeated:
        shown = ", ".join(map(escaped, repeated[:_MOST_NAMED]))[:_MAX_SHOWN]
        raise InvalidRequestError(
            f"The header in line {line} has more than one column of the same name: {shown}; leave "
            "one of them (names that differ only in upper and lower case count as the same)."
        )
    return [_column(path, schema) if path else _NAMELESS for path in paths]


def _same_case(
    path: Sequence[Step], spellings: MutableMapping[tuple[Step, ...], Step]
) -> tuple[Step, ...]:
    """The path with its names as the file spells them first: `A.B` and `a.C` are in one object."""
    key: tuple[Step, ...] = ()
    steps = []
    for step in path:
        key = (*key, step.lower() if isinstance(step, str) else step)
        steps.append(spellings.setdefault(key, step))
    return tuple(steps)


def _name(header: str, schema: Mapping[str, Any], line: int) -> str:
    """The column name of a header cell; "" if it has no visible character.

    Invisible characters are removed if the result is the name of a field. Otherwise the name stays,
    and messages show it with these characters escaped.
    """
    name = restored(trimmed(header))
    visible_name = without_hidden(name)
    if not visible_name:
        return ""
    _check_name(visible_name, f"The header in line {line}")
    is_own = visible_name in (INDEX, LINE, ERROR, MORE)
    return visible_name if is_own or is_field(path_of(visible_name), schema) else name


def _column(path: tuple[Step, ...], schema: Mapping[str, Any]) -> Column | None:
    """The column of a path; None for the columns of a command or an answer."""
    if path in _IGNORED:
        return None
    return _MORE if path == _MORE.path else Column(path, types_of(path, schema))


def path_of(name: str) -> tuple[Step, ...]:
    """The steps of a path: names, and indexes of lists. A name that is no path is one step."""
    if not _PATH.fullmatch(name):
        return (name,)
    return tuple(step or int(place) for step, place in _STEP.findall(name))


def types_of(path: Sequence[Step], schema: Mapping[str, Any]) -> frozenset[str]:
    """The JSON types of the field at a path in the schema, with DATE; none for an unknown field."""
    node = node_at(path, schema)
    if node is None:
        return frozenset()
    types = node.get("type", "object")
    dates = {DATE} if is_date(node) else set()
    return frozenset([types] if isinstance(types, str) else types) | dates


def is_date(field: Mapping[str, Any]) -> bool:
    """Whether the schema of a field says that it is a calendar day."""
    return _DATE_PATTERN in field.get("pattern", "") or "date" in str(field.get("format"))


def is_field(path: Sequence[Step], schema: Mapping[str, Any]) -> bool:
    """Whether the schema has a field at a path."""
    return node_at(path, schema) is not None


def node_at(path: Sequence[Step], schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema of the field at a path; None where there is no such field."""
    node: Mapping[str, Any] = schema
    for step in path:
        node = _resolved(node, schema)
        child = node.get("items") if isinstance(step, int) else _property(node, step)
        if child is None:
            return None
        node = child
    return _resolved(node, schema)


def _property(node: Mapping[str, Any], name: str) -> Any:
    for property_name, schema in node.get("properties", {}).items():
        if property_name.lower() == name.lower():
            return schema
    return None


def _contract_path(path: Sequence[Step], schema: Mapping[str, Any]) -> Sequence[Step]:
    """The path of a field with the names of the contract; another path stays as it is."""
    node: Mapping[str, Any] = schema
    steps: list[Step] = []
    for step in path:
        if isinstance(step, int):
            node = _resolved(node.get("items", {}), schema)
            steps.append(step)
            continue
        properties = node.get("properties", {})
        name = next((each for each in properties if each.lower() == step.lower()), step)
        node = _resolved(properties.get(name, {}), schema)
        steps.append(name)
    return steps


def _resolved(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Resolve a reference, also a nullable one, to its schema."""
    for option in node.get("anyOf", ()):
        if "$ref" in option:
            node = option
    if "$ref" in node:
        definition: Mapping[str, Any] = schema["$defs"][node["$ref"].rpartition("/")[2]]
        return definition
    return node


def _unknown_columns(
    columns: Sequence[Column | None], schema: Mapping[str, Any], line: int
) -> Sequence[UnknownColumn]:
    """The columns that are no field; the first `_MOST_COMPARED` with the nearest field."""
    paths = [
        column.path
        for column in columns
        if column is not None
        and column is not _NAMELESS
        and column is not _MORE
        and not is_field(column.path, schema)
    ]
    fields = known_paths(schema) if paths else []
    return [
        UnknownColumn(
            shown_path(path),
            line,
            nearest_field(shown_path(path), fields) if place < _MOST_COMPARED else None,
        )
        for place, path in enumerate(paths)
    ]


def _unknown_messages(columns: Sequence[UnknownColumn]) -> Sequence[Message]:
    messages = [
        Message(MessageId.UNKNOWN_FIELD, escaped(column.name), detail=_nearest_note(column.nearest))
        for column in columns[:_MOST_REPORTED]
    ]
    return bounded(messages, _MOST_REPORTED, len(columns) - len(messages))


def _nearest_note(name: str | None) -> str:
    return "a column of the file" + (f"; did you mean {name}?" if name else "")


def shown_path(path: Sequence[Step]) -> str:
    """A path in the form of messages."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def known_paths(schema: Mapping[str, Any]) -> list[str]:
    """The paths of all fields of a row that have a value, with the index 0 in lists."""
    return list(_paths_below(schema, schema, ""))


def _paths_below(node: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[str]:
    node = _resolved(node, schema)
    if "properties" in node:
        for name, child in node["properties"].items():
            yield from _paths_below(child, schema, f"{path}.{name}" if path else name)
    elif "items" in node:
        yield from _paths_below(node["items"], schema, f"{path}[0]")
    else:
        yield path


def nearest_field(name: str, paths: Iterable[str]) -> str | None:
    """The known path that is most similar to a name, with the indexes of the name."""
    closest = nearest(_PLACE.sub("[0]", name), paths)
    places = iter(_PLACE.findall(name))
    return closest and _PLACE.sub(lambda each: next(places, each[0]), closest)


def check_names(
    cells: Sequence[Cell], nameless: Sequence[int], width: int, row: str, header: int
) -> None:
    """Raises InvalidRequestError for a value in a column without a name, where only blanks are
    allowed.
    """
    for place in (*nameless, *range(width, len(cells))):
        if place >= len(cells):
            continue
        cell = cells[place]
        if not isinstance(cell, str) or not is_blank(cell):
            raise InvalidRequestError(
                f"{row} has a value in column {place + 1}, which has no name in line {header}: "
                "name the column there, or clear the cell."
            )


def _list_of(path: Sequence[Step]) -> tuple[Step, ...] | None:
    """The path of the outermost list that contains a path; None if there is none."""
    for place, step in enumerate(path):
        if isinstance(step, int):
            return tuple(path[:place])
    return None


def _list_columns(
    paths: Sequence[tuple[Step, ...]],
) -> dict[tuple[Step, ...], list[tuple[int, int]]]:
    """For each outermost list the columns of its elements: index of the element, and the column's
    place, in this order.
    """
    lists: dict[tuple[Step, ...], list[tuple[int, int]]] = {}
    for at, path in enumerate(paths):
        list_path = _list_of(path)
        if list_path is not None:
            place = path[len(list_path)]
            lists.setdefault(list_path, []).append((place if isinstance(place, int) else 0, at))
    return {path: sorted(columns) for path, columns in lists.items()}


def places_of_elements(
    tree: Tree, path: tuple[Step, ...] = ()
) -> Iterator[tuple[tuple[Step, ...], list[int]]]:
    """The outermost lists of a row that was built, each with the indexes of its elements, where
    elements before one are empty.
    """
    for name, child in tree.items():
        if not isinstance(child, dict) or not child:
            continue
        if all(isinstance(step, int) for step in child):
            places = sorted(step for step in child if isinstance(step, int))
            if places[-1] >= len(places):
                yield (*path, name), places
        else:
            yield from places_of_elements(child, (*path, name))


def _text_value(cell: str, types: frozenset[str]) -> str:
    """The JSON text of a cell that `shared.imports.csv_export` has written."""
    if cell in WORDS:
        return cell
    if is_guarded(cell):
        return encode_basestring(restored(cell))
    return typed_text(cell, types)


def typed_text(text: str, types: frozenset[str]) -> str:
    """The JSON text of a text for a field of these types; text where it is none of them."""
    if types:
        if "number" in types or "integer" in types:
            number = text.strip()
            if _NUMBER.fullmatch(number):
                return number
        if "boolean" in types and text.strip().lower() in ("true", "false"):
            return text.strip().lower()
    return encode_basestring(text)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the cells of a row stand in its JSON: an object or a list, known from the header.

    Each part is the beginning of a member ("" in a list), and the place of its cell or its layout.
    """

    is_list: bool
    parts: Sequence[tuple[str, int | Layout]]

    def render(self, texts: Sequence[str]) -> str:
        """The JSON of cells that are JSON texts; "" where all are empty."""
        members = []
        for beginning, part in self.parts:
            text = texts[part] if isinstance(part, int) else part.render(texts)
            if text:
                members.append(beginning + text)
        if not members:
            return ""
        inner = ",".join(members)
        return f"[{inner}]" if self.is_list else f"{{{inner}}}"


def layout_of(paths: Sequence[tuple[Step, ...]]) -> Layout | None:
    """The layout of a row with these fields, () for a column without one.

    None where it depends on the cells: where a path is within another one.
    """
    root: dict[Step, Any] = {}
    for at, path in enumerate(paths):
        node = root
        for step in path[:-1]:
            node = node.setdefault(step, {})
            if not isinstance(node, dict):
                return None
        if path and path[-1] in node:
            return None
        if path:
            node[path[-1]] = at
    return _layout(root)


def _layout(node: Mapping[Step, Any]) -> Layout | None:
    is_list = any(isinstance(step, int) for step in node)
    if is_list and not all(isinstance(step, int) for step in node):
        return None
    parts: list[tuple[str, int | Layout]] = []
    for step in sorted(node) if is_list else node:
        part = node[step] if isinstance(node[step], int) else _layout(node[step])
        if part is None:
            return None
        parts.append(("" if is_list else _member(step), part))
    return Layout(is_list, parts)


def place_value(tree: Tree, path: Sequence[Step], value: str, row: str) -> None:
    for step in path[:-1]:
        child = tree.setdefault(step, {})
        if not isinstance(child, dict):
            raise _contradiction(path, row)
        tree = child
    if isinstance(tree.get(path[-1]), dict):
        raise _contradiction(path, row)
    tree[path[-1]] = value


def _contradiction(path: Sequence[Step], row: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{row}: the columns contradict each other at {escaped(str(path[0]))}: one names a field, "
        "another one a part of it; leave one of them."
    )


def rendered(node: Tree | str) -> str:
    """The JSON text of a row that was built. Lists have their elements in order, without gaps."""
    if isinstance(node, str):
        return node
    if node and all(isinstance(step, int) for step in node):
        return f"[{','.join([rendered(node[step]) for step in sorted(node)])}]"
    members = [
        f"{_member(name)}{child if isinstance(child, str) else rendered(child)}"
        for name, child in node.items()
    ]
    return f"{{{','.join(members)}}}"


@lru_cache(maxsize=2_000)
def _member(name: Step) -> str:
    """The beginning of a member; the rows of a file have the same ones."""
    return f"{encode_basestring(str(name))}:"
