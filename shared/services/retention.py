"""Retention: the deletion of expired data (docs/design.md#6; docs/contracts.md#5).

Retention is a list of small steps, each with its own age. Code that stores temporary data adds a
step, in the `MODULE` of its type or in `shared/app.py`. A step processes one tenant at a time and
yields after each deletion, so that a run can stop between two of them. The next run finds the rest.
Every step can be repeated, and two processes can run it at the same time.

The timer runs every hour and processes each tenant once a day. `manage.py purge` runs retention by
hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from shared import log
from shared.auth.lookups import PARTITION
from shared.clock import Clock, age_of, to_iso
from shared.errors import PreconditionFailedError, UnreadableDataError
from shared.services.background import UpkeepFaults
from shared.services.import_log import ImportLog
from shared.services.tenant_work import RETENTION
from shared.storage import former_columns
from shared.storage import import_records as expiry
from shared.storage import import_records as records
from shared.storage.business_records import ended_imports
from shared.storage.entities import encode
from shared.storage.import_records import LAST_NUMBER, ImportSummary
from shared.storage.names import (
    IMPORT_PAYLOADS,
    IMPORT_RESULT_BLOBS,
    IMPORT_RESULTS,
    IMPORTS,
    TENANTS,
)
from shared.storage.ports import (
    MAX_OPERATIONS,
    Delete,
    Entity,
    EntityRange,
    ListedBlobs,
    Merge,
    Operation,
    RangeTables,
    RecordFiles,
    SearchableTables,
    Tables,
    query_range_pages,
)
from shared.storage.record_indexes import record_partitions
from shared.storage.result_records import blobs_of

# expire(tenant, before) deletes data that expired before that time, and yields the number of
# deletions since the last yield.
Expire = Callable[[str, datetime], AsyncIterator[int]]

# A little under a day, so that the hour of a tenant does not move.
_EVERY = timedelta(hours=23)
# The time of a run: some plans of the platform limit a function to five minutes.
_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class RetentionStep:
    """One kind of data that expires.

    `name` is its name in `manage.py purge`. `least` is the shortest age at which a purge by hand
    deletes it, for data that may belong to a running call.
    """

    name: str
    keep: timedelta
    expire: Expire
    least: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Purged:
    """The number of deletions by step, and the failed steps with their tenants."""

    expired: Mapping[str, int]
    failed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _StepOutcome:
    expired: int
    is_time_up: bool = False
    has_failed: bool = False


def counted(expire: Callable[[str, datetime], Awaitable[int]]) -> Expire:
    """Make a step's `expire` of a function that returns its number of deletions."""

    async def steps(tenant: str, before: datetime) -> AsyncIterator[int]:
        yield await expire(tenant, before)

    return steps


def expiring_blobs(blobs: ListedBlobs, container: str) -> Expire:
    """Make a step's `expire` that deletes a tenant's blobs of a container by their age."""

    async def steps(tenant: str, before: datetime) -> AsyncIterator[int]:
        for name in await blobs.names_before(container, f"{tenant}/", before):
            await blobs.delete(container, name)
            yield 1

    return steps


