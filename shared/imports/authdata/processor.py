"""The row processor of authentication data: it carries out the plan of an import row by row.

Each row that writes is one transaction: the employee's record with the stamp of the import, its
look-up, and for a rename the tombstone under the old id. A redelivered row finds its stamp and
returns its first result.
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
from shared.imports.authdata import batch_records
from shared.imports.authdata.answer import results_of
from shared.imports.authdata.batch_records import PlanRecord
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.model import AuthRecord, Employee
from shared.imports.authdata.rules import (
    BatchClassification,
    BatchOptions,
    classify,
    make_employee,
    merge,
)
from shared.imports.authdata.staging import TenantRuleBook
from shared.imports.authdata.store import Employees, employee_key
from shared.imports.import_type import ReadRow
from shared.imports.json_rows import drop_broken_lines, read_lines, read_row_texts
from shared.imports.messages import Message, MessageId
from shared.imports.results import RowResult, failed, pack_result, unpack_result
from shared.services.record_processor import RecordCommitter
from shared.services.row_processor import BeforeCommit, KeyRows, RecordOutcome, Resolver
from shared.services.stamps import (
    closed_through,
    ending,
    raise_superseded,
    recorded_results,
    stamped_record,
)
from shared.storage import business_records
from shared.storage.business_records import SMALL, Stamp, StoredRecord
from shared.storage.entities import compress_json, expand_json
from shared.storage.import_records import ImportRecord
from shared.storage.names import AUTH_BATCHES, AUTH_STAGING
from shared.storage.ports import Insert, reading

# The plan of an import has the decision on each of its rows, made once, before the first write.
#
# A batch is decided as a whole against the employees that were stored before it, so its rows cannot
# be decided again once some are committed. Imports of one tenant run in order (every chunk's span
# is the whole tenant). The first chunk makes and inserts the plan; later chunks, and a handler that
# starts again after a crash, use the same plan. Where no plan can be made any more (the import was
# cancelled, or its only chunk failed too often before), a void plan is inserted, so that no
# straggler can commit a row that was reported as failed. A chunk that fails too often does not stop
# the other chunks of its import; they make the plan, which also decides its rows.

_UNPACKED_FACTOR = 6


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision on a row: its result once it is committed, and whether the row writes.

    `renamed_from` is the employee's former id, "" where it is not renamed.
    """

    result: RowResult
    writes: bool = False
    renamed_from: str = ""


