"""What is told of imports: one import, a list of them, the results of their rows.

See docs/contracts.md#5.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from shared import log
from shared.clock import Clock, age_of, from_iso
from shared.errors import (
    GoneError,
    NotFoundError,
    PayloadGoneError,
    StorageUnavailableError,
    UnreadableDataError,
)
from shared.imports.json_rows import is_row, read_row_texts
from shared.imports.message_groups import MessageGroups
from shared.imports.messages import LOST_ROW, Message, MessageId, Severity
from shared.imports.registry import TYPE_CATALOGUE
from shared.imports.results import Outcome, RowResult, failed
from shared.imports.row_sets import rows_in, unite
from shared.process_stop import ProcessStop
from shared.services.completions import Completions
from shared.services.import_log import ImportLog
from shared.services.results import Payloads, Results
from shared.storage.import_records import Counts, ImportRecord, RetryLink
from shared.storage.result_records import StoredResult
from shared.storage_time import storage_time_now

_BEHIND: Final = -1
RESULTS_EXPIRED = (
    "The results of this import have expired: ask for the import itself, whose counts are kept."
)
NO_SUCH_IMPORT = "There is no import of this id: check the id, and that it is one of this tenant."


class ImportState(StrEnum):
    """The state of an import."""

    # Derived from the record and the results, never stored.

    ACCEPTED = "Accepted"
    PROCESSING = "Processing"
    COMPLETED = "Completed"
    COMPLETED_WITH_ERRORS = "CompletedWithErrors"
    REPAIRED = "Repaired"
    CANCELLED = "Cancelled"


# What each state says, for the documents.
STATE_MEANINGS: Final[Mapping[ImportState, str]] = {
    ImportState.ACCEPTED: "The gateway has the import; no row is done yet. It may wait for an "
    "earlier import.",
    ImportState.PROCESSING: "Some rows are done.",
    ImportState.COMPLETED: "All rows are done, and none failed.",
    ImportState.COMPLETED_WITH_ERRORS: "All rows are done, and at least one failed.",
    ImportState.REPAIRED: "All rows are done, and retries have imported every one that failed.",
    ImportState.CANCELLED: "A cancel or a threshold ended the import. Rows that were committed by "
    "then stay.",
}


@dataclass(frozen=True, slots=True)
class Throughput:
    """Rows per second since acceptance, and the seconds that are left at that pace.

    Both are None before the first rows are done.
    """

    rows_per_second: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class ImportReport:
    """One import as it stands now.

    `children` are the ids of its retries, in order; `repaired` counts the failed rows that they, or
    their own retries, brought in.
    """

    record: ImportRecord
    counts: Counts
    state: ImportState
    pace: Throughput = Throughput()
    children: tuple[str, ...] = ()
    repaired: int = 0

    @property
    def still_out(self) -> int:
        """How many failed rows are still out."""
        return self.counts.failed - self.repaired


@dataclass(frozen=True, slots=True)
class ResultCursor:
    """Where a list of results goes on: this chunk, behind so many of its rows."""

    chunk: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Which results are wanted: those of an outcome, those with a message of a severity, or all."""

    outcome: Outcome | None = None
    severity: Severity | None = None

    def takes(self, row: RowResult) -> bool:
        """Whether a result is wanted."""
        return (self.outcome is None or row.outcome is self.outcome) and (
            self.severity is None or row.count(self.severity) > 0
        )

    def may_be_in(self, stored: StoredResult) -> bool:
        """Whether a chunk can have a result that is wanted, by its counts alone."""
        counts = stored.counts
        if counts is None:
            return True
        if self.outcome is not None and not getattr(counts, self.outcome.value):
            return False
        match self.severity:
            case Severity.WARNING:
                return counts.warnings > 0 or not stored.has_message_counts
            case Severity.INFO:
                return counts.infos > 0 or not stored.has_message_counts
            case Severity.ERROR:
                return counts.failed > 0
            case None:
                return True


ALL_ROWS: Final = RowFilter()


@dataclass(frozen=True, slots=True)
class ResultPage:
    """A part of the results, in plan order; `following` is None at the end."""

    results: tuple[RowResult, ...]
    following: ResultCursor | None


@dataclass(frozen=True, slots=True)
class ImportPage:
    """A part of a tenant's imports, newest first; `following` is None at the end."""

    reports: tuple[ImportReport, ...]
    following: int | None


Wanted = Callable[[ImportReport], bool]
_MOST_READS = 20
# Messages of one page of results.
_MOST_MESSAGES = 20_000


def _every(_report: ImportReport) -> bool:
    return True


