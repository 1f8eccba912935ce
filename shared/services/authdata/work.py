"""The work on the rows of an import of authentication data: by its plan, row by row (`Work`).

Each row that writes is its own commit: the employee's record with the stamp of the import, its
look-up, and for a rename the tombstone under the old id, in one transaction. A redelivered row
finds its stamp and reports what it did the first time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from shared import log
from shared.clock import Clock
from shared.errors import PreconditionFailedError, UnreadableDataError
from shared.imports.authdata.classification import merge, taken
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.records import AuthRecord, Employee
from shared.imports.definition import ReadRow
from shared.imports.messages import CANCELLED, Message
from shared.imports.outcomes import RowResult, failed
from shared.services.authdata.employees import Employees, employee_key
from shared.services.authdata.plans import Decision, Plans, records_of
from shared.services.import_log import ImportLog
from shared.services.moments import iso
from shared.services.offload import Offload
from shared.services.record_ranges import SMALL
from shared.services.settling import KeyRows, Resolver, Settlement, Settler
from shared.services.stamps import (
    closed_through,
    ending,
    raise_superseded,
    recorded_results,
)
from shared.services.work import BeforeCommit
from shared.storage import business_records
from shared.storage.business_records import NOTHING_ENDED, Stamp, StoredRecord
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Tables

_MOST_TRIES = 20


class AuthdataWork:
    """`Work` on chunks of staged records."""

    def __init__(
        self,
        *,
        tables: Tables,
        imports: ImportLog,
        employees: Employees,
        plans: Plans,
        clock: Clock,
        offload: Offload,
    ) -> None:
        self._tables = tables
        self._imports = imports
        self._employees = employees
        self._plans = plans
        self._clock = clock
        self._offload = offload

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
            if plan is None and (code == CANCELLED or len(record.chunks) == 1):
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
        settler = Settler(
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
        """A threshold has stopped the import: it ends as cancelled (CONTRACTS 5)."""
        for _ in range(_MOST_TRIES):
            current = await self._imports.read(record.tenant, record.number)
            if current is None or current.is_cancelled or not current.is_open:
                return
            if await self._imports.cancel(current, iso(self._clock.now())):
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
        self._moment = iso(now)

    def resolve(self, keyed: KeyRows, stored: StoredRecord | None) -> Settlement:
        """The writes of one row, or what a handler before this one did."""
        (read,) = keyed.rows
        before = recorded_results(self._record, keyed, stored)
        if before is not None:
            return Settlement(before)
        row, decision = self._rows[read.index], self._decisions[read.index]
        holder = self._holder(decision)
        after = _after(row, stored, holder)
        written = self._written(keyed, decision, stored, holder, after)
        operations = business_records.writing(written, stored)
        if holder is not None:
            operations += business_records.writing(self._left_behind(holder, read.index), holder)
        return Settlement((decision.result,), tuple(operations))

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
        number = self._record.number
        before = holder or (stored if stored is not None and stored.document is not None else None)
        triple = after.triple
        return StoredRecord(
            key=keyed.key,
            document=after.document(),
            stamp=Stamp.of(number, decision.result.index, (decision.result,)),
            ended=stored.ended if stored is not None else NOTHING_ENDED,
            created_by=before.created_by if before is not None else number,
            created_at=before.created_at if before is not None else self._moment,
            updated_at=self._moment,
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