@dataclass(slots=True)
class _Making:
    """A plan that is being made, and how many handlers wait for it."""

    task: asyncio.Task[PlanRecord]
    handlers: int = 0


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
        self._making: dict[str, _Making] = {}

    async def read(self, record: ImportRecord) -> PlanRecord | None:
        """The plan of an import; None before it is made."""
        partition = batch_records.plan_partition(record.tenant, record.import_id)
        entity = await self._tables.get(AUTH_STAGING, partition, batch_records.PLAN_ROW)
        if entity is None:
            return None
        return batch_records.plan_from_entity(record.tenant, record.import_id, entity)

    async def get_or_make(self, record: ImportRecord) -> PlanRecord:
        """Make the plan of an import, or return the plan that another handler has inserted.

        Chunks of an import that run in one process make it once.
        """
        making = self._making.get(record.import_id)
        if making is None:
            task = asyncio.create_task(self._create_plan(record))
            making = self._making[record.import_id] = _Making(task)
            task.add_done_callback(lambda done: self._forget(record.import_id, done))
        making.handlers += 1
        try:
            return await asyncio.shield(making.task)
        finally:
            making.handlers -= 1
            if not making.handlers and not making.task.done():
                # Every handler was broken off. Nothing of them may write after their end.
                self._making.pop(record.import_id, None)
                making.task.cancel()
                await asyncio.wait([making.task])

    def _forget(self, import_id: str, done: asyncio.Task[PlanRecord]) -> None:
        making = self._making.get(import_id)
        if making is not None and making.task is done:
            del self._making[import_id]
        if not done.cancelled():
            done.exception()

    async def _create_plan(self, record: ImportRecord) -> PlanRecord:
        rules = await self._rules.for_tenant(record.tenant)
        lines = await self._payloads.whole(record)
        records = await self._offload(len(lines), _read_records, record, lines)
        is_counted = rules.thresholds.needs_stored_count
        stored = await self._employees.load_for_records(
            record.tenant, records, is_counted=is_counted
        )
        options = BatchOptions(rules.thresholds)
        classified = await self._offload(len(lines), classify, records, stored, options)
        plan = PlanRecord(record.tenant, record.import_id, {}, classified.exceeded)
        chunks = await self._offload(len(lines), _pack_decisions, record, lines, classified)
        return await self._insert_or_get(await self._store_decisions(plan, chunks))

    async def create_void(self, record: ImportRecord, code: int) -> PlanRecord:
        """Insert a plan that ends every row with `code`, unless the import has a plan."""
        return await self._insert_or_get(
            PlanRecord(record.tenant, record.import_id, {}, ended=code)
        )

    async def read_decisions(
        self, plan: PlanRecord, rows: Sequence[AuthRecord]
    ) -> dict[int, Decision]:
        """The decisions on a chunk's rows, by index.

        Raises UnreadableDataError where one is missing.
        """
        positions = {row.position for row in rows}
        decisions: dict[int, Decision] = {}
        # The chunk's first row differs where a line has become unreadable since the plan was made.
        for first in [first for first in plan.chunks if first in positions] or plan.chunks:
            start, end = plan.chunks[first]
            data: bytes | None = plan.data[start:end]
            if plan.blob:
                data = await self._blobs.read(AUTH_BATCHES, plan.blob, start, end - start)
            decisions |= await self._offload(
                _UNPACKED_FACTOR * len(data or b""), _unpack_decisions, data or b""
            )
        if not decisions.keys() >= positions:
            raise UnreadableDataError("the plan of an import")
        return decisions

    async def forget_blob(self, record: ImportRecord) -> None:
        """Remove the decisions of an ended import; the exceeded thresholds remain."""
        plan = await self.read(record)
        if plan is not None and plan.blob:
            await self._blobs.delete(AUTH_BATCHES, plan.blob)

    async def _store_decisions(
        self, plan: PlanRecord, chunks: Sequence[tuple[int, bytes]]
    ) -> PlanRecord:
        spans: dict[int, tuple[int, int]] = {}
        offset = 0
        for first, data in chunks:
            spans[first] = (offset, offset + len(data))
            offset += len(data)
        if offset <= batch_records.MAX_INLINE_PLAN:
            return replace(plan, chunks=spans, data=b"".join(data for _, data in chunks))
        blob = f"{plan.tenant}/plans/{plan.import_id}/{self._ids.new()}"
        await self._blobs.put(AUTH_BATCHES, blob, [data for _, data in chunks])
        return replace(plan, chunks=spans, blob=blob)

    async def _insert_or_get(self, plan: PlanRecord) -> PlanRecord:
        """Insert a plan, or return the plan that another handler has inserted."""
        with suppress(PreconditionFailedError):
            await self._tables.write(AUTH_STAGING, Insert(batch_records.plan_to_entity(plan)))
            return plan
        partition = batch_records.plan_partition(plan.tenant, plan.import_id)
        entity = await self._tables.get(AUTH_STAGING, partition, batch_records.PLAN_ROW)
        if entity is None:
            raise UnreadableDataError("the plan of an import")
        existing = batch_records.plan_from_entity(plan.tenant, plan.import_id, entity)
        if plan.blob and existing.blob != plan.blob:
            await self._blobs.delete(AUTH_BATCHES, plan.blob)
        return existing


def records_of(lines: bytes) -> list[AuthRecord]:
    """The records of a chunk's lines, in their order."""
    return [AuthRecord.unpack(index, row) for index, row in read_lines(lines)]


def _read_records(record: ImportRecord, lines: bytes) -> list[AuthRecord]:
    """The records of a whole payload, in the order of submission.

    Broken lines are dropped; their rows fail, and the plan decides the others.
    """
    readable = drop_broken_lines(lines, record.rows, _is_record)
    return sorted(records_of(readable.usable), key=lambda item: item.position)


def _is_record(index: int, row: Mapping[str, Any]) -> bool:
    return bool(AuthRecord.unpack(index, row))


