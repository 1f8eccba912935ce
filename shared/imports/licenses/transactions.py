"""From the rows of some units to the transactions that carry them out.

Runs in a thread: nothing here waits. A segment is what one transaction writes, with the results of
the rows that it takes along: those that changed nothing too, since a row that comes after them in
their unit may change what they were judged by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TypeVar

from shared.imports.import_type import ReadRow
from shared.imports.licenses.attachments import blob_metadata
from shared.imports.licenses.license_set import Change
from shared.imports.licenses.model import Employee
from shared.imports.licenses.rules import LicenseRules, result_weight
from shared.imports.licenses.store import (
    MOST_OPERATIONS,
    count_operations,
    obsolete_blobs,
    operations_of,
)
from shared.imports.results import RowResult
from shared.services.record_processor import operation_bytes
from shared.storage.ports import Operation

_MOST_ROWS = 500
# Characters of licenses, as they are sent, from which on a transaction takes no more rows. The row
# that reaches it may bring four times as much, and both together are under the service's 4 MiB.
_MOST_WEIGHT = 700_000
# The same for results, which are one entity of at most 1 MiB.
_MOST_SAID = 200_000
# Bytes of the writes of one of several transactions.
_MOST_PART = 3_500_000
# Bytes of new documents that are held until they are written.
_MOST_CONTENT = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class NewBlob:
    """The bytes of a document, to be put under that name."""

    name: str
    data: bytes
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TransactionSlice:
    """What one of several transactions writes."""

    results: Sequence[RowResult]
    operations: Sequence[Operation]


@dataclass(slots=True)
class LicenseTransaction:
    """What one transaction writes. One that writes nothing is no transaction."""

    results: list[RowResult]
    operations: list[Operation] = field(default_factory=list)
    blobs: list[NewBlob] = field(default_factory=list)
    obsolete: frozenset[str] = frozenset()

    def parts(self, most_writes: int) -> list[TransactionSlice]:
        """What goes into one transaction each, where all of it is too much for one."""
        writes = _cut(self.operations, most_writes, _MOST_PART, operation_bytes)
        told = _cut(self.results, len(self.results), _MOST_SAID, result_weight)
        return [TransactionSlice(*pair) for pair in zip_longest(told, writes, fillvalue=())]


_T = TypeVar("_T")


def _cut(
    items: Sequence[_T], most: int, most_weight: int, weight: Callable[[_T], int]
) -> Iterator[list[_T]]:
    """The items in order, at most so many and so heavy together; one alone may be heavier."""
    some: list[_T] = []
    total = 0
    for item in items:
        size = weight(item)
        if some and (len(some) == most or total + size > most_weight):
            yield some
            some, total = [], 0
        some.append(item)
        total += size
    if some:
        yield some


def segments(
    work: LicenseRules,
    partition: str,
    units: Sequence[Sequence[tuple[ReadRow, Employee]]],
    now: str,
    most_writes: int,
) -> Iterator[LicenseTransaction]:
    """Apply the units' rows, each with the employee that it names; units stand by themselves.

    A segment has at most `most_writes` operations, or more where they belong together: Replace of
    an employee with many licenses.
    """
    for unit in units:
        whose = {row.index: employee for row, employee in unit}
        for _ in work.steps([row for row, _ in unit], _named_in(whose)):
            if _is_full(work, most_writes):
                yield _taken(work, partition, now)
        if not work.shelf.touched and work.pending:
            yield LicenseTransaction(work.pending.take())
    if work.pending:
        yield _taken(work, partition, now)


def _named_in(whose: Mapping[int, Employee]) -> Callable[[ReadRow], Employee | None]:
    return lambda row: whose.get(row.index)


def _is_full(work: LicenseRules, most_writes: int) -> bool:
    touched = work.shelf.touched
    if not touched:
        return False
    if len(work.pending) >= _MOST_ROWS or work.pending.weight >= _MOST_SAID:
        return True
    if work.weight >= _MOST_WEIGHT:
        return True
    if work.content_bytes >= _MOST_CONTENT:
        return True
    if touched * MOST_OPERATIONS < most_writes:
        return False
    return sum(map(count_operations, work.shelf.changes())) > most_writes - MOST_OPERATIONS


def _taken(work: LicenseRules, partition: str, now: str) -> LicenseTransaction:
    changes = list(work.shelf.changes())
    segment = LicenseTransaction(
        results=work.pending.take(),
        operations=_operations(work, partition, now, changes),
        blobs=_new_blobs(changes, work.contents),
        obsolete=obsolete_blobs(changes),
    )
    work.shelf.settle()
    work.contents.clear()
    work.content_bytes = 0
    work.weight = 0
    return segment


def _new_blobs(changes: Iterable[Change], contents: Mapping[str, bytes]) -> list[NewBlob]:
    """Those of the new bytes that a license refers to in the end."""
    return [
        NewBlob(document["blob"], contents[document["blob"]], blob_metadata(document, change.key))
        for change in changes
        if change.after is not None
        for document in (change.after.document or {}).get("documents", [])
        if document.get("blob") in contents
    ]


def _operations(
    work: LicenseRules, partition: str, now: str, changes: Sequence[Change]
) -> list[Operation]:
    return [
        operation
        for change in changes
        for operation in operations_of(partition, change, work.number, now)
    ]
