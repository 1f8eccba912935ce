"""The row processor of undos of authentication data (docs/contracts.md#9).

A row of an undo names an employee, and the ids under which its row had removed or restored an
employee: a rename concerns two ids, which go back in one transaction. What an employee was before
the undone import is kept with the record that the import wrote, also where that is under another
id; the employee id in it says where it belongs. Hashes come back as they were stored.

Each combination of three values belongs to one employee at most, so an employee whose former values
another one has by now stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.clock import to_iso
from shared.errors import UnreadableDataError
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.model import EMPLOYEE_ID, FIELDS, Employee
from shared.imports.authdata.store import Employees, employee_key
from shared.imports.former_values import FormerRecord, FormerState
from shared.imports.import_type import Document, ReadRow
from shared.imports.json_rows import read_lines
from shared.imports.merge_rules import fail_all_rows
from shared.imports.messages import UNREADABLE_ROW, Message, MessageId
from shared.imports.results import Outcome, RowResult, failed
from shared.services import undo_rules
from shared.services.record_processor import RecordCommitter
from shared.services.row_processor import (
    BeforeCommit,
    KeyRows,
    ProcessorContext,
    RecordOutcome,
    Resolver,
)
from shared.services.stamps import closed_through, ending, recorded_results, undone_record
from shared.storage import business_records
from shared.storage.business_records import (
    SMALL,
    RecordKey,
    Stamp,
    StoredRecord,
    load_lookups,
)
from shared.storage.entities import decode, encode
from shared.storage.former_columns import Spilled, former_values
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Operation

TAKEN_SINCE = "another employee has its former values by now"
_BYTES_PER_ROW = 500


@dataclass(frozen=True, slots=True)
class UndoneRow:
    """A row of an undo: its employee's id, and all ids that its row concerned, this one first.

    No two rows have an id in common, since an import matches an employee with one row.
    """

    index: int
    employee_id: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UndoneEmployees:
    """The records under all ids of some rows, with what each was before the import that wrote it,
    and the holders of the values that would come back.
    """

    stored: Mapping[str, StoredRecord]
    former: Mapping[RecordKey, tuple[FormerState, FormerRecord | None]]
    # Records by the name of a combination of values.
    holders: Mapping[str, StoredRecord]

    def former_of(self, stored: StoredRecord | None) -> tuple[FormerState, FormerRecord | None]:
        """What is known of a record before the import of its stamp."""
        if stored is None:
            return FormerState.LOST, None
        return self.former.get(stored.key, (FormerState.LOST, None))


def read_undone_rows(lines: bytes) -> tuple[list[UndoneRow], list[RowResult]]:
    """The rows of a chunk in their order, and the results of those of another shape."""
    rows: list[UndoneRow] = []
    broken: list[RowResult] = []
    for index, line in read_lines(lines):
        ids = [
            line.get(EMPLOYEE_ID),
            *line.get(undo_rules.REMOVED, ()),
            *line.get(undo_rules.RESTORED, ()),
        ]
        if all(isinstance(each, str) for each in ids):
            rows.append(UndoneRow(index, ids[0], tuple(dict.fromkeys(ids))))
        else:
            fault = Message(MessageId.COULD_NOT_BE_PROCESSED, detail=UNREADABLE_ROW)
            broken.append(failed(index, (None,), fault))
    return rows, broken


class AuthdataUndoProcessor:
    """The row processor of undos of authentication data."""

    def __init__(self, context: ProcessorContext) -> None:
        self._context = context
        self._employees = Employees(context.tables, context.offload)

    async def run(
        self, record: ImportRecord, lines: bytes, before_commit: BeforeCommit
    ) -> list[RowResult]:
        """See `RowProcessor`."""
        rows, broken = await self._context.offload(len(lines), read_undone_rows, lines)
        employees = await self._load(record, rows)
        resolve = UndoResolver(record, rows, employees, self._context).resolve
        results = await self._commit(record, resolve, rows, before_commit)
        return _in_order(rows, results) + broken

    async def end(self, record: ImportRecord, lines: bytes, code: int) -> list[RowResult]:
        """See `RowProcessor`."""
        rows, broken = await self._context.offload(len(lines), read_undone_rows, lines)
        through = await closed_through(self._context.imports, AUTHDATA, record)
        resolve = ending(record, Message(code), through)
        results = await self._commit(record, resolve, rows, _never_abort)
        ended = [failed(each.index, each.key, Message(code)) for each in broken]
        return _in_order(rows, results) + ended

    def is_readable(self, index: int, row: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """See `RowProcessor`. A row of another shape fails when it is run."""
        return True

    async def _load(self, record: ImportRecord, rows: Sequence[UndoneRow]) -> UndoneEmployees:
        ids = {each for row in rows for each in row.ids}
        stored = await self._employees.load_stored(record.tenant, ids)
        former = {
            each.key: await former_values(self._context.blobs, each)
            for each in stored.values()
            if each.stamp.number == record.undoes.number and not each.is_broken
        }
        triples = {
            triple
            for _, target in former.values()
            if target is not None and (triple := _triple_of(target.document)) is not None
        }
        references = await load_lookups(
            self._context.tables, AUTHDATA.table, encode(record.tenant), sorted(triples)
        )
        names = {triple: decode(reference) for triple, reference in references.items()}
        others = await self._employees.load_stored(record.tenant, set(names.values()) - ids)
        everyone = {**stored, **others}
        former |= {
            each.key: await former_values(self._context.blobs, each)
            for each in others.values()
            if each.stamp.number == record.undoes.number and not each.is_broken
        }
        holders = {
            triple: everyone[name]
            for triple, name in names.items()
            if name in everyone and _triple_of(everyone[name].document) == triple
        }
        return UndoneEmployees(stored, former, holders)

    async def _commit(
        self,
        record: ImportRecord,
        resolve: Resolver,
        rows: Sequence[UndoneRow],
        before_commit: BeforeCommit,
    ) -> list[RowResult]:
        keys = [
            KeyRows(
                employee_key(record.tenant, row.employee_id),
                (ReadRow(row.index, (row.employee_id,), {}, ()),),
            )
            for row in rows
        ]
        committer = RecordCommitter(
            self._context.tables,
            self._context.blobs,
            AUTHDATA.table,
            resolve,
            before_commit,
            record.import_id,
            self._context.offload,
            record.number,
            one_in=SMALL,
        )
        return await committer.commit(sorted(keys, key=lambda each: each.key.row))


class UndoResolver:
    """Resolves the rows of an undo to writes; pure."""

    def __init__(
        self,
        record: ImportRecord,
        rows: Iterable[UndoneRow],
        employees: UndoneEmployees,
        context: ProcessorContext,
    ) -> None:
        self._record = record
        self._rows = {row.index: row for row in rows}
        self._employees = employees
        self._now = to_iso(context.clock.now())
        self._on_change = context.on_change

    def resolve(self, keyed: KeyRows, own: StoredRecord | None) -> RecordOutcome:
        """The writes of one row, or the results that an earlier handler has recorded."""
        (read,) = keyed.rows
        recorded = recorded_results(self._record, keyed, own)
        if recorded is not None:
            return RecordOutcome(recorded)
        if own is not None and undo_rules.is_reversed(self._record, own.stamp.number):
            unchanged = Message(MessageId.NOTHING_TO_CHANGE)
            return RecordOutcome(
                (RowResult(read.index, read.key, Outcome.UNCHANGED, (unchanged,)),)
            )
        row = self._rows[read.index]
        employees = {
            name: own if name == row.employee_id else self._employees.stored.get(name)
            for name in row.ids
        }
        if any(each is not None and each.is_broken for each in employees.values()):
            raise UnreadableDataError("an employee of a rename")
        targets, fault = self._targets(employees)
        if fault is not None:
            return RecordOutcome(fail_all_rows(keyed.rows, fault))
        return self._put_back(row, employees, targets)

    def _targets(
        self, undone: Mapping[str, StoredRecord | None]
    ) -> tuple[Mapping[str, FormerRecord], Message | None]:
        """What comes back under which id, or why nothing does; no other id had an employee."""
        targets: dict[str, FormerRecord] = {}
        for stored in undone.values():
            state, former = self._employees.former_of(stored)
            number = None if stored is None else stored.stamp.number
            fault = undo_rules.refusal(self._record, number, state)
            if former is not None and former.document[EMPLOYEE_ID] not in undone:
                # Without its id the employee would be lost.
                fault = fault or Message(MessageId.FORMER_VALUES_NOT_KEPT)
            if fault is not None:
                return {}, fault
            if former is not None:
                targets[former.document[EMPLOYEE_ID]] = former
        for name, former in targets.items():
            holder = self._employees.holders.get(_triple_of(former.document) or "")
            if holder is not None and self._keeps_values(holder, name, undone):
                return {}, Message(MessageId.CHANGED_SINCE_UNDONE_IMPORT, detail=TAKEN_SINCE)
        return targets, None

    def _keeps_values(
        self, holder: StoredRecord, name: str, undone: Mapping[str, StoredRecord | None]
    ) -> bool:
        """Whether another employee keeps the values that an employee of that id had."""
        own_id = decode(holder.key.row.removeprefix("r|"))
        if own_id == name or own_id in undone:
            return False
        if holder.is_broken or holder.stamp.number != self._record.undoes.number:
            return True
        # The undo puts it back too, and what it was before had other values.
        state, _ = self._employees.former_of(holder)
        return state in (FormerState.LOST, FormerState.EXPIRED)

    def _put_back(
        self,
        row: UndoneRow,
        undone: Mapping[str, StoredRecord | None],
        targets: Mapping[str, FormerRecord],
    ) -> RecordOutcome:
        own = undone[row.employee_id]
        comes_back = own is not None and own.document is None and row.employee_id in targets
        result = RowResult(
            row.index,
            (row.employee_id,),
            Outcome.NEW if comes_back else Outcome.UPDATED,
            removed=tuple(name for name in undone if name not in targets),
            restored=tuple(
                name
                for name, stored in undone.items()
                if name in targets
                and name != row.employee_id
                and (stored is None or stored.document is None)
            ),
        )
        spilled: Spilled = {}
        operations: list[Operation] = []
        for name, stored in undone.items():
            if stored is not None:
                operations += self._write(row, name, stored, targets.get(name), result, spilled)
        if self._on_change is not None:
            target = targets.get(row.employee_id)
            before = None if own is None else own.document
            after = None if target is None else target.document
            self._on_change(row.index, _contract_fields(before), _contract_fields(after))
        return RecordOutcome((result,), tuple(operations), spilled=spilled)

    def _write(
        self,
        row: UndoneRow,
        name: str,
        stored: StoredRecord,
        target: FormerRecord | None,
        result: RowResult,
        spilled: Spilled,
    ) -> Iterator[Operation]:
        results = [result] if name == row.employee_id else []
        number, import_id = self._record.number, self._record.import_id
        stamp = Stamp.from_results(number, row.index, results, import_id)
        new_record = undone_record(target, stamp, stored, self._now)
        if target is not None:
            employee = Employee.from_document(target.document)
            triple = employee.triple
            new_record = replace(
                new_record,
                lookups=() if triple is None else (triple,),
                columns={
                    "EmployeeId": employee.employee_id,
                    "EmployeeStatus": employee.status or "",
                },
            )
        yield from business_records.writing(new_record, stored, spilled)


def _in_order(rows: Sequence[UndoneRow], results: Sequence[RowResult]) -> list[RowResult]:
    by_index = {result.index: result for result in results}
    return [by_index[row.index] for row in rows if row.index in by_index]


def _contract_fields(document: Document | None) -> Document | None:
    """Without the name of the key of its hashes."""
    if document is None:
        return None
    return {name: document[name] for name in FIELDS if name in document}


def _triple_of(document: Mapping[str, Any] | None) -> str | None:
    """The name of an employee's combination of values; None without values."""
    return None if document is None else Employee.from_document(dict(document)).triple


async def _never_abort() -> None:
    """Ending rows has no time limit, because it writes little for each record."""
