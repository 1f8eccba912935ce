"""CSV as rows: a column per field, named by its path (`WorkerAddress.Postcode`, `Rates[0].Code`).

CSV knows only text, so the schema of the type says what a cell is: a field that is text keeps its
characters (`007` stays `007`), a number or true/false becomes one where the cell is one, and is
sent as text otherwise, so that the gateway says of that row what is wrong. An empty cell leaves the
field out; `null`, `[]` and `{}` are those values. The failed rows that the gateway gives out as CSV
come back as they were sent, through `shared.imports.csv_rows`; of its own columns (`_index`,
`_error`, `_more`) any may have been deleted.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any, Final

from shared.imports.csv_rows import ERROR, INDEX, MORE, WORDS, is_guarded, restored
from shared.imports.faults import MAX_SHOWN
from shared.imports.payload import MAX_DEPTH
from shared.imports.reference_text import escaped, trimmed, without_hidden

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_STEP: Final = re.compile(r"([^.\[\]]+)|\[([0-9]{1,4})\]")
_PATH: Final = re.compile(r"[^.\[\]]+(?:\[[0-9]{1,4}\]|\.[^.\[\]]+)*")
_DELIMITERS: Final = ",;\t"
_MOST_NAMED: Final = 10
_LONGEST_CELL: Final = 16 * 1024 * 1024

Step = str | int
Tree = dict[Step, Any]
"""A row while it is put together: objects by name, lists by place, JSON text as leaves."""


@dataclass(frozen=True, slots=True)
class _Column:
    """One column: where its cells belong, and the types that the schema gives the field."""

    path: tuple[Step, ...]
    types: frozenset[str]


_MORE: Final = _Column((MORE,), frozenset())


def read_csv(text: str, schema: Mapping[str, Any], *, blank_clears: bool = False) -> list[str]:
    """The JSON text of each row. Raises ValueError with what is wrong, and where."""
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        header = next(reader, [])
        columns = _columns(header, schema)
        place = columns.index(_MORE) if _MORE in columns else len(columns)
        rows = []
        for cells in reader:
            if any(cells):
                _check_width(cells, header, reader.line_num)
                known, said = _with_more(columns, cells, place, schema)
                rows.append(_row(_values(known, said, blank_clears)))
        return rows
    except csv.Error as error:
        raise ValueError(f"{error} (line {reader.line_num}).") from None


def _delimiter(text: str) -> str:
    """The mark that parts the header into most columns: a comma, a semicolon or a tab."""
    head = text[: text.find("\n") + 1] or text
    return max(_DELIMITERS, key=lambda mark: len(next(csv.reader([head], delimiter=mark), [])))


def _columns(header: Sequence[str], schema: Mapping[str, Any]) -> list[_Column | None]:
    names = [_name(name, schema) for name in header]
    folded = [name.lower() for name in names]
    twice = sorted(name for name, count in Counter(folded).items() if count > 1)
    if twice or "" in folded:
        shown = ", ".join(map(escaped, twice[:_MOST_NAMED]))[:MAX_SHOWN]
        raise ValueError(f"line 1 has a column without a name, or one twice: {shown}.")
    return [_column(name, schema) for name in names]


def _name(header: str, schema: Mapping[str, Any]) -> str:
    """The name that a header cell means.

    Where it is a field's name but for characters that cannot be seen, it means the field. Otherwise
    it stays, and the gateway names it with these characters escaped.
    """
    name = restored(trimmed(header))
    seen = without_hidden(name)
    is_known = seen in (INDEX, ERROR, MORE) or is_field(path_of(seen), schema)
    return seen if is_known else name


def _column(name: str, schema: Mapping[str, Any]) -> _Column | None:
    """Where the cells of a column belong; None for those that are no field."""
    if name in (INDEX, ERROR):
        return None
    path = path_of(name)
    return _Column(path, types_of(path, schema))


def path_of(name: str) -> tuple[Step, ...]:
    """The steps of a path: names, and places of a list. A name that is no path is one step.

    Raises ValueError for a path that is deeper than a row may be.
    """
    if name.count(".") + name.count("[") >= MAX_DEPTH:
        raise ValueError(f"a column of line 1 is nested more than {MAX_DEPTH} levels deep.")
    if not _PATH.fullmatch(name):
        return (name,)
    return tuple(step or int(place) for step, place in _STEP.findall(name))


def types_of(path: Sequence[Step], schema: Mapping[str, Any]) -> frozenset[str]:
    """The JSON types that the schema gives the field at a path; none for an unknown one."""
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
        found = node.get("items") if isinstance(step, int) else _property(node, step)
        if found is None:
            return None
        node = found
    return _resolved(node, schema)


def _property(node: Mapping[str, Any], name: str) -> Any:
    for known, schema in node.get("properties", {}).items():
        if known.lower() == name.lower():
            return schema
    return None


def _resolved(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema that a nullable reference, or a reference, leads to."""
    for option in node.get("anyOf", ()):
        if "$ref" in option:
            node = option
    if "$ref" in node:
        found: Mapping[str, Any] = schema["$defs"][node["$ref"].rpartition("/")[2]]
        return found
    return node