class Reporting:
    """Reads what intake and chunk processing wrote; writes nothing."""

    def __init__(self, imports: ImportLog, results: Results, clock: Clock) -> None:
        self._imports = imports
        self._results = results
        self._clock = clock

    async def find(self, tenant: str, import_id: str) -> ImportReport:
        """The import of that id; another tenant's is not found. Raises NotFoundError."""
        record = await self._imports.find(tenant, import_id)
        if record is None:
            raise NotFoundError(NO_SUCH_IMPORT)
        return (await self._reports([record]))[0]

    async def report(self, record: ImportRecord) -> ImportReport:
        """The import of this record as it stands now, without looking for its retries."""
        counts = record.counts
        if record.is_open:
            counts = (await self._imports.progress(record.import_id)).counts
        end = self._clock.now()
        with suppress(ValueError):
            end = from_iso(record.ended_at)
        age = age_of(record.accepted_at, end)
        pace = Throughput() if age is None else _pace(counts.done, record.rows, age.total_seconds())
        return ImportReport(record, counts, _state(record, counts), pace)

    async def _reports(self, records: Sequence[ImportRecord]) -> list[ImportReport]:
        """The imports of these records, newest first, with their retries."""
        if not records:
            return []
        newest, oldest = records[0], records[-1]
        retries = await self._imports.repairs.listed(newest.tenant, newest.number, oldest.number)
        return [
            _with_retries(await self.report(record), retries.get(record.number, ()))
            for record in records
        ]

    async def repaired_rows(self, record: ImportRecord) -> int:
        """The set of the failed rows of an import that are in by now."""
        return await self._imports.repairs.repaired_rows(record)

    async def newest(
        self, tenant: str, after: int | None, size: int, wanted: Wanted = _every
    ) -> ImportPage:
        """A tenant's imports that are wanted, newest first, from behind number `after` on.

        A page ends early, with a continuation, where many were looked at and few are wanted.
        """
        picked: list[ImportReport] = []
        for _ in range(_MOST_READS):
            found = await self._imports.newest_first(tenant, after, size + 1)
            for report in await self._reports(found[:size]):
                if len(picked) == size:
                    return ImportPage(tuple(picked), after)
                if wanted(report):
                    picked.append(report)
                after = report.record.number
            if len(found) <= size:
                return ImportPage(tuple(picked), None)
            if len(picked) == size:
                break
        return ImportPage(tuple(picked), after)

    async def results(
        self, record: ImportRecord, start: ResultCursor, size: int, wanted: RowFilter = ALL_ROWS
    ) -> ResultPage:
        """Up to `size` results from `start` on that are wanted, in plan order.

        There are fewer where they have very many messages.

        Raises GoneError where they have expired.
        """
        check_results(record)
        picked: list[RowResult] = []
        room = _MOST_MESSAGES
        async for chunk, rows in self.chunks(record, start.chunk, wanted):
            skipped = start.rows if chunk == start.chunk else 0
            for position, row in enumerate(rows[skipped:], skipped):
                if not wanted.takes(row):
                    continue
                if len(picked) == size or room <= 0:
                    return ResultPage(tuple(picked), ResultCursor(chunk, position))
                picked.append(row)
                room -= len(row.messages)
        return ResultPage(tuple(picked), None)

    async def result_chunks(self, record: ImportRecord) -> AsyncIterator[Sequence[RowResult]]:
        """Every result of an ended import, a chunk at a time, in plan order. Raises GoneError.

        Each row of the import is there once: one whose result cannot be read, or that was never
        worked on because it could not be read, says 9001.
        """
        check_results(record)
        async for _, rows in self.chunks(record):
            yield rows

    async def chunks(
        self, record: ImportRecord, first: int = 0, wanted: RowFilter = ALL_ROWS
    ) -> AsyncIterator[tuple[int, Sequence[RowResult]]]:
        """The results chunk by chunk from `first` on, with the number of the chunk.

        Chunks without a row that is wanted may be left out. Raises GoneError where results expire
        meanwhile.
        """
        following = first
        lost: Mapping[int, Sequence[RowResult]] | None = None
        async for stored in self._results.chunks(record.import_id, first):
            for chunk in range(following, min(stored.chunk, len(record.chunks))):
                # An ended import without a result of this chunk: its record was broken.
                if not record.is_open:
                    lost = lost or await self._lost_rows(record)
                    yield chunk, lost.get(chunk, ())
            following = stored.chunk + 1
            if not wanted.may_be_in(stored):
                continue
            rows = await self._readable(record, stored)
            if not record.is_open and len(rows) < _rows_in(record, stored.chunk):
                lost = lost or await self._lost_rows(record)
                rows = [*rows, *lost.get(stored.chunk, ())]
            yield stored.chunk, rows
        if not record.is_open and (following < len(record.chunks) or record.is_broken):
            lost = lost or await self._lost_rows(record)
            for chunk in range(following, len(record.chunks)):
                yield chunk, lost.get(chunk, ())
            yield max(following, len(record.chunks)), lost.get(_BEHIND, ())

    async def _readable(self, record: ImportRecord, stored: StoredResult) -> Sequence[RowResult]:
        """The results of a chunk that can be those of its rows."""
        try:
            rows = await self._results.rows(stored)
        except UnreadableDataError as error:
            log.failure("result.unreadable", error, import_id=record.import_id, chunk=stored.chunk)
            return ()
        return [row for row in rows if _is_possible(record, row)]

    async def _lost_rows(self, record: ImportRecord) -> Mapping[int, Sequence[RowResult]]:
        """The rows that no result tells of, by chunk.

        Which of the rows were in which chunk cannot be known any more, so the chunks share them
        out in the order of the payload; what no chunk accounts for is under _BEHIND.
        """
        current = await self._imports.read(record.tenant, record.number)
        if current is None or current.results_expired_at:
            raise GoneError(RESULTS_EXPIRED)
        counts: dict[int, int] = {chunk.number: chunk.rows for chunk in record.chunks}
        known: set[int] = set()
        async for stored in self._results.chunks(record.import_id):
            rows = await self._readable(record, stored)
            known.update(row.index for row in rows)
            counts[stored.chunk] = max(0, counts.get(stored.chunk, 0) - len(rows))
        missing = [index for index in range(record.rows) if index not in known]
        shared_out: dict[int, Sequence[RowResult]] = {}
        for chunk, count in sorted(counts.items()):
            shared_out[chunk] = [lost_row(record, index) for index in missing[:count]]
            missing = missing[count:]
        shared_out[_BEHIND] = [lost_row(record, index) for index in missing]
        return shared_out

    async def message_groups(
        self, record: ImportRecord, severity: Severity | None = None
    ) -> MessageGroups:
        """The messages of the rows so far, of one severity or of all, in groups.

        Raises GoneError where the results have expired.
        """
        check_results(record)
        groups = MessageGroups()
        async for _, rows in self.chunks(record, wanted=RowFilter(severity=severity)):
            await asyncio.to_thread(groups.add, rows, severity)
        return groups

    async def all_results(self, record: ImportRecord) -> AsyncIterator[RowResult]:
        """Every result of an ended import, in plan order."""
        async for results in self.result_chunks(record):
            for row in results:
                yield row


