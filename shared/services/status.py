"""The status of imports: one import, a list of imports, the results of their rows.

See docs/contracts.md#5.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
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
from shared.imports.files.mapping import ProfileMapping
from shared.imports.files.notes import NO_NOTES, Notes
from shared.imports.json_rows import RowText, is_row, read_row_texts
from shared.imports.messages import LOST_ROW, Message, MessageId, Severity
from shared.imports.registry import TYPE_CATALOGUE
from shared.imports.results import (
    MessageGroups,
    Outcome,
    RowResult,
    UnmappedValues,
    failed,
    is_erased,
    rows_in,
    unite,
)
from shared.process_stop import ProcessStop
from shared.services.background import Completions
from shared.services.import_log import ImportLog
from shared.services.profiles import ProfileService
from shared.services.results import Payloads, Results
from shared.services.undo_rules import shown_results
from shared.storage.import_records import Counts, ImportRecord, RetryLink
from shared.storage.result_records import StoredResult
from shared.storage_time import storage_time_now

_NO_CHUNK: Final = -1
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


# The meaning of each state, for the documents.
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
    """Rows per second since acceptance, and the remaining seconds at that rate.

    Both are None before the first rows are done.
    """

    rows_per_second: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The present status of an import.

    `children` are the ids of its retries, in order. `repaired` counts the failed rows that they, or
    their own retries, have imported.
    """

    record: ImportRecord
    counts: Counts
    state: ImportState
    pace: Throughput = Throughput()
    children: tuple[str, ...] = ()
    repaired: int = 0

    @property
    def still_out(self) -> int:
        """The number of failed rows that no retry has imported."""
        return self.counts.failed - self.repaired


@dataclass(frozen=True, slots=True)
class ResultCursor:
    """The position in a list of results: a chunk, and the number of its rows to skip."""

    chunk: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class RowFilter:
    """A filter for results by outcome, and by severity, id and field of a message; all by default.

    One message of the row must have both the id and the field.
    """

    outcome: Outcome | None = None
    severity: Severity | None = None
    message_id: int | None = None
    field_name: str | None = None

    def takes(self, row: RowResult) -> bool:
        """Whether a result passes the filter."""
        return (
            (self.outcome is None or row.outcome is self.outcome)
            and (self.severity is None or row.count(self.severity) > 0)
            and self._takes_messages(row)
        )

    def _takes_messages(self, row: RowResult) -> bool:
        if self.message_id is None and self.field_name is None:
            return True
        return any(
            self.message_id in (None, message.id) and self.field_name in (None, message.field)
            for message in row.messages
        )

    def may_be_in(self, stored: StoredResult) -> bool:
        """Whether a chunk may have a result that passes the filter, by its counts alone."""
        counts = stored.counts
        if counts is None:
            return True
        match self.outcome:
            case None:
                pass
            case Outcome.REVERSED:
                if not counts.new + counts.updated:
                    return False
            case _:
                if not getattr(counts, self.outcome.value):
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
    """A page of results, in plan order. `following` is None at the end."""

    results: tuple[RowResult, ...]
    following: ResultCursor | None


@dataclass(frozen=True, slots=True)
class ImportPage:
    """A page of a tenant's imports, newest first. `following` is None at the end."""

    reports: tuple[ImportReport, ...]
    following: int | None


ImportFilter = Callable[[ImportReport], bool]
# The import for whose end this call has waited, and its results if it ended in this process.
_KNOWN: ContextVar[tuple[str, Sequence[RowResult]] | None] = ContextVar("known", default=None)
_MOST_READS = 20
# Messages of one page of results.
_MOST_MESSAGES = 20_000


def _all_imports(_report: ImportReport) -> bool:
    return True