def _pack_decisions(
    record: ImportRecord, lines: bytes, classified: BatchClassification
) -> list[tuple[int, bytes]]:
    """The decisions on each chunk with readable rows, and the index of the first of them."""
    classifications = {
        classification.record.position: classification
        for classification in classified.classifications
    }
    results = {result.index: result for result in results_of(classified)}
    contents: list[tuple[int, bytes]] = []
    for chunk in record.chunks:
        indexes = [
            index
            for index, _ in read_row_texts(lines[chunk.start : chunk.end])
            if index in classifications
        ]
        rows = [
            [
                pack_result(results[index]),
                classifications[index].employee is not None and not classified.exceeded,
                classifications[index].renamed_from,
            ]
            for index in indexes
        ]
        if rows:
            contents.append((indexes[0], compress_json(rows)))
    return contents


@reading("the plan of an import")
def _unpack_decisions(data: bytes) -> dict[int, Decision]:
    return {
        packed[0]: Decision(unpack_result(packed), writes, renamed_from)
        for packed, writes, renamed_from in expand_json(data)
    }


_MAX_TRIES = 20


class AuthdataProcessor:
    """The row processor of chunks of staged records."""

    def __init__(self, dependencies: Dependencies, employees: Employees, plans: Plans) -> None:
        self._tables = dependencies.tables
        self._blobs = dependencies.blobs
        self._imports = dependencies.imports
        self._employees = employees
        self._plans = plans
        self._clock = dependencies.clock
        self._offload = dependencies.offload

    async def run(
        self, record: ImportRecord, lines: bytes, before_commit: BeforeCommit
    ) -> list[RowResult]:
        rows = await self._offload(len(lines), records_of, lines)
        plan = await self._plans.read(record) or await self._plans.get_or_make(record)
        if plan.ended:
            return _fail_all_rows(rows, plan.ended)
        decisions = await self._plans.read_decisions(plan, rows)
        if plan.exceeded:
            await self._mark_stopped(record)
            return [decisions[row.position].result for row in rows]
        writing_rows = [row for row in rows if decisions[row.position].writes]
        renamed = {decisions[row.position].renamed_from for row in writing_rows} - {""}
        holders = await self._employees.load_stored(record.tenant, renamed)
        commit = _RecordResolver(record, writing_rows, decisions, holders, self._clock.now())
        results_by_index = await self._commit_rows(
            record, commit.resolve, writing_rows, before_commit
        )
        return [
            results_by_index.get(row.position) or decisions[row.position].result for row in rows
        ]

    async def end(self, record: ImportRecord, lines: bytes, code: int) -> list[RowResult]:
        """End the rows of a chunk; the other chunks continue, unless the import was cancelled.

        Without a readable plan a straggler may have committed any row with an id, or may still do
        so. So this reads the stored record of each of them.
        """
        rows = await self._offload(len(lines), records_of, lines)
        writing_rows = [row for row in rows if row.employee_id is not None and not row.has_error]
        try:
            plan = await self._plans.read(record)
            if plan is None and (code == MessageId.CANCELLED or len(record.chunks) == 1):
                plan = await self._plans.create_void(record, code)
            if plan is not None and plan.ended:
                return _fail_all_rows(rows, plan.ended)
            if plan is not None:
                decisions = await self._plans.read_decisions(plan, rows)
                if plan.exceeded:
                    await self._mark_stopped(record)
                    return [decisions[row.position].result for row in rows]
                writing_rows = [row for row in rows if decisions[row.position].writes]
        except UnreadableDataError as error:
            log.failure("plan.unreadable", error, import_id=record.import_id)
        resolve = ending(
            record, Message(code), await closed_through(self._imports, AUTHDATA, record)
        )
        results_by_index: dict[int, RowResult] = {}
        for batch in _split_repeated(writing_rows):
            results_by_index |= await self._commit_rows(record, resolve, batch, _never_abort)
        failures = {result.index: result for result in _fail_all_rows(rows, code)}
        return [results_by_index.get(row.position) or failures[row.position] for row in rows]

    def is_readable(self, index: int, row: Mapping[str, Any]) -> bool:
        record = AuthRecord.unpack(index, row)
        return all(
            text is None or isinstance(text, str) for text in (record.employee_id, record.status)
        )

    async def _commit_rows(
        self,
        record: ImportRecord,
        resolve: Resolver,
        rows: Sequence[AuthRecord],
        before_commit: BeforeCommit,
    ) -> dict[int, RowResult]:
        keys = sorted(
            (_key_rows(record.tenant, row) for row in rows), key=lambda each: each.key.row
        )
        committer = RecordCommitter(
            self._tables,
            self._blobs,
            AUTHDATA.table,
            resolve,
            before_commit,
            record.import_id,
            self._offload,
            record.number,
            one_in=SMALL,
        )
        return {result.index: result for result in await committer.commit(keys)}

    async def _mark_stopped(self, record: ImportRecord) -> None:
        """A threshold has stopped the import: it ends as cancelled (docs/contracts.md#5)."""
        for _ in range(_MAX_TRIES):
            current = await self._imports.read(record.tenant, record.number)
            if current is None or current.is_cancelled or not current.is_open:
                return
            if await self._imports.cancel(current, to_iso(self._clock.now())):
                return
        raise PreconditionFailedError("the record of an import keeps changing")


