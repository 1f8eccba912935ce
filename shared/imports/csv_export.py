"""Rows as CSV for people: a column for each field that occurs, safe to open in a spreadsheet.

A spreadsheet runs a cell that begins with `=`, `+`, `-` or `@` as a formula. Such text gets an
apostrophe in front, its guard; so does such text after one or more apostrophes. So the cell alone
distinguishes the guard from an apostrophe of the sender. `restored` removes an apostrophe only
before text that needs a guard, and returns exactly what the caller sent, even when the user has
deleted columns from the file.

| sent                   | in the cell                                          |
|------------------------|------------------------------------------------------|
| text                   | as it is, or behind an apostrophe                    |
| blank text             | behind an apostrophe                                 |
| number, true, false    | its JSON text; no formula can be made of it          |
| null, [] and {}        | `null`, `[]`, `{}`; the same as text: behind an apostrophe |
| nothing                | empty                                                |

Columns are the paths that messages use: `WorkerAddress.Postcode`, `Rates[0].PayRate`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from io import StringIO
from typing import Any, Final, NamedTuple
from unicodedata import category

INDEX: Final = "_index"
# The line of the source file, from 1, where the row begins; only for rows that come from a file.
LINE: Final = "_line"
ERROR: Final = "_error"
# Fields of the row that have no column of their own, as JSON.
MORE: Final = "_more"
# Limits for rows that have hundreds of thousands of unknown names.
MAX_COLUMNS: Final = 1_000
MAX_CELLS: Final = 5_000_000

_RISKY: Final = "=+-@＝＋－＠"  # noqa: RUF001 (spreadsheets take the wide ones too)
# Cells of JSON values that are not text. Text that is equal to one of them gets a guard.
WORDS: Final = ("", "null", "[]", "{}")

_WORD_OF: Final = {None: "null", True: "true", False: "false"}

# Headers by lower-cased path, in the order of the file; names match in any case.
Columns = dict[str, str]
# The indexes of the elements of lists in the file, by the path of the list.
Lists = Mapping[str, Sequence[int]]


class CellStyle(NamedTuple):
    """How cells are written. `decimal` is the decimal mark of numbers, "" for the one of JSON.

    `guards_blanks`: a blank text gets a guard, because an empty cell is no text.
    """

    decimal: str = ""
    guards_blanks: bool = True


OWN_STYLE: Final = CellStyle()
# Rows in the layout of their sender, whose columns are empty where nothing was sent.
SENT_STYLE: Final = CellStyle(guards_blanks=False)


class NumberText(str):
    """A number as it was written in the JSON text."""

    __slots__ = ()


def read_unconverted(text: str) -> Any:
    """The value of a JSON text, in which a number is a NumberText."""
    return json.loads(text, parse_float=NumberText, parse_int=NumberText)


def neutralised(text: str) -> str:
    """The text as a cell that no spreadsheet runs; `restored` is the inverse."""
    return f"'{text}" if _needs_guard(text) else text


def is_guarded(cell: str) -> bool:
    """Whether a cell begins with a guard; an apostrophe before other text is the sender's."""
    return cell.startswith("'") and _needs_guard(cell[1:])


def _needs_guard(text: str) -> bool:
    first = text[:1]
    if first.isascii() and first.isalnum():
        # Nearly every text, so this is quick.
        return text in WORDS
    bare = text.lstrip("'")
    # A blank cell needs one too, because readers skip a row that has only blank cells.
    is_risky = bare.startswith(("\t", "\r", "\n")) or _first_seen(bare) in ("", *_RISKY)
    return is_risky or bare in WORDS


def _first_seen(text: str) -> str:
    """The first character that a reader sees: no blank, control or format character."""
    for character in text:
        if not character.isspace() and category(character) not in ("Cc", "Cf"):
            return character
    return ""


def restored(cell: str) -> str:
    """The text of a cell; the inverse of `neutralised`."""
    return cell[1:] if is_guarded(cell) else cell


def note_columns(columns: Columns, text: str, lists: Lists | None = None) -> None:
    """Add the fields of a row, given as JSON text, that have no column yet, up to MAX_COLUMNS.

    `lists`: the indexes that the file of the row gives the elements of lists (`Notes.lists`).
    """
    if len(columns) >= MAX_COLUMNS:
        return
    for path, _ in leaves_of(json.loads(text)):
        name = placed_path(path, lists) if lists else path
        columns.setdefault(_lower(name), name)


