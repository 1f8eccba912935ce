"""CSV as rows: a column per field, named by its path (`WorkerAddress.Postcode`, `Rates[0].Code`).

CSV knows only text, so the schema of the type says what a cell is: a field that is text keeps its
characters (`007` stays `007`), a number or true/false becomes one where the cell is one, and is
sent as text otherwise, so that the gateway says of that row what is wrong. An empty cell leaves the
field out. The failed rows that the gateway gives out as CSV (columns `_index` and `_error`) come
back as they were sent, through `shared.imports.csv_rows`.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any, Final

from shared.imports.csv_rows import ERROR, INDEX, MORE, restored

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_STEP: Final = re.compile(r"([^.\[\]]+)|\[([0-9]{1,4})\]")
_PATH: Final = re.compile(r"[^.\[\]]+(?:\[[0-9]{1,4}\]|\.[^.\[\]]+)*")
_WORDS: Final = ("null", "[]", "{}")
_DELIMITERS: Final = ",;\t"
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
        cell_of = _given_out if INDEX in header and ERROR in header else _typed
        rows = []
        for cells in reader:
            if any(cells):
                _check_width(cells, header, reader.line_num)
                known, said = _with_more(columns, cells, schema)
                rows.append(_row(_values(known, said, cell_of, blank_clears)))
        return rows
    except csv.Error as error:
        raise ValueError(f"{error} (line {reader.line_num}).") from None


def _delimiter(text: str) -> str:
    """The mark that parts the header into most columns: a comma, a semicolon or a tab."""
    head = text[: text.find("\n") + 1] or text
    return max(_DELIMITERS, key=lambda mark: len(next(csv.reader([head], delimiter=mark), [])))


def _columns(header: Sequence[str], schema: Mapping[str, Any]) -> list[_Column | None]:
    folded = [name.strip().lower() for name in header]
    twice = sorted({name for name in folded if folded.count(name) > 1})
    if twice or "" in folded:
        raise ValueError(f"line 1 has a column without a name, or one twice: {', '.join(twice)}.")
    return [_column(restored(name.strip()), schema) for name in header]


def _column(name: str, schema: Mapping[str, Any]) -> _Column | None:
    """Where the cells of a column belong; None for those that are no field."""
    if name in (INDEX, ERROR):
        return None
    path = path_of(name)
    return _Column(path, types_of(path, schema))


def path_of(name: str) -> tuple[Step, ...]:
    """The steps of a path: names, and places of a list. A name that is no path is one step."""
    if not _PATH.fullmatch(name):
        return (name,)
    return tuple(step or int(place) for step, place in _STEP.findall(name))


def types_of(path: Sequence[Step], schema: Mapping[str, Any]) -> frozenset[str]:
    """The JSON types that the schema gives the field at a path; none for an unknown one."""
    node: Mapping[str, Any] = schema
    for step in path:
        node = _resolved(node, schema)
        found = node.get("items") if isinstance(step, int) else _property(node, step)
        if found is None:
            return frozenset()
        node = found
    types = _resolved(node, schema).get("type", ())
    return frozenset([types] if isinstance(types, str) else types)


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
    columns: Sequence[_Column | None], cells: Sequence[str], schema: Mapping[str, Any]
) -> tuple[Sequence[_Column | None], Sequence[str]]:
    """The row with the fields that had no column of their own as columns too."""
    if not columns or columns[-1] != _MORE or len(cells) < len(columns):
        return columns, cells
    more = json.loads(restored(cells[-1] or "{}"))
    return (
        [*columns[:-1], *(_column(name, schema) for name in more)],
        [*cells[:-1], *more.values()],
    )


def _values(
    columns: Sequence[_Column | None],
    cells: Sequence[str],
    cell_of: Callable[[str, frozenset[str]], str],
    blank_clears: bool,
) -> Iterator[tuple[Sequence[Step], str]]:
    """The path and the JSON text of each cell that says something."""
    for column, cell in zip(columns, cells, strict=False):
        if column is not None and cell:
            yield column.path, cell_of(cell, column.types)
        elif column is not None and blank_clears:
            yield column.path, "null"


def _given_out(cell: str, types: frozenset[str]) -> str:
    """The inverse of what `csv_rows` makes of a value."""
    if cell in _WORDS:
        return cell
    return json.dumps(restored(cell)) if cell.startswith("'") else _typed(cell, types)


def _typed(cell: str, types: frozenset[str]) -> str:
    """A cell as JSON text of the field's type; as text where it is not of that type."""
    text = cell.strip()
    if types & {"integer", "number"} and _NUMBER.fullmatch(text):
        return text
    if "boolean" in types and text.lower() in ("true", "false"):
        return text.lower()
    return json.dumps(cell, ensure_ascii=False)


def _row(values: Iterator[tuple[Sequence[Step], str]]) -> str:
    tree: Tree = {}
    for path, value in values:
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
