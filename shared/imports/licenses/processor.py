"""One company's rows at work: unit by unit, each transaction with its entry in the import's log.

See `work` for what the log is for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from shared import log
from shared.clock import Clock, to_iso
from shared.errors import (
    PreconditionFailedError,
    StorageUnavailableError,
    UnreadableDataError,
)
from shared.imports.import_type import Document, ReadRow
from shared.imports.json_rows import fold_names, read_line
from shared.imports.licenses import store as records
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.definition import LICENSES
from shared.imports.licenses.license_set import LicenseSet, StoredLicense
from shared.imports.licenses.model import Employee, employee_of, sent_identity
from shared.imports.licenses.row_groups import RowGroup, RowOutline, outline_row, units
from shared.imports.licenses.rules import (
    GROUP,
    NOTHING_DONE,
    LicenseRules,
    done_before,
    read_license,
    sent_key,
)
from shared.imports.licenses.silent_values import without_silent_values
from shared.imports.licenses.store import LicenseReader, LogEntry, Owner
from shared.imports.licenses.transactions import LicenseTransaction, TransactionSlice, segments
from shared.imports.merge_rules import ChangeListener
from shared.imports.messages import BROKEN_RECORD, SEND_AGAIN, Message, MessageId
from shared.imports.results import RowResult, failed
from shared.services.background import Offload
from shared.services.row_processor import BeforeCommit, SupersededError
from shared.storage.business_records import partition_of
from shared.storage.conflicts import retry_on_conflict
from shared.storage.import_records import LAST_NUMBER, ImportRecord
from shared.storage.names import IMPORT_PAYLOADS, LICENSE_DOCUMENTS
from shared.storage.partition_index import PartitionIndex
from shared.storage.ports import MAX_OPERATIONS, Blobs, Operation, Tables

# The lines of a chunk of licenses: first only what each row is about, then row by row.
#
# A chunk holds all rows of its companies, whose documents may be large, so a row is read when its
# turn comes and not before.


@dataclass
class CompanyRows:
    """The rows of one company, in the order they were sent."""

    name: str
    data: bytes
    action: LicenseAction
    rows: list[RowOutline] = field(default_factory=list)

    def read(self, row: RowOutline) -> ReadRow:
        """The whole row."""
        return read_license(row.index, self._line(row), self.action)

    def shown_key(self, row: RowOutline) -> tuple[str | None, ...]:
        """What a result shows of a row that is not read."""
        return sent_key(self._line(row))

    def _line(self, row: RowOutline) -> dict[str, Any]:
        return _row(self.data[row.start : row.end])


@dataclass(frozen=True)
class LicenseLines:
    """The rows of a chunk by company; those without one have their result already."""

    companies: Sequence[CompanyRows]
    without_company: Sequence[RowResult]
    order: Sequence[int]

    def in_order(self, results: Sequence[RowResult]) -> list[RowResult]:
        """These results in the order of the lines."""
        by_index = {result.index: result for result in results}
        return [by_index[index] for index in self.order if index in by_index]


def read_company_lines(tenant: str, data: bytes, action: LicenseAction) -> LicenseLines:
    """The rows of a chunk's lines, sketched."""
    companies: dict[str, CompanyRows] = {}
    without: list[RowResult] = []
    order: list[int] = []
    for index, start, end, row in _lines(data):
        folded = fold_names(without_silent_values(row, action))
        order.append(index)
        company = sent_identity(folded).get(GROUP)
        if company is None:
            read = read_license(index, row, action)
            without.append(failed(index, read.key, *read.messages))
            continue
        lines = companies.setdefault(company, CompanyRows(company, data, action))
        lines.rows.append(outline_row(tenant, index, start, end, folded))
    return LicenseLines(list(companies.values()), without, order)


def _lines(data: bytes) -> Iterator[tuple[int, int, int, dict[str, Any]]]:
    """Index of the row in each line (`Payload.line`), start and end of its JSON, and the row.

    Raises UnreadablePayloadError.
    """
    position = 0
    while position < len(data):
        end = data.find(b"\n", position)
        end = len(data) if end < 0 else end
        index, row = read_line(data[position:end])
        yield index, data.index(b"\t", position) + 1, end, row
        position = end + 1