def check_results(record: ImportRecord) -> None:
    """Raises GoneError where the results of an import have expired."""
    if record.results_expired_at:
        raise GoneError(RESULTS_EXPIRED)


def _pace(done: int, rows: int, seconds: float) -> Throughput:
    if not done:
        return Throughput()
    rate = done / max(seconds, 0.001)
    return Throughput(rate, (rows - done) / rate)


def lost_row(record: ImportRecord, index: int) -> RowResult:
    """The result of a row of an ended import of which no result tells."""
    kind = TYPE_CATALOGUE.find(record.type_name, record.type_version)
    nothing = (None,) * (len(kind.rules.key_fields) if kind else 0)
    return failed(index, nothing, Message(MessageId.COULD_NOT_BE_PROCESSED, detail=LOST_ROW))


def _rows_in(record: ImportRecord, chunk: int) -> int:
    return record.chunks[chunk].rows if chunk < len(record.chunks) else 0


def _is_possible(record: ImportRecord, row: RowResult) -> bool:
    kind = TYPE_CATALOGUE.find(record.type_name, record.type_version)
    width = len(row.key) if kind is None else len(kind.rules.key_fields)
    return 0 <= row.index < record.rows and len(row.key) == width


def _with_retries(report: ImportReport, retries: Sequence[RetryLink]) -> ImportReport:
    repaired = unite(link.repaired for link in retries).bit_count()
    is_repaired = report.state is ImportState.COMPLETED_WITH_ERRORS and (
        repaired >= report.counts.failed
    )
    return replace(
        report,
        children=tuple(link.import_id for link in retries if link.is_child),
        repaired=min(repaired, report.counts.failed),
        state=ImportState.REPAIRED if is_repaired else report.state,
    )