class Retention:
    """Runs the steps. `tenants` lists the ids of all tenants. `prepare` is awaited with a tenant
    before its steps. The tenant's entity has the time of its last run.
    """

    def __init__(
        self,
        steps: Sequence[RetentionStep],
        tables: Tables,
        clock: Clock,
        tenants: Callable[[], Awaitable[list[str]]],
        seconds: float = _SECONDS,
        prepare: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._prepare = prepare
        self._steps = steps
        self._tables = tables
        self._clock = clock
        self._tenants = tenants
        self._seconds = seconds

    async def run(self) -> None:
        """Run the steps for all tenants that are due, until the time is up."""
        end = self._clock.elapsed() + self._seconds
        faults = UpkeepFaults("retention.failed")
        tenants = await self._tenants()
        listed = await self._tables.query(TENANTS, PARTITION)
        last_runs = {entity.row: entity.text(RETENTION) for entity in listed}
        for tenant in tenants:
            age = age_of(last_runs.get(encode(tenant), ""), self._clock.now())
            if age is not None and age < _EVERY:
                continue
            try:
                is_time_up = await self._run_tenant(tenant, end, faults)
            except Exception as error:
                faults.note(error, tenant=tenant)
                continue
            if is_time_up:
                return

    async def _run_tenant(self, tenant: str, end: float, faults: UpkeepFaults) -> bool:
        """Whether the time is up. A tenant whose storage failed has its turn again next time."""
        if self._prepare is not None:
            await self._prepare(tenant)
        for step in self._steps:
            outcome = await self._run_step(step, tenant, step.keep, end, faults)
            if outcome.expired:
                log.event("retention.expired", tenant=tenant, step=step.name, done=outcome.expired)
            if outcome.is_time_up:
                return True
        values = {RETENTION: to_iso(self._clock.now())}
        # Without its entity the tenant has been erased meanwhile.
        with suppress(PreconditionFailedError):
            await self._tables.write(TENANTS, Merge(Entity(PARTITION, encode(tenant), values)))
        return False

    async def purge(self, tenants: Sequence[str], keep: timedelta | None) -> Purged:
        """Run every step for these tenants now. A step that fails does not stop the others.

        `keep` replaces the ages of the settings. Raises StorageUnavailableError if storage is down.
        """
        expired: Counter[str] = Counter({step.name: 0 for step in self._steps})
        failed: list[tuple[str, str]] = []
        faults = UpkeepFaults("retention.failed")
        for tenant in tenants:
            for step in self._steps:
                time = step.keep if keep is None else max(keep, step.least)
                outcome = await self._run_step(step, tenant, time, None, faults)
                expired[step.name] += outcome.expired
                if outcome.has_failed:
                    failed.append((tenant, step.name))
        return Purged(dict(expired), tuple(failed))

    async def _run_step(
        self,
        step: RetentionStep,
        tenant: str,
        keep: timedelta,
        end: float | None,
        faults: UpkeepFaults,
    ) -> _StepOutcome:
        """Run a step. Its error does not stop the other steps."""
        expired = 0
        try:
            async for count in step.expire(tenant, self._clock.now() - keep):
                expired += count
                if end is not None and self._clock.elapsed() > end:
                    return _StepOutcome(expired, is_time_up=True)
        except Exception as error:
            faults.note(error, tenant=tenant, step=step.name)
            return _StepOutcome(expired, has_failed=True)
        faults.note_success()
        return _StepOutcome(expired)


# The expiry of payloads, results and records of imports.
#
# Only ended imports expire, and the tenant's newest record stays for ever, because the next number
# is computed from it.

_IMPORTS_PER_PAGE = 500
_RECORDS_PER_SLICE = 1_000
_RECORDS = ("r|", "r|~")


class ExpiringImports:
    """Three steps: payloads, results with their records, payloads without an import.

    `record_tables` are the tables whose records keep their former values.
    """

    def __init__(
        self,
        tables: RangeTables,
        blobs: ListedBlobs,
        imports: ImportLog,
        clock: Clock,
        record_tables: Iterable[str],
    ) -> None:
        self._record_tables = tuple(record_tables)
        self._tables = tables
        self._blobs = blobs
        self._imports = imports
        self._clock = clock

    async def payloads(self, tenant: str, before: datetime) -> AsyncIterator[int]:
        """Delete the payloads of imports that ended before then. These cannot be retried."""
        faults = UpkeepFaults("retention.passed_over")
        summaries = await self._imports.summaries(tenant)
        await self._restore_lost_open(tenant, [each for each in summaries if not each.ended_at])
        for summary in summaries:
            if not (summary.ended_before(to_iso(before)) and summary.has_payload):
                await self._correct_time(summary)
                continue
            try:
                await self._expire_payload(summary)
            except Exception as error:
                faults.note(error, tenant=tenant, import_id=summary.import_id)
                continue
            faults.note_success()
            yield 1

    async def results(self, tenant: str, before: datetime) -> AsyncIterator[int]:
        """Delete the results of imports that ended before then, and their records.

        The former values of these imports go first, because they are never shown or used without
        the results.
        """
        faults = UpkeepFaults("retention.passed_over")
        summaries = await self._imports.summaries(tenant)
        expired = [each for each in summaries if each.ended_before(to_iso(before))]
        expiring = [each.number for each in expired if each.has_results]
        kept = {each.number for each in summaries if each.has_results} - set(expiring)
        for table in self._record_tables if expiring else ():
            async for _ in self._remove_former_values(tenant, table, max(expiring), kept):
                yield 0
        for summary in expired:
            is_newest = summary.number == summaries[0].number
            if is_newest and not summary.has_results:
                continue
            try:
                are_gone = await self._expire_results(summary)
                if are_gone and not is_newest:
                    await self._remove_record(summary)
            except Exception as error:
                faults.note(error, tenant=tenant, import_id=summary.import_id)
                continue
            faults.note_success()
            yield 1

    async def _remove_former_values(
        self, tenant: str, table: str, last_number: int, kept: Set[int]
    ) -> AsyncIterator[None]:
        """Remove the former values of records last written by imports up to that number, slice by
        slice, except those of the imports in `kept`.

        Storage searches for them in all partitions of the tenant, because results do not name every
        record and some results cannot be read. A query does not find what was removed, so this may
        stop anywhere.
        """
        own = encode(tenant)
        written = ("Number", 0, last_number)
        for first, last in ((own, own), (f"{own}|", f"{own}|~")):
            records_of_tenant = EntityRange(
                first,
                last,
                *_RECORDS,
                between=(written, former_columns.EXPIRING),
                select=("Number", *former_columns.COLUMNS),
            )
            async for page in query_range_pages(
                self._tables, table, records_of_tenant, _RECORDS_PER_SLICE
            ):
                expired = [each for each in page if each.number("Number") not in kept]
                for _, group in groupby(expired, key=lambda each: each.partition):
                    operations = [former_columns.expire_former_values(each) for each in group]
                    await _write_each(self._tables, table, operations)
                yield

    async def strays(self, tenant: str, before: datetime) -> AsyncIterator[int]:
        """Delete payloads without an import, whose call crashed before it was accepted."""
        names = await self._blobs.names_before(IMPORT_PAYLOADS, f"{tenant}/", before)
        if not names:
            return
        known_blobs = {
            records.payload_blob(tenant, summary.import_id)
            for summary in await self._imports.summaries(tenant)
        }
        for name in names:
            if name not in known_blobs:
                await self._blobs.delete(IMPORT_PAYLOADS, name)
                yield 1

    async def _restore_lost_open(self, tenant: str, summaries: Sequence[ImportSummary]) -> None:
        """Restore lost open-import entities, so that the sweep finds the imports again."""
        if not summaries:
            return
        open_numbers = {
            open_import.number
            for open_import in await self._imports.open_of(tenant)
            if not open_import.is_barrier
        }
        for summary in summaries:
            if summary.number in open_numbers:
                continue
            record = await self._imports.read(tenant, summary.number)
            if record is None or not record.is_open:
                continue
            if record.is_broken:
                await self._imports.close(record, self._now())
            elif await self._imports.reopen(record, to_iso(self._clock.now())):
                log.warning("import.reopened", import_id=record.import_id, tenant=tenant)

    async def _correct_time(self, summary: ImportSummary) -> None:
        """Correct an end in the future, from a clock that was ahead, so that it can expire."""
        now = self._clock.now()
        if summary.ended_at and age_of(summary.ended_at, now) is None:
            row = records.record_row(summary.number)
            corrected = Entity(summary.tenant, row, {"EndedAt": to_iso(now)})
            with suppress(PreconditionFailedError):
                await self._tables.write(IMPORTS, Merge(corrected))

    async def _expire_payload(self, summary: ImportSummary) -> None:
        """Delete the blob, then mark the record. A record without its blob answers 410 too."""
        name = records.payload_blob(summary.tenant, summary.import_id)
        await self._blobs.delete(IMPORT_PAYLOADS, name)
        row = records.record_row(summary.number)
        entity = await self._tables.get(IMPORTS, summary.tenant, row)
        if entity is not None:
            with suppress(PreconditionFailedError):
                await self._tables.write(
                    IMPORTS, expiry.payload_expiry_operation(entity, self._now())
                )

    async def _expire_results(self, summary: ImportSummary) -> bool:
        """Mark the record, then delete the results. Otherwise the rows would be shown as failed.

        Returns whether all results are deleted. Another process may be deleting them too, and the
        record must be deleted last.
        """
        if summary.has_payload:
            await self._expire_payload(summary)
        with suppress(PreconditionFailedError):
            await self._tables.write(IMPORTS, expiry.results_expiry_operation(summary, self._now()))
        prefix = blobs_of(summary.import_id)
        for name in await self._blobs.names_before(IMPORT_RESULT_BLOBS, prefix, self._clock.now()):
            await self._blobs.delete(IMPORT_RESULT_BLOBS, name)
        while entities := await self._tables.query(
            IMPORT_RESULTS, summary.import_id, select=[], most=_IMPORTS_PER_PAGE
        ):
            if not await remove_all(self._tables, IMPORT_RESULTS, entities):
                return False
        return True

    async def _remove_record(self, summary: ImportSummary) -> None:
        record = await self._imports.read(summary.tenant, summary.number)
        if record is None:
            return
        # A handler that died may have left a waiting chunk of this import.
        for waiting in await self._imports.waiting_for(record, None):
            await self._imports.remove_waiting(waiting)
        operations = expiry.removal_operations(record)
        try:
            await self._tables.transact(IMPORTS, operations)
        except PreconditionFailedError:
            # One of its entities is lost. The record, which names the others, is deleted last.
            for operation in reversed(operations):
                with suppress(PreconditionFailedError):
                    await self._tables.write(IMPORTS, operation)

    def _now(self) -> str:
        return to_iso(self._clock.now())


async def _write_each(tables: Tables, table: str, operations: Sequence[Operation]) -> None:
    """Conditional writes to one partition; those whose entity has changed are left out."""
    for at in range(0, len(operations), MAX_OPERATIONS):
        batch = operations[at : at + MAX_OPERATIONS]
        try:
            await tables.transact(table, batch)
        except PreconditionFailedError:
            for each in batch:
                with suppress(PreconditionFailedError):
                    await tables.write(table, each)


async def remove_all(tables: Tables, table: str, entities: list[Entity]) -> int:
    """Delete entities of one partition if they are unchanged; returns the number deleted."""
    assert all(entity.etag for entity in entities), "what is deleted must have been read"
    removed = 0
    for at in range(0, len(entities), MAX_OPERATIONS):
        batch = [
            Delete(Entity(each.partition, each.row, {}, each.etag))
            for each in entities[at : at + MAX_OPERATIONS]
        ]
        try:
            await tables.transact(table, batch)
            removed += len(batch)
        except PreconditionFailedError:
            for each in batch:
                with suppress(PreconditionFailedError):
                    await tables.write(table, each)
                    removed += 1
    return removed


# The expiry of tombstones.
#
# A tombstone names the import that deleted the record, or the imports that were ended for it. It
# prevents a straggler of such an import from committing, and an unchanged row of a retry from
# restoring what a later import deleted (1101). So it stays while such an import may still write:
# one that is open, that ended recently, or whose payload exists. For a retry the number of the
# first import with one of its rows counts. A tombstone with former values stays until these expire
# with the results of its import.

_TOMBSTONES_PER_PAGE = 1_000
# First and last row key of tombstones: those of records and of their keys.
_TOMBSTONE_ROWS = ("k|", "r|~")

# First and last row key of a type's log entries of imports up to a number.
LogRange = Callable[[int], tuple[str, str]]


class ExpiringTombstones:
    """The step for the tombstones in all groups of a tenant.

    `tables_of_records` are the tables with records in the tenant's partition, or in partitions of
    tenant and group. Each has the range of its type's log of imports, or None.
    """

    def __init__(
        self,
        tables: SearchableTables,
        imports: ImportLog,
        tables_of_records: Mapping[str, LogRange | None],
    ) -> None:
        self._tables = tables
        self._imports = imports
        self._tables_of_records = tables_of_records

    async def tombstones(self, tenant: str, before: datetime) -> AsyncIterator[int]:
        """Delete the tombstones and log entries of imports that ended before then."""
        number = await self._last_expendable_import(tenant, to_iso(before))
        if number <= 0:
            return
        for table, log_range in self._tables_of_records.items():
            for partition in await record_partitions(self._tables, table, tenant):
                yield await self._remove_tombstones(table, partition, number)
                if log_range is not None:
                    yield await self._remove_log(table, partition, log_range(number))

    async def _last_expendable_import(self, tenant: str, before: str) -> int:
        """The number up to which no import has a row that may still be written."""
        summaries = await self._imports.summaries(tenant)
        alive = [
            each.first_origin
            for each in summaries
            if each.has_payload or not each.ended_before(before)
        ]
        newest = summaries[0].number if summaries else 0
        return min(alive) - 1 if alive else newest

    async def _remove_tombstones(self, table: str, partition: str, number: int) -> int:
        entities = await self._tables.query_flagged(
            table,
            partition,
            *_TOMBSTONE_ROWS,
            "Deleted",
            ["Number", "Ended", *former_columns.COLUMNS],
        )
        expired = [
            each
            for each in entities
            if _last_number(each) <= number and not former_columns.are_kept(each)
        ]
        return await remove_all(self._tables, table, expired)

    async def _remove_log(self, table: str, partition: str, rows: tuple[str, str]) -> int:
        removed = 0
        while entities := await self._tables.query(
            table, partition, *rows, select=[], most=_TOMBSTONES_PER_PAGE
        ):
            count = await remove_all(self._tables, table, entities)
            removed += count
            if not count:
                break
        return removed


def _last_number(tombstone: Entity) -> int:
    """The last import that the tombstone has to stop; LAST_NUMBER if that cannot be read."""
    try:
        return max([tombstone.number("Number"), *ended_imports(tombstone).codes])
    except UnreadableDataError:
        return LAST_NUMBER


# The expiry of files that no record names any more (docs/retention.md).
#
# A file is written before the record that names it, and stays when the record names another one.
# The time of that is not stored. Retention marks a file when it first finds it without a record,
# and removes it when the mark is old enough. An undo may bring back a record that names the file;
# then the mark goes. A handler that has read former values just before they expired has ended long
# before the mark is old enough.

# After this time a file belongs to a record or is unused.
_MOST_OF_A_CALL = timedelta(days=1)


class ExpiringFiles:
    """The step for the files of one container.

    `named_files` returns the names of the files of a tenant that records may still name. It raises
    UnreadableDataError where a record is unreadable, because any file may be its own.
    """

    def __init__(
        self,
        files: RecordFiles,
        named_files: Callable[[str], Awaitable[Set[str]]],
        clock: Clock,
    ) -> None:
        self._files = files
        self._named_files = named_files
        self._clock = clock

    async def files(self, tenant: str, before: datetime) -> AsyncIterator[int]:
        """Remove files that were marked before then."""
        files = await self._files.list_files(tenant)
        if not files:
            return
        # Read after the list, so that a file of a new record is not taken for one without.
        named = await self._named_files(tenant)
        newest = self._clock.now() - _MOST_OF_A_CALL
        for file in files:
            if file.name in named:
                if file.is_marked:
                    await self._files.unmark(file)
            elif file.is_marked and file.changed_at < before:
                await self._files.remove(file)
                yield 1
            elif not file.is_marked and file.changed_at < newest:
                await self._files.mark(file)
