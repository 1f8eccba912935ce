"""The work of types whose rows each name one record by its key (workers, assignments).

Rows of a record are folded and written once; records are read and written by the hundred.
"""

from __future__ import annotations

import json
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

from shared import log
from shared.clock import Clock
from shared.errors import (
    PreconditionFailedError,
    StorageUnavailableError,
    UnreadableDataError,
)
from shared.imports.import_type import ImportType, ReadRow, Reference, RowKey
from shared.imports.json_rows import fold_names, read_lines
from shared.imports.merge_rules import ChangeListener, fail_all_rows
from shared.imports.messages import BROKEN_RECORD, SEND_AGAIN, Message, MessageId
from shared.imports.registry import import_type
from shared.imports.results import RowResult, failed
from shared.services.background import Offload
from shared.services.name_index import NamedRecord, NameIndex
from shared.services.record_ranges import WORTH_IT, load_records
from shared.services.record_rules import results_without_key, rules_resolver
from shared.services.references import EarlierImports, ReferenceReader
from shared.services.row_processor import (
    BYTES_PER_ROW,
    BeforeCommit,
    KeyRows,
    RecordOutcome,
    Resolver,
    SupersededError,
)
from shared.services.stamps import closed_through, ending
from shared.storage import business_records as records
from shared.storage.business_records import (
    RecordKey,
    StoredRecord,
    partition_of,
    row_of,
    sort_key_of,
)
from shared.storage.import_records import ImportRecord
from shared.storage.partition_index import PartitionIndex
from shared.storage.ports import MAX_OPERATIONS, Delete, Operation, Tables

# Bringing the records of a chunk to rest: load, resolve, commit (docs/design.md#1.5).
#
# What is to happen to a record is the resolver's business: the rules of a type for a chunk that
# runs, the end of its rows for one that failed too often or was cancelled. Here is what both
# share: records are read by ranges, written in transactions of one partition, and where a
# transaction is refused, one by one, each read and resolved again until its conditional write
# goes through.

_MOST_BYTES = 3_500_000
_MOST_CONFLICTS = 20
# Keys, headers and short properties of one operation, generously.
_HEAD_BYTES = 1_024


# Enters names in the index.
Enter = Callable[[Iterable[NamedRecord]], Awaitable[None]]


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
            return RecordOutcome(fail_all_rows(rows.rows, self._unforeseen()))

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
                return fail_all_rows(rows.rows, self._unforeseen())
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


# From the lines of a chunk to rows that were read, gathered by the record they speak of.

SLICE_ROWS = 250
# Rows that are read and settled at a time.
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class ChunkRows:
    """Rows of a chunk: by record, sorted, and those without a usable key.

    `order` holds the rows' indexes in plan order, `groups` the groups that the records lie in.
    """

    keys: Sequence[KeyRows]
    without_key: Sequence[ReadRow]
    order: Sequence[int]
    groups: frozenset[str]


def record_key(tenant: str, key: RowKey) -> RecordKey:
    """Where the record of a row lies."""
    return RecordKey(partition_of(tenant, key.group), row_of(key.reference))


def sort_key_reader(kind: ImportType, tenant: str) -> Callable[[Mapping[str, Any]], str | None]:
    """A function for planning: the sort key of a row whose names are in lower case."""
    identify = kind.rules.identify

    def sort_key(row: Mapping[str, Any]) -> str | None:
        key = identify(row)
        return None if key is None else sort_key_of(record_key(tenant, key))

    return sort_key


# How a line becomes a row; the key is None where it is unusable.
Reading = Callable[[ImportType, int, Mapping[str, Any]], tuple[RowKey | None, ReadRow]]


def read_by_rules(
    kind: ImportType, index: int, row: Mapping[str, Any]
) -> tuple[RowKey | None, ReadRow]:
    """Every row by the rules of its type."""
    return kind.rules.identify(fold_names(row)), kind.record_rules.read(index, row)


def read_key_only(
    kind: ImportType, index: int, row: Mapping[str, Any]
) -> tuple[RowKey | None, ReadRow]:
    """No rule is run: a row has its key and nothing else."""
    folded = fold_names(row)
    return kind.rules.identify(folded), ReadRow(index, _sent_key(kind, folded), {}, ())


def read_slices(
    kind: ImportType, tenant: str, data: bytes, reading: Reading
) -> Iterator[ChunkRows]:
    """The rows of a chunk's lines, some hundreds at a time; rows of one record stay together.

    A read row takes several times the memory of its line, so a chunk is never read as a whole.
    """
    rows: list[tuple[RowKey | None, ReadRow]] = []
    for index, line in read_lines(data):
        key, row = _guarded(kind, reading, index, line)
        if len(rows) >= SLICE_ROWS and (key is None or key != rows[-1][0]):
            yield _gathered(tenant, rows)
            rows = []
        rows.append((key, row))
    if rows:
        yield _gathered(tenant, rows)


def _guarded(
    kind: ImportType, reading: Reading, index: int, line: Mapping[str, Any]
) -> tuple[RowKey | None, ReadRow]:
    """A fault that reading did not foresee is this row's alone."""
    try:
        return reading(kind, index, line)
    except Exception as error:
        log.failure("row.unreadable", error, type=kind.name)
        nothing = (None,) * len(kind.rules.key_fields)
        return None, ReadRow(index, nothing, {}, (Message(MessageId.COULD_NOT_BE_PROCESSED),))


