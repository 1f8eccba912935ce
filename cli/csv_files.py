"""CSV as rows: a column per field, named by its path (`WorkerAddress.Postcode`, `Rates[0].Code`).

CSV has only text, so the schema of the type decides the type of a cell. A text field keeps its
characters (`007` stays `007`). The cell of a number or boolean field is converted if it is one, and
otherwise sent as text, so that the gateway reports the error in that row. An empty cell leaves the
field out; `null`, `[]` and `{}` are those values. Failed rows that the gateway returned as CSV are
read back as they were sent (`shared.imports.csv_export`). Any of its own columns (`_index`,
`_line`, `_error`, `_more`) may have been deleted.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Final, TextIO

from shared.imports.csv_export import ERROR, INDEX, LINE, MORE, WORDS, is_guarded, restored
from shared.imports.json_rows import MAX_DEPTH
from shared.imports.row_reader import MAX_SHOWN
from shared.imports.text_checks import ENDS, escaped, is_blank, nearest, trimmed, without_hidden

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_STEP: Final = re.compile(r"([^.\[\]]+)|\[([0-9]{1,4})\]")
_PATH: Final = re.compile(r"[^.\[\]]+(?:\[[0-9]{1,4}\]|\.[^.\[\]]+)*")
_DELIMITERS: Final = ",;\t"
_SEPARATOR_LINE: Final = re.compile(r'"?sep=([^\w\s"]|\t)"?[,;\t]*[\r\n]*', re.IGNORECASE)
# The characters of a line of blank cells, with any delimiter.
_BLANK_CELLS: Final = ENDS + _DELIMITERS + "\"'"
_PLACE: Final = re.compile(r"\[[0-9]+\]")
_MOST_NAMED: Final = 10
# The most unknown columns for which the nearest field is searched, since a header may be hostile.
_MOST_COMPARED: Final = 50
_LONGEST_CELL: Final = 16 * 1024 * 1024

Step = str | int
# A row that is being built: objects by name, lists by index, JSON text as leaves.
Tree = dict[Step, Any]


@dataclass(frozen=True, slots=True)
class UnknownColumn:
    """A column that is no field of the type, and the field that was perhaps meant."""

    name: str
    line: int
    nearest: str | None


@dataclass(frozen=True, slots=True)
class RowFile:
    """The JSON text of each row of a file, and the line of the file that it begins in, from 1."""

    rows: Sequence[str]
    lines: Sequence[int]
    unknown_columns: Sequence[UnknownColumn] = field(default=())


@dataclass(frozen=True, slots=True)
class _Column:
    """One column: the path of its field, and the types of the field in the schema."""

    path: tuple[Step, ...]
    types: frozenset[str]


_MORE: Final = _Column((MORE,), frozenset())
_NAMELESS: Final = _Column((), frozenset())


def read_csv(text: str, schema: Mapping[str, Any], *, blank_clears: bool = False) -> RowFile:
    """Read the rows of a text. Raises ValueError with the problem and its line.

    The header is the first line that is neither blank nor `sep=;`, with which spreadsheets name
    their delimiter. Blank rows are ignored.
    """
    csv.field_size_limit(_LONGEST_CELL)
    lines = StringIO(text, newline="")
    lines_above, delimiter = _lines_before_header(lines)
    start = lines.tell()
    if not delimiter:
        delimiter = max(_DELIMITERS, key=lambda mark: _count_columns(lines, start, mark))
    lines.seek(start)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    line = lines_above + 1
    rows: list[str] = []
    rows_of_cells: list[int] = []
    try:
        header = next(reader, [])
        columns = _columns(header, schema, line)
        row_number = columns.index(_MORE) if _MORE in columns else len(columns)
        unnamed_columns = [at for at, column in enumerate(columns) if column is _NAMELESS]
        line = lines_above + reader.line_num + 1
        for cells in reader:
            if any(not is_blank(cell) for cell in cells):
                row = f"index {len(rows)}, line {line}"
                _check_names(cells, unnamed_columns, len(columns), row, lines_above + 1)
                row_columns, row_cells = _with_more(
                    columns, cells[: len(columns)], row_number, schema
                )
                tree: Tree = {}
                for path, value in _values(row_columns, row_cells, blank_clears).items():
                    _place(tree, path, value)
                rows.append(_rendered(tree))
                rows_of_cells.append(line)
            line = lines_above + reader.line_num + 1
        return RowFile(rows, rows_of_cells, _unknown_columns(columns, schema, lines_above + 1))
    except csv.Error as error:
        index = len(rows) if line > lines_above + 1 else None
        raise ValueError(_describe(error, index, line)) from None


def _lines_before_header(lines: TextIO) -> tuple[int, str]:
    """Skip the lines above the header. Returns their number, and the delimiter that they name."""
    count, delimiter = 0, ""
    while line := lines.readline():
        separator = _SEPARATOR_LINE.fullmatch(line)
        if separator is None and line.strip(_BLANK_CELLS):
            lines.seek(lines.tell() - len(line))
            break
        delimiter = separator[1] if separator else delimiter
        count += 1
    return count, delimiter


def _count_columns(lines: TextIO, start: int, delimiter: str) -> int:
    """The number of columns of the header with a delimiter."""
    lines.seek(start)
    try:
        return len(next(csv.reader(lines, delimiter=delimiter), []))
    except csv.Error:
        return 0


def _describe(error: csv.Error, index: int | None, line: int) -> str:
    """An error of the library as a sentence about the row in a line, or the header (no index)."""
    text = str(error)
    if "unexpected end of data" in text:
        subject = "a cell begins with a quotation mark that is never closed; close it"
    elif "expected after" in text:
        subject = "text follows the closing quotation mark of a cell; write a mark within it twice"
    elif "field limit" in text:
        subject = f"a cell has more than {_LONGEST_CELL} characters, which is the limit; shorten it"
    else:
        subject = text
    row = "the header" if index is None else f"the row of index {index}"
    return f"{row} that begins in line {line} cannot be read: {subject}."


def _columns(header: Sequence[str], schema: Mapping[str, Any], line: int) -> list[_Column | None]:
    names = [_name(name, schema) for name in header]
    counts = Counter(name.lower() for name in names if name)
    first = {name.lower(): name for name in reversed(names)}
    repeated = sorted(first[name] for name, count in counts.items() if count > 1)
    if repeated:
        shown = ", ".join(map(escaped, repeated[:_MOST_NAMED]))[:MAX_SHOWN]
        raise ValueError(
            f"line {line} has more than one column of the same name: {shown}; leave one of them."
        )
    return [_column(name, schema) if name else _NAMELESS for name in names]


def _name(header: str, schema: Mapping[str, Any]) -> str:
    """The column name of a header cell; "" if it has no visible character.

    Invisible characters are removed if the result is the name of a field. Otherwise the name stays,
    and the gateway shows it with these characters escaped.
    """
    name = restored(trimmed(header))
    seen_names = without_hidden(name)
    if not seen_names:
        return ""
    is_known = seen_names in (INDEX, LINE, ERROR, MORE) or is_field(path_of(seen_names), schema)
    return seen_names if is_known else name


def _column(name: str, schema: Mapping[str, Any]) -> _Column | None:
    """The column of a name; None for the columns of a command or an answer."""
    if name in (INDEX, LINE, ERROR):
        return None
    path = path_of(name)
    return _Column(path, types_of(path, schema))


def path_of(name: str) -> tuple[Step, ...]:
    """The steps of a path: names, and indexes of lists. A name that is no path is one step.

    Raises ValueError for a path that is deeper than a row may be.
    """
    if name.count(".") + name.count("[") >= MAX_DEPTH:
        raise ValueError(
            f"the header has a column that is nested more than {MAX_DEPTH} levels deep; correct "
            "its name."
        )
    if not _PATH.fullmatch(name):
        return (name,)
    return tuple(step or int(place) for step, place in _STEP.findall(name))


def types_of(path: Sequence[Step], schema: Mapping[str, Any]) -> frozenset[str]:
    """The JSON types of the field at a path in the schema; none for an unknown field."""
    node = _node_at(path, schema)
    types = () if node is None else node.get("type", ())
    return frozenset([types] if isinstance(types, str) else types)


def is_field(path: Sequence[Step], schema: Mapping[str, Any]) -> bool:
    """Whether the schema has a field at a path."""
    return _node_at(path, schema) is not None


def _node_at(path: Sequence[Step], schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    node: Mapping[str, Any] = schema
    for step in path:
        node = _resolved(node, schema)
        child = node.get("items") if isinstance(step, int) else _property(node, step)
        if child is None:
            return None
        node = child
    return _resolved(node, schema)


def _property(node: Mapping[str, Any], name: str) -> Any:
    for properties, schema in node.get("properties", {}).items():
        if properties.lower() == name.lower():
            return schema
    return None


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
    columns: Sequence[_Column | None], schema: Mapping[str, Any], line: int
) -> list[UnknownColumn]:
    """The columns that are no field; the first `_MOST_COMPARED` with the nearest field."""
    paths = [
        column.path
        for column in columns
        if column not in (None, _NAMELESS, _MORE) and not is_field(column.path, schema)
    ]
    known_names = known_paths(schema) if paths else []
    return [
        UnknownColumn(
            shown_path(path),
            line,
            nearest_field(shown_path(path), known_names) if place < _MOST_COMPARED else None,
        )
        for place, path in enumerate(paths)
    ]


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


def nearest_field(name: str, known_names: Iterable[str]) -> str | None:
    """The known path that is most similar to a name, with the indexes of the name."""
    closest = nearest(_PLACE.sub("[0]", name), known_names)
    places = iter(_PLACE.findall(name))
    return closest and _PLACE.sub(lambda each: next(places, each[0]), closest)


def _check_names(
    cells: Sequence[str], unnamed_columns: Sequence[int], width: int, row: str, header: int
) -> None:
    """Raises ValueError for a value in a column without a name, where only blanks are allowed."""
    for place in (*unnamed_columns, *range(width, len(cells))):
        if place < len(cells) and not is_blank(cells[place]):
            raise ValueError(
                f"{row} has a value in column {place + 1}, which has no name in line {header}; "
                "name the column there, or clear the cell."
            )


def _with_more(
    columns: Sequence[_Column | None],
    cells: Sequence[str],
    place: int,
    schema: Mapping[str, Any],
) -> tuple[Sequence[_Column | None], Sequence[str]]:
    """The row with the fields that had no column of their own, which are in the cell at `place`."""
    if place >= len(cells):
        return columns, cells
    try:
        more = json.loads(restored(cells[place]) or "{}")
    except (ValueError, RecursionError):
        more = None
    if not isinstance(more, dict) or not all(isinstance(cell, str) for cell in more.values()):
        raise ValueError(f"the column {MORE} must hold what the gateway has put there, or nothing.")
    known = [*columns]
    known[place] = None
    return (
        [*known, *(_column(name, schema) for name in more)],
        [*cells, *[""] * (len(known) - len(cells)), *more.values()],
    )


def _values(
    columns: Sequence[_Column | None], cells: Sequence[str], blank_clears: bool
) -> dict[tuple[Step, ...], str]:
    """The JSON text of each cell with a meaning, by its path.

    With `blank_clears`, a list is cleared by blanks in all its cells. A blank cell of another list
    is ignored, because the row's list has fewer elements than that of another row, or an element
    lacks a property. A blank cell is also ignored if another cell is above or below its path.
    """
    values: dict[tuple[Step, ...], str] = {}
    blank: dict[tuple[Step, ...], str] = {}
    for column, cell in zip(columns, cells, strict=False):
        if column is None or column is _NAMELESS:
            continue
        if cell:
            values[column.path] = _value(cell, column.types)
        elif blank_clears:
            blank[_list_of(column.path) or column.path] = "null"
    if blank:
        taken = {path[:steps] for path in values for steps in range(1, len(path) + 1)}
        for path in sorted(blank, key=len):
            parent = (path[:steps] for steps in range(1, len(path)))
            if path not in taken and not any(each in values for each in parent):
                values[path] = "null"
    return values


def _list_of(path: Sequence[Step]) -> tuple[Step, ...] | None:
    """The path of the outermost list that contains a path; None if there is none."""
    for place, step in enumerate(path):
        if isinstance(step, int):
            return tuple(path[:place])
    return None


def _value(cell: str, types: frozenset[str]) -> str:
    """The JSON text of a cell that `shared.imports.csv_export` has written."""
    if cell in WORDS:
        return cell
    return json.dumps(restored(cell)) if is_guarded(cell) else _typed(cell, types)


def _typed(cell: str, types: frozenset[str]) -> str:
    """A cell as JSON text of the field's type, or as a JSON string if it is not of that type."""
    text = cell.strip()
    if types & {"integer", "number"} and _NUMBER.fullmatch(text):
        return text
    if "boolean" in types and text.lower() in ("true", "false"):
        return text.lower()
    return json.dumps(cell, ensure_ascii=False)


def _place(tree: Tree, path: Sequence[Step], value: str) -> None:
    for step in path[:-1]:
        child = tree.setdefault(step, {})
        if not isinstance(child, dict):
            raise ValueError(_contradiction(path))
        tree = child
    if isinstance(tree.get(path[-1]), dict):
        raise ValueError(_contradiction(path))
    tree[path[-1]] = value


def _contradiction(path: Sequence[Step]) -> str:
    return (
        f"the columns contradict each other at {escaped(str(path[0]))}: one names a field, another "
        "one a part of it; leave one of them."
    )


def _rendered(node: Tree | str) -> str:
    """The JSON text of a row that was built. Lists have their elements in order, without gaps."""
    if isinstance(node, str):
        return node
    if node and all(isinstance(step, int) for step in node):
        return f"[{','.join(_rendered(node[step]) for step in sorted(node))}]"
    members = (f"{json.dumps(str(name))}:{_rendered(child)}" for name, child in node.items())
    return f"{{{','.join(members)}}}"