class Reporting:
    """Reads the records and results of imports. Writes nothing."""

    def __init__(
        self, imports: ImportLog, results: Results, clock: Clock, profiles: ProfileService
    ) -> None:
        self._profiles = profiles
        self._imports = imports
        self._results = results
        self._clock = clock

    async def find(self, tenant: str, import_id: str) -> ImportReport:
        """The import of that id in this tenant. Raises NotFoundError."""
        record = await self._imports.find(tenant, import_id)
        if record is None:
            raise NotFoundError(NO_SUCH_IMPORT)
        return (await self._reports([record]))[0]

    async def report(self, record: ImportRecord) -> ImportReport:
        """The present status of an import, without its retries."""
        counts = record.counts
        if record.is_open:
            counts = (await self._imports.progress(record.import_id)).counts
        end = self._clock.now()
        with suppress(ValueError):
            end = from_iso(record.ended_at)
        age = age_of(record.accepted_at, end)
        pace = (
            Throughput()
            if age is None
            else _throughput(counts.done, record.rows, age.total_seconds())
        )
        return ImportReport(record, counts, _state(record, counts), pace)

    async def _reports(self, records: Sequence[ImportRecord]) -> list[ImportReport]:
        """The imports of these records, newest first, with their retries."""
        if not records:
            return []
        newest, oldest = records[0], records[-1]
        retries = await self._imports.repairs.retries_for_list(
            newest.tenant, newest.number, oldest.number
        )
        return [
            _with_retries(await self.report(record), retries.get(record.number, ()))
            for record in records
        ]

    async def repaired_rows(self, record: ImportRecord) -> int:
        """The set of the failed rows of an import that retries have imported."""
        return await self._imports.repairs.repaired_rows(record)

    async def newest(
        self, tenant: str, after: int | None, size: int, is_wanted: ImportFilter = _all_imports
    ) -> ImportPage:
        """A page of the tenant's imports below number `after` that pass `is_wanted`, newest first.

        A page ends early, with a continuation, if many imports were read and few pass.
        """
        reports: list[ImportReport] = []
        for _ in range(_MOST_READS):
            records = await self._imports.newest_first(tenant, after, size + 1)
            for report in await self._reports(records[:size]):
                if len(reports) == size:
                    return ImportPage(tuple(reports), after)
                if is_wanted(report):
                    reports.append(report)
                after = report.record.number
            if len(records) <= size:
                return ImportPage(tuple(reports), None)
            if len(reports) == size:
                break
        return ImportPage(tuple(reports), after)

    async def results(
        self, record: ImportRecord, start: ResultCursor, size: int, row_filter: RowFilter = ALL_ROWS
    ) -> ResultPage:
        """Up to `size` results from `start` on that pass the filter, in plan order.

        There are fewer if they have very many messages. Raises GoneError if they have expired.
        """
        check_results(record)
        results: list[RowResult] = []
        room = _MOST_MESSAGES
        async for chunk, rows in self.chunks(record, start.chunk, row_filter):
            skipped = start.rows if chunk == start.chunk else 0
            shown = list(shown_results(record, rows))
            for position, row in enumerate(shown[skipped:], skipped):
                if not row_filter.takes(row):
                    continue
                if len(results) == size or room <= 0:
                    return ResultPage(tuple(results), ResultCursor(chunk, position))
                results.append(row)
                room -= len(row.messages)
        return ResultPage(tuple(results), None)

    async def result_chunks(self, record: ImportRecord) -> AsyncIterator[Sequence[RowResult]]:
        """Yield every result of an ended import by chunk, in plan order. Raises GoneError.

        Each row of the import has one result. It is 9001 if the result cannot be read, or if the
        row could not be read and was not processed.
        """
        check_results(record)
        import_id, known = _KNOWN.get() or ("", ())
        if import_id == record.import_id:
            mapping = await self.mapping_of(record)
            yield known if mapping is None else mapping.with_columns(known)
            return
        async for _, rows in self.chunks(record):
            yield rows

    async def chunks(
        self, record: ImportRecord, first: int = 0, row_filter: RowFilter = ALL_ROWS
    ) -> AsyncIterator[tuple[int, Sequence[RowResult]]]:
        """Yield the number and the results of each chunk from `first` on.

        Messages name the columns of the sender too, where a profile has made the rows. Chunks
        without a row that passes the filter may be left out. Raises GoneError if the results expire
        meanwhile.
        """
        mapping = await self.mapping_of(record)
        async for chunk, rows in self._chunks(record, first, row_filter):
            yield chunk, rows if mapping is None else mapping.with_columns(rows)

    async def mapping_of(self, record: ImportRecord) -> ProfileMapping | None:
        """The profile that has made the rows of an import; None without one that can be read."""
        try:
            version = await self._profiles.find_version(record.tenant, record.profile)
        except UnreadableDataError as error:
            log.failure("profile.unreadable", error, import_id=record.import_id)
            return None
        return version.mapping if version else None

    async def _chunks(
        self, record: ImportRecord, first: int, row_filter: RowFilter
    ) -> AsyncIterator[tuple[int, Sequence[RowResult]]]:
        following = first
        lost_rows: Mapping[int, Sequence[RowResult]] | None = None
        async for stored in self._results.chunks(record.import_id, first):
            for chunk in range(following, min(stored.chunk, len(record.chunks))):
                # An ended import without a result of this chunk: its record was broken.
                if not record.is_open:
                    lost_rows = lost_rows or await self._lost_rows(record)
                    yield chunk, lost_rows.get(chunk, ())
            following = stored.chunk + 1
            if not row_filter.may_be_in(stored):
                continue
            rows = await self._read_possible_rows(record, stored)
            if not record.is_open and len(rows) < (
                record.chunks[stored.chunk].rows if stored.chunk < len(record.chunks) else 0
            ):
                lost_rows = lost_rows or await self._lost_rows(record)
                rows = [*rows, *lost_rows.get(stored.chunk, ())]
            yield stored.chunk, rows
        if not record.is_open and (following < len(record.chunks) or record.is_broken):
            lost_rows = lost_rows or await self._lost_rows(record)
            for chunk in range(following, len(record.chunks)):
                yield chunk, lost_rows.get(chunk, ())
            yield max(following, len(record.chunks)), lost_rows.get(_NO_CHUNK, ())

    async def _read_possible_rows(
        self, record: ImportRecord, stored: StoredResult
    ) -> Sequence[RowResult]:
        """The readable results of a chunk, without those that cannot belong to its import."""
        try:
            rows = await self._results.rows(stored)
        except UnreadableDataError as error:
            log.failure("result.unreadable", error, import_id=record.import_id, chunk=stored.chunk)
            return ()
        return [row for row in rows if _is_possible(record, row)]

    async def _lost_rows(self, record: ImportRecord) -> Mapping[int, Sequence[RowResult]]:
        """The rows without a result, by chunk.

        The chunk of such a row is not known any more, so the rows are distributed over the chunks
        in the order of the payload. Rows beyond the counts of the chunks are under `_NO_CHUNK`.
        """
        current = await self._imports.read(record.tenant, record.number)
        if current is None or current.results_expired_at:
            raise GoneError(RESULTS_EXPIRED)
        counts: dict[int, int] = {chunk.number: chunk.rows for chunk in record.chunks}
        known_rows: set[int] = set()
        async for stored in self._results.chunks(record.import_id):
            rows = await self._read_possible_rows(record, stored)
            known_rows.update(row.index for row in rows)
            counts[stored.chunk] = max(0, counts.get(stored.chunk, 0) - len(rows))
        missing = [index for index in range(record.rows) if index not in known_rows]
        shared_out: dict[int, Sequence[RowResult]] = {}
        for chunk, count in sorted(counts.items()):
            shared_out[chunk] = [lost_row(record, index) for index in missing[:count]]
            missing = missing[count:]
        shared_out[_NO_CHUNK] = [lost_row(record, index) for index in missing]
        return shared_out

    async def message_groups(
        self, record: ImportRecord, severity: Severity | None = None
    ) -> MessageGroups:
        """Group the messages of the rows so far, of one severity or of all.

        Raises GoneError if the results have expired.
        """
        check_results(record)
        groups = MessageGroups()
        async for _, rows in self.chunks(record, row_filter=RowFilter(severity=severity)):
            await asyncio.to_thread(groups.add, list(shown_results(record, rows)), severity)
        return groups

    async def unmapped_values(self, record: ImportRecord) -> UnmappedValues:
        """The values of the rows so far that had no entry in the profile of the import.

        Raises GoneError if the results have expired.
        """
        check_results(record)
        values = UnmappedValues()
        async for _, rows in self.chunks(record, row_filter=_FAILED):
            await asyncio.to_thread(values.add, rows)
        return values

    async def all_results(self, record: ImportRecord) -> AsyncIterator[RowResult]:
        """Every result of an ended import, in plan order."""
        async for results in self.result_chunks(record):
            for row in results:
                yield row