def _row(line: bytes) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(line, parse_float=Decimal)
    return row


_SLICE_ROWS = 250
_SLICE_BYTES = 4 * 1024 * 1024
_MOST_CONFLICTS = 20
_TOO_MANY_WRITERS = "the licenses of a company are written by too many at once"
_BYTES_OF_ROW = 500
# About what a part comes to, for the choice of a thread.
_BYTES_OF_PART = 50_000
# How often the licenses of further employees are read, before a row that needs more fails.
_MOST_LOOKS = 10
# Results in one entry of the log: even keys that were drawn at random leave it small enough.
_ENDED_AT_ONCE = 2_000


class _MoreEmployeesError(Exception):
    """Licenses of employees that were not read decide about some rows: begin again with them."""


@dataclass
class CompanyProcessor:
    """The rows of one company in a chunk."""

    record: ImportRecord
    company: CompanyRows
    tables: Tables
    blobs: Blobs
    clock: Clock
    offload: Offload
    on_change: ChangeListener | None
    most_writes: int
    knows_made_keys: bool = False

    def __post_init__(self) -> None:
        self.partition = partition_of(self.record.tenant, self.company.name)
        self.reader = LicenseReader(self.tables, LICENSES.table, self.partition)
        self.log: list[LogEntry] = []
        self.results: dict[int, RowResult] = {}
        self.done = NOTHING_DONE
        self.also: dict[int, set[Employee]] = {}
        self.looks = 0

    async def run(self, before_commit: BeforeCommit) -> list[RowResult]:
        """Bring every row to its result; begins again behind the log where somebody else wrote."""
        for _ in range(_MOST_CONFLICTS):
            length = len(self.log)
            try:
                await self._read_log()
                await self._work_on(before_commit)
            except PreconditionFailedError:
                self.knows_made_keys = self.knows_made_keys or len(self.log) == length
                continue
            except _MoreEmployeesError:
                continue
            await self._remove_obsolete()
            return list(self.results.values())
        raise StorageUnavailableError(_TOO_MANY_WRITERS)

    @retry_on_conflict(_MOST_CONFLICTS, lambda: StorageUnavailableError(_TOO_MANY_WRITERS))
    async def end(self, message: Message) -> list[RowResult]:
        """Rows without an entry in the log end with `message`; the log is closed by that."""
        await self._read_log()
        rest = await self.offload(len(self.company.data), self._ended, message)
        for at in range(0, len(rest), _ENDED_AT_ONCE):
            await self._append(LicenseTransaction(rest[at : at + _ENDED_AT_ONCE]))
        await self._remove_obsolete()
        return list(self.results.values())

    def _ended(self, message: Message) -> list[RowResult]:
        return [
            failed(row.index, self.company.shown_key(row), message)
            for row in self.company.rows
            if row.index not in self.results
        ]

    async def _read_log(self) -> None:
        """Take over what is committed, and carry out what was left half done."""
        self.log = await self.reader.log(self.record.number)
        half_done = records.unfinished(self.log)
        if half_done is not None:
            begin, part = half_done
            await self._do_parts(begin, part)
        self.results = {result.index: result for entry in self.log for result in entry.results}
        size = _BYTES_OF_ROW * len(self.results)
        self.done = await self.offload(size, done_before, self.results)

    async def _work_on(self, before_commit: BeforeCommit) -> None:
        rows = [row for row in self.company.rows if row.index not in self.results]
        keys = {row.key for row in rows if row.key is not None}
        owners = await self.reader.owners(keys)
        known, unreadable = dict(owners.by_key), set(owners.broken)
        if self.knows_made_keys:
            made = await self.reader.owners(
                {row.made_key for row in rows if row.made_key is not None}
            )
            known |= made.by_key
            unreadable |= made.broken
        self._fail_broken([row for row in rows if row.key in owners.broken])
        rows = [row for row in rows if row.index not in self.results]
        whose = {key: owner.fields for key, owner in owners.by_key.items()}
        action = LicenseAction(self.record.options.action)
        size = _BYTES_OF_ROW * len(rows)
        for some in await self.offload(size, _sliced_units, rows, whose, action, self.also):
            newest = LAST_NUMBER if self.record.trusts_later_stamps else self.record.number
            held = await self.reader.held(some, newest)
            licenses = held.licenses
            await self._check_alone(max((each.number for each in licenses), default=0))
            whole: list[RowGroup] = []
            for unit in some:
                if held.touches_broken(unit):
                    self._fail_broken(unit.rows)
                else:
                    whole.append(unit)
            employees = frozenset().union(*(unit.employees for unit in whole))
            # Rows of one key are in one unit, so a slice needs to know of its own keys only.
            own = {row.key or row.made_key or "" for unit in whole for row in unit.rows}
            near = {key: known[key] for key in own if key in known}
            gone = _keys_without_license(near, licenses, whole, employees)
            taken = [*(near.keys() - gone), *(own & unreadable)]
            await self._settle(whole, LicenseSet(licenses, taken, gone, employees), before_commit)

    def _fail_broken(self, rows: Sequence[RowOutline]) -> None:
        """Rows about a stored license that cannot be read."""
        for row in rows:
            log.warning("record.broken", import_id=self.record.import_id)
            said = Message(MessageId.COULD_NOT_BE_PROCESSED, detail=BROKEN_RECORD)
            self.results[row.index] = failed(row.index, self.company.shown_key(row), said)

    async def _settle(
        self, some: Sequence[RowGroup], shelf: LicenseSet, before_commit: BeforeCommit
    ) -> None:
        size = sum(row.end - row.start for unit in some for row in unit.rows)
        work = self._work(shelf)
        found = await self.offload(size, self._decided, work, some)
        self._look_further(work.unknown)
        for segment in found:
            if segment.operations:
                await before_commit()
                await self._commit(segment)
            self.results |= {result.index: result for result in segment.results}

    async def _check_alone(self, newest: int) -> None:
        """What was read must be as the log tells: an own change that it does not know was made by
        another handler in between, and rows judged by it would tell the wrong story.
        """
        if newest > self.record.number:
            raise SupersededError
        if newest == self.record.number:
            log_now = await self.reader.log(self.record.number)
            if len(log_now) != len(self.log):
                raise PreconditionFailedError("another handler of the import is at work")

    def _look_further(self, unknown: Mapping[int, Employee]) -> None:
        """Raises _MoreEmployeesError where licenses of more employees decide about rows."""
        if unknown and self.looks < _MOST_LOOKS:
            self.looks += 1
            for index, employee in unknown.items():
                self.also.setdefault(index, set()).add(employee)
            raise _MoreEmployeesError

    def _work(self, shelf: LicenseSet) -> LicenseRules:
        record = self.record
        return LicenseRules(
            tenant=record.tenant,
            company=self.company.name,
            action=LicenseAction(record.options.action),
            number=record.number,
            import_id=record.import_id,
            shelf=shelf,
            unforeseen=self._unforeseen,
            done=self.done,
            on_change=self.on_change,
            is_overtaken=record.origins.is_overtaken,
        )

    def _decided(self, work: LicenseRules, some: Sequence[RowGroup]) -> list[LicenseTransaction]:
        rows = [[(self._read(row), row.employee) for row in unit.rows] for unit in some]
        now = to_iso(self.clock.now())
        return list(segments(work, self.partition, rows, now, self.most_writes))

    def _read(self, row: RowOutline) -> ReadRow:
        """A fault that reading did not foresee is this row's alone."""
        try:
            return self.company.read(row)
        except Exception as error:
            return ReadRow(row.index, (None,) * 5, {}, (self._unforeseen(error),))

    def _unforeseen(self, error: Exception) -> Message:
        log.failure("row.failed", error, correlation_id=self.record.import_id)
        detail = SEND_AGAIN.format(id=self.record.import_id)
        return Message(MessageId.COULD_NOT_BE_PROCESSED, detail=detail)

    async def _commit(self, segment: LicenseTransaction) -> None:
        for blob in segment.blobs:
            name = f"{self.record.tenant}/{blob.name}"
            await self.blobs.put(LICENSE_DOCUMENTS, name, [blob.data], blob.metadata)
        parts = segment.parts(self.most_writes)
        if len(parts) > 1:
            await self._append_in_parts(segment, parts)
        else:
            await self._append(segment)

    async def _append_in_parts(
        self, segment: LicenseTransaction, parts: Sequence[TransactionSlice]
    ) -> None:
        """Write down all that is to be done, then do it; it cannot be undone half way."""
        if not self.knows_made_keys:
            self.knows_made_keys = True
            raise PreconditionFailedError("a key that is taken must be known before it begins")
        begin = len(self.log)
        packed = [(part.results, part.operations) for part in parts]
        data = await self.offload(_BYTES_OF_PART * len(parts), records.pack_parts, packed)
        await self.blobs.put(IMPORT_PAYLOADS, self._parts_blob(begin), [data])
        entry = replace(_entry(segment), results=tuple(parts[0].results), parts=len(parts))
        await self._insert(entry, parts[0].operations)
        await self._do_parts(begin, 1)

    async def _do_parts(self, begin: int, first: int) -> None:
        """The transactions from `first` on of the work that began with that entry of the log."""
        name = self._parts_blob(begin)
        data = await self.blobs.read(IMPORT_PAYLOADS, name)
        if data is None:
            log_now = await self.reader.log(self.record.number)
            if len(log_now) == len(self.log) and records.unfinished(log_now) is not None:
                raise UnreadableDataError("what is left to be done of an import of licenses")
            raise PreconditionFailedError("somebody else has finished it")
        parts = await self.offload(10 * len(data), records.unpack_parts, data)
        for results, operations in parts[first:]:
            await self._insert(LogEntry(tuple(results), parts=0), operations)
        await self.blobs.delete(IMPORT_PAYLOADS, name)

    def _parts_blob(self, begin: int) -> str:
        """By company too: an import's chunk may have several."""
        company = self.partition.partition("|")[2]
        return f"{self.record.tenant}/{self.record.import_id}.{company}.parts-{begin}"

    async def _append(self, segment: LicenseTransaction) -> None:
        await self._insert(_entry(segment), segment.operations)
        self.results |= {result.index: result for result in segment.results}

    async def _insert(self, entry: LogEntry, operations: Sequence[Operation]) -> None:
        now = to_iso(self.clock.now())
        insert = records.logged(self.partition, self.record.number, len(self.log), entry, now)
        await self.tables.transact(LICENSES.table, [insert, *operations])
        self.log.append(entry)

    async def _remove_obsolete(self) -> None:
        for name in sorted(records.blobs_to_remove(self.log)):
            await self.blobs.delete(LICENSE_DOCUMENTS, f"{self.record.tenant}/{name}")


