"""Bringing the records of a chunk to rest: load, resolve, commit (docs/design.md#1.5).

What is to happen to a record is the resolver's business: the rules of a type for a chunk that runs,
the end of its rows for one that failed too often or was cancelled. Here is what both share: records
are read by ranges, written in transactions of one partition, and where a transaction is refused,
one by one, each read and resolved again until its conditional write goes through.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

from shared import log
from shared.errors import (
    PreconditionFailedError,
    StorageUnavailableError,
    UnreadableDataError,
)
from shared.imports.import_type import ReadRow
from shared.imports.merge_rules import all_failed
from shared.imports.messages import BROKEN_RECORD, SEND_AGAIN, Message, MessageId
from shared.imports.results import RowResult, failed
from shared.services.background import Offload
from shared.services.name_index import NamedRecord
from shared.services.record_ranges import WORTH_IT, load_records
from shared.services.row_processor import SupersededError
from shared.storage import business_records as records
from shared.storage.business_records import RecordKey, StoredRecord
from shared.storage.ports import MAX_OPERATIONS, Delete, Operation, Tables

_MOST_BYTES = 3_500_000
_MOST_CONFLICTS = 20
# About what the rules look at, for the choice of a thread.
BYTES_PER_ROW = 1_024
# Keys, headers and short properties of one operation, generously.
_HEAD_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class KeyRows:
    """The rows of one record in a chunk, in the order they were sent."""

    key: RecordKey
    rows: tuple[ReadRow, ...]


@dataclass(frozen=True, slots=True)
class RecordOutcome:
    """What becomes of the rows of one record, and the writes that make it so (often none)."""

    results: tuple[RowResult, ...]
    operations: tuple[Operation, ...] = ()
    # New names of the record, to be entered in the index before it is written.
    names: frozenset[NamedRecord] = frozenset()


# The rows wait for a record that may still come.
WAITING = RecordOutcome(())

# Enters names in the index.
Enter = Callable[[Iterable[NamedRecord]], Awaitable[None]]

# Pure; raises SupersededError where a later import has already written the record, and
# StorageUnavailableError where the rows cannot be settled for now.
Resolver = Callable[[KeyRows, StoredRecord | None], RecordOutcome]


class RecordCommitter:
    """Brings the records of one chunk to rest, in one table.

    `before_commit` is awaited before each transaction and may raise to stop the work there;
    `number` is the import's, to know its own stamps on records that cannot be read;
    `one_in` is that of `load_records`.
    """

    def __init__(
        self,
        tables: Tables,
        table: str,
        resolve: Resolver,
        before_commit: Callable[[], Awaitable[None]],
        correlation_id: str,
        offload: Offload,
        number: int,
        one_in: int = WORTH_IT,
        enter: Enter | None = None,
    ) -> None:
        self._number = number
        self._tables = tables
        self._table = table
        self._one_in = one_in
        self._resolve = resolve
        self._before_commit = before_commit
        self._correlation_id = correlation_id
        self._offload = offload
        self._enter = enter
        self._entered: set[NamedRecord] = set()
        self._results: list[RowResult] = []

    async def settle(self, keys: Sequence[KeyRows]) -> list[RowResult]:
        """The result of every row of these records, which come sorted by key; none of those that
        wait.

        Raises StorageUnavailableError when storage does not answer, SupersededError for a
        straggler, and what `before_commit` raises.
        """
        for partition, group in groupby(keys, key=lambda rows: rows.key.partition):
            in_partition = list(group)
            found = await load_records(
                self._tables,
                self._table,
                partition,
                list(dict.fromkeys(rows.key.row for rows in in_partition)),
                one_in=self._one_in,
            )
            stored = {row: records.from_any_entity(entity) for row, entity in found.items()}
            await self._settle_partition(in_partition, stored)
        return self._results

    async def _settle_partition(
        self, keys: Sequence[KeyRows], stored: dict[str, StoredRecord]
    ) -> None:
        batch = _Batch()
        for rows in keys:
            settlement = await self._resolved(rows, stored.get(rows.key.row))
            if not settlement.operations:
                self._results.extend(settlement.results)
                continue
            if not batch.add(rows, settlement):
                await self._commit(batch)
                batch = _Batch()
                batch.add(rows, settlement)
        await self._commit(batch)

    async def _resolved(self, rows: KeyRows, stored: StoredRecord | None) -> RecordOutcome:
        """The resolver's word; a fault that no rule foresaw is the result of these rows alone."""
        if stored is not None and stored.is_broken:
            return RecordOutcome(self._results_on_broken(rows, stored))
        size = BYTES_PER_ROW * len(rows.rows)
        try:
            return await self._offload(size, self._resolve, rows, stored)
        except (SupersededError, StorageUnavailableError):
            raise
        except UnreadableDataError:
            return RecordOutcome(self._results_on_broken(rows, stored))
        except Exception as error:
            log.failure("row.failed", error, correlation_id=self._correlation_id)
            return RecordOutcome(all_failed(rows.rows, self._unforeseen()))

    def _results_on_broken(
        self, rows: KeyRows, stored: StoredRecord | None
    ) -> tuple[RowResult, ...]:
        """Of rows whose stored record cannot be read: they fail, unless it has their own stamp."""
        log.warning("record.broken", import_id=self._correlation_id)
        done: dict[int, RowResult] = {}
        if stored is not None and stored.stamp.number == self._number:
            with suppress(UnreadableDataError):
                done = {result.index: result for result in stored.stamp.results()}
        fault = Message(MessageId.COULD_NOT_BE_PROCESSED, detail=BROKEN_RECORD)
        return tuple(done.get(row.index) or failed(row.index, row.key, fault) for row in rows.rows)

    def _unforeseen(self) -> Message:
        return Message(
            MessageId.COULD_NOT_BE_PROCESSED, detail=SEND_AGAIN.format(id=self._correlation_id)
        )

    async def _commit(self, batch: _Batch) -> None:
        if not batch.entries:
            return
        await self._before_commit()
        await self._enter_names(name for _, each in batch.entries for name in each.names)
        try:
            await self._tables.transact(self._table, batch.operations)
        except PreconditionFailedError:
            await self._commit_singly(batch)
        except StorageUnavailableError:
            raise
        except Exception as error:
            log.failure("transaction.refused", error, correlation_id=self._correlation_id)
            await self._commit_singly(batch)
        else:
            for _, settlement in batch.entries:
                self._results.extend(settlement.results)

    async def _commit_singly(self, batch: _Batch) -> None:
        for rows, _ in batch.entries:
            self._results.extend(await self._settle_one(rows))

    async def _settle_one(self, rows: KeyRows) -> Sequence[RowResult]:
        missing: set[str] = set()
        for _ in range(_MOST_CONFLICTS):
            await self._before_commit()
            entity = await self._tables.get(self._table, rows.key.partition, rows.key.row)
            stored = None if entity is None else records.from_any_entity(entity)
            settlement = await self._resolved(rows, stored)
            operations = [each for each in settlement.operations if each.entity.row not in missing]
            try:
                if operations:
                    await self._enter_names(settlement.names)
                    await self._tables.transact(self._table, operations)
                return settlement.results
            except PreconditionFailedError:
                missing |= await self._missing_lookups(operations)
            except StorageUnavailableError:
                raise
            except Exception as error:
                log.failure("row.refused", error, correlation_id=self._correlation_id)
                return all_failed(rows.rows, self._unforeseen())
        raise StorageUnavailableError("a record is being written by too many at once")

    async def _missing_lookups(self, operations: Sequence[Operation]) -> set[str]:
        """Look-ups that are to be deleted and are not there: they refuse every transaction."""
        missing: set[str] = set()
        for operation in operations:
            entity = operation.entity
            if not isinstance(operation, Delete) or entity.etag:
                continue
            if await self._tables.get(self._table, entity.partition, entity.row) is None:
                missing.add(entity.row)
        return missing

    async def _enter_names(self, names: Iterable[NamedRecord]) -> None:
        new = set(names) - self._entered
        if new and self._enter is not None:
            await self._enter(new)
            self._entered |= new