def check_results(record: ImportRecord) -> None:
    """Raises GoneError if the results of an import have expired."""
    if record.results_expired_at:
        raise GoneError(RESULTS_EXPIRED)


def _throughput(done: int, rows: int, seconds: float) -> Throughput:
    if not done:
        return Throughput()
    rate = done / max(seconds, 0.001)
    return Throughput(rate, (rows - done) / rate)


def lost_row(record: ImportRecord, index: int) -> RowResult:
    """The result for a row of an ended import whose stored result is missing."""
    kind = TYPE_CATALOGUE.find(record.type_name, record.type_version)
    no_key = (None,) * (len(kind.rules.key_fields) if kind else 0)
    return failed(index, no_key, Message(MessageId.COULD_NOT_BE_PROCESSED, detail=LOST_ROW))


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


# Waiting for the end of an import: by an event in the process, and by polling.
#
# Where calls and queues are served by the same process, the event comes, and a poll would be a
# request for nothing: so the first one waits longer than such a call takes. On plans that serve
# them by different instances no event comes, and a call that has seen that lets the next one poll
# sooner.

_FIRST_PAUSE = 0.25
_FIRST_PAUSE_WITHOUT_EVENTS = 0.1
_LONGEST_PAUSE = 2.0
_GROWTH = 1.5
_SHORTEST_READ = 1.0


