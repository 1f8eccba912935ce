"""The rows of an import that failed and are still out, as they were sent (CONTRACTS 5)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from shared.errors import GoneError, PayloadGoneError
from shared.imports.messages import COULD_NOT_BE_PROCESSED
from shared.imports.outcomes import Outcome, RowResult
from shared.imports.payload import is_row, read_texts
from shared.imports.row_sets import rows_in
from shared.services.payloads import Payloads
from shared.services.reporting import Reporting, RowFilter, check_results
from shared.storage.import_records import ImportRecord

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
        texts = dict(read_texts(lines))
        return [_failed_row(result, texts.get(result.index)) for result in failed]


def _failed_row(result: RowResult, text: str | None) -> FailedRow:
    # Only a row that was not processed can be broken: any other one was read.
    may_be_broken = any(message.id == COULD_NOT_BE_PROCESSED for message in result.messages)
    if text is None or (may_be_broken and not is_row(text)):
        return FailedRow(result, _NOTHING, is_lost=True)
    return FailedRow(result, text)


def check_payload(record: ImportRecord) -> None:
    """Raises GoneError where the rows of an import have expired, or cannot be found any more."""
    if record.payload_expired_at:
        raise GoneError(PAYLOAD_EXPIRED)
    if record.is_broken:
        raise GoneError(UNREADABLE)
