"""The work of types whose rows each name one record by its key (workers, assignments).

Rows of a record are folded and written once; records are read and written by the hundred.
"""

from __future__ import annotations

import asyncio
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
from contextlib import nullcontext, suppress
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
from shared.imports.files.notes import with_notes
from shared.imports.import_type import ImportType, ReadRow, Reference, RowKey
from shared.imports.json_rows import Line, fold_names, read_noted_lines
from shared.imports.merge_rules import ChangeListener, fail_all_rows
from shared.imports.messages import BROKEN_RECORD, SEND_AGAIN, Message, MessageId
from shared.imports.registry import import_type
from shared.imports.results import RowResult, failed
from shared.services.background import KeyedLocks, Offload
from shared.services.chunk_messages import is_small
from shared.services.record_rules import results_without_key, rules_resolver
from shared.services.references import EarlierImports, ReferenceReader, References
from shared.services.row_processor import (
    BYTES_PER_ROW,
    BeforeCommit,
    KeyRows,
    RecordOutcome,
    Resolver,
    SupersededError,
)
from shared.services.sent_rows import SentRows
from shared.services.stamps import closed_through, ending
from shared.storage import business_records as records
from shared.storage.business_records import (
    WORTH_IT,
    RecordKey,
    RecordStates,
    StoredRecord,
    load_records,
    partition_of,
    row_of,
    sort_key_of,
)
from shared.storage.former_columns import Spilled, keep_spilled
from shared.storage.import_records import ImportRecord
from shared.storage.ports import MAX_OPERATIONS, Blobs, Delete, Operation, Tables
from shared.storage.record_indexes import NamedRecord, NameIndex, PartitionIndex
from shared.storage.sealing import PLAIN_DIGESTS, RecordDigests
from shared.telemetry import traced

# Committing the records of a chunk: load, resolve, commit (docs/design.md#1.5).
#
# A resolver decides about each record: by the rules of a type for a chunk that runs, or by ending
# its rows for a chunk that failed too often or was cancelled. The committer does the rest for both:
# it reads records by ranges and writes them in transactions of one partition. If a transaction is
# refused, it commits the records one by one, and reads and resolves each of them again until its
# conditional write succeeds.

