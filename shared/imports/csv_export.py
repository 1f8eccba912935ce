"""Rows as CSV for people: a column for each field that occurs, safe to open in a spreadsheet.

A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula and runs it, whoever
sent it. Such text gets an apostrophe in front, its guard. Text that is an apostrophe, or several,
and then such text gets one more. So the cell alone tells the guard from an apostrophe of the
sender: `restored` takes an apostrophe away only before what needs a guard. It gives back exactly
what was sent, whatever columns have been deleted from the file meanwhile.

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
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from typing import Any, Final
from unicodedata import category

INDEX: Final = "_index"
LINE: Final = "_line"
"""Where rows come from a file: the line of it, from 1, that the row begins in."""
ERROR: Final = "_error"
MORE: Final = "_more"
"""Where a row's fields go, as JSON, for which there is no column any more."""
MAX_COLUMNS: Final = 1_000
MAX_CELLS: Final = 5_000_000
"""Bounds of a file whose rows have hundreds of thousands of names that nobody knows."""

_RISKY: Final = "=+-@＝＋－＠"  # noqa: RUF001 (spreadsheets take the wide ones too)
WORDS: Final = ("", "null", "[]", "{}")
"""Cells that are no text; the same as text is behind a guard."""

Columns = dict[str, str]
"""Headers by lower-cased path, in the order of the file: names match in any case."""


class _Number(str):
    """A number as it stood in the JSON text."""

    __slots__ = ()


def neutralised(text: str) -> str:
    """Text as a cell that no spreadsheet runs; `restored` is the inverse."""
    return f"'{text}" if _needs_guard(text) else text


def is_guarded(cell: str) -> bool:
    """Whether a cell begins with a guard; an apostrophe before other text is the sender's."""
    return cell.startswith("'") and _needs_guard(cell[1:])


def _needs_guard(text: str) -> bool:
    bare = text.lstrip("'")
    # A cell of blanks needs one too: a row of nothing but blanks is read as no row.
    is_risky = bare.startswith(("\t", "\r", "\n")) or _first_seen(bare) in ("", *_RISKY)
    return is_risky or bare in WORDS


def _first_seen(text: str) -> str:
    """The first character that a reader sees: no blank, control or format character."""
    for character in text:
        if not character.isspace() and category(character) not in ("Cc", "Cf"):
            return character
    return ""


def restored(cell: str) -> str:
    """The text that was made a cell."""
    return cell[1:] if is_guarded(cell) else cell


def note_columns(columns: Columns, text: str) -> None:
    """Add the fields of a row, given as JSON text, that have no column yet, up to MAX_COLUMNS."""
    if len(columns) >= MAX_COLUMNS:
        return
    for path, _ in _leaves(_parsed(text), ""):
        columns.setdefault(path.lower(), path)


def bounded_columns(columns: Columns, rows: int) -> Columns:
    """As many columns as a file of so many rows may have, the first ones."""
    most = min(MAX_COLUMNS, max(100, MAX_CELLS // max(1, rows)))
    return dict(list(columns.items())[:most])


def header_line(columns: Columns, *, with_lines: bool = False) -> str:
    """The first line of the file."""
    places = [INDEX, LINE] if with_lines else [INDEX]
    return _line([*places, ERROR, *(neutralised(name) for name in columns.values()), MORE])


def row_line(columns: Columns, index: int, error: str, text: str, line: int | None = None) -> str:
    """The line of a row, given as JSON text; `line` is that of the file it came from, if any."""
    places = [index] if line is None else [index, line]
    return _line([*map(str, places), neutralised(error), *_cells(columns, text)])


def record_header(columns: Columns) -> str:
    """The first line of a file of records, which have neither index nor error."""
    return _line([*(neutralised(name) for name in columns.values()), MORE])


def record_line(columns: Columns, text: str) -> str:
    """The line of a record, given as JSON text."""
    return _line(_cells(columns, text))


def _cells(columns: Columns, text: str) -> list[str]:
    """The cells of a row, the last one with the fields that have no column."""
    cells = dict.fromkeys(columns, "")
    more: dict[str, str] = {}
    for path, cell in _leaves(_parsed(text), ""):
        if path.lower() in cells:
            cells[path.lower()] = cell
        else:
            more[path] = cell
    rest = neutralised(json.dumps(more, ensure_ascii=False)) if more else ""
    return [*cells.values(), rest]


def _parsed(text: str) -> Mapping[str, Any]:
    row: dict[str, Any] = json.loads(text, parse_float=_Number, parse_int=_Number)
    return row


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Each value of a row that is no object and no list, as a cell, with its path."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for place, item in enumerate(value):
            yield from _leaves(item, f"{path}[{place}]")
    elif path:
        yield path, _cell(value)


def _cell(value: Any) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, str):
        return neutralised(value)
    return json.dumps(value)


def _line(cells: Sequence[str]) -> str:
    """Every cell in quotes: a spreadsheet that parts cells at semicolons keeps them whole too."""
    written = StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerow(cells)
    return written.getvalue()
