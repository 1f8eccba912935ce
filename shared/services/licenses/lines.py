"""The lines of a chunk of licenses: first only what each row is about, then row by row.

A chunk holds all rows of its companies, whose documents may be large, so a row is read when its
turn comes and not before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from shared.imports.definition import ReadRow
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.identity import sent_identity
from shared.imports.licenses.rules import GROUP, read_license, sent_key
from shared.imports.licenses.silent_values import without_silent_values
from shared.imports.licenses.units import Sketch, sketch
from shared.imports.outcomes import RowResult, failed
from shared.imports.payload import fold_names, read_line


@dataclass
class CompanyLines:
    """The rows of one company, in the order they were sent."""

    name: str
    data: bytes
    action: LicenseAction
    rows: list[Sketch] = field(default_factory=list)

    def read(self, row: Sketch) -> ReadRow:
        """The whole row."""
        return read_license(row.index, self._line(row), self.action)

    def shown_key(self, row: Sketch) -> tuple[str | None, ...]:
        """What a result shows of a row that is not read."""
        return sent_key(self._line(row))

    def _line(self, row: Sketch) -> dict[str, Any]:
        return _row(self.data[row.start : row.end])


@dataclass(frozen=True)
class LicenseLines:
    """The rows of a chunk by company; those without one have their result already."""

    companies: Sequence[CompanyLines]
    without_company: Sequence[RowResult]
    order: Sequence[int]

    def in_order(self, results: Sequence[RowResult]) -> list[RowResult]:
        """These results in the order of the lines."""
        by_index = {result.index: result for result in results}
        return [by_index[index] for index in self.order if index in by_index]


def read_company_lines(tenant: str, data: bytes, action: LicenseAction) -> LicenseLines:
    """The rows of a chunk's lines, sketched."""
    companies: dict[str, CompanyLines] = {}
    without: list[RowResult] = []
    order: list[int] = []
    for index, start, end, row in _lines(data):
        folded = fold_names(without_silent_values(row, action))
        order.append(index)
        company = sent_identity(folded).get(GROUP)
        if company is None:
            read = read_license(index, row, action)
            without.append(failed(index, read.key, *read.messages))
            continue
        lines = companies.setdefault(company, CompanyLines(company, data, action))
        lines.rows.append(sketch(tenant, index, start, end, folded))
    return LicenseLines(list(companies.values()), without, order)


def _lines(data: bytes) -> Iterator[tuple[int, int, int, dict[str, Any]]]:
    """Index of the row in each line (`Payload.line`), start and end of its JSON, and the row.

    Raises UnreadablePayloadError.
    """
    position = 0
    while position < len(data):
        end = data.find(b"\n", position)
        end = len(data) if end < 0 else end
        index, row = read_line(data[position:end])
        yield index, data.index(b"\t", position) + 1, end, row
        position = end + 1


def _row(line: bytes) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(line, parse_float=Decimal)
    return row