class _Batch:
    """The operations of one transaction, within its limits."""

    def __init__(self) -> None:
        self.entries: list[tuple[KeyRows, RecordOutcome]] = []
        self.operations: list[Operation] = []
        self._bytes = 0

    def add(self, rows: KeyRows, settlement: RecordOutcome) -> bool:
        """Put one record's writes in; False where they do not fit (an empty batch takes any)."""
        size = sum(operation_bytes(operation) for operation in settlement.operations)
        count = len(self.operations) + len(settlement.operations)
        if self.entries and (count > MAX_OPERATIONS or self._bytes + size > _MOST_BYTES):
            return False
        self.entries.append((rows, settlement))
        self.operations.extend(settlement.operations)
        self._bytes += size
        return True


def operation_bytes(operation: Operation) -> int:
    """At least what the entity takes as JSON."""
    if isinstance(operation, Delete):
        return _HEAD_BYTES
    values = operation.entity.values.values()
    return _HEAD_BYTES + sum(
        _text_bytes(value) for value in values if isinstance(value, str | bytes)
    )


def _text_bytes(value: str | bytes) -> int:
    """Bytes in base64, text with its quotes escaped and other scripts as escapes."""
    if isinstance(value, bytes):
        return len(value) * 4 // 3 + 4
    if value.isascii():
        return len(value) + value.count('"') + value.count("\\")
    return len(json.dumps(value))