def _check_width(cells: Sequence[str], header: Sequence[str], line: int) -> None:
    if len(cells) > len(header):
        raise ValueError(f"the row that ends in line {line} has more cells than line 1 has names.")


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
    """The JSON text of each cell that says something, by its path.

    Where blanks clear, a list is cleared by blanks in all its cells. A blank cell of another list
    says nothing: this row's list has fewer elements than that of another row, or an element lacks a
    property. Nor does a blank at a path say anything where another cell stands above or below it.
    """
    said: dict[tuple[Step, ...], str] = {}
    blank: dict[tuple[Step, ...], str] = {}
    for column, cell in zip(columns, cells, strict=False):
        if column is not None and cell:
            said[column.path] = _value(cell, column.types)
        elif column is not None and blank_clears:
            blank[_list_of(column.path) or column.path] = "null"
    if blank:
        taken = {path[:steps] for path in said for steps in range(1, len(path) + 1)}
        for path in sorted(blank, key=len):
            above = (path[:steps] for steps in range(1, len(path)))
            if path not in taken and not any(each in said for each in above):
                said[path] = "null"
    return said


def _list_of(path: Sequence[Step]) -> tuple[Step, ...] | None:
    """The path of the outermost list that a path leads into; None where it leads into none."""
    for place, step in enumerate(path):
        if isinstance(step, int):
            return tuple(path[:place])
    return None


def _value(cell: str, types: frozenset[str]) -> str:
    """The JSON text of a cell: the inverse of what `csv_rows` makes of a value."""
    if cell in WORDS:
        return cell
    return json.dumps(restored(cell)) if is_guarded(cell) else _typed(cell, types)


def _typed(cell: str, types: frozenset[str]) -> str:
    """A cell as JSON text of the field's type; as text where it is not of that type."""
    text = cell.strip()
    if types & {"integer", "number"} and _NUMBER.fullmatch(text):
        return text
    if "boolean" in types and text.lower() in ("true", "false"):
        return text.lower()
    return json.dumps(cell, ensure_ascii=False)


def _row(values: Mapping[tuple[Step, ...], str]) -> str:
    tree: Tree = {}
    for path, value in values.items():
        _place(tree, path, value)
    return _rendered(tree)


def _place(tree: Tree, path: Sequence[Step], value: str) -> None:
    for step in path[:-1]:
        inner = tree.setdefault(step, {})
        if not isinstance(inner, dict):
            raise ValueError(f"the columns contradict each other at {path[0]}.")
        tree = inner
    if isinstance(tree.get(path[-1]), dict):
        raise ValueError(f"the columns contradict each other at {path[0]}.")
    tree[path[-1]] = value


def _rendered(node: Tree | str) -> str:
    """JSON text; a list has the places that are filled, in order."""
    if isinstance(node, str):
        return node
    if node and all(isinstance(step, int) for step in node):
        return f"[{','.join(_rendered(node[step]) for step in sorted(node))}]"
    members = (f"{json.dumps(str(name))}:{_rendered(inner)}" for name, inner in node.items())
    return f"{{{','.join(members)}}}"
