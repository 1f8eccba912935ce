"""The tenant's imports in the order of acceptance: numbers, what is open, what has ended.

The order is the order of insertion into the tenant's partition, not a clock (docs/design.md#1.2).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from shared import log
from shared.errors import (
    AcceptanceUnknownError,
    PreconditionFailedError,
    RefusedError,
    StorageUnavailableError,
    UnreadableDataError,
)
from shared.imports.registry import IMPORT_TYPES
from shared.services.acceptance import note_accepted
from shared.services.background import KeyedLocks
from shared.services.repairs import Repairs
from shared.storage import import_records as expiry
from shared.storage import import_records as records
from shared.storage import result_records as results
from shared.storage import waiting_chunks as waiting
from shared.storage.conflicts import retry_on_conflict
from shared.storage.import_records import (
    Counts,
    ImportOutline,
    ImportRecord,
    ImportSummary,
    OpenImport,
)
from shared.storage.names import IMPORT_RESULTS, IMPORTS
from shared.storage.ports import Delete, Entity, Tables
from shared.storage.waiting_chunks import WaitingChunk

_MOST_TRIES = 200
_MOST_LOST_ANSWERS = 2
_TENANTS_REMEMBERED = 1_000
_FEW_OPEN = 32
"""Up to so many earlier open imports are read at once; of more, those just before come first."""
_NEAREST = 64


AcceptanceCheck = Callable[[], Awaitable[None]]
"""Raises a RefusedError where an import may not be accepted now."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Which chunks of an import have a result, what those add up to, when they came.

    `uncounted` are those whose counts cannot be read. `times` are ISO text.
    """

    chunks: frozenset[int]
    counts: Counts
    times: frozenset[str] = frozenset()
    uncounted: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Closing:
    """An import is closed now, with these counts.

    `is_first` is False where it was closed before, which includes a first try of this same call
    whose answer was lost.
    """

    counts: Counts
    is_first: bool


class ImportLog:
    """The partition of each tenant in `Imports`, and the markers in `ImportResults`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._last_number: OrderedDict[str, int] = OrderedDict()
        self._turns = KeyedLocks()
        self.repairs = Repairs(tables)

    async def accept(
        self, record: ImportRecord, check: AcceptanceCheck | None = None
    ) -> ImportRecord:
        """Insert the record under the next number of its tenant; with it in, it is accepted.

        `check` is awaited before each try and may refuse the import. No import is accepted between
        the check and an acceptance that succeeds, since it would have taken the number.

        The record that is in is returned: where another call with the same Idempotency-Key was
        quicker, that is the other one's.
        Raises StorageUnavailableError when storage does not answer, and AcceptanceUnknownError
        when it stopped answering in a moment in which the record may have got in.
        Within a process a tenant's imports take turns: they would only contend for one number.
        """
        async with self._turns.take(record.tenant):
            accepted = await self._insert(record, check)
        note_accepted(accepted)
        return accepted

    async def _insert(self, record: ImportRecord, check: AcceptanceCheck | None) -> ImportRecord:
        number = self._last_number.get(record.tenant)
        if number is None:
            number = await self._newest(record.tenant)
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
                        IMPORTS, records.acceptance(replace(record, number=number + 1))
                    )
                    return self._accepted(record, number + 1)
                except PreconditionFailedError:
                    # Another import has the number; or it is this one, which another call with the
                    # same id has had accepted.
                    pass
                except StorageUnavailableError:
                    lost_answers += 1
                mine = await self._find_accepted(record)
                if mine is not None:
                    return self._accepted(mine, mine.number)
                if lost_answers >= _MOST_LOST_ANSWERS:
                    # The tables have tried several times each time. It may get in late.
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
        """The record of an import that is in; as it was sent where it cannot be read now."""
        index = await self._tables.get(IMPORTS, record.tenant, records.index_row(record.import_id))
        if index is None:
            return None
        try:
            return await self._of_index(index, record.import_id) or record
        except StorageUnavailableError:
            number = records.number_in_index(index)
            if number is None:
                raise
            return replace(record, number=number)

    def _accepted(self, record: ImportRecord, number: int) -> ImportRecord:
        self._remember(record.tenant, number)
        return replace(record, number=number)

    def _remember(self, tenant: str, number: int) -> None:
        self._last_number[tenant] = max(number, self._last_number.get(tenant, 0))
        self._last_number.move_to_end(tenant)
        if len(self._last_number) > _TENANTS_REMEMBERED:
            self._last_number.popitem(last=False)

    async def newest_number(self, tenant: str) -> int:
        """The number of the tenant's newest import; 0 where there is none."""
        return await self._newest(tenant)

    async def _newest(self, tenant: str) -> int:
        first, last = records.RECORDS
        newest = await self._tables.query(IMPORTS, tenant, first, last, select=["Type"], most=1)
        return records.number_of(newest[0].row) if newest else 0

    async def read(self, tenant: str, number: int) -> ImportRecord | None:
        """The record with that number."""
        entity = await self._tables.get(IMPORTS, tenant, records.record_row(number))
        return None if entity is None else await self._completed(records.from_entity(entity))

    async def find(self, tenant: str, import_id: str) -> ImportRecord | None:
        """The record of that import id in this tenant."""
        index = await self._tables.get(IMPORTS, tenant, records.index_row(import_id))
        return None if index is None else await self._of_index(index, import_id)

    async def _of_index(self, index: Entity, import_id: str) -> ImportRecord | None:
        """The record that an index entity names. A broken one names none, or another import."""
        number = records.number_in_index(index)
        found = None if number is None else await self.read(index.partition, number)
        if found is not None and not found.import_id:
            return replace(found, import_id=import_id)
        if found is not None and found.import_id.lower() == import_id.lower():
            return found
        for summary in await self.summaries(index.partition):
            if summary.import_id.lower() == import_id.lower():
                return await self.read(index.partition, summary.number)
        return None

    async def sent_as(
        self, tenant: str, type_name: str, body_hash: str
    ) -> AsyncIterator[ImportRecord]:
        """The imports of a type that had this body, the newest first; only where that is kept."""
        first, last = records.file_range(type_name, body_hash)
        for entity in await self._tables.query(IMPORTS, tenant, first, last):
            record = await self.read(tenant, records.number_of_file(entity.row))
            if record is not None:
                yield replace(record, import_id=entity.text("ImportId"))

    async def newest_first(self, tenant: str, after: int | None, most: int) -> list[ImportRecord]:
        """The tenant's imports, newest first, from the one behind number `after` on."""
        first, last = records.RECORDS
        behind = "" if after is None else records.record_row(after)
        found = await self._tables.query(IMPORTS, tenant, first, last, after=behind, most=most)
        return [await self._completed(records.from_entity(entity)) for entity in found]

    async def _completed(self, record: ImportRecord) -> ImportRecord:
        """An ended import whose own counts cannot be read has those of its results.

        An open one whose type cannot be read has that of its open-import entity, by which it is
        closed.
        """
        if record.is_open and record.type_name not in IMPORT_TYPES:
            names = [
                opened.type_name
                for opened in await self.open_of(record.tenant)
                if opened.number == record.number
            ]
            return replace(record, type_name=names[0]) if names else record
        if record.is_open or record.has_counts:
            return record
        progress = await self.progress(record.import_id)
        return replace(record, counts=final_counts(record, progress))

    async def summaries(self, tenant: str) -> list[ImportSummary]:
        """Every import of a tenant, newest first, as retention sees it."""
        first, last = records.RECORDS
        found = await self._tables.query(
            IMPORTS, tenant, first, last, select=expiry.SUMMARY_COLUMNS
        )
        return [expiry.summary_from_entity(entity) for entity in found]

    async def outlines(self, tenant: str, after: int, through: int) -> list[ImportOutline]:
        """The imports with numbers above `after`, up to `through`, in order of acceptance.

        An import that is accepted meanwhile may be missing, but then all later ones are too: the
        range is read from the highest number down.
        """
        first, last = records.outline_range(after, through)
        found = await self._tables.query(
            IMPORTS, tenant, first, last, select=records.OUTLINE_COLUMNS
        )
        return [records.outline_from_entity(entity) for entity in reversed(found)]

    async def open_before(
        self, record: ImportRecord, type_name: str | None = None
    ) -> list[OpenImport]:
        """The open imports of a type (by default the record's own) that were accepted earlier."""
        if record.number <= 1:
            return []
        first, last = records.open_range(type_name or record.type_name, record.number)
        found = await self._tables.query(IMPORTS, record.tenant, first, last)
        return [records.open_from_entity(entity) for entity in found]

    async def oldest_open_before(self, record: ImportRecord, type_name: str) -> int | None:
        """The number of the oldest open import of a type that was accepted earlier."""
        first, last = records.open_range(type_name, record.number)
        found = await self._tables.query(IMPORTS, record.tenant, first, last, most=1)
        return records.open_from_entity(found[0]).number if found else None

    async def open_nearest_first(
        self, record: ImportRecord, type_name: str | None = None
    ) -> AsyncIterator[list[OpenImport]]:
        """What `open_before` returns, in pages from the nearest import to the oldest.

        One request where few are open, as they usually are. In a backlog the first page holds the
        imports just before this one, so that a reader who stops there pays for no more.
        """
        name, number = type_name or record.type_name, record.number
        few = await self._read_open(record, name, 1, number, most=_FEW_OPEN)
        if len(few) < _FEW_OPEN:
            yield few
            return
        border = max(1, number - _NEAREST)
        yield await self._read_open(record, name, border, number)
        yield await self._read_open(record, name, 1, border)

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
        found = await self._tables.query(IMPORTS, record.tenant, first, last, most=most)
        return [records.open_from_entity(entity) for entity in reversed(found)]

    async def count_open(self, tenant: str, most: int) -> int:
        """How many open imports a tenant has, of all types; counted up to `most`."""
        first, last = records.OPEN_OF_ALL_TYPES
        return len(await self._tables.query(IMPORTS, tenant, first, last, select=[], most=most))

    async def add_waiting(self, chunk: WaitingChunk) -> None:
        """Note what a chunk waits for; noted twice, it is noted once."""
        await self._tables.write(IMPORTS, waiting.adding(chunk))

    async def waiting_for(self, record: ImportRecord, chunk: int | None) -> list[WaitingChunk]:
        """The chunks that wait for this chunk; where it is None, for any part of the import."""
        first, last = waiting.waiting_range(record.number, chunk)
        found = await self._tables.query(IMPORTS, record.tenant, first, last)
        return [waiting.from_entity(entity) for entity in found]

    async def remove_waiting(self, chunk: WaitingChunk) -> None:
        """Forget what a chunk waited for."""
        with suppress(PreconditionFailedError):
            await self._tables.write(IMPORTS, waiting.removing(chunk))

    async def open_of(self, tenant: str) -> list[OpenImport]:
        """Every open import of a tenant."""
        first, last = records.OPEN_OF_ALL_TYPES
        found = await self._tables.query(IMPORTS, tenant, first, last)
        return [records.open_from_entity(entity) for entity in found]

    async def has_result(self, import_id: str, chunk: int) -> bool:
        """Whether a chunk is done."""
        row = results.result_row(chunk)
        return await self._tables.get(IMPORT_RESULTS, import_id, row) is not None

    async def progress(self, import_id: str) -> Progress:
        """Which chunks are done, and the sums of their counts."""
        found = await self._tables.query(IMPORT_RESULTS, import_id, select=results.PROGRESS_COLUMNS)
        counts = Counts()
        chunks: set[int] = set()
        uncounted: set[int] = set()
        for entity in found:
            chunk = results.chunk_of(entity.row)
            chunks.add(chunk)
            try:
                counts = counts.plus(records.counts_of(entity))
            except UnreadableDataError:
                uncounted.add(chunk)
        times = frozenset(entity.text("DoneAt") for entity in found)
        return Progress(frozenset(chunks), counts, times, frozenset(uncounted))

    async def cancel(self, record: ImportRecord, now: str) -> bool:
        """Ask the handlers of an import to stop; what is committed stays.

        False where the record has moved on since it was read: read it again, it may have ended.
        """
        try:
            await self._tables.write(IMPORTS, records.cancelling(record, now))
        except PreconditionFailedError:
            return False
        return True

    async def mark_swept(self, record: ImportRecord, now: str) -> bool:
        """Note that missing messages are being sent again; False where somebody else does it."""
        try:
            await self._tables.write(IMPORTS, records.sweeping(record, now))
        except PreconditionFailedError:
            return False
        return True

    async def forget_open(self, opened: OpenImport) -> None:
        """Remove the open-import entity of an import that is not open any more."""
        row = records.open_row(opened.type_name, opened.number)
        with suppress(PreconditionFailedError):
            await self._tables.write(IMPORTS, Delete(Entity(opened.tenant, row, {})))

    async def close(
        self, record: ImportRecord, now: str, done: Sequence[Counts] = ()
    ) -> Closing | None:
        """End the import if every chunk has a result; None while results are missing.

        A broken one is ended at once: none of its other rows can be worked on any more. Closing
        twice changes nothing. `done` may give the counts of all chunks where the caller knows them.
        """
        if len(done) == len(record.chunks) and not record.is_broken:
            counts = sum_of(done)
        else:
            progress = await self.progress(record.import_id)
            is_done = progress.chunks >= frozenset(range(len(record.chunks)))
            if not is_done and not record.is_broken:
                return None
            counts = final_counts(record, progress)
        try:
            repairs = await self.repairs.of_ended(record)
            await self._tables.transact(IMPORTS, records.closing(record, counts, now, repairs))
        except PreconditionFailedError:
            return Closing(counts, is_first=await self._close_alone(record, counts, now))
        return Closing(counts, is_first=True)

    @retry_on_conflict(
        _MOST_TRIES, lambda: StorageUnavailableError("the record of an import keeps changing")
    )
    async def _close_alone(self, record: ImportRecord, counts: Counts, now: str) -> bool:
        """End an import whose open-import entity is lost; False where it has ended before."""
        current = await self.read(record.tenant, record.number)
        if current is None or not current.is_open:
            return False
        log.warning("import.open_entity_lost", import_id=record.import_id, tenant=record.tenant)
        closing = records.closing_without_open_entity(current, counts, now)
        repairs = await self.repairs.of_ended(current)
        await self._tables.transact(IMPORTS, [closing, *repairs])
        return True

    async def reopen(self, record: ImportRecord) -> bool:
        """Write the open-import entity of an open import again; False where there is no need to.

        `record` was read and is not broken.
        """
        try:
            await self._tables.transact(IMPORTS, records.reopening(record))
        except PreconditionFailedError:
            return False
        return True


def final_counts(record: ImportRecord, progress: Progress) -> Counts:
    """The counts of an import that ends now: rows of which nothing is known have failed."""
    missing = max(0, record.rows - progress.counts.done)
    return progress.counts.plus(Counts(failed=missing))


def sum_of(counts: Sequence[Counts]) -> Counts:
    """All of them together."""
    total = Counts()
    for each in counts:
        total = total.plus(each)
    return total
