"""What is told of imports: one import, a list of them, the results of their rows (CONTRACTS 5)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.errors import NotFoundError
from shared.imports.outcomes import Outcome, RowResult
from shared.services.import_log import ImportLog
from shared.services.results import Results
from shared.storage.import_records import Counts, ImportRecord

NO_SUCH_IMPORT = "There is no import of this id: check the id, and that the key is its tenant's."


class ImportState(StrEnum):
    """Where an import stands; derived from its record and its results, never stored."""

    ACCEPTED = "Accepted"
    PROCESSING = "Processing"
    COMPLETED = "Completed"
    COMPLETED_WITH_ERRORS = "CompletedWithErrors"
    CANCELLED = "Cancelled"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """One import as it stands now."""

    record: ImportRecord
    counts: Counts
    state: ImportState


@dataclass(frozen=True, slots=True)
class Place:
    """Where a list of results goes on: this chunk, behind so many of its rows."""

    chunk: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class ResultPage:
    """A part of the results, in plan order; `following` is None at the end."""

    results: tuple[RowResult, ...]
    following: Place | None


@dataclass(frozen=True, slots=True)
class ImportPage:
    """A part of a tenant's imports, newest first; `following` is None at the end."""

    reports: tuple[ImportReport, ...]
    following: int | None


Wanted = Callable[[ImportReport], bool]
_MOST_READS = 20


def _every(_report: ImportReport) -> bool:
    return True


class Reporting:
    """Reads what intake and chunk processing wrote; writes nothing."""

    def __init__(self, imports: ImportLog, results: Results) -> None:
        self._imports = imports
        self._results = results

    async def find(self, tenant: str, import_id: str) -> ImportReport:
        """The import of that id; another tenant's is not found. Raises NotFoundError."""
        record = await self._imports.find(tenant, import_id)
        if record is None:
            raise NotFoundError(NO_SUCH_IMPORT)
        return await self.report(record)

    async def report(self, record: ImportRecord) -> ImportReport:
        """The import of this record as it stands now."""
        counts = record.counts
        if record.is_open:
            counts = (await self._imports.progress(record.import_id)).counts
        return ImportReport(record, counts, _state(record, counts))

    async def newest(
        self, tenant: str, after: int | None, size: int, wanted: Wanted = _every
    ) -> ImportPage:
        """A tenant's imports that are wanted, newest first, from behind number `after` on.

        A page ends early, with a continuation, where many were looked at and few are wanted.
        """
        picked: list[ImportReport] = []
        for _ in range(_MOST_READS):
            found = await self._imports.newest_first(tenant, after, size + 1)
            for record in found[:size]:
                if len(picked) == size:
                    return ImportPage(tuple(picked), after)
                report = await self.report(record)
                if wanted(report):
                    picked.append(report)
                after = record.number
            if len(found) <= size:
                return ImportPage(tuple(picked), None)
            if len(picked) == size:
                break
        return ImportPage(tuple(picked), after)

    async def results(
        self, record: ImportRecord, start: Place, size: int, outcome: Outcome | None
    ) -> ResultPage:
        """Up to `size` results from `start` on, of one outcome or of all, in plan order."""
        picked: list[RowResult] = []
        async for stored in self._results.chunks(record.import_id, start.chunk):
            skipped = start.rows if stored.chunk == start.chunk else 0
            if not _may_hold(stored.counts, outcome):
                continue
            rows = await self._results.rows(stored)
            for position, row in enumerate(rows[skipped:], skipped):
                if outcome is not None and row.outcome is not outcome:
                    continue
                if len(picked) == size:
                    return ResultPage(tuple(picked), Place(stored.chunk, position))
                picked.append(row)
        return ResultPage(tuple(picked), None)

    async def result_chunks(self, record: ImportRecord) -> AsyncIterator[Sequence[RowResult]]:
        """Every result of an ended import, a chunk at a time, in plan order."""
        async for stored in self._results.chunks(record.import_id):
            yield await self._results.rows(stored)

    async def all_results(self, record: ImportRecord) -> AsyncIterator[RowResult]:
        """Every result of an ended import, in plan order."""
        async for results in self.result_chunks(record):
            for row in results:
                yield row


def _may_hold(counts: Counts, outcome: Outcome | None) -> bool:
    return outcome is None or getattr(counts, outcome.value) > 0


def _state(record: ImportRecord, counts: Counts) -> ImportState:
    if record.is_open:
        return ImportState.PROCESSING if counts.done else ImportState.ACCEPTED
    if record.is_cancelled:
        return ImportState.CANCELLED
    return ImportState.COMPLETED_WITH_ERRORS if counts.failed else ImportState.COMPLETED