def placed_path(path: str, lists: Lists) -> str:
    """The path with the index that the file gives the element of a list."""
    name, opening, rest = path.partition("[")
    index, closing, rest = rest.partition("]")
    indexes = lists.get(name) or lists.get(_in_any_case(name, lists), ())
    if not closing or not index.isdecimal() or int(index) >= len(indexes):
        return path
    return f"{name}{opening}{indexes[int(index)]}{closing}{rest}"


def _in_any_case(name: str, lists: Lists) -> str:
    return next((each for each in lists if each.lower() == name.lower()), "")


def bounded_columns(columns: Columns, rows: int) -> Columns:
    """The first columns, as many as a file of so many rows may have."""
    limit = min(MAX_COLUMNS, max(100, MAX_CELLS // max(1, rows)))
    return dict(list(columns.items())[:limit])


def header_line(columns: Columns, *, with_lines: bool = False) -> str:
    """The first line of the file."""
    leading_cells = [INDEX, LINE] if with_lines else [INDEX]
    return _line([*leading_cells, ERROR, *(neutralised(name) for name in columns.values()), MORE])


def row_line(
    columns: Columns,
    index: int,
    error: str,
    text: str,
    line: int | str | None = None,
    style: CellStyle = OWN_STYLE,
    lists: Lists | None = None,
) -> str:
    """The line of a row, given as JSON text; `line` is its line in the source file, if any, and
    `lists` is that of its notes.

    In a file of rows with lines, one without a line has an empty one.
    """
    leading_cells = [index] if line is None else [index, line]
    return _line(
        [*map(str, leading_cells), neutralised(error), *_cells(columns, text, style, lists)]
    )


def record_header(columns: Columns) -> str:
    """The first line of a file of records, which have neither index nor error."""
    return _line([*(neutralised(name) for name in columns.values()), MORE])


def record_line(columns: Columns, text: str) -> str:
    """The line of a record, given as JSON text."""
    return _line(_cells(columns, text))


def _cells(
    columns: Columns, text: str, style: CellStyle = OWN_STYLE, lists: Lists | None = None
) -> list[str]:
    """The cells of a row; the last one has the fields without a column."""
    cells = dict.fromkeys(columns, "")
    extra: dict[str, str] = {}
    for leaf_path, value in leaves_of(read_unconverted(text)):
        path = placed_path(leaf_path, lists) if lists else leaf_path
        lower = _lower(path)
        if lower in cells:
            cells[lower] = _cell(value, style)
        else:
            extra[path] = _cell(value, style)
    extra_cell = neutralised(json.dumps(extra, ensure_ascii=False)) if extra else ""
    return [*cells.values(), extra_cell]


@lru_cache(maxsize=10_000)
def _lower(path: str) -> str:
    """The rows of a file have the same paths."""
    return path.lower()


def leaves_of(row: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The path of each value of a row that is neither an object nor a list, or is an empty one."""
    leaves: list[tuple[str, Any]] = []
    _add_leaves(row, "", leaves)
    return leaves


def _add_leaves(node: Any, path: str, leaves: list[tuple[str, Any]]) -> None:
    """Add those of an object or a list; this is half of the work of an export, so it is plain."""
    if isinstance(node, dict):
        prefix = f"{path}." if path else ""
        for name, item in node.items():
            if item and isinstance(item, dict | list):
                _add_leaves(item, prefix + name, leaves)
            else:
                leaves.append((prefix + name, item))
        return
    for index, item in enumerate(node):
        if item and isinstance(item, dict | list):
            _add_leaves(item, f"{path}[{index}]", leaves)
        else:
            leaves.append((f"{path}[{index}]", item))


def _cell(value: Any, style: CellStyle) -> str:
    if isinstance(value, NumberText):
        return value.replace(".", style.decimal) if style.decimal else str(value)
    if isinstance(value, str):
        return neutralised(value) if value or style.guards_blanks else ""
    return _WORD_OF[value] if value is None or isinstance(value, bool) else json.dumps(value)


def _line(cells: Sequence[str]) -> str:
    """A line with every cell in quotes, which also spreadsheets that split at semicolons read."""
    buffer = StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerow(cells)
    return buffer.getvalue()
