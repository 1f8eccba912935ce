"""The plan of an import: what becomes of each of its rows, decided once, before the first write.

A batch is decided as a whole against the store as it was before it, so its rows cannot be decided
again once some are committed. Imports of one tenant run one after another (every chunk's span is
the whole tenant); the first chunk whose turn it is makes the plan and inserts it, and whoever comes
later, or comes again after a crash, works by that one. Where no plan can come any more (the import
was cancelled, or its only chunk failed too often before there was one), a void plan says so: no
straggler can commit a row after it was reported as failed. A chunk that fails too often leaves the
other chunks of its import alone: they make the plan, and it decides about its rows too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from shared.clock import Ids
from shared.errors import PreconditionFailedError, UnreadableDataError
from shared.imports.authdata.answering import results_of
from shared.imports.authdata.classification import BatchOptions, Classified, Verdict, classify
from shared.imports.authdata.records import AuthRecord
from shared.imports.outcomes import RowResult, pack_result, unpack_result
from shared.imports.payload import read_lines, read_texts, screen_lines
from shared.services.authdata.employees import Employees
from shared.services.authdata.tenant_rules import TenantRuleBook
from shared.services.offload import Offload
from shared.services.payloads import Payloads
from shared.storage import authdata_records as stored
from shared.storage.authdata_records import PlanRecord
from shared.storage.entities import compress_json, expand_json
from shared.storage.import_records import ImportRecord
from shared.storage.names import AUTH_BATCHES, AUTH_STAGING
from shared.storage.ports import Blobs, Insert, Tables, reading

_GROWS = 6


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a row: its result once it is committed, and whether anything is written.

    `renamed_from` is the id that the employee had before, "" where it was not renamed.
    """

    result: RowResult
    writes: bool = False
    renamed_from: str = ""


class Plans:
    """Makes and reads the plans of imports."""

    def __init__(
        self,
        *,
        tables: Tables,
        blobs: Blobs,
        payloads: Payloads,
        employees: Employees,
        rules: TenantRuleBook,
        ids: Ids,
        offload: Offload,
    ) -> None:
        self._tables = tables
        self._blobs = blobs
        self._payloads = payloads
        self._employees = employees
        self._rules = rules
        self._ids = ids
        self._offload = offload
        self._making: dict[str, asyncio.Task[PlanRecord]] = {}

    async def read(self, record: ImportRecord) -> PlanRecord | None:
        """The plan of an import; None where there is none yet."""
        partition = stored.plan_partition(record.tenant, record.import_id)
        entity = await self._tables.get(AUTH_STAGING, partition, stored.PLAN_ROW)
        if entity is None:
            return None
        return stored.plan_from_entity(record.tenant, record.import_id, entity)

    async def make(self, record: ImportRecord) -> PlanRecord:
        """The plan of an import whose turn it is; the one that was made first stands.

        The chunks of an import that are in flight in one process share the making.
        """
        task = self._making.get(record.import_id)
        if task is None:
            task = self._making[record.import_id] = asyncio.create_task(self._made(record))
            task.add_done_callback(lambda done: self._forget(record.import_id, done))
        return await asyncio.shield(task)

    def _forget(self, import_id: str, done: asyncio.Task[PlanRecord]) -> None:
        del self._making[import_id]
        if not done.cancelled():
            done.exception()

    async def _made(self, record: ImportRecord) -> PlanRecord:
        rules = await self._rules.of(record.tenant)
        lines = await self._payloads.whole(record)
        records = await self._offload(len(lines), _records, record, lines)
        is_counted = rules.thresholds.ask_for_stored
        known = await self._employees.known_to(record.tenant, records, is_counted=is_counted)
        options = BatchOptions(rules.thresholds)
        classified = await self._offload(len(lines), classify, records, known, options)
        made = PlanRecord(record.tenant, record.import_id, {}, classified.exceeded)
        chunks = await self._offload(len(lines), _packed, record, lines, classified)
        return await self._stand(await self._written(made, chunks))

    async def make_void(self, record: ImportRecord, code: int) -> PlanRecord:
        """A plan by which every row ends with `code`, unless there is a plan already."""
        return await self._stand(PlanRecord(record.tenant, record.import_id, {}, ended=code))

    async def decisions(self, plan: PlanRecord, rows: Sequence[AuthRecord]) -> dict[int, Decision]:
        """What is decided of a chunk's rows, by index.

        Raises UnreadableDataError where it does not say what becomes of each of them.
        """
        positions = {row.position for row in rows}
        decided: dict[int, Decision] = {}
        # Where a line of the chunk broke since the plan was made, its first row may be another.
        for first in [first for first in plan.chunks if first in positions] or plan.chunks:
            start, end = plan.chunks[first]
            data: bytes | None = plan.data[start:end]
            if plan.blob:
                data = await self._blobs.read(AUTH_BATCHES, plan.blob, start, end - start)
            decided |= await self._offload(_GROWS * len(data or b""), _decisions, data or b"")
        if not decided.keys() >= positions:
            raise UnreadableDataError("the plan of an import")
        return decided

    async def forget_blob(self, record: ImportRecord) -> None:
        """Remove the decisions of an import that has ended; what was exceeded stays."""
        plan = await self.read(record)
        if plan is not None and plan.blob:
            await self._blobs.delete(AUTH_BATCHES, plan.blob)

    async def _written(self, plan: PlanRecord, chunks: Sequence[tuple[int, bytes]]) -> PlanRecord:
        spans: dict[int, tuple[int, int]] = {}
        at = 0
        for first, data in chunks:
            spans[first] = (at, at + len(data))
            at += len(data)
        if at <= stored.MAX_INLINE_PLAN:
            return replace(plan, chunks=spans, data=b"".join(data for _, data in chunks))
        blob = f"{plan.tenant}/plans/{plan.import_id}/{self._ids.new()}"
        await self._blobs.put(AUTH_BATCHES, blob, [data for _, data in chunks])
        return replace(plan, chunks=spans, blob=blob)

    async def _stand(self, plan: PlanRecord) -> PlanRecord:
        """Insert a plan, or read the one that was quicker."""
        with suppress(PreconditionFailedError):
            await self._tables.write(AUTH_STAGING, Insert(stored.plan_to_entity(plan)))
            return plan
        partition = stored.plan_partition(plan.tenant, plan.import_id)
        entity = await self._tables.get(AUTH_STAGING, partition, stored.PLAN_ROW)
        if entity is None:
            raise UnreadableDataError("the plan of an import")
        standing = stored.plan_from_entity(plan.tenant, plan.import_id, entity)
        if plan.blob and standing.blob != plan.blob:
            await self._blobs.delete(AUTH_BATCHES, plan.blob)
        return standing


