"""The work on the rows of an import of authentication data: by its plan, row by row (`Work`).

Each row that writes is its own commit: the employee's record with the stamp of the import, its
look-up, and for a rename the tombstone under the old id, in one transaction. A redelivered row
finds its stamp and reports what it did the first time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from shared import log
from shared.clock import to_iso
from shared.dependencies import Dependencies
from shared.errors import PreconditionFailedError, UnreadableDataError
from shared.imports.authdata import batch_records as stored
from shared.imports.authdata.answer import results_of
from shared.imports.authdata.batch_records import PlanRecord
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.model import AuthRecord, Employee
from shared.imports.authdata.rules import (
    BatchOptions,
    Classification,
    Classified,
    classify,
    merge,
    taken,
)
from shared.imports.authdata.staging import TenantRuleBook
from shared.imports.authdata.store import Employees, employee_key
from shared.imports.import_type import ReadRow
from shared.imports.json_rows import drop_broken_lines, read_lines, read_row_texts
from shared.imports.messages import Message, MessageId
from shared.imports.results import RowResult, failed, pack_result, unpack_result
from shared.services.record_processor import RecordCommitter
from shared.services.record_ranges import SMALL
from shared.services.row_processor import BeforeCommit, KeyRows, RecordOutcome, Resolver
from shared.services.stamps import (
    closed_through,
    ending,
    raise_superseded,
    recorded_results,
    stamped_record,
)
from shared.storage import business_records
from shared.storage.business_records import Stamp, StoredRecord
from shared.storage.entities import compress_json, expand_json
from shared.storage.import_records import ImportRecord
from shared.storage.names import AUTH_BATCHES, AUTH_STAGING
from shared.storage.ports import Insert, reading

# The plan of an import: what becomes of each of its rows, decided once, before the first write.
#
# A batch is decided as a whole against the store as it was before it, so its rows cannot be
# decided again once some are committed. Imports of one tenant run one after another (every
# chunk's span is the whole tenant); the first chunk whose turn it is makes the plan and inserts
# it, and whoever comes later, or comes again after a crash, works by that one. Where no plan can
# come any more (the import was cancelled, or its only chunk failed too often before there was
# one), a void plan says so: no straggler can commit a row after it was reported as failed. A
# chunk that fails too often leaves the other chunks of its import alone: they make the plan, and
# it decides about its rows too.

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
        self, dependencies: Dependencies, employees: Employees, rules: TenantRuleBook
    ) -> None:
        self._tables = dependencies.tables
        self._blobs = dependencies.blobs
        self._payloads = dependencies.payloads
        self._employees = employees
        self._rules = rules
        self._ids = dependencies.ids
        self._offload = dependencies.offload
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
        return await self._insert_or_get(await self._written(made, chunks))

    async def make_void(self, record: ImportRecord, code: int) -> PlanRecord:
        """A plan by which every row ends with `code`, unless there is a plan already."""
        return await self._insert_or_get(
            PlanRecord(record.tenant, record.import_id, {}, ended=code)
        )

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

    async def _insert_or_get(self, plan: PlanRecord) -> PlanRecord:
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
    screened = drop_broken_lines(lines, record.rows, _is_record)
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
            index
            for index, _ in read_row_texts(lines[chunk.start : chunk.end])
            if index in verdicts
        ]
        rows = [
            _entry(verdicts[index], results[index], stops=bool(classified.exceeded))
            for index in indexes
        ]
        if rows:
            packed.append((indexes[0], compress_json(rows)))
    return packed


def _entry(verdict: Classification, result: RowResult, *, stops: bool) -> list[Any]:
    writes = verdict.employee is not None and not stops
    return [pack_result(result), writes, verdict.renamed_from]


@reading("the plan of an import")
def _decisions(data: bytes) -> dict[int, Decision]:
    found: Mapping[int, Decision] = {
        packed[0]: Decision(unpack_result(packed), writes, renamed_from)
        for packed, writes, renamed_from in expand_json(data)
    }
    return dict(found)


_MOST_TRIES = 20


class AuthdataProcessor:
    """`Work` on chunks of staged records."""

    def __init__(self, dependencies: Dependencies, employees: Employees, plans: Plans) -> None:
        self._tables = dependencies.tables
        self._imports = dependencies.imports
        self._employees = employees
        self._plans = plans
        self._clock = dependencies.clock
        self._offload = dependencies.offload

    async def run(
        self, record: ImportRecord, lines: bytes, before_commit: BeforeCommit
    ) -> list[RowResult]:
        """See `Work`."""
        rows = await self._offload(len(lines), records_of, lines)
        plan = await self._plans.read(record) or await self._plans.make(record)
        if plan.ended:
            return _all_failed(rows, plan.ended)
        decisions = await self._plans.decisions(plan, rows)
        if plan.exceeded:
            await self._mark_stopped(record)
            return [decisions[row.position].result for row in rows]
        writing = [row for row in rows if decisions[row.position].writes]
        renamed = {decisions[row.position].renamed_from for row in writing} - {""}
        holders = await self._employees.stored_under(record.tenant, renamed)
        commit = _Commit(record, writing, decisions, holders, self._clock.now())
        settled = await self._settle(record, commit.resolve, writing, before_commit)
        return [settled.get(row.position) or decisions[row.position].result for row in rows]

    async def end(self, record: ImportRecord, lines: bytes, code: int) -> list[RowResult]:
        """See `Work`. No other chunk of the import ends with this one, unless all were cancelled.

        Without a plan, or with one that cannot be read, any row with an id may be committed by a
        straggler or have been committed, so each of them is looked at.
        """
        rows = await self._offload(len(lines), records_of, lines)
        writing = [row for row in rows if row.employee_id is not None and not row.is_faulty]
        try:
            plan = await self._plans.read(record)
            if plan is None and (code == MessageId.CANCELLED or len(record.chunks) == 1):
                plan = await self._plans.make_void(record, code)
            if plan is not None and plan.ended:
                return _all_failed(rows, plan.ended)
            if plan is not None:
                decisions = await self._plans.decisions(plan, rows)
                if plan.exceeded:
                    await self._mark_stopped(record)
                    return [decisions[row.position].result for row in rows]
                writing = [row for row in rows if decisions[row.position].writes]
        except UnreadableDataError as error:
            log.failure("plan.unreadable", error, import_id=record.import_id)
        resolve = ending(
            record, Message(code), await closed_through(self._imports, AUTHDATA, record)
        )
        settled: dict[int, RowResult] = {}
        for some in _apart(writing):
            settled |= await self._settle(record, resolve, some, _never_stops)
        ended = {each.index: each for each in _all_failed(rows, code)}
        return [settled.get(row.position) or ended[row.position] for row in rows]

    def is_readable(self, index: int, row: Mapping[str, Any]) -> bool:
        """See `Work`."""
        record = AuthRecord.unpack(index, row)
        return all(
            text is None or isinstance(text, str) for text in (record.employee_id, record.status)
        )

    async def _settle(
        self,
        record: ImportRecord,
        resolve: Resolver,
        rows: Sequence[AuthRecord],
        before_commit: BeforeCommit,
    ) -> dict[int, RowResult]:
        keys = sorted(
            (_key_rows(record.tenant, row) for row in rows), key=lambda each: each.key.row
        )
        settler = RecordCommitter(
            self._tables,
            AUTHDATA.table,
            resolve,
            before_commit,
            record.import_id,
            self._offload,
            record.number,
            one_in=SMALL,
        )
        return {result.index: result for result in await settler.settle(keys)}

    async def _mark_stopped(self, record: ImportRecord) -> None:
        """A threshold has stopped the import: it ends as cancelled (docs/contracts.md#5)."""
        for _ in range(_MOST_TRIES):
            current = await self._imports.read(record.tenant, record.number)
            if current is None or current.is_cancelled or not current.is_open:
                return
            if await self._imports.cancel(current, to_iso(self._clock.now())):
                return
        raise PreconditionFailedError("the record of an import keeps changing")


class _Commit:
    """What becomes of the records that a chunk writes; pure."""

    def __init__(
        self,
        record: ImportRecord,
        rows: Sequence[AuthRecord],
        decisions: Mapping[int, Decision],
        holders: Mapping[str, StoredRecord],
        now: datetime,
    ) -> None:
        self._record = record
        self._rows = {row.position: row for row in rows}
        self._decisions = decisions
        self._holders = holders
        self._moment = to_iso(now)

    def resolve(self, keyed: KeyRows, stored: StoredRecord | None) -> RecordOutcome:
        """The writes of one row, or what a handler before this one did."""
        (read,) = keyed.rows
        before = recorded_results(self._record, keyed, stored)
        if before is not None:
            return RecordOutcome(before)
        row, decision = self._rows[read.index], self._decisions[read.index]
        holder = self._holder(decision)
        after = _after(row, stored, holder)
        written = self._written(keyed, decision, stored, holder, after)
        operations = business_records.writing(written, stored)
        if holder is not None:
            operations += business_records.writing(self._left_behind(holder, read.index), holder)
        return RecordOutcome((decision.result,), tuple(operations))

    def _holder(self, decision: Decision) -> StoredRecord | None:
        """The record under the old id. A later import may have taken it: then this is old news."""
        if not decision.renamed_from:
            return None
        holder = self._holders.get(decision.renamed_from)
        if holder is not None and holder.stamp.number > self._record.number:
            raise_superseded(self._record)
        if holder is not None and holder.is_broken:
            raise UnreadableDataError("the employee of a rename")
        if holder is None or holder.document is None:
            raise RuntimeError("the employee of a rename is not there")
        return holder

    def _left_behind(self, holder: StoredRecord, index: int) -> StoredRecord:
        """The tombstone under the old id; it keeps stragglers from bringing the employee back."""
        return StoredRecord(
            key=holder.key,
            document=None,
            stamp=Stamp.of(self._record.number, index, ()),
            ended=holder.ended,
            updated_at=self._moment,
        )

    def _written(
        self,
        keyed: KeyRows,
        decision: Decision,
        stored: StoredRecord | None,
        holder: StoredRecord | None,
        after: Employee,
    ) -> StoredRecord:
        triple = after.triple
        return stamped_record(
            keyed.key,
            after.document(),
            Stamp.of(self._record.number, decision.result.index, (decision.result,)),
            stored,
            self._moment,
            renamed=holder,
            lookups=() if triple is None else (triple,),
            columns={"EmployeeId": after.employee_id, "EmployeeStatus": after.status or ""},
        )


def _after(row: AuthRecord, stored: StoredRecord | None, holder: StoredRecord | None) -> Employee:
    """The employee as the row leaves it; the plan has found that this is possible."""
    if holder is not None and holder.document is not None:
        return taken(row, Employee.of(holder.document).status)
    if stored is None or stored.document is None:
        return taken(row)
    merged = merge(Employee.of(stored.document), row)
    if merged is None:
        raise RuntimeError("values that were to be completed are under another key")
    return merged.employee


def _key_rows(tenant: str, row: AuthRecord) -> KeyRows:
    assert row.employee_id is not None, "a record without an id writes nothing"
    read = ReadRow(row.position, (row.employee_id,), {}, ())
    return KeyRows(employee_key(tenant, row.employee_id), (read,))


def _apart(rows: Sequence[AuthRecord]) -> list[list[AuthRecord]]:
    """The first row of each employee, then the others: no transaction writes a record twice.

    Once the first row has marked the record, the others find the mark and write nothing.
    """
    firsts: dict[str | None, AuthRecord] = {}
    others = [row for row in rows if firsts.setdefault(row.employee_id, row) is not row]
    return [list(firsts.values()), others]


def _all_failed(rows: Sequence[AuthRecord], code: int) -> list[RowResult]:
    return [failed(row.position, (row.employee_id,), Message(code)) for row in rows]


async def _never_stops() -> None:
    """Ending rows has no time limit of its own: it writes one small thing per record."""