_MOST_BYTES = 3_500_000
# Transactions of one chunk at a time.
_AT_ONCE = 2
_MOST_CONFLICTS = 20
_RESOLVED_AT_ONCE = 25
# An upper bound for the keys, headers and short properties of one operation.
_HEAD_BYTES = 1_024
_SHORT_TEXT = 100
# Characters of an entity of which as many as possible fit into a transaction, even if all were
# escapes.
_SMALL_ENTITY = (_MOST_BYTES // MAX_OPERATIONS - _HEAD_BYTES) // 6


# Adds names to the index.
AddNames = Callable[[Iterable[NamedRecord]], Awaitable[None]]
# Reads what the resolver needs to know about stored records, before it decides about them.
Prepare = Callable[[Sequence[StoredRecord]], Awaitable[None]]


# From a partition, the rows of its records and their row keys: the records that these rows do not
# change, and the row keys of those that have to be read.
FindUnchanged = Callable[
    [str, Sequence[KeyRows], list[str]], Awaitable[tuple[dict[str, StoredRecord], list[str]]]
]


# The rows of a record, and what was decided about them.
DecidedRecord = tuple[KeyRows, RecordOutcome]


class RecordCommitter:
    """Commits the records of one chunk in one table.

    `before_commit` is awaited before each transaction, and may raise an error to stop there.
    `at_once` is the number of transactions at a time: 1 where a record may name another one.
    `number` is the number of the import, to recognise its own stamps on records that cannot be
    read. `blobs` takes former values that are too long for a record, under the import's id,
    `correlation_id`. `one_in` is that of `load_records`. `prepare` is awaited with records as they
    were read, before the resolver gets them. `find_unchanged` finds those that need not be read.
    """

    def __init__(
        self,
        tables: Tables,
        blobs: Blobs,
        table: str,
        resolve: Resolver,
        before_commit: BeforeCommit,
        correlation_id: str,
        offload: Offload,
        number: int,
        one_in: int = WORTH_IT,
        at_once: int = 1,
        add_names: AddNames | None = None,
        prepare: Prepare | None = None,
        find_unchanged: FindUnchanged | None = None,
    ) -> None:
        self._at_once = at_once
        self._prepare = prepare
        self._find_unchanged = find_unchanged
        self._number = number
        self._tables = tables
        self._blobs = blobs
        self._table = table
        self._one_in = one_in
        self._resolve = resolve
        self._before_commit = before_commit
        self._correlation_id = correlation_id
        self._offload = offload
        self._add_new_names = add_names
        self._added_names: set[NamedRecord] = set()
        self._results: list[RowResult] = []

    async def commit(self, keys: Sequence[KeyRows]) -> list[RowResult]:
        """Decide about these records, sorted by key, and write them; see `write`."""
        await self._before_commit()
        return await self.write(await self.decide(keys))

    async def decide(self, keys: Sequence[KeyRows]) -> list[DecidedRecord]:
        """Read these records, sorted by key, and decide about their rows.

        Raises StorageUnavailableError if storage does not answer, SupersededError for a straggler.
        """
        decided: list[DecidedRecord] = []
        for partition, group in groupby(keys, key=lambda rows: rows.key.partition):
            decided += await self._resolve_partition(partition, list(group))
        return decided

    @traced("rows.commit")
    async def write(self, decided: Sequence[DecidedRecord]) -> list[RowResult]:
        """Write the records. Returns the results of all rows that need not wait.

        Raises StorageUnavailableError if storage does not answer, SupersededError for a straggler,
        and the errors of `before_commit`.
        """
        # The names of all records at once, since many of them share an entity of the index.
        await self._add_names(outcome.names for _, outcome in decided)
        batches = [
            batch
            for _, in_partition in groupby(decided, key=lambda pair: pair[0].key.partition)
            for batch in self._batches(in_partition)
        ]
        for batch in await self._transact_all(batches):
            await self._commit_singly(batch)
        return self._results

    async def _resolve_partition(
        self, partition: str, keys: Sequence[KeyRows]
    ) -> list[DecidedRecord]:
        wanted = list(dict.fromkeys(rows.key.row for rows in keys))
        stored: dict[str, StoredRecord] = {}
        if self._find_unchanged is not None:
            stored, wanted = await self._find_unchanged(partition, keys, wanted)
        entities = await load_records(
            self._tables, self._table, partition, wanted, one_in=self._one_in
        )
        stored |= {row: records.from_any_entity(entity) for row, entity in entities.items()}
        if self._prepare is not None:
            await self._prepare(list(stored.values()))
        outcomes: list[tuple[KeyRows, RecordOutcome]] = []
        for count, rows in enumerate(keys, 1):
            outcomes.append((rows, await self._resolve_rows(rows, stored.get(rows.key.row))))
            if count % _RESOLVED_AT_ONCE == 0:
                # Other calls of this process go on after some milliseconds.
                await asyncio.sleep(0)
        return outcomes

    def _batches(self, decided: Iterable[DecidedRecord]) -> Iterator[_Batch]:
        """The transactions for records of one partition. Rows without writes have their results."""
        batch = _Batch()
        for rows, outcome in decided:
            if not outcome.operations:
                self._results.extend(outcome.results)
            elif not batch.add(rows, outcome):
                yield batch
                batch = _Batch()
                batch.add(rows, outcome)
        if batch.entries:
            yield batch

    async def _transact_all(self, batches: Sequence[_Batch]) -> list[_Batch]:
        """Carry out the transactions, some at a time. Returns those that storage refused.

        No transaction runs any more when it ends, also with an error.
        """
        refused: list[_Batch] = []
        if len(batches) == 1:
            await self._before_commit()
            await self._transact(batches[0], refused)
            return refused
        running: set[asyncio.Task[None]] = set()
        is_alone = False

        async def leave(most: int) -> None:
            nonlocal running
            while len(running) > most:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for error in [task.exception() for task in done]:
                    if error is not None:
                        raise error

        try:
            for batch in batches:
                await leave(0 if is_alone else self._at_once - 1)
                is_alone = bool(await self._before_commit())
                if is_alone:
                    await leave(0)
                running.add(asyncio.create_task(self._transact(batch, refused)))
            await leave(0)
        except asyncio.CancelledError:
            for task in running:
                task.cancel()
            raise
        finally:
            await asyncio.gather(*running, return_exceptions=True)
        return refused

    async def _resolve_rows(self, rows: KeyRows, stored: StoredRecord | None) -> RecordOutcome:
        """Resolve the rows of a record. An unexpected error becomes the result of these rows."""
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
            return RecordOutcome(fail_all_rows(rows.rows, self._unexpected_message()))

    def _results_on_broken(
        self, rows: KeyRows, stored: StoredRecord | None
    ) -> tuple[RowResult, ...]:
        """The results of rows whose record cannot be read: 9001, unless it has their own stamp."""
        log.warning("record.broken", import_id=self._correlation_id)
        own_results: dict[int, RowResult] = {}
        if stored is not None and stored.stamp.number == self._number:
            with suppress(UnreadableDataError):
                own_results = {result.index: result for result in stored.stamp.results()}
        fault = Message(MessageId.COULD_NOT_BE_PROCESSED, detail=BROKEN_RECORD)
        return tuple(
            own_results.get(row.index) or failed(row.index, row.key, fault) for row in rows.rows
        )

    def _unexpected_message(self) -> Message:
        return Message(
            MessageId.COULD_NOT_BE_PROCESSED, detail=SEND_AGAIN.format(id=self._correlation_id)
        )

    async def _transact(self, batch: _Batch, refused: list[_Batch]) -> None:
        try:
            operations = await self._keep_spilled(batch.operations, batch.spilled)
            await self._tables.transact(self._table, operations)
        except PreconditionFailedError:
            refused.append(batch)
        except StorageUnavailableError:
            raise
        except Exception as error:
            log.failure("transaction.refused", error, correlation_id=self._correlation_id)
            refused.append(batch)
        else:
            for _, outcome in batch.entries:
                self._results.extend(outcome.results)

    async def _commit_singly(self, batch: _Batch) -> None:
        for rows, _ in batch.entries:
            self._results.extend(await self._commit_record(rows))

    async def _commit_record(self, rows: KeyRows) -> Sequence[RowResult]:
        missing: set[str] = set()
        for _ in range(_MOST_CONFLICTS):
            await self._before_commit()
            entity = await self._tables.get(self._table, rows.key.partition, rows.key.row)
            stored = None if entity is None else records.from_any_entity(entity)
            if self._prepare is not None and stored is not None:
                await self._prepare([stored])
            outcome = await self._resolve_rows(rows, stored)
            operations = [each for each in outcome.operations if each.entity.row not in missing]
            try:
                if operations:
                    await self._add_names((outcome.names,))
                    operations = await self._keep_spilled(operations, outcome.spilled)
                    await self._tables.transact(self._table, operations)
                return outcome.results
            except PreconditionFailedError:
                missing |= await self._missing_lookups(operations)
            except StorageUnavailableError:
                raise
            except Exception as error:
                log.failure("row.refused", error, correlation_id=self._correlation_id)
                return fail_all_rows(rows.rows, self._unexpected_message())
        raise StorageUnavailableError("a record is being written by too many at once")

    async def _missing_lookups(self, operations: Sequence[Operation]) -> set[str]:
        """The look-ups to delete that do not exist. Their deletion fails every transaction."""
        missing: set[str] = set()
        for operation in operations:
            entity = operation.entity
            if not isinstance(operation, Delete) or entity.etag:
                continue
            if await self._tables.get(self._table, entity.partition, entity.row) is None:
                missing.add(entity.row)
        return missing

    async def _keep_spilled(self, operations: list[Operation], spilled: Spilled) -> list[Operation]:
        if not spilled:
            return operations
        return await keep_spilled(self._blobs, self._correlation_id, operations, spilled)

    async def _add_names(self, names: Iterable[frozenset[NamedRecord]]) -> None:
        # A union of sets computes no hash again.
        new = set[NamedRecord]().union(*names) - self._added_names
        if new and self._add_new_names is not None:
            if len(new) > MAX_OPERATIONS:
                await self._before_commit()
            await self._add_new_names(new)
            self._added_names |= new


class _Batch:
    """The operations of one transaction, within its limits."""

    def __init__(self) -> None:
        self.entries: list[tuple[KeyRows, RecordOutcome]] = []
        self.operations: list[Operation] = []
        self.spilled: Spilled = {}
        self._bytes = 0

    def add(self, rows: KeyRows, outcome: RecordOutcome) -> bool:
        """Add the writes of one record; False if they do not fit. An empty batch takes any."""
        size = sum(operation_bytes(operation) for operation in outcome.operations)
        size += sum(map(len, outcome.spilled.values()))
        count = len(self.operations) + len(outcome.operations)
        if self.entries and (count > MAX_OPERATIONS or self._bytes + size > _MOST_BYTES):
            return False
        self.entries.append((rows, outcome))
        self.operations.extend(outcome.operations)
        self.spilled |= outcome.spilled
        self._bytes += size
        return True


def operation_bytes(operation: Operation) -> int:
    """An upper bound of the entity's size as JSON."""
    values = operation.entity.values
    if not values or isinstance(operation, Delete):
        return _HEAD_BYTES
    length = sum([len(value) for value in values.values() if isinstance(value, (str, bytes))])
    if length <= _SMALL_ENTITY:
        return _HEAD_BYTES + length * 6
    size = _HEAD_BYTES
    for value in values.values():
        if isinstance(value, str):
            size += _text_bytes(value)
        elif isinstance(value, bytes):
            size += len(value) * 4 // 3 + 4
    return size


def _text_bytes(text: str) -> int:
    """The size of a text as JSON, with its escapes; of a short one as if it were all escapes."""
    if len(text) < _SHORT_TEXT:
        return len(text) * 6
    if text.isascii():
        return len(text) + text.count('"') + text.count("\\")
    return len(json.dumps(text))


# Reading the lines of a chunk into rows, grouped by their record.

SLICE_ROWS = 250
# Characters of a key that are shown in a result.
_MOST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class ChunkRows:
    """Rows of a chunk: those of each record, sorted by key, and those without a usable key.

    `order` has the indexes of the rows in plan order, `groups` the groups of the records.
    """

    keys: Sequence[KeyRows]
    without_key: Sequence[ReadRow]
    order: Sequence[int]
    groups: frozenset[str]


def record_key(tenant: str, key: RowKey) -> RecordKey:
    """The partition key and row key of a row's record."""
    return RecordKey(partition_of(tenant, key.group), row_of(key.reference))


def sort_key_reader(kind: ImportType, tenant: str) -> Callable[[Mapping[str, Any]], str | None]:
    """Make the function that planning uses for the sort key of a row with lower-case names."""
    identify = kind.rules.identify

    def sort_key(row: Mapping[str, Any]) -> str | None:
        key = identify(row)
        return None if key is None else sort_key_of(record_key(tenant, key))

    return sort_key


# Reads a line into a row. The key is None if it is not usable.
Reading = Callable[[ImportType, Line], tuple[RowKey | None, ReadRow]]


def read_by_rules(kind: ImportType, line: Line) -> tuple[RowKey | None, ReadRow]:
    """Read a row by the rules of its type, with the messages of its notes."""
    read = kind.record_rules.read(line.index, line.row)
    group, reference = read.key
    if read.is_readable and group is not None and reference is not None:
        key: RowKey | None = RowKey(group, reference)
    else:
        key = kind.rules.identify(fold_names(line.row))
    return key, with_notes(read, line.notes)


def read_key_only(kind: ImportType, line: Line) -> tuple[RowKey | None, ReadRow]:
    """Read only the key of a row, without its rules."""
    folded = fold_names(line.row)
    values = [folded.get(name.lower()) for name in kind.rules.key_fields]
    return kind.rules.identify(folded), ReadRow(
        line.index,
        tuple(
            value.strip()[:_MOST_SHOWN] if isinstance(value, str) and value.strip() else None
            for value in values
        ),
        {},
        (),
    )


def read_slices(
    kind: ImportType, tenant: str, data: bytes, reading: Reading
) -> Iterator[ChunkRows]:
    """Yield the rows of a chunk in slices of some hundred. Rows of one record stay together.

    A row takes several times the memory of its line, so a chunk is never read as a whole.
    """
    rows: list[tuple[RowKey | None, ReadRow]] = []
    for line in read_noted_lines(data):
        key, row = _read_row(kind, reading, line)
        if len(rows) >= SLICE_ROWS and (key is None or key != rows[-1][0]):
            yield _group_by_record(tenant, rows)
            rows = []
        rows.append((key, row))
    if rows:
        yield _group_by_record(tenant, rows)


def _read_row(kind: ImportType, reading: Reading, line: Line) -> tuple[RowKey | None, ReadRow]:
    """Read a row. An unexpected error becomes the result of this row alone."""
    try:
        return reading(kind, line)
    except Exception as error:
        log.failure("row.unreadable", error, type=kind.name)
        no_key = (None,) * len(kind.rules.key_fields)
        return None, ReadRow(line.index, no_key, {}, (Message(MessageId.COULD_NOT_BE_PROCESSED),))


def _group_by_record(tenant: str, rows: Sequence[tuple[RowKey | None, ReadRow]]) -> ChunkRows:
    keyed_rows = sorted(
        ((record_key(tenant, key), row) for key, row in rows if key is not None),
        key=lambda pair: (pair[0].partition, pair[0].row, pair[1].index),
    )
    keys = [
        KeyRows(key, tuple(row for _, row in group))
        for key, group in groupby(keyed_rows, key=lambda pair: pair[0])
    ]
    without_key = [row for key, row in rows if key is None]
    groups = frozenset(key.group for key, _ in rows if key is not None)
    return ChunkRows(keys, without_key, [row.index for _, row in rows], groups)


@dataclass(slots=True)
class _ChunkWork:
    """A chunk that is processed by the rules, slice by slice. `size` is that of its lines."""

    record: ImportRecord
    kind: ImportType
    size: int
    slices: Iterator[ChunkRows]
    rows_left: int
    before_commit: BeforeCommit
    digests: RecordDigests
    states: RecordStates
    sent: SentRows | None


def _plain_digests(_tenant: str) -> RecordDigests:
    return PLAIN_DIGESTS


class RecordProcessor:
    """The `RowProcessor` of rows that each name one record. Calls `on_change` for each change."""

    def __init__(
        self,
        *,
        tables: Tables,
        blobs: Blobs,
        imports: EarlierImports,
        references: ReferenceReader,
        clock: Clock,
        offload: Offload,
        on_change: ChangeListener | None = None,
        type_of: Callable[[str], ImportType] | None = None,
        digests: Callable[[str], RecordDigests] = _plain_digests,
    ) -> None:
        self._tables = tables
        self._blobs = blobs
        self._imports = imports
        self._references = references
        self._groups = PartitionIndex(tables)
        self._names = NameIndex(tables)
        self._clock = clock
        self._offload = offload
        self._on_change = on_change
        self._type_of = type_of
        self._digests = digests
        self._deciding = KeyedLocks()

    async def run(
        self, record: ImportRecord, lines: bytes, before_commit: BeforeCommit
    ) -> list[RowResult]:
        """See `RowProcessor`. Rows wait for records that an earlier import may still create."""
        kind = self._type(record)
        digests = self._digests(record.tenant)
        states = RecordStates(self._tables, kind.table, digests, lines.count(b"\n"))
        sent = await self._offload(len(lines), SentRows.of_chunk, kind, record, digests, lines)
        if sent is None:
            return await self._run_lines(record, lines, before_commit, digests, states)
        repeated = await sent.find_repeated(states, before_commit, self._offload)
        if repeated:
            await self._note_groups(kind, record, frozenset(str(row.key[0]) for row in repeated))
            lines = sent.without(repeated)
        results = await self._run_lines(record, lines, before_commit, digests, states, sent)
        return in_order(sent.order, [*repeated, *results]) if repeated else results

    async def _run_lines(
        self,
        record: ImportRecord,
        lines: bytes,
        before_commit: BeforeCommit,
        digests: RecordDigests,
        states: RecordStates,
        sent: SentRows | None = None,
    ) -> list[RowResult]:
        kind = self._type(record)
        slices = read_slices(kind, record.tenant, lines, read_by_rules)
        work = _ChunkWork(
            record,
            kind,
            len(lines),
            slices,
            lines.count(b"\n"),
            before_commit,
            digests,
            states,
            sent,
        )
        results: list[RowResult] = []
        while work.rows_left > 0:
            results += await self._process_slice(work)
        return results

    async def end(self, record: ImportRecord, lines: bytes, code: int) -> list[RowResult]:
        """See `RowProcessor`."""
        kind = self._type(record)
        message = Message(code)
        resolve = ending(record, message, await closed_through(self._imports, kind, record))
        results: list[RowResult] = []
        async for part in self._parts(record, lines, read_key_only):
            committed = await self._commit_records(record, kind, part.keys, resolve, _no_limit)
            results += in_order(part.order, [*fail_all_rows(part.without_key, message), *committed])
        return results

    def _type(self, record: ImportRecord) -> ImportType:
        if self._type_of is not None:
            return self._type_of(record.type_name)
        return import_type(record.type_name, record.type_version)

    def is_readable(self, index: int, row: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """See `RowProcessor`. Every row is readable: the rules report what is wrong with it."""
        return True

    async def _process_slice(self, work: _ChunkWork) -> list[RowResult]:
        """Process the next slice of a chunk."""
        await work.before_commit()
        # A slice of a large import is decided at one go, so that storage gets its writes while the
        # next handler decides. With slices in turns all would decide first, and then all write.
        is_large = not is_small(work.record.rows)
        async with self._deciding.take("") if is_large else nullcontext():
            part = await self._offload(work.size, next, work.slices, None)
            if part is None:
                work.rows_left = 0
                return []
            work.rows_left -= len(part.order)
            references, results = await self._prepare(work, part)
            unread: set[Reference] = set()
            committer = self._committer(work, references, unread)
            decided = await committer.decide(part.keys)
        while True:
            results += await committer.write(decided)
            if not unread:
                return in_order(part.order, results)
            # A row and its stored record together may have a reference that neither has alone.
            references = await self._references.read_more(work.record, references, unread)
            done_rows = {result.index for result in results}
            keys = [key for key in part.keys if key.rows[0].index not in done_rows]
            unread = set()
            committer = self._committer(work, references, unread)
            decided = await committer.decide(keys)

    async def _prepare(
        self, work: _ChunkWork, part: ChunkRows
    ) -> tuple[References, list[RowResult]]:
        """What must be known and stored before a slice; the results of its rows without a key."""
        record, kind = work.record, work.kind
        await self._note_groups(kind, record, part.groups)
        rows = [row for key in part.keys for row in key.rows]
        references = await self._references.read(kind, record, [*rows, *part.without_key])
        size = BYTES_PER_ROW * len(part.without_key)
        results = await self._offload(
            size, results_without_key, kind, record, references, part.without_key
        )
        return references, results

    def _committer(
        self, work: _ChunkWork, references: References, unread: set[Reference]
    ) -> RecordCommitter:
        """A committer that decides by the rules. `unread` gets the references to be read first."""
        record, kind = work.record, work.kind
        resolve = rules_resolver(
            kind,
            record,
            references,
            self._clock.now(),
            self._on_change,
            unread,
            work.digests,
            work.sent,
        )
        return RecordCommitter(
            self._tables,
            self._blobs,
            kind.table,
            resolve,
            work.before_commit,
            record.import_id,
            self._offload,
            record.number,
            at_once=_AT_ONCE,
            add_names=partial(self._names.note, kind, record.tenant),
            find_unchanged=partial(_find_unchanged, work.states, kind, record.number),
        )

    async def _note_groups(
        self, kind: ImportType, record: ImportRecord, groups: frozenset[str]
    ) -> None:
        await self._names.begin(kind, record.tenant)
        await self._groups.note(kind.table, record.tenant, groups)

    async def _commit_records(
        self,
        record: ImportRecord,
        kind: ImportType,
        keys: Sequence[KeyRows],
        resolve: Resolver,
        before_commit: BeforeCommit,
        prepare: Prepare | None = None,
    ) -> list[RowResult]:
        committer = RecordCommitter(
            self._tables,
            self._blobs,
            kind.table,
            resolve,
            before_commit,
            record.import_id,
            self._offload,
            record.number,
            add_names=partial(self._names.note, kind, record.tenant),
            prepare=prepare,
        )
        return await committer.commit(keys)

    async def _parts(
        self, record: ImportRecord, lines: bytes, reading: Reading
    ) -> AsyncIterator[ChunkRows]:
        kind = self._type(record)
        slices = read_slices(kind, record.tenant, lines, reading)
        while (part := await self._offload(len(lines), next, slices, None)) is not None:
            yield part


async def _find_unchanged(
    states: RecordStates,
    kind: ImportType,
    number: int,
    partition: str,
    keys: Sequence[KeyRows],
    wanted: list[str],
) -> tuple[dict[str, StoredRecord], list[str]]:
    """See `FindUnchanged`.

    Where the digest of a stored record is that of the record which its row would make alone, the
    two are the same record, so the row is decided on it without reading what is stored.
    """
    if not await states.read(partition, wanted):
        return {}, wanted
    unchanged: dict[str, StoredRecord] = {}
    changed: list[str] = []
    for rows in keys:
        if not states.has(rows.key):
            continue
        stored = None
        document = kind.record_rules.alone(rows.rows[0]) if len(rows.rows) == 1 else None
        if document is not None:
            stored = states.unchanged(rows.key, document, number)
        if stored is None:
            changed.append(rows.key.row)
        else:
            unchanged[rows.key.row] = stored
    states.note(len(unchanged), len(changed))
    return unchanged, changed


def in_order(order: Sequence[int], results: Sequence[RowResult]) -> list[RowResult]:
    """The results in the order of the indexes, without those of waiting rows."""
    by_index = {result.index: result for result in results}
    return [by_index[index] for index in order if index in by_index]


async def _no_limit() -> None:
    """Ending rows has no time limit, because it only makes one small write for each record."""