def _sent_key(kind: ImportType, folded: Mapping[str, Any]) -> tuple[str | None, ...]:
    values = [folded.get(name.lower()) for name in kind.rules.key_fields]
    return tuple(
        value.strip()[:_SHOWN] if isinstance(value, str) and value.strip() else None
        for value in values
    )


def _gathered(tenant: str, rows: Sequence[tuple[RowKey | None, ReadRow]]) -> ChunkRows:
    placed = sorted(
        ((record_key(tenant, key), row) for key, row in rows if key is not None),
        key=lambda pair: (pair[0].partition, pair[0].row, pair[1].index),
    )
    keys = [
        KeyRows(key, tuple(row for _, row in group))
        for key, group in groupby(placed, key=lambda pair: pair[0])
    ]
    without_key = [row for key, row in rows if key is None]
    groups = frozenset(key.group for key, _ in rows if key is not None)
    return ChunkRows(keys, without_key, [row.index for _, row in rows], groups)


class RecordProcessor:
    """`Work` on rows with keys; `on_change` is told what each row changes."""

    def __init__(
        self,
        *,
        tables: Tables,
        imports: EarlierImports,
        references: ReferenceReader,
        clock: Clock,
        offload: Offload,
        on_change: ChangeListener | None = None,
        type_of: Callable[[str], ImportType] | None = None,
    ) -> None:
        self._tables = tables
        self._imports = imports
        self._references = references
        self._groups = PartitionIndex(tables)
        self._names = NameIndex(tables)
        self._clock = clock
        self._offload = offload
        self._noticed = on_change
        self._type_of = type_of

    async def run(
        self, record: ImportRecord, lines: bytes, before_commit: BeforeCommit
    ) -> list[RowResult]:
        """See `Work`; rows wait for a record that an earlier open import may still bring."""
        results: list[RowResult] = []
        async for part in self._parts(record, lines, read_by_rules):
            results += await self._settle_by_rules(record, part, before_commit)
        return results

    async def end(self, record: ImportRecord, lines: bytes, code: int) -> list[RowResult]:
        """See `Work`."""
        kind = self._type(record)
        message = Message(code)
        resolve = ending(record, message, await closed_through(self._imports, kind, record))
        results: list[RowResult] = []
        async for part in self._parts(record, lines, read_key_only):
            settled = await self._settle(record, kind, part.keys, resolve, _never_stops)
            results += _in_order(part, [*fail_all_rows(part.without_key, message), *settled])
        return results

    def _type(self, record: ImportRecord) -> ImportType:
        if self._type_of is not None:
            return self._type_of(record.type_name)
        return import_type(record.type_name, record.type_version)

    def is_readable(self, index: int, row: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """See `Work`: what a row says is the rules' business."""
        return True

    async def _settle_by_rules(
        self, record: ImportRecord, part: ChunkRows, before_commit: BeforeCommit
    ) -> list[RowResult]:
        kind = self._type(record)
        await self._names.begin(kind, record.tenant)
        await self._groups.note(kind.table, record.tenant, part.groups)
        rows = [row for key in part.keys for row in key.rows]
        references = await self._references.read(kind, record, [*rows, *part.without_key])
        size = BYTES_PER_ROW * len(part.without_key)
        settled = await self._offload(
            size, results_without_key, kind, record, references, part.without_key
        )
        keys = part.keys
        while keys:
            unread: set[Reference] = set()
            resolve = rules_resolver(
                kind, record, references, self._clock.now(), self._noticed, unread
            )
            settled += await self._settle(record, kind, keys, resolve, before_commit)
            if not unread:
                break
            # A row and its stored record together may name what neither names alone.
            references = await self._references.read_more(record, references, unread)
            done = {result.index for result in settled}
            keys = [key for key in keys if key.rows[0].index not in done]
        return _in_order(part, settled)

    async def _settle(
        self,
        record: ImportRecord,
        kind: ImportType,
        keys: Sequence[KeyRows],
        resolve: Resolver,
        before_commit: BeforeCommit,
    ) -> list[RowResult]:
        settler = RecordCommitter(
            self._tables,
            kind.table,
            resolve,
            before_commit,
            record.import_id,
            self._offload,
            record.number,
            enter=partial(self._names.note, kind, record.tenant),
        )
        return await settler.settle(keys)

    async def _parts(
        self, record: ImportRecord, lines: bytes, reading: Reading
    ) -> AsyncIterator[ChunkRows]:
        kind = self._type(record)
        slices = read_slices(kind, record.tenant, lines, reading)
        while (part := await self._offload(len(lines), next, slices, None)) is not None:
            yield part


def _in_order(part: ChunkRows, results: Sequence[RowResult]) -> list[RowResult]:
    by_index = {result.index: result for result in results}
    return [by_index[index] for index in part.order if index in by_index]


async def _never_stops() -> None:
    """Ending rows has no time limit of its own: it writes one small thing per record."""
