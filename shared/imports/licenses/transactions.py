"""Builds the transactions that carry out the rows of some groups.

This runs in a thread, so nothing here waits. A transaction has the writes of some rows and their
results, also of rows that changed nothing, because a later row of the group may change the license
that decided their result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Protocol, TypeVar

from shared.imports.import_type import ReadRow
from shared.imports.licenses.attachments import blob_metadata
from shared.imports.licenses.license_set import Change, LicenseSet
from shared.imports.licenses.model import Employee
from shared.imports.licenses.rules import LicenseRules, Results, estimate_size
from shared.imports.licenses.store import (
    MAX_OPERATIONS_PER_CHANGE,
    LicenseWriter,
    count_operations,
    operations_of,
)
from shared.imports.licenses.undo import LicenseUndo, UndoneRow
from shared.imports.results import RowResult
from shared.services.record_processor import operation_bytes
from shared.storage.former_columns import Spilled
from shared.storage.ports import Operation

_MAX_ROWS = 500
# Characters of licenses after which a transaction takes no more rows. The row that reaches this
# limit may have four times as much; both together are under the service's limit of 4 MiB.
_MAX_SIZE = 700_000
# The same for results, which are in one entity of at most 1 MiB.
_MAX_RESULTS_SIZE = 200_000
# Bytes of the writes of one slice.
_MAX_SLICE_BYTES = 3_500_000
# Bytes of new documents that are in memory until they are written.
_MAX_CONTENT_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class NewBlob:
    """The bytes of a new document and its blob name."""

    name: str
    data: bytes
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TransactionSlice:
    """The results and writes of one of several transactions that belong together."""

    results: Sequence[RowResult]
    operations: Sequence[Operation]


@dataclass(slots=True)
class LicenseTransaction:
    """The results and writes of one transaction; without writes there is nothing to commit."""

    results: list[RowResult]
    operations: list[Operation] = field(default_factory=list)
    blobs: list[NewBlob] = field(default_factory=list)
    spilled: Spilled = field(default_factory=dict)

    def split(self, max_writes: int) -> list[TransactionSlice]:
        """Split it into slices that each fit into one transaction."""
        operation_batches = _cut(self.operations, max_writes, _MAX_SLICE_BYTES, operation_bytes)
        result_batches = _cut(self.results, len(self.results), _MAX_RESULTS_SIZE, estimate_size)
        return [
            TransactionSlice(*pair)
            for pair in zip_longest(result_batches, operation_batches, fillvalue=())
        ]


_T = TypeVar("_T")


def _cut(
    items: Sequence[_T], max_items: int, max_size: int, size_of: Callable[[_T], int]
) -> Iterator[list[_T]]:
    """Batches of the items within both limits; a single item may exceed the size."""
    batch: list[_T] = []
    total = 0
    for item in items:
        size = size_of(item)
        if batch and (len(batch) == max_items or total + size > max_size):
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += size
    if batch:
        yield batch


def build_transactions(
    rules: LicenseRules,
    partition: str,
    groups: Sequence[Sequence[tuple[ReadRow, Employee]]],
    now: str,
    max_writes: int,
) -> Iterator[LicenseTransaction]:
    """Apply the rows of independent groups; each row comes with the employee that it names.

    A transaction has at most `max_writes` operations, or more where they belong together (Replace
    of an employee with many licenses).
    """
    for group in groups:
        employees = {row.index: employee for row, employee in group}
        steps = rules.apply([row for row, _ in group], _employee_finder(employees))
        yield from _cut_into_transactions(rules, steps, partition, now, max_writes)
    if rules.results:
        yield _take_transaction(rules, partition, now)


def build_undo_transactions(
    undo: LicenseUndo,
    partition: str,
    groups: Sequence[Sequence[UndoneRow]],
    now: str,
    max_writes: int,
) -> Iterator[LicenseTransaction]:
    """The same for the rows of an undo, in independent groups."""
    for group in groups:
        steps = undo.apply(group)
        yield from _cut_into_transactions(undo, steps, partition, now, max_writes)
    if undo.results:
        yield _take_transaction(undo, partition, now)


class _AppliedRows(Protocol):
    """What has applied rows to a license set: `LicenseRules` or `LicenseUndo`."""

    number: int
    import_id: str
    license_set: LicenseSet
    results: Results
    contents: dict[str, bytes]
    content_bytes: int
    estimated_size: int


def _cut_into_transactions(
    rows: _AppliedRows, steps: Iterator[None], partition: str, now: str, max_writes: int
) -> Iterator[LicenseTransaction]:
    """Take a transaction after each step with which one is full, and results without changes at
    the end.
    """
    for _ in steps:
        if _is_full(rows, max_writes):
            yield _take_transaction(rows, partition, now)
    if not rows.license_set.changed_count and rows.results:
        yield LicenseTransaction(rows.results.take())


def _employee_finder(employees: Mapping[int, Employee]) -> Callable[[ReadRow], Employee | None]:
    return lambda row: employees.get(row.index)


def _is_full(rules: _AppliedRows, max_writes: int) -> bool:
    changed_count = rules.license_set.changed_count
    if not changed_count:
        return False
    if len(rules.results) >= _MAX_ROWS or rules.results.estimated_size >= _MAX_RESULTS_SIZE:
        return True
    if rules.estimated_size >= _MAX_SIZE:
        return True
    if rules.content_bytes >= _MAX_CONTENT_BYTES:
        return True
    if changed_count * MAX_OPERATIONS_PER_CHANGE < max_writes:
        return False
    return (
        sum(map(count_operations, rules.license_set.changes()))
        > max_writes - MAX_OPERATIONS_PER_CHANGE
    )


def _take_transaction(rules: _AppliedRows, partition: str, now: str) -> LicenseTransaction:
    changes = list(rules.license_set.changes())
    writer = LicenseWriter(rules.number, rules.import_id, now, {})
    transaction = LicenseTransaction(
        results=rules.results.take(),
        operations=[
            operation
            for change in changes
            for operation in operations_of(partition, change, writer)
        ],
        blobs=_new_blobs(changes, rules.contents),
        spilled=writer.spilled or {},
    )
    rules.license_set.mark_stored()
    rules.contents.clear()
    rules.content_bytes = 0
    rules.estimated_size = 0
    return transaction


def _new_blobs(changes: Iterable[Change], contents: Mapping[str, bytes]) -> list[NewBlob]:
    """The new documents that a license refers to after the changes."""
    return [
        NewBlob(document["blob"], contents[document["blob"]], blob_metadata(document, change.key))
        for change in changes
        if change.after is not None
        for document in (change.after.document or {}).get("documents", [])
        if document.get("blob") in contents
    ]
