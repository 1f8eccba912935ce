"""Payloads, results and records of imports go after their time (see `retention`).

Only imports that have ended are touched, and the tenant's newest record stays for ever: the next
number comes from it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import datetime

from shared import log
from shared.clock import Clock
from shared.errors import PreconditionFailedError
from shared.services.import_log import ImportLog
from shared.services.moments import age_of, iso
from shared.services.upkeep import UpkeepFaults
from shared.storage import import_records as expiry
from shared.storage import import_records as records
from shared.storage.import_records import ImportSummary
from shared.storage.names import IMPORT_PAYLOADS, IMPORT_RESULT_BLOBS, IMPORT_RESULTS, IMPORTS
from shared.storage.ports import MAX_OPERATIONS, Delete, Entity, ListedBlobs, Merge, Tables
from shared.storage.result_records import blobs_of

_IMPORTS_PER_PAGE = 500


class ExpiringImports:
    """Three steps: payloads, results with their records, payloads without an import."""

    def __init__(
        self, tables: Tables, blobs: ListedBlobs, imports: ImportLog, clock: Clock
    ) -> None:
        self._tables = tables
        self._blobs = blobs
        self._imports = imports
        self._clock = clock

    async def payloads(self, tenant: str, before: datetime) -> AsyncIterator[int]:
        """The rows of imports that ended before then; nothing of them can be retried any more."""
        faults = UpkeepFaults("retention.passed_over")
        summaries = await self._imports.summaries(tenant)
        await self._find_open(tenant, [each for each in summaries if not each.ended_at])
        for summary in summaries:
            if not (summary.ended_before(iso(before)) and summary.has_payload):
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
        """The results of imports that ended before then, and the imports themselves."""
        faults = UpkeepFaults("retention.passed_over")
        for place, summary in enumerate(await self._imports.summaries(tenant)):
            is_newest = place == 0
            if not summary.ended_before(iso(before)) or (is_newest and not summary.has_results):
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

    async def strays(self, tenant: str, before: datetime) -> AsyncIterator[int]:
        """Payloads without an import: their call died before it was accepted."""
        names = await self._blobs.names_before(IMPORT_PAYLOADS, f"{tenant}/", before)
        if not names:
            return
        known = {
            records.payload_blob(tenant, summary.import_id)
            for summary in await self._imports.summaries(tenant)
        }
        for name in names:
            if name not in known:
                await self._blobs.delete(IMPORT_PAYLOADS, name)
                yield 1

    async def _find_open(self, tenant: str, summaries: Sequence[ImportSummary]) -> None:
        """Let the sweep find open imports again whose open-import entity is lost."""
        if not summaries:
            return
        known = {opened.number for opened in await self._imports.open_of(tenant)}
        for summary in summaries:
            if summary.number in known:
                continue
            record = await self._imports.read(tenant, summary.number)
            if record is None or not record.is_open:
                continue
            if record.is_broken:
                await self._imports.close(record, self._now())
            elif await self._imports.reopen(record):
                log.warning("import.reopened", import_id=record.import_id, tenant=tenant)

    async def _correct_time(self, summary: ImportSummary) -> None:
        """An end that a clock wrote which was ahead would keep the import for as much longer."""
        now = self._clock.now()
        if summary.ended_at and age_of(summary.ended_at, now) is None:
            row = records.record_row(summary.number)
            corrected = Entity(summary.tenant, row, {"EndedAt": iso(now)})
            with suppress(PreconditionFailedError):
                await self._tables.write(IMPORTS, Merge(corrected))

    async def _expire_payload(self, summary: ImportSummary) -> None:
        """The blob first: a record without a mark whose blob is gone says 410 all the same."""
        name = records.payload_blob(summary.tenant, summary.import_id)
        await self._blobs.delete(IMPORT_PAYLOADS, name)
        row = records.record_row(summary.number)
        entity = await self._tables.get(IMPORTS, summary.tenant, row)
        if entity is not None:
            with suppress(PreconditionFailedError):
                await self._tables.write(IMPORTS, expiry.without_payload(entity, self._now()))

    async def _expire_results(self, summary: ImportSummary) -> bool:
        """The mark first: without it, an import without results would be told as failed.

        Whether all of them are gone; somebody else may be at it, and the record must not go before.
        """
        if summary.has_payload:
            await self._expire_payload(summary)
        with suppress(PreconditionFailedError):
            await self._tables.write(IMPORTS, expiry.without_results(summary, self._now()))
        prefix = blobs_of(summary.import_id)
        for name in await self._blobs.names_before(IMPORT_RESULT_BLOBS, prefix, self._clock.now()):
            await self._blobs.delete(IMPORT_RESULT_BLOBS, name)
        while found := await self._tables.query(
            IMPORT_RESULTS, summary.import_id, select=[], most=_IMPORTS_PER_PAGE
        ):
            if not await remove_all(self._tables, IMPORT_RESULTS, found):
                return False
        return True

    async def _remove_record(self, summary: ImportSummary) -> None:
        record = await self._imports.read(summary.tenant, summary.number)
        if record is not None:
            # A handler that died may have left a note behind that a chunk waits for this import.
            for waiting in await self._imports.waiting_for(record, None):
                await self._imports.remove_waiting(waiting)
            with suppress(PreconditionFailedError):
                await self._tables.transact(IMPORTS, expiry.removal(record))

    def _now(self) -> str:
        return iso(self._clock.now())


async def remove_all(tables: Tables, table: str, entities: list[Entity]) -> int:
    """Delete entities of one partition as they were read; how many of them were still so."""
    assert all(entity.etag for entity in entities), "what is deleted must have been read"
    removed = 0
    for at in range(0, len(entities), MAX_OPERATIONS):
        some = [
            Delete(Entity(each.partition, each.row, {}, each.etag))
            for each in entities[at : at + MAX_OPERATIONS]
        ]
        try:
            await tables.transact(table, some)
            removed += len(some)
        except PreconditionFailedError:
            for each in some:
                with suppress(PreconditionFailedError):
                    await tables.write(table, each)
                    removed += 1
    return removed
