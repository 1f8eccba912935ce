"""The rows of an import that failed, as they were sent, with what was wrong (CONTRACTS 5)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from shared.errors import GoneError, PayloadGoneError
from shared.imports.outcomes import Outcome, RowResult
from shared.imports.payload import read_texts
from shared.services.payloads import Payloads
from shared.services.reporting import check_results
from shared.services.results import Results
from shared.storage.import_records import ImportRecord
from shared.storage.result_records import StoredResult

PAYLOAD_EXPIRED = (
    "The rows of this import have expired: take them from where they came from and send them again."
)


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A row that failed: `text` is its JSON object as it was sent."""

    result: RowResult
    text: str = field(repr=False)

    @property
    def index(self) -> int:
        """Its 0-based place in the payload."""
        return self.result.index


class FailedRows:
    """Puts results and payload together again."""

    def __init__(self, results: Results, payloads: Payloads) -> None:
        self._results = results
        self._payloads = payloads

    async def chunks(self, record: ImportRecord) -> AsyncIterator[Sequence[FailedRow]]:
        """The failed rows so far, a chunk at a time, in plan order.

        Raises GoneError where the payload or the results have expired.
        """
        check_results(record)
        check_payload(record)
        async for stored in self._results.chunks(record.import_id):
            if stored.counts.failed:
                yield await self._of_chunk(record, stored)

    async def _of_chunk(self, record: ImportRecord, stored: StoredResult) -> Sequence[FailedRow]:
        try:
            lines = await self._payloads.lines(record, stored.chunk)
        except PayloadGoneError:
            raise GoneError(PAYLOAD_EXPIRED) from None
        texts = dict(read_texts(lines))
        return [
            FailedRow(row, texts[row.index])
            for row in await self._results.rows(stored)
            if row.outcome is Outcome.FAILED
        ]


def check_payload(record: ImportRecord) -> None:
    """Raises GoneError where the rows of an import have expired."""
    if record.payload_expired_at:
        raise GoneError(PAYLOAD_EXPIRED)