def _state(record: ImportRecord, counts: Counts) -> ImportState:
    if record.is_open:
        return ImportState.PROCESSING if counts.done else ImportState.ACCEPTED
    if record.is_cancelled:
        return ImportState.CANCELLED
    return ImportState.COMPLETED_WITH_ERRORS if counts.failed else ImportState.COMPLETED


# Waiting for an import to end: by news within the process, and by looking with growing pauses.

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 2.0
_GROWTH = 1.5
_SHORTEST_READ = 1.0


class Waiting:
    """What a call does between acceptance and its answer."""

    def __init__(
        self, imports: ImportLog, completions: Completions, clock: Clock, stop: ProcessStop
    ) -> None:
        self._stop = stop
        self._imports = imports
        self._completions = completions
        self._clock = clock

    async def until_ended(self, record: ImportRecord, seconds: float) -> bool:
        """Whether the import ended within so many seconds.

        A short storage fault is waited out: the import is accepted, and goes on by itself. Where
        storage does not answer for as long as a call waits for it, the wait is over. Where the end
        of the process is announced, the import is looked at once more and not waited for.
        """
        end = self._clock.elapsed() + seconds
        pause = _FIRST_PAUSE
        with self._completions.listening(record.import_id) as ended:
            while (left := end - self._clock.elapsed()) > 0 and storage_time_now().left > 0:
                await self._stop.wait_with(ended, min(pause, left))
                if self._stop.is_announced:
                    end = self._clock.elapsed()
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(_SHORTEST_READ, end - self._clock.elapsed())):
                        if ended.is_set() or await self._has_ended(record):
                            return True
                pause = min(_LONGEST_PAUSE, pause * _GROWTH)
        return False

    async def _has_ended(self, record: ImportRecord) -> bool:
        try:
            current = await self._imports.read(record.tenant, record.number)
        except StorageUnavailableError:
            return False
        return current is not None and not current.is_open


# The rows of an import that failed and are still out, as they were sent (docs/contracts.md#5).

PAYLOAD_EXPIRED = (
    "The rows of this import have expired: take them from where they came from and send them again."
)
UNREADABLE = (
    "What is stored of this import cannot be read: take its rows from where they came from and "
    "send them again."
)
_NOTHING = "{}"
_FAILED = RowFilter(Outcome.FAILED)


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A row that failed: `text` is its JSON object as it was sent.

    `is_lost`: what was sent cannot be read any more, and the text is an empty object.
    """

    result: RowResult
    text: str = field(repr=False)
    is_lost: bool = False

    @property
    def index(self) -> int:
        """Its 0-based place in the payload."""
        return self.result.index


class FailedRows:
    """Puts results and payload together again."""

    def __init__(self, reporting: Reporting, payloads: Payloads) -> None:
        self._reporting = reporting
        self._payloads = payloads

    async def chunks(self, record: ImportRecord) -> AsyncIterator[Sequence[FailedRow]]:
        """The failed rows so far that are still out, a chunk at a time, in plan order.

        Raises GoneError where the payload or the results have expired, or cannot be read.
        """
        check_results(record)
        check_payload(record)
        repaired = frozenset(rows_in(await self.repaired_rows(record)))
        async for chunk, rows in self._reporting.chunks(record, wanted=_FAILED):
            failed = [
                row for row in rows if row.outcome is Outcome.FAILED and row.index not in repaired
            ]
            if failed:
                yield await self._with_texts(record, chunk, failed)

    async def repaired_rows(self, record: ImportRecord) -> int:
        """The set of the failed rows that are in by now."""
        return await self._reporting.repaired_rows(record)

    async def _with_texts(
        self, record: ImportRecord, chunk: int, failed: Sequence[RowResult]
    ) -> Sequence[FailedRow]:
        try:
            lines = await self._payloads.lines(record, chunk)
        except PayloadGoneError:
            raise GoneError(PAYLOAD_EXPIRED) from None
        texts = dict(read_row_texts(lines))
        return [_failed_row(result, texts.get(result.index)) for result in failed]


def _failed_row(result: RowResult, text: str | None) -> FailedRow:
    # Only a row that was not processed can be broken: any other one was read.
    may_be_broken = any(
        message.id == MessageId.COULD_NOT_BE_PROCESSED for message in result.messages
    )
    if text is None or (may_be_broken and not is_row(text)):
        return FailedRow(result, _NOTHING, is_lost=True)
    return FailedRow(result, text)


def check_payload(record: ImportRecord) -> None:
    """Raises GoneError where the rows of an import have expired, or cannot be found any more."""
    if record.payload_expired_at:
        raise GoneError(PAYLOAD_EXPIRED)
    if record.is_broken:
        raise GoneError(UNREADABLE)
