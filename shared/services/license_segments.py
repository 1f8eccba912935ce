"""From the rows of some units to the transactions that carry them out.

Runs in a thread: nothing here waits. A segment is what one transaction writes, with the results of
the rows that it takes along: those that changed nothing too, since a row that comes after them in
their unit may change what they were judged by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shared.imports.definition import ReadRow
from shared.imports.licenses.deciding import LicenseImport
from shared.imports.licenses.identity import Employee
from shared.imports.licenses.shelf import Change
from shared.imports.outcomes import RowResult
from shared.storage.license_records import (
    MOST_OPERATIONS,
    obsolete_blobs,
    operations_of,
    used_blobs,
)
from shared.storage.tables import Operation

_MOST_ROWS = 500
_MOST_WEIGHT = 500_000
"""Characters of licenses in one transaction, of up to four bytes each."""
_MOST_CONTENT = 8 * 1024 * 1024
"""Bytes of new documents that are held until they are written."""


@dataclass(slots=True)
class Segment:
    """What one transaction writes. One that writes nothing is no transaction."""

    results: list[RowResult]
    operations: list[Operation] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)
    obsolete: frozenset[str] = frozenset()


def segments(
    work: LicenseImport,
    partition: str,
    units: Sequence[Sequence[tuple[ReadRow, Employee]]],
    now: str,
    most_writes: int,
) -> Iterator[Segment]:
    """Apply the units' rows, each with the employee that it names; units stand by themselves.

    A segment has at most `most_writes` operations, or more where they belong together: Replace of
    an employee with many licenses.
    """
    for unit in units:
        whose = {row.index: employee for row, employee in unit}
        for _ in work.steps([row for row, _ in unit], _named_in(whose)):
            if _is_full(work, partition, now, most_writes):
                yield _taken(work, partition, now)
        if not work.shelf.touched and work.pending:
            yield Segment(work.pending.take())
    if work.pending:
        yield _taken(work, partition, now)


def _named_in(whose: Mapping[int, Employee]) -> Callable[[ReadRow], Employee | None]:
    return lambda row: whose.get(row.index)


def _is_full(work: LicenseImport, partition: str, now: str, most_writes: int) -> bool:
    touched = work.shelf.touched
    if not touched:
        return False
    if len(work.pending) >= _MOST_ROWS or work.weight >= _MOST_WEIGHT:
        return True
    if sum(map(len, work.contents.values())) >= _MOST_CONTENT:
        return True
    if touched * MOST_OPERATIONS < most_writes:
        return False
    operations = _operations(work, partition, now, list(work.shelf.changes()))
    return len(operations) > most_writes - MOST_OPERATIONS


def _taken(work: LicenseImport, partition: str, now: str) -> Segment:
    changes = list(work.shelf.changes())
    in_use = used_blobs(changes)
    segment = Segment(
        results=work.pending.take(),
        operations=_operations(work, partition, now, changes),
        contents={name: data for name, data in work.contents.items() if name in in_use},
        obsolete=obsolete_blobs(changes),
    )
    work.shelf.settle()
    work.contents.clear()
    work.weight = 0
    return segment


def _operations(
    work: LicenseImport, partition: str, now: str, changes: Sequence[Change]
) -> list[Operation]:
    return [
        operation
        for change in changes
        for operation in operations_of(partition, change, work.number, now)
    ]