def records_of(lines: bytes) -> list[AuthRecord]:
    """The records of a chunk's lines, in their order."""
    return [AuthRecord.unpack(index, row) for index, row in read_lines(lines)]


def _records(record: ImportRecord, lines: bytes) -> list[AuthRecord]:
    """The records of a whole payload, in the order in which they were submitted.

    A line that is broken is left out: its row fails, whatever the plan says of the others.
    """
    screened = screen_lines(lines, record.rows, _is_record)
    return sorted(records_of(screened.usable), key=lambda each: each.position)


def _is_record(index: int, row: Mapping[str, Any]) -> bool:
    return bool(AuthRecord.unpack(index, row))


def _packed(record: ImportRecord, lines: bytes, classified: Classified) -> list[tuple[int, bytes]]:
    """The decisions on each chunk that has a readable row, with the index of its first one."""
    verdicts = {verdict.record.position: verdict for verdict in classified.verdicts}
    results = {result.index: result for result in results_of(classified)}
    packed: list[tuple[int, bytes]] = []
    for chunk in record.chunks:
        indexes = [
            index for index, _ in read_texts(lines[chunk.start : chunk.end]) if index in verdicts
        ]
        rows = [
            _entry(verdicts[index], results[index], stops=bool(classified.exceeded))
            for index in indexes
        ]
        if rows:
            packed.append((indexes[0], compress_json(rows)))
    return packed


def _entry(verdict: Verdict, result: RowResult, *, stops: bool) -> list[Any]:
    writes = verdict.employee is not None and not stops
    return [pack_result(result), writes, verdict.renamed_from]


@reading("the plan of an import")
def _decisions(data: bytes) -> dict[int, Decision]:
    found: Mapping[int, Decision] = {
        packed[0]: Decision(unpack_result(packed), writes, renamed_from)
        for packed, writes, renamed_from in expand_json(data)
    }
    return dict(found)