def _entry(segment: LicenseTransaction) -> LogEntry:
    written = frozenset(blob.name for blob in segment.blobs)
    return LogEntry(tuple(segment.results), segment.obsolete, written)


def _keys_without_license(
    owners: Mapping[str, Owner],
    licenses: Sequence[StoredLicense],
    units_read: Sequence[RowGroup],
    employees: Set[Employee],
) -> set[str]:
    """Keys of licenses that are gone, and keys that point at a license which is not there.

    Where a license must be is known of the employees whose licenses were read.
    """
    there = {held.key for held in licenses if held.document is not None}
    asked = {row.key for unit in units_read for row in unit.rows}
    gone: set[str] = set()
    for key, owner in owners.items():
        employee = employee_of(owner.fields)
        is_read = employee in employees if employee.is_named else key in asked
        if owner.is_gone or (is_read and key not in there):
            gone.add(key)
    return gone


def _place(unit: RowGroup) -> str:
    named = [records.employee_rows(each) for each in unit.employees if each.is_named]
    return min(named, default=records.employee_rows(Employee()))


def _sliced_units(
    rows: Sequence[RowOutline],
    whose: Mapping[str, Document],
    action: LicenseAction,
    also: Mapping[int, Set[Employee]],
) -> list[list[RowGroup]]:
    return _slices(sorted(units(rows, whose, action, also), key=_place))


