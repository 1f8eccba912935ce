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


def render(lines: Sequence[Line]) -> list[str]:
    """The table as lines of text, names to the left and cells to the right."""
    columns = zip(*(line.cells for line in lines if line.cells), strict=True)
    widths = [max(map(len, column)) for column in columns]
    first = max(len(line.name) for line in lines)
    return [_row(line, first, widths) for line in lines]


def number(value: float | None, digits: int = 2) -> str:
    """A figure for people, a dash where there is none."""
    return GAP if value is None else f"{value:,.{digits}f}"


def _row(line: Line, first: int, widths: Sequence[int]) -> str:
    padded = (cell.rjust(width) for cell, width in zip(line.cells, widths, strict=False))
    return "  ".join((line.name.ljust(first), *padded)).rstrip()