class Waiting:
    """Lets a call wait for the end of its import."""

    def __init__(
        self, imports: ImportLog, completions: Completions, clock: Clock, stop: ProcessStop
    ) -> None:
        self._stop = stop
        self._imports = imports
        self._completions = completions
        self._clock = clock
        # Whether the last import that a call waited for ended in this process.
        self._has_events = True

    async def until_ended(self, record: ImportRecord, seconds: float) -> bool:
        """Whether the import ended within so many seconds.

        A short storage failure does not end the wait, because the accepted import is processed
        independently. The wait ends if storage does not answer within the call's `StorageTime`.
        If the end of the process is announced, the import is read once more, without waiting.
        """
        deadline = self._clock.elapsed() + seconds
        pause = _FIRST_PAUSE if self._has_events else _FIRST_PAUSE_WITHOUT_EVENTS
        with self._completions.listening(record.import_id) as end_event:
            while (
                remaining := deadline - self._clock.elapsed()
            ) > 0 and storage_time_now().left > 0:
                await self._stop.wait_with(end_event, min(pause, remaining))
                if self._stop.is_announced:
                    deadline = self._clock.elapsed()
                with suppress(TimeoutError):
                    async with asyncio.timeout(
                        max(_SHORTEST_READ, deadline - self._clock.elapsed())
                    ):
                        if end_event.is_set() or await self._has_ended(record):
                            self._has_events = end_event.is_set()
                            if end_event.results is not None:
                                _KNOWN.set((record.import_id, end_event.results))
                            return True
                pause = min(_LONGEST_PAUSE, pause * _GROWTH)
        return False

    async def _has_ended(self, record: ImportRecord) -> bool:
        try:
            current = await self._imports.read(record.tenant, record.number)
        except StorageUnavailableError:
            return False
        return current is not None and not current.is_open


# The failed rows of an import that no retry has imported, as they were sent (docs/contracts.md#5).

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
    """A failed row. `text` is its JSON object as it was sent, `notes` what a reader of files noted.

    `is_lost`: the row cannot be read any more, and `text` is an empty object.
    """

    result: RowResult
    text: str = field(repr=False)
    is_lost: bool = False
    notes: Notes = field(default=NO_NOTES, repr=False)

    @property
    def index(self) -> int:
        """Its 0-based place in the payload."""
        return self.result.index


