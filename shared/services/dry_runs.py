"""Dry runs: what an import would answer, without an import (CONTRACTS 0, I5).

The rows are planned and worked on by the code of a run, chunk by chunk inside the call, on storage
whose writes only the dry run can see (`what_if`). Its place in the order is behind everything, and
nothing is open before it: a missing reference is an error at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

from shared import log
from shared.errors import TooLargeError, TooManyRequestsError
from shared.imports.changes import changed_fields, changes_text
from shared.imports.definition import Document, ImportType
from shared.imports.folding import Noticed
from shared.imports.outcomes import RowResult, cap_messages
from shared.imports.planning import Plan
from shared.services.chunk_messages import is_small
from shared.services.tenant_shares import TenantPlaces
from shared.services.what_if import WhatIfBlobs, WhatIfTables
from shared.services.work import Works
from shared.storage.import_records import LAST_NUMBER, ImportRecord
from shared.storage.ports import Blobs, Tables

_LARGE_AT_ONCE = 2
"""Dry runs of many rows in one process; each keeps in memory what its rows would write."""
_SMALL_AT_ONCE = 4

MakeWorks = Callable[[Tables, Blobs, Noticed | None], Works]
"""The works of all types on some storage, telling `Noticed` of each row that takes effect."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rows of a payload would come to, in plan order.

    `changes` has what the rows that would take effect change, by their index, as `changes_text`; it
    is empty unless asked for.
    """

    results: tuple[RowResult, ...] = ()
    changes: Mapping[int, str] = field(default_factory=dict)

    def in_order_sent(self) -> list[RowResult]:
        """The results in the order of the payload."""
        return sorted(self.results, key=lambda result: result.index)


class NothingOpen:
    """For `ReferenceReader`: no import is open that could bring a missing record."""

    async def oldest_open_before(
        self,
        record: ImportRecord,
        type_name: str,
    ) -> None:
        """There is none."""


class DryRuns:
    """Judges planned payloads."""

    def __init__(
        self,
        *,
        tables: Tables,
        blobs: Blobs,
        make_works: MakeWorks,
        max_rows: int,
        max_bytes: int,
        most_waiting: int,
        seconds: float = 200.0,
    ) -> None:
        self._tables = tables
        self._blobs = blobs
        self._make_works = make_works
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._small = TenantPlaces(
            "dry runs", places=_SMALL_AT_ONCE, per_tenant=2, most_waiting=most_waiting
        )
        self._large = TenantPlaces(
            "dry runs", places=_LARGE_AT_ONCE, per_tenant=1, most_waiting=most_waiting
        )

    @asynccontextmanager
    async def place(self, tenant: str, rows: int) -> AsyncIterator[None]:
        """A place to judge so many rows, for the time of the block.

        A small dry run never waits behind a large one, and a tenant has only a part of the places.
        Raises TooManyRequestsError, and TooLargeError where the time of a call does not suffice.
        """
        places = self._small if is_small(rows) else self._large
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._seconds):
                    await stack.enter_async_context(places.place(tenant))
            except TimeoutError:
                raise TooManyRequestsError(
                    "Other dry runs are being worked on: send this one again later.",
                    retry_after=10,
                ) from None
            try:
                async with asyncio.timeout(self._seconds):
                    yield
            except TimeoutError:
                raise TooLargeError(
                    f"The dry run was stopped after {self._seconds:.0f} seconds: send the rows in "
                    "several calls."
                ) from None

    def check_rows(self, planned: Plan) -> None:
        """Raises TooLargeError for more rows than a dry run takes."""
        if planned.rows > self._max_rows:
            raise TooLargeError(
                f"The payload has {planned.rows} rows and a dry run takes {self._max_rows}: send "
                "it in several calls."
            )

    async def judge(
        self, kind: ImportType, draft: ImportRecord, planned: Plan, *, with_changes: bool
    ) -> Judgement:
        """What an import of this plan would come to; nothing is written anywhere.

        `draft` is the record that it would have (`Intake.draft`). Raises TooLargeError for too many
        rows, for more changes than an answer holds, and where the time of a call does not suffice.
        """
        self.check_rows(planned)
        async with self.place(draft.tenant, planned.rows):
            judgement = await self._judged(kind, draft, planned, with_changes)
        log.event("dry_run.judged", tenant=draft.tenant, type=kind.name, rows=planned.rows)
        return judgement

    async def _judged(
        self, kind: ImportType, draft: ImportRecord, planned: Plan, with_changes: bool
    ) -> Judgement:
        noted = _Noted(kind, self._max_bytes) if with_changes else None
        record = replace(draft, number=LAST_NUMBER, trusts_later_stamps=False)
        tables, blobs = WhatIfTables(self._tables), WhatIfBlobs(self._blobs)
        work = self._make_works(tables, blobs, noted.note if noted else None).of(record)
        results: list[RowResult] = []
        chunks = iter(planned.lines())
        while (lines := await asyncio.to_thread(next, chunks, None)) is not None:
            results += cap_messages(await work.run(record, lines, _never_stops))
            if noted is not None:
                noted.check_size()
        return Judgement(tuple(results), noted.of(results) if noted is not None else {})


class _Noted:
    """What rows change, as text by their index."""

    def __init__(self, kind: ImportType, max_bytes: int) -> None:
        self._is_sensitive = kind.rules.is_sensitive
        self._max_bytes = max_bytes
        self._texts: dict[int, str] = {}
        self._size = 0

    def note(self, index: int, before: Document | None, after: Document | None) -> None:
        """Told of each row that takes effect; of a row that is judged again, the last counts."""
        text = changes_text(changed_fields(before, after, self._is_sensitive))
        self._size += len(text) - len(self._texts.get(index, ""))
        self._texts[index] = text

    def check_size(self) -> None:
        """Raises TooLargeError for more text than an answer holds."""
        if self._size > self._max_bytes:
            raise TooLargeError(
                f"What the rows would change takes more than the {self._max_bytes} bytes of an "
                "answer: send fewer rows, or leave out view=rows."
            )

    def of(self, results: Sequence[RowResult]) -> dict[int, str]:
        """The changes of the rows that took effect in the end."""
        effective = {result.index for result in results if result.outcome.took_effect}
        return {index: text for index, text in self._texts.items() if index in effective}


async def _never_stops() -> None:
    """Nobody can cancel a dry run; its time is limited as a whole."""