class _RecordResolver:
    """Resolves the rows of a chunk to writes; pure."""

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
        self._now = to_iso(now)

    def resolve(self, keyed: KeyRows, stored_record: StoredRecord | None) -> RecordOutcome:
        """The writes of one row, or the results that an earlier handler has recorded."""
        (read,) = keyed.rows
        before = recorded_results(self._record, keyed, stored_record)
        if before is not None:
            return RecordOutcome(before)
        row, decision = self._rows[read.index], self._decisions[read.index]
        holder = self._find_holder(decision)
        employee = _resulting_employee(row, stored_record, holder)
        new_record = self._new_record(keyed, decision, stored_record, holder, employee)
        operations = business_records.writing(new_record, stored_record)
        if holder is not None:
            # The tombstone under the old id prevents stragglers from restoring the employee.
            tombstone = StoredRecord(
                key=holder.key,
                document=None,
                stamp=self._stamp(read.index),
                ended=holder.ended,
                updated_at=self._now,
                former=holder.before_import(self._record.number),
            )
            operations += business_records.writing(tombstone, holder)
        return RecordOutcome((decision.result,), tuple(operations))

    def _find_holder(self, decision: Decision) -> StoredRecord | None:
        """The record under the old id. Raises where a later import has changed it."""
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

    def _stamp(self, index: int, *results: RowResult) -> Stamp:
        return Stamp.from_results(self._record.number, index, results, self._record.import_id)

    def _new_record(
        self,
        keyed: KeyRows,
        decision: Decision,
        stored_record: StoredRecord | None,
        holder: StoredRecord | None,
        employee: Employee,
    ) -> StoredRecord:
        triple = employee.triple
        return stamped_record(
            keyed.key,
            employee.document(),
            self._stamp(decision.result.index, decision.result),
            stored_record,
            self._now,
            renamed=holder,
            lookups=() if triple is None else (triple,),
            columns={"EmployeeId": employee.employee_id, "EmployeeStatus": employee.status or ""},
        )


def _resulting_employee(
    row: AuthRecord, stored_record: StoredRecord | None, holder: StoredRecord | None
) -> Employee:
    """The employee that results from the row; the plan has checked that this is possible."""
    if holder is not None and holder.document is not None:
        return make_employee(row, Employee.from_document(holder.document).status)
    if stored_record is None or stored_record.document is None:
        return make_employee(row)
    merged = merge(Employee.from_document(stored_record.document), row)
    if merged is None:
        raise RuntimeError("values that were to be completed are under another key")
    return merged.employee


def _key_rows(tenant: str, row: AuthRecord) -> KeyRows:
    assert row.employee_id is not None, "a record without an id writes nothing"
    read = ReadRow(row.position, (row.employee_id,), {}, ())
    return KeyRows(employee_key(tenant, row.employee_id), (read,))


def _split_repeated(rows: Sequence[AuthRecord]) -> list[list[AuthRecord]]:
    """The first row of each employee, then the others, so that no transaction writes one twice.

    Once the first row has marked the record, the others find the mark and write nothing.
    """
    firsts: dict[str | None, AuthRecord] = {}
    others = [row for row in rows if firsts.setdefault(row.employee_id, row) is not row]
    return [list(firsts.values()), others]


def _fail_all_rows(rows: Sequence[AuthRecord], code: int) -> list[RowResult]:
    return [failed(row.position, (row.employee_id,), Message(code)) for row in rows]


async def _never_abort() -> None:
    """Ending rows has no time limit, because it writes little for each record."""
