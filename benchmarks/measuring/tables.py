"""Text tables: a name per line, a column per case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

GAP = "-"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table; no cells make it a heading."""

    name: str
    cells: Sequence[str] = ()


def render(title: str, heads: Sequence[str], lines: Sequence[Line]) -> list[str]:
    """The table as lines of text, names to the left and cells to the right."""
    widths = [
        max(len(cells[at]) for cells in (heads, *(line.cells for line in lines)) if cells)
        for at in range(len(heads))
    ]
    first = max(len(title), *(len(line.name) for line in lines))
    return [_row(line.name, line.cells, first, widths) for line in (Line(title, heads), *lines)]


def number(value: float | None, digits: int = 2) -> str:
    """A figure for people, a dash where there is none."""
    return GAP if value is None else f"{value:,.{digits}f}"


def _row(name: str, cells: Sequence[str], first: int, widths: Sequence[int]) -> str:
    padded = (cell.rjust(width) for cell, width in zip(cells, widths, strict=False))
    return "  ".join((name.ljust(first), *padded)).rstrip()
