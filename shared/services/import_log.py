"""The log of a tenant's imports in the order of acceptance, and which of them are open.

The order is that of insertion into the tenant's partition, not of a clock (docs/design.md#1.2).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace

from shared import log, telemetry
from shared.errors import (
    AcceptanceUnknownError,
    ConflictError,
    PreconditionFailedError,
    RefusedError,
    StorageUnavailableError,
    UnreadableDataError,
)
from shared.imports.persons import PERSON_ERASURE
from shared.imports.registry import TYPE_CATALOGUE
from shared.imports.sender import NamedCaller
from shared.services.background import KeyedLocks
from shared.services.results import Repairs
from shared.services.tenant_work import OPEN_IMPORTS, WorkNotes
from shared.storage import import_records as expiry
from shared.storage import import_records as records
from shared.storage import result_records as results
from shared.storage import waiting_chunks as waiting
from shared.storage.import_records import (
    Counts,
    ImportFlags,
    ImportOutline,
    ImportRecord,
    ImportSummary,
    OpenImport,
)
from shared.storage.names import IMPORT_RESULTS, IMPORTS
from shared.storage.ports import Delete, Entity, Merge, Tables, retry_on_conflict
from shared.storage.waiting_chunks import WaitingChunk
from shared.telemetry import traced

# The import that a call has had accepted, so that its answer names it whatever fails later.
#
# The log of imports sets it, and the builder of answers reads it. Handlers of messages, timers and
# commands have no caller to answer, so nothing is set there.


@dataclass(slots=True)
class Acceptance:
    """The import of a call; None until it is accepted."""

    record: ImportRecord | None = None


_CURRENT: ContextVar[Acceptance | None] = ContextVar("acceptance", default=None)


@contextmanager
def acceptance_noted() -> Iterator[Acceptance]:
    """Collect the import that the block accepts."""
    acceptance = Acceptance()
    token = _CURRENT.set(acceptance)
    try:
        yield acceptance
    finally:
        _CURRENT.reset(token)


def note_accepted(record: ImportRecord) -> None:
    """Note that the record of an import is inserted, so that the import will complete."""
    acceptance = _CURRENT.get()
    if acceptance is not None:
        acceptance.record = record


_MOST_TRIES = 200
_MOST_LOST_ANSWERS = 2
_MOST_CACHED_TENANTS = 1_000
_MOST_ENDED_ABOVE = 256
# Up to so many earlier open imports are read in one query. Of more, the nearest are read first.
_FEW_OPEN = 32
_NEAREST = 64


# Raises a RefusedError if an import must not be accepted now.
AcceptanceCheck = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Progress:
    """The chunks of an import that have a result, the sum of their counts, and their times.

    `uncounted` are the chunks whose counts cannot be read. `times` are ISO text.
    """

    chunks: frozenset[int]
    counts: Counts
    times: frozenset[str] = frozenset()
    uncounted: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Closing:
    """The counts of a closed import.

    `is_first` is False if it was closed before, perhaps by an attempt of the same call whose answer
    was lost. `is_unawaited`: no chunk waits for the import, and none will.
    """

    counts: Counts
    is_first: bool
    is_unawaited: bool = False


class EndedNumbers:
    """Up to which number all imports of a tenant have ended, as far as this process knows.

    An ended import stays ended and no import is accepted at a lower number later, so what is known
    stays true.
    """

    def __init__(self) -> None:
        self._through: OrderedDict[str, int] = OrderedDict()
        self._above: dict[str, set[int]] = {}

    def note_through(self, tenant: str, number: int) -> None:
        """Note that all imports up to this number have ended."""
        self._through[tenant] = max(number, self._through.get(tenant, 0))
        self._through.move_to_end(tenant)
        self._join(tenant)
        if len(self._through) > _MOST_CACHED_TENANTS:
            forgotten, _ = self._through.popitem(last=False)
            self._above.pop(forgotten, None)

    def note_end(self, record: ImportRecord) -> None:
        """Note that this import has ended."""
        if record.tenant not in self._through:
            return
        above = self._above.setdefault(record.tenant, set())
        if len(above) < _MOST_ENDED_ABOVE:
            above.add(record.number)
        self._join(record.tenant)

    def forget(self, tenant: str) -> None:
        """Forget a tenant, one of whose imports is open without its open-import entity."""
        self._through.pop(tenant, None)
        self._above.pop(tenant, None)

    def are_all_before(self, record: ImportRecord) -> bool:
        """Whether every import that was accepted earlier is known to have ended."""
        through = self._through.get(record.tenant)
        return through is not None and 0 < record.number <= through + 1

    def _join(self, tenant: str) -> None:
        above = self._above.get(tenant, set())
        through = self._through[tenant]
        while through + 1 in above:
            through += 1
        self._through[tenant] = through
        above -= {number for number in above if number <= through}


class ImportLog:
    """The partition of each tenant in `Imports`, and the markers in `ImportResults`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._last_number: OrderedDict[str, int] = OrderedDict()
        self._tenant_locks = KeyedLocks()
        self._ended = EndedNumbers()
        self._work = WorkNotes(tables, OPEN_IMPORTS)
        # The number of an import before which many were open.
        self._many_open: OrderedDict[str, int] = OrderedDict()
        self.repairs = Repairs(tables)

    async def accept(
        self, record: ImportRecord, check: AcceptanceCheck | None = None
    ) -> ImportRecord:
        """Insert the record under the next number of its tenant, which accepts the import.

        `check` is awaited before each attempt and may refuse the import. No import is accepted
        between the check and a successful insert, since it would have taken the number.

        Returns the inserted record. If another call with the same Idempotency-Key was faster, that
        is the record of the other call.
        Raises StorageUnavailableError if storage does not answer, and AcceptanceUnknownError if
        the record may have been inserted nevertheless.
        Within a process a tenant's imports take turns, since they would conflict on the number.
        """
        record = replace(record, trace=telemetry.current_trace())
        async with self._tenant_locks.take(record.tenant):
            await self._work.note(record.tenant, record.accepted_at)
            accepted = await self._insert(record, check)
        note_accepted(accepted)
        return accepted

    async def _insert(self, record: ImportRecord, check: AcceptanceCheck | None) -> ImportRecord:
        number = self._last_number.get(record.tenant)
        if number is None:
            number = await self._newest(record.tenant)
        # Its acceptance writes the record of the import that it undoes too.
        number = max(number, record.undoes.number)
        lost_answers = 0
        try:
            for _ in range(_MOST_TRIES):
                if check is not None:
                    try:
                        await check()
                    except RefusedError:
                        if lost_answers:
                            raise AcceptanceUnknownError(record.import_id) from None
                        raise
                try:
                    await self._tables.transact(
                        IMPORTS, records.acceptance_operations(replace(record, number=number + 1))
                    )
                    return self._note_number(record, number + 1)
                except PreconditionFailedError:
                    # The number is taken, by another import, or by this one if another call with
                    # the same id was faster.
                    pass
                except StorageUnavailableError:
                    lost_answers += 1
                existing = await self._find_accepted(record)
                if existing is not None:
                    return self._note_number(existing, existing.number)
                if lost_answers >= _MOST_LOST_ANSWERS:
                    # Each attempt was retried several times already. A late write may still arrive.
                    raise AcceptanceUnknownError(record.import_id)
                number = max(number, await self._newest(record.tenant))
        except AcceptanceUnknownError:
            raise
        except StorageUnavailableError:
            if lost_answers:
                raise AcceptanceUnknownError(record.import_id) from None
            raise
        raise StorageUnavailableError("too many imports of this tenant are accepted at once")

    async def _find_accepted(self, record: ImportRecord) -> ImportRecord | None:
        """The record of an accepted import, as it was sent if it cannot be read now."""
        index = await self._tables.get(IMPORTS, record.tenant, records.index_row(record.import_id))
        if index is None:
            return None
        try:
            return await self._read_indexed(index, record.import_id) or record
        except StorageUnavailableError:
            number = records.number_in_index(index)
            if number is None:
                raise
            return replace(record, number=number)

    def _note_number(self, record: ImportRecord, number: int) -> ImportRecord:
        self._last_number[record.tenant] = max(number, self._last_number.get(record.tenant, 0))
        self._last_number.move_to_end(record.tenant)
        if len(self._last_number) > _MOST_CACHED_TENANTS:
            self._last_number.popitem(last=False)
        return replace(record, number=number)

    async def newest_number(self, tenant: str) -> int:
        """The number of the tenant's newest import, 0 if there is none."""
        return await self._newest(tenant)

    async def _newest(self, tenant: str) -> int:
        first, last = records.RECORDS
        newest = await self._tables.query(IMPORTS, tenant, first, last, select=["Type"], most=1)
        return records.number_of(newest[0].row) if newest else 0

    async def read(self, tenant: str, number: int) -> ImportRecord | None:
        """The record with that number."""
        entity = await self._tables.get(IMPORTS, tenant, records.record_row(number))
        return None if entity is None else await self._complete_record(records.from_entity(entity))

    async def flags_of(self, record: ImportRecord) -> ImportFlags:
        """Whether an import is open and cancelled now. One whose record is gone has ended."""
        row = records.record_row(record.number)
        entities = await self._tables.query(
            IMPORTS, record.tenant, row, row, select=records.FLAG_COLUMNS, most=1
        )
        return records.flags_from_entity(entities[0]) if entities else ImportFlags(False, False)

    async def find(self, tenant: str, import_id: str) -> ImportRecord | None:
        """The record of that import id in this tenant."""
        index = await self._tables.get(IMPORTS, tenant, records.index_row(import_id))
        return None if index is None else await self._read_indexed(index, import_id)

    async def _read_indexed(self, index: Entity, import_id: str) -> ImportRecord | None:
        """The record of an index entity. A broken index entity names no import, or a wrong one."""
        number = records.number_in_index(index)
        record = None if number is None else await self.read(index.partition, number)
        if record is not None and not record.import_id:
            return replace(record, import_id=import_id)
        if record is not None and record.import_id.lower() == import_id.lower():
            return record
        for summary in await self.summaries(index.partition):
            if summary.import_id.lower() == import_id.lower():
                return await self.read(index.partition, summary.number)
        return None

    async def sent_as(
        self, tenant: str, type_name: str, body_hash: str
    ) -> AsyncIterator[ImportRecord]:
        """The imports of a type with this body, the newest first, if its hash is stored."""
        first, last = records.file_range(type_name, body_hash)
        for entity in await self._tables.query(IMPORTS, tenant, first, last):
            record = await self.read(tenant, records.number_of_file(entity.row))
            if record is not None:
                yield replace(record, import_id=entity.text("ImportId"))

    async def newest_first(self, tenant: str, after: int | None, most: int) -> list[ImportRecord]:
        """The tenant's imports below number `after`, newest first."""
        first, last = records.RECORDS
        after_row = "" if after is None else records.record_row(after)
        entities = await self._tables.query(
            IMPORTS, tenant, first, last, after=after_row, most=most
        )
        return [await self._complete_record(records.from_entity(entity)) for entity in entities]

    async def _complete_record(self, record: ImportRecord) -> ImportRecord:
        """Complete a record that cannot be read as a whole.

        An ended import without readable counts gets the sum of its results. An open import without
        a readable type gets the type of its open-import entity, so that it can be closed.
        """
        if record.is_open and TYPE_CATALOGUE.find(record.type_name) is None:
            names = [
                open_import.type_name
                for open_import in await self.open_of(record.tenant)
                if open_import.number == record.number
            ]
            return replace(record, type_name=names[0]) if names else record
        if record.is_open or record.has_counts:
            return record
        progress = await self.progress(record.import_id)
        return replace(record, counts=final_counts(record, progress))

    async def summaries(self, tenant: str) -> list[ImportSummary]:
        """The summaries of all imports of a tenant, newest first."""
        first, last = records.RECORDS
        entities = await self._tables.query(
            IMPORTS, tenant, first, last, select=expiry.SUMMARY_COLUMNS
        )
        return [expiry.summary_from_entity(entity) for entity in entities]

    async def outlines(self, tenant: str, after: int, through: int) -> list[ImportOutline]:
        """The imports with numbers above `after`, up to `through`, in order of acceptance.

        An import that is accepted meanwhile may be missing, but then all later ones are too: the
        range is read from the highest number down.
        """
        first, last = records.outline_range(after, through)
        entities = await self._tables.query(
            IMPORTS, tenant, first, last, select=records.OUTLINE_COLUMNS
        )
        return [records.outline_from_entity(entity) for entity in reversed(entities)]

    async def open_before(self, record: ImportRecord, *type_names: str) -> list[OpenImport]:
        """The open imports of these types (by default the record's own) that were accepted earlier.

        Those of several types are read in one query, unless many imports are open.
        """
        if record.number <= 1 or self._ended.are_all_before(record):
            return []
        names = type_names or (record.type_name,)
        few = await self.few_open_before(record) if len(names) > 1 else None
        if few is not None:
            return [each for each in few if each.type_name in names]
        open_imports: list[OpenImport] = []
        for name in names:
            first, last = records.open_range(name, record.number)
            entities = await self._tables.query(IMPORTS, record.tenant, first, last)
            open_imports += [records.open_from_entity(entity) for entity in entities]
        return open_imports

    async def open_after(self, record: ImportRecord, type_name: str, most: int) -> list[OpenImport]:
        """The oldest open imports of a type that were accepted later, `most` at most."""
        first, last = records.open_range(type_name, records.LAST_NUMBER, record.number + 1)
        entities = await self._tables.query(IMPORTS, record.tenant, first, last, most=most)
        return [records.open_from_entity(entity) for entity in entities]

    async def oldest_open_before(self, record: ImportRecord, type_name: str) -> int | None:
        """The number of the oldest open import of a type that was accepted earlier."""
        if self._ended.are_all_before(record):
            return None
        first, last = records.open_range(type_name, record.number)
        entities = await self._tables.query(IMPORTS, record.tenant, first, last, most=1)
        return records.open_from_entity(entities[0]).number if entities else None

    async def open_nearest_first(
        self, record: ImportRecord, type_name: str | None = None
    ) -> AsyncIterator[list[OpenImport]]:
        """Yield the imports of `open_before` in pages, from the nearest to the oldest.

        Usually few are open, which takes one request. In a backlog the first page has the nearest
        imports, so that a caller that stops there does not read the others.
        """
        if self._ended.are_all_before(record):
            return
        name, number = type_name or record.type_name, record.number
        nearest = await self._read_open(record, name, 1, number, most=_FEW_OPEN)
        if len(nearest) < _FEW_OPEN:
            yield nearest
            return
        border = max(1, number - _NEAREST)
        yield await self._read_open(record, name, border, number)
        yield await self._read_open(record, name, 1, border)

    def had_many_open(self, record: ImportRecord) -> bool:
        """Whether many imports of the tenant were open a few imports earlier."""
        return record.number < self._many_open.get(record.tenant, -_FEW_OPEN) + _FEW_OPEN

    async def few_open_before(self, record: ImportRecord) -> list[OpenImport] | None:
        """The open imports of all types that were accepted earlier, if few imports are open."""
        if self._ended.are_all_before(record):
            return []
        first, last = records.OPEN_OF_ALL_TYPES
        entities = await self._tables.query(IMPORTS, record.tenant, first, last, most=_FEW_OPEN)
        if len(entities) == _FEW_OPEN:
            self._many_open[record.tenant] = record.number
            self._many_open.move_to_end(record.tenant)
            if len(self._many_open) > _MOST_CACHED_TENANTS:
                self._many_open.popitem(last=False)
            return None
        open_imports = [records.open_from_entity(entity) for entity in entities]
        earlier = [each for each in open_imports if each.number < record.number]
        if not earlier:
            self._ended.note_through(record.tenant, record.number - 1)
        return earlier

    async def _read_open(
        self,
        record: ImportRecord,
        type_name: str,
        lowest: int,
        before: int,
        most: int | None = None,
    ) -> list[OpenImport]:
        """The open imports of a type with these numbers, the highest first."""
        first, last = records.open_range(type_name, before, lowest)
        entities = await self._tables.query(IMPORTS, record.tenant, first, last, most=most)
        return [records.open_from_entity(entity) for entity in reversed(entities)]

    async def count_open(self, tenant: str, most: int) -> int:
        """How many open imports a tenant has, of all types; counted up to `most`."""
        first, last = records.OPEN_OF_ALL_TYPES
        return len(await self._tables.query(IMPORTS, tenant, first, last, select=[], most=most))

    async def add_waiting(self, chunk: WaitingChunk) -> None:
        """Add a waiting chunk. Adding it twice has the same effect.

        Of two transactions that delete the mark that no chunk waits, this one and that of the end
        of the import, only one succeeds.
        """
        operation = waiting.wait_operation(chunk)
        if chunk.awaited_chunk is None:
            mark = Entity(chunk.tenant, records.unawaited_row(chunk.awaited_number), {})
            with suppress(PreconditionFailedError):
                await self._tables.transact(IMPORTS, [operation, Delete(mark)])
                return
        await self._tables.write(IMPORTS, operation)

    async def waiting_for(self, record: ImportRecord, chunk: int | None) -> list[WaitingChunk]:
        """The chunks that wait for this chunk, or for any part of the import if it is None."""
        first, last = waiting.waiting_range(record.number, chunk)
        entities = await self._tables.query(IMPORTS, record.tenant, first, last)
        return [waiting.from_entity(entity) for entity in entities]

    async def remove_waiting(self, chunk: WaitingChunk) -> None:
        """Remove a waiting chunk."""
        with suppress(PreconditionFailedError):
            await self._tables.write(IMPORTS, waiting.stop_waiting_operation(chunk))

    async def open_of(self, tenant: str) -> list[OpenImport]:
        """Every open import of a tenant."""
        first, last = records.OPEN_OF_ALL_TYPES
        entities = await self._tables.query(IMPORTS, tenant, first, last)
        return [records.open_from_entity(entity) for entity in entities]

    async def check_not_erased(self, parent: ImportRecord) -> ImportRecord | None:
        """Raise ConflictError if rows of an import were erased since it was read, or may be now;
        returns the import as it is now.

        To be called before an import of rows of that import is accepted. Otherwise rows that were
        read before an erasure would come back after it.
        """
        first, last = records.open_range(PERSON_ERASURE.name, records.LAST_NUMBER)
        if await self._tables.query(IMPORTS, parent.tenant, first, last, select=[], most=1):
            raise ConflictError(
                "The data of a person are being erased: let that end, then repeat the call."
            )
        # Read after the query: an erasure that has ended meanwhile has left its mark.
        current = await self.read(parent.tenant, parent.number)
        if current is not None and current.erased_by != parent.erased_by:
            raise ConflictError(
                "Rows of this import were erased meanwhile with the data of their person: repeat "
                "the call for the rows that are left."
            )
        return current

    async def has_result(self, import_id: str, chunk: int) -> bool:
        """Whether a chunk has a result."""
        row = results.result_row(chunk)
        return await self._tables.get(IMPORT_RESULTS, import_id, row) is not None

    async def progress(self, import_id: str) -> Progress:
        """The chunks with a result, and the sum of their counts."""
        entities = await self._tables.query(
            IMPORT_RESULTS, import_id, select=results.PROGRESS_COLUMNS
        )
        counts = Counts()
        chunks: set[int] = set()
        uncounted: set[int] = set()
        for entity in entities:
            chunk = results.chunk_of(entity.row)
            chunks.add(chunk)
            try:
                counts = counts.plus(records.counts_of(entity))
            except UnreadableDataError:
                uncounted.add(chunk)
        times = frozenset(entity.text("DoneAt") for entity in entities)
        return Progress(frozenset(chunks), counts, times, frozenset(uncounted))

    async def cancel(
        self, record: ImportRecord, now: str, caller: NamedCaller | None = None
    ) -> bool:
        """Ask the handlers of an import to stop, because `caller` asked for it; None: a threshold
        was exceeded. Committed rows stay.

        Returns False if the record has changed since it was read. The import may have ended then.
        """
        try:
            await self._tables.write(IMPORTS, records.cancel_operation(record, now, caller))
        except PreconditionFailedError:
            return False
        return True

    async def mark_swept(self, record: ImportRecord, now: str) -> bool:
        """Record that missing messages are sent again; False if another process does it."""
        try:
            await self._tables.write(IMPORTS, records.sweep_operation(record, now))
        except PreconditionFailedError:
            return False
        return True

    async def note_progress(self, record: ImportRecord, now: str) -> None:
        """Record that an import goes on, so that the sweep leaves it alone."""
        row = records.record_row(record.number)
        with suppress(PreconditionFailedError):
            await self._tables.write(IMPORTS, Merge(Entity(record.tenant, row, {"SweptAt": now})))

    async def forget_open(self, open_import: OpenImport) -> None:
        """Remove the open-import entity of an ended import."""
        row = records.open_row(open_import.type_name, open_import.number)
        with suppress(PreconditionFailedError):
            await self._tables.write(IMPORTS, Delete(Entity(open_import.tenant, row, {})))

    @traced("import.close")
    async def close(
        self, record: ImportRecord, now: str, chunk_counts: Sequence[Counts] = ()
    ) -> Closing | None:
        """End the import if every chunk has a result; None while results are missing.

        A broken import is ended immediately, because none of its other rows can be processed.
        Closing twice changes nothing. `chunk_counts` are the counts of all chunks, if the caller
        knows them.
        """
        if len(chunk_counts) == len(record.chunks) and not record.is_broken:
            counts = sum_of(chunk_counts)
        else:
            progress = await self.progress(record.import_id)
            is_done = progress.chunks >= frozenset(range(len(record.chunks)))
            if not is_done and not record.is_broken:
                return None
            counts = final_counts(record, progress)
        is_unawaited = False
        try:
            is_unawaited = await self._close_open(record, counts, now)
            is_first = True
        except PreconditionFailedError:
            is_first = await self._close_alone(record, counts, now)
        self._ended.note_end(record)
        if is_first:
            log.event(
                "import.ended",
                import_id=record.import_id,
                tenant=record.tenant,
                type=record.type_name,
                rows=record.rows,
                new=counts.new,
                updated=counts.updated,
                unchanged=counts.unchanged,
                failed=counts.failed,
            )
            for outcome in ("new", "updated", "unchanged", "failed"):
                rows = getattr(counts, outcome)
                telemetry.note(telemetry.ROWS, rows, type=record.type_name, outcome=outcome)
        return Closing(counts, is_first=is_first, is_unawaited=is_unawaited)

    async def _close_open(self, record: ImportRecord, counts: Counts, now: str) -> bool:
        """End an import that has its open-import entity; whether it is known that none waits."""
        repairs = await self.repairs.repair_operations(record)
        operations = records.close_operations(record, counts, now, repairs)
        if unawaited := records.close_unawaited_operations(record):
            with suppress(PreconditionFailedError):
                await self._tables.transact(IMPORTS, [*operations, *unawaited])
                return True
        await self._tables.transact(IMPORTS, operations)
        return False

    @retry_on_conflict(
        _MOST_TRIES, lambda: StorageUnavailableError("the record of an import keeps changing")
    )
    async def _close_alone(self, record: ImportRecord, counts: Counts, now: str) -> bool:
        """End an import whose open-import entity is lost; False if it has ended before."""
        current = await self.read(record.tenant, record.number)
        if current is None or not current.is_open:
            return False
        log.warning("import.open_entity_lost", import_id=record.import_id, tenant=record.tenant)
        closing = records.close_lost_import_operation(current, counts, now)
        operations = [closing, *await self.repairs.repair_operations(current)]
        if unawaited := records.close_unawaited_operations(current):
            with suppress(PreconditionFailedError):
                await self._tables.transact(IMPORTS, [*operations, *unawaited])
                return True
        await self._tables.transact(IMPORTS, operations)
        return True

    async def reopen(self, record: ImportRecord, now: str) -> bool:
        """Restore a lost open-import entity; False if it exists or the import has ended.

        `record` was read and is not broken.
        """
        self._ended.forget(record.tenant)
        self._work.forget(record.tenant)
        await self._work.note(record.tenant, now)
        try:
            await self._tables.transact(IMPORTS, records.reopen_operations(record))
        except PreconditionFailedError:
            return False
        return True


def final_counts(record: ImportRecord, progress: Progress) -> Counts:
    """The counts of an import that ends now. Rows without a result count as failed."""
    missing = max(0, record.rows - progress.counts.done)
    return progress.counts.plus(Counts(failed=missing))


def sum_of(counts: Sequence[Counts]) -> Counts:
    total = Counts()
    for each in counts:
        total = total.plus(each)
    return total