def _slices(ordered: Sequence[RowGroup]) -> list[list[RowGroup]]:
    """Units of some hundred rows, and of some bytes, together; a unit never parts."""
    slices: list[list[RowGroup]] = []
    rows = size = 0
    for unit in ordered:
        unit_size = sum(row.end - row.start for row in unit.rows)
        if not slices or rows + len(unit.rows) > _SLICE_ROWS or size + unit_size > _SLICE_BYTES:
            slices.append([])
            rows = size = 0
        slices[-1].append(unit)
        rows += len(unit.rows)
        size += unit_size
    return slices


# The work on rows of licenses (docs/contracts.md#2): company by company, and in it unit by unit.
#
# All rows of a company in an import are in one chunk, and imports of a company follow one another
# (docs/design.md#1.2), so a handler is alone with the company but for stragglers and redelivered
# messages of its own import. Those meet at the import's log in the company's partition: each
# transaction inserts the next entry, with the results of the rows that it takes along. A
# redelivered handler goes on behind the last entry; of two handlers at one place only one can
# commit; and who ends the rows without running them writes the last entry, so that no straggler
# goes on.
#
# What belongs together and is too much for one transaction (Replace of an employee with many
# licenses) goes into a blob first; with its first transaction in, whoever comes next carries out
# the rest, also who only ends the rows.