@dataclass(frozen=True, slots=True)
class FailedRowPage:
    """A page of failed rows, in plan order. `following` is None at the end."""

    rows: tuple[FailedRow, ...]
    following: ResultCursor | None


class FailedRows:
    """Joins the failed results of an import with the rows of its payload."""

    def __init__(self, reporting: Reporting, payloads: Payloads) -> None:
        self._reporting = reporting
        self._payloads = payloads

    async def chunks(self, record: ImportRecord) -> AsyncIterator[Sequence[FailedRow]]:
        """Yield the failed rows so far that no retry has imported, by chunk, in plan order.

        Rows that were erased with their person are left out.

        Raises GoneError if the payload or the results have expired, or cannot be read.
        """
        check_results(record)
        check_payload(record)
        repaired_rows = frozenset(rows_in(await self.repaired_rows(record)))
        async for chunk, rows in self._reporting.chunks(record, row_filter=_FAILED):
            failed_results = [
                row
                for row in rows
                if row.outcome is Outcome.FAILED
                and row.index not in repaired_rows
                and not is_erased(row)
            ]
            if failed_results:
                yield await self._with_texts(record, chunk, failed_results)

    async def page(
        self, record: ImportRecord, start: ResultCursor, size: int, row_filter: RowFilter
    ) -> FailedRowPage:
        """Up to `size` of the rows of `chunks` from `start` on that pass the filter.

        Only the payloads of chunks with such a row are read. Raises GoneError as `chunks` does.
        """
        check_results(record)
        check_payload(record)
        repaired_rows = frozenset(rows_in(await self.repaired_rows(record)))
        page: list[FailedRow] = []
        async for chunk, results in self._reporting.chunks(record, start.chunk, _FAILED):
            skipped = start.rows if chunk == start.chunk else 0
            chosen: list[RowResult] = []
            following: ResultCursor | None = None
            for position, row in enumerate(results[skipped:], skipped):
                if (
                    row.outcome is not Outcome.FAILED
                    or row.index in repaired_rows
                    or is_erased(row)
                    or not row_filter.takes(row)
                ):
                    continue
                if len(page) + len(chosen) == size:
                    following = ResultCursor(chunk, position)
                    break
                chosen.append(row)
            if chosen:
                page += await self._with_texts(record, chunk, chosen)
            if following is not None:
                return FailedRowPage(tuple(page), following)
        return FailedRowPage(tuple(page), None)

    async def mapping_of(self, record: ImportRecord) -> ProfileMapping | None:
        """See `Reporting.mapping_of`."""
        return await self._reporting.mapping_of(record)

    async def repaired_rows(self, record: ImportRecord) -> int:
        """The set of the failed rows that retries have imported."""
        return await self._reporting.repaired_rows(record)

    async def _with_texts(
        self, record: ImportRecord, chunk: int, failed_results: Sequence[RowResult]
    ) -> Sequence[FailedRow]:
        try:
            lines = await self._payloads.lines(record, chunk)
        except PayloadGoneError:
            raise GoneError(PAYLOAD_EXPIRED) from None
        texts = dict(read_row_texts(lines))
        return [_failed_row(result, texts.get(result.index)) for result in failed_results]


def _failed_row(result: RowResult, row: RowText | None) -> FailedRow:
    # Only a row that was not processed can be broken, since every other row was read.
    may_be_broken = any(
        message.id == MessageId.COULD_NOT_BE_PROCESSED for message in result.messages
    )
    if row is None or (may_be_broken and not is_row(row.text)):
        return FailedRow(result, _NOTHING, is_lost=True)
    return FailedRow(result, row.text, notes=Notes.from_text(row.notes))


def check_payload(record: ImportRecord) -> None:
    """Raises GoneError if the rows of an import have expired, or cannot be found any more."""
    if record.payload_expired_at:
        raise GoneError(PAYLOAD_EXPIRED)
    if record.is_broken:
        raise GoneError(UNREADABLE)