BROKEN_LOG = (
    "what this import has stored of the company's licenses cannot be read; compare the licenses, "
    "then send the row again"
)


class LicenseProcessor:
    """`Work` on rows of licenses; `on_change` is told what each row changes."""

    def __init__(
        self,
        *,
        tables: Tables,
        blobs: Blobs,
        clock: Clock,
        offload: Offload,
        on_change: ChangeListener | None = None,
        operations: int = MAX_OPERATIONS,
    ) -> None:
        """`operations` is what one transaction may hold; the order model has it small."""
        self._noticed = on_change
        self._operations = operations
        self._tables = tables
        self._blobs = blobs
        self._groups = PartitionIndex(tables)
        self._clock = clock
        self._offload = offload

    async def run(
        self, record: ImportRecord, lines: bytes, before_commit: BeforeCommit
    ) -> list[RowResult]:
        """See `Work`."""
        read = await self._lines(record, lines)
        companies = [company.name for company in read.companies]
        await self._groups.note(LICENSES.table, record.tenant, companies)
        results = list(read.without_company)
        for company in read.companies:
            try:
                results += await self._at_work(record, company).run(before_commit)
            except UnreadableDataError as error:
                results += _all_failed(record, company, error)
        return read.in_order(results)

    async def end(self, record: ImportRecord, lines: bytes, code: int) -> list[RowResult]:
        """See `Work`."""
        read = await self._lines(record, lines)
        results = [replace(result, messages=(Message(code),)) for result in read.without_company]
        for company in read.companies:
            try:
                results += await self._at_work(record, company).end(Message(code))
            except UnreadableDataError as error:
                results += _all_failed(record, company, error)
        return read.in_order(results)

    def is_readable(self, index: int, row: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """See `Work`: what a row says is the rules' business."""
        return True

    async def _lines(self, record: ImportRecord, lines: bytes) -> LicenseLines:
        action = LicenseAction(record.options.action)
        return await self._offload(len(lines), read_company_lines, record.tenant, lines, action)

    def _at_work(self, record: ImportRecord, company: CompanyRows) -> CompanyProcessor:
        return CompanyProcessor(
            record,
            company,
            self._tables,
            self._blobs,
            self._clock,
            self._offload,
            self._noticed,
            self._operations - 1,
        )


def _all_failed(
    record: ImportRecord, company: CompanyRows, error: UnreadableDataError
) -> list[RowResult]:
    """What the import has done in this company cannot be known; other companies go on."""
    log.failure("company.unreadable", error, import_id=record.import_id)
    said = Message(MessageId.COULD_NOT_BE_PROCESSED, detail=BROKEN_LOG)
    return [failed(row.index, company.shown_key(row), said) for row in company.rows]
