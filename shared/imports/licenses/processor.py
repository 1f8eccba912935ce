"""Processes the rows of a licenses import, company by company and group by group.

Each transaction inserts an entry into the import's log in the company's partition.

All rows of a company in an import are in one chunk, and imports of a company run in order
(docs/design.md#1.2). So a handler has the company for itself, except for stragglers and redelivered
messages of its own import. Those meet at the log: each transaction inserts the next entry with the
results of its rows. A redelivered handler continues after the last entry, and of two handlers at
the same entry only one can commit. A handler that ends the rows without applying them writes the
last entry, so that no straggler can continue.

Changes that belong together but are too many for one transaction (Replace of an employee with many
licenses) are first written to a blob. Once their first transaction is committed, the next handler
commits the others, also a handler that only ends the rows.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from shared import log
from shared.clock import Clock, to_iso
from shared.errors import (
    PreconditionFailedError,
    StorageUnavailableError,
    UnreadableDataError,
)
from shared.imports.exact_json import read_exactly
from shared.imports.files.notes import with_notes
from shared.imports.import_type import Document, ReadRow
from shared.imports.json_rows import Line, fold_names, read_line
from shared.imports.licenses import store as records
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.definition import LICENSES
from shared.imports.licenses.license_set import LicenseSet, StoredLicense
from shared.imports.licenses.model import (
    IDENTITY_FIELDS,
    Employee,
    employee_of,
    sent_identity,
    without_silent_values,
)
from shared.imports.licenses.row_groups import RowGroup, RowOutline, group_rows, outline_row
from shared.imports.licenses.rules import (
    GROUP,
    NOTHING_COMMITTED,
    LicenseRules,
    find_committed,
    read_license,
    readable_key,
)
from shared.imports.licenses.store import LicenseReader, LogEntry, Owner
from shared.imports.licenses.transactions import (
    LicenseTransaction,
    TransactionSlice,
    build_transactions,
    build_undo_transactions,
)
from shared.imports.licenses.undo import FormerLicenses, LicenseUndo, UndoneRow, read_undone_row
from shared.imports.merge_rules import ChangeListener
from shared.imports.messages import (
    BROKEN_RECORD,
    SEND_AGAIN,
    UNREADABLE_ROW,
    Message,
    MessageId,
)
from shared.imports.results import RowResult, failed
from shared.services.background import Offload
from shared.services.row_processor import BeforeCommit, SupersededError
from shared.services.undo_rules import is_reversed
from shared.storage.business_records import partition_of
from shared.storage.former_columns import former_values, keep_spilled
from shared.storage.import_records import LAST_NUMBER, ImportRecord
from shared.storage.names import IMPORT_PAYLOADS, LICENSE_DOCUMENTS
from shared.storage.ports import MAX_OPERATIONS, Blobs, Operation, Tables, retry_on_conflict
from shared.storage.record_indexes import PartitionIndex

# A chunk has all rows of its companies, and their documents may be large. So the lines are first
# read only for an outline of each row, and a row is fully read just before it is applied.


@dataclass
class CompanyRows:
    """The rows of one company, in the order they were sent."""

    name: str
    data: bytes
    action: LicenseAction
    rows: list[RowOutline] = field(default_factory=list)

    def read(self, row: RowOutline) -> ReadRow:
        return with_notes(read_license(row.index, self.line(row), self.action), row.notes)

    def shown_key(self, row: RowOutline) -> tuple[str | None, ...]:
        """The key of a row's result, for a row that is not fully read."""
        return readable_key(self.line(row))

    def line(self, row: RowOutline) -> dict[str, Any]:
        """A row as it is in the payload."""
        line: dict[str, Any] = read_exactly(self.data[row.start : row.end])
        return line


@dataclass(frozen=True)
class LicenseLines:
    """The rows of a chunk by company; rows without a company already have a result."""

    companies: Sequence[CompanyRows]
    without_company: Sequence[RowResult]
    order: Sequence[int]

    def in_order(self, results: Sequence[RowResult]) -> list[RowResult]:
        """The results in the order of the lines."""
        by_index = {result.index: result for result in results}
        return [by_index[index] for index in self.order if index in by_index]


def read_company_lines(tenant: str, data: bytes, action: LicenseAction) -> LicenseLines:
    """The outlines of a chunk's rows, by company."""
    companies: dict[str, CompanyRows] = {}
    without_company: list[RowResult] = []
    order: list[int] = []
    for line, start, end in _read_lines(data):
        index, row = line.index, line.row
        folded = fold_names(without_silent_values(row, action))
        order.append(index)
        company = sent_identity(folded).get(GROUP)
        if company is None:
            parsed = with_notes(read_license(index, row, action), line.notes)
            without_company.append(failed(index, parsed.key, *parsed.messages))
            continue
        lines = companies.setdefault(company, CompanyRows(company, data, action))
        lines.rows.append(outline_row(tenant, index, start, end, folded, line.notes))
    return LicenseLines(list(companies.values()), without_company, order)


class UndoneCompanyRows(CompanyRows):
    """The rows of one company in an undo."""

    def read_undone(self, row: RowOutline) -> UndoneRow:
        """A row with the keys of the licenses that it concerns."""
        return read_undone_row(row.index, self.line(row))

    def shown_key(self, row: RowOutline) -> tuple[str | None, ...]:
        """See `CompanyRows.shown_key`."""
        return self.read_undone(row).key


def read_undone_lines(data: bytes, action: LicenseAction) -> LicenseLines:
    """The outlines of the rows of a chunk of an undo, by company; a row of another shape fails."""
    companies: dict[str, CompanyRows] = {}
    broken: list[RowResult] = []
    order: list[int] = []
    for line, start, end in _read_lines(data):
        index = line.index
        order.append(index)
        try:
            row = read_undone_row(index, line.row)
            company = str(line.row[GROUP])
            outline = RowOutline(index, start, end, {}, row.employee, row.own_key, None)
        except (ValueError, KeyError, TypeError):
            fault = Message(MessageId.COULD_NOT_BE_PROCESSED, detail=UNREADABLE_ROW)
            broken.append(failed(index, (None,) * len(IDENTITY_FIELDS), fault))
            continue
        rows = companies.setdefault(company, UndoneCompanyRows(company, data, action))
        rows.rows.append(outline)
    return LicenseLines(list(companies.values()), broken, order)


def _read_lines(data: bytes) -> Iterator[tuple[Line, int, int]]:
    """The row of each line (`Payload.line`), and the start and end of its JSON.

    Raises UnreadablePayloadError.
    """
    position = 0
    while position < len(data):
        end = data.find(b"\n", position)
        end = len(data) if end < 0 else end
        line = read_line(data[position:end])
        notes = len(line.notes.encode()) + 1 if line.notes else 0
        yield line, data.index(b"\t", position) + 1, end - notes
        position = end + 1


_SLICE_ROWS = 250
_SLICE_BYTES = 4 * 1024 * 1024
_MAX_CONFLICTS = 20
_TOO_MANY_WRITERS = "the licenses of a company are written by too many at once"
# Estimates of the work, to decide whether it needs a thread.
_BYTES_PER_ROW = 500
_BYTES_PER_SLICE = 50_000
# How often the licenses of more employees are read before a row that needs even more fails.
_MAX_ADDITIONAL_READS = 10
# Results in one entry of the log; it stays small enough even with random keys.
_RESULTS_PER_ENTRY = 2_000


class _MoreEmployeesError(Exception):
    """Some rows need licenses of employees that were not read; start again with them."""


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
    max_writes: int
    knows_generated_keys: bool = False

    def __post_init__(self) -> None:
        self.partition = partition_of(self.record.tenant, self.company.name)
        self.reader = LicenseReader(self.tables, LICENSES.table, self.partition)
        self.log: list[LogEntry] = []
        self.results: dict[int, RowResult] = {}
        self.committed = NOTHING_COMMITTED
        self.extra_employees: dict[int, set[Employee]] = {}
        self.additional_reads = 0

    async def run(self, before_commit: BeforeCommit) -> list[RowResult]:
        """The results of all rows; starts again from the log after another handler has written."""
        for _ in range(_MAX_CONFLICTS):
            length = len(self.log)
            try:
                await self._read_log()
                await self._process_rows(before_commit)
            except PreconditionFailedError:
                self.knows_generated_keys = self.knows_generated_keys or len(self.log) == length
                continue
            except _MoreEmployeesError:
                continue
            return list(self.results.values())
        raise StorageUnavailableError(_TOO_MANY_WRITERS)

    @retry_on_conflict(_MAX_CONFLICTS, lambda: StorageUnavailableError(_TOO_MANY_WRITERS))
    async def end(self, message: Message) -> list[RowResult]:
        """End the rows that are not in the log with `message`, which closes the log."""
        await self._read_log()
        results = await self.offload(len(self.company.data), self._end_results, message)
        for start in range(0, len(results), _RESULTS_PER_ENTRY):
            await self._append(LicenseTransaction(results[start : start + _RESULTS_PER_ENTRY]))
        return list(self.results.values())

    def _end_results(self, message: Message) -> list[RowResult]:
        return [
            failed(row.index, self.company.shown_key(row), message)
            for row in self.company.rows
            if row.index not in self.results
        ]

    async def _read_log(self) -> None:
        """Load the committed results, and commit the rest of an incomplete series."""
        self.log = await self.reader.read_log(self.record.number)
        incomplete = records.find_unfinished(self.log)
        if incomplete is not None:
            begin, next_part = incomplete
            await self._commit_slices(begin, next_part)
        self.results = {result.index: result for entry in self.log for result in entry.results}
        size = _BYTES_PER_ROW * len(self.results)
        self.committed = await self.offload(size, find_committed, self.results)

    async def _process_rows(self, before_commit: BeforeCommit) -> None:
        rows = [row for row in self.company.rows if row.index not in self.results]
        keys = {row.key for row in rows if row.key is not None}
        owners = await self.reader.read_owners(keys)
        known, unreadable = dict(owners.by_key), set(owners.broken)
        if self.knows_generated_keys:
            generated = await self.reader.read_owners(
                {row.generated_key for row in rows if row.generated_key is not None}
            )
            known |= generated.by_key
            unreadable |= generated.broken
        self._fail_broken([row for row in rows if row.key in owners.broken])
        rows = [row for row in rows if row.index not in self.results]
        owner_fields = {key: owner.fields for key, owner in owners.by_key.items()}
        action = LicenseAction(self.record.options.action)
        size = _BYTES_PER_ROW * len(rows)
        for groups in await self.offload(
            size, _slice_groups, rows, owner_fields, action, self.extra_employees
        ):
            licenses, intact = await self._read_licenses(groups)
            employees = frozenset().union(*(group.employees for group in intact))
            # Rows of one key are in one group, so a slice needs only its own keys.
            own_keys = {
                row.key or row.generated_key or "" for group in intact for row in group.rows
            }
            own_owners = {key: known[key] for key in own_keys if key in known}
            deleted_keys = _keys_without_license(own_owners, licenses, intact, employees)
            used_keys = [*(own_owners.keys() - deleted_keys), *(own_keys & unreadable)]
            await self._process_groups(
                intact, LicenseSet(licenses, used_keys, deleted_keys, employees), before_commit
            )

    async def _read_licenses(
        self, groups: Sequence[RowGroup]
    ) -> tuple[Sequence[StoredLicense], Sequence[RowGroup]]:
        """The licenses of the groups, and the groups whose licenses can all be read."""
        newest = LAST_NUMBER if self.record.trusts_later_stamps else self.record.number
        stored = await self.reader.read_licenses(groups, newest)
        await self._check_no_other_handler(
            max((item.number for item in stored.licenses), default=0)
        )
        intact: list[RowGroup] = []
        for group in groups:
            if stored.may_change_broken(group):
                self._fail_broken(group.rows)
            else:
                intact.append(group)
        return stored.licenses, intact

    def _fail_broken(self, rows: Sequence[RowOutline]) -> None:
        """Fail rows whose stored license is unreadable."""
        for row in rows:
            log.warning("record.broken", import_id=self.record.import_id)
            message = Message(MessageId.COULD_NOT_BE_PROCESSED, detail=BROKEN_RECORD)
            self.results[row.index] = failed(row.index, self.company.shown_key(row), message)

    async def _process_groups(
        self, groups: Sequence[RowGroup], license_set: LicenseSet, before_commit: BeforeCommit
    ) -> None:
        size = sum(row.end - row.start for group in groups for row in group.rows)
        rules = self._make_rules(license_set)
        transactions = await self.offload(size, self._build_transactions, rules, groups)
        if rules.needed_employees and self.additional_reads < _MAX_ADDITIONAL_READS:
            self.additional_reads += 1
            for index, employee in rules.needed_employees.items():
                self.extra_employees.setdefault(index, set()).add(employee)
            raise _MoreEmployeesError
        await self._commit_all(transactions, before_commit)

    async def _commit_all(
        self, transactions: Sequence[LicenseTransaction], before_commit: BeforeCommit
    ) -> None:
        for transaction in transactions:
            if transaction.operations:
                await before_commit()
                await self._commit(transaction)
            self.results |= {result.index: result for result in transaction.results}

    async def _check_no_other_handler(self, newest: int) -> None:
        """Raise where another handler has changed the licenses that were read.

        A change by this import that is not in the log was made by another handler in between; rows
        applied to it would get wrong results.
        """
        if newest > self.record.number:
            raise SupersededError
        if newest == self.record.number:
            log_now = await self.reader.read_log(self.record.number)
            if len(log_now) != len(self.log):
                raise PreconditionFailedError("another handler of the import is at work")

    def _make_rules(self, license_set: LicenseSet) -> LicenseRules:
        record = self.record
        return LicenseRules(
            tenant=record.tenant,
            company=self.company.name,
            action=LicenseAction(record.options.action),
            number=record.number,
            import_id=record.import_id,
            license_set=license_set,
            describe_error=self._describe_error,
            committed=self.committed,
            on_change=self.on_change,
            is_overtaken=record.origins.is_overtaken,
        )

    def _build_transactions(
        self, rules: LicenseRules, groups: Sequence[RowGroup]
    ) -> list[LicenseTransaction]:
        rows = [[(self._read_row(row), row.employee) for row in group.rows] for group in groups]
        now = to_iso(self.clock.now())
        return list(build_transactions(rules, self.partition, rows, now, self.max_writes))

    def _read_row(self, row: RowOutline) -> ReadRow:
        """Read a row; an unexpected error fails only this row."""
        try:
            return self.company.read(row)
        except Exception as error:
            return ReadRow(row.index, (None,) * 5, {}, (self._describe_error(error),))

    def _describe_error(self, error: Exception) -> Message:
        log.failure("row.failed", error, correlation_id=self.record.import_id)
        detail = SEND_AGAIN.format(id=self.record.import_id)
        return Message(MessageId.COULD_NOT_BE_PROCESSED, detail=detail)

    async def _commit(self, transaction: LicenseTransaction) -> None:
        for blob in transaction.blobs:
            name = f"{self.record.tenant}/{blob.name}"
            await self.blobs.put(LICENSE_DOCUMENTS, name, [blob.data], blob.metadata)
        if transaction.spilled:
            transaction.operations = await keep_spilled(
                self.blobs, self.record.import_id, transaction.operations, transaction.spilled
            )
        slices = transaction.split(self.max_writes)
        if len(slices) > 1:
            await self._append_in_slices(slices)
        else:
            await self._append(transaction)

    async def _append_in_slices(self, slices: Sequence[TransactionSlice]) -> None:
        """Write all transactions to a blob, then commit them; they cannot be rolled back."""
        if not self.knows_generated_keys:
            self.knows_generated_keys = True
            raise PreconditionFailedError("the keys in use must be known before the series begins")
        begin = len(self.log)
        contents = [(item.results, item.operations) for item in slices]
        data = await self.offload(_BYTES_PER_SLICE * len(slices), records.pack_parts, contents)
        await self.blobs.put(IMPORT_PAYLOADS, self._slices_blob(begin), [data])
        entry = LogEntry(tuple(slices[0].results), parts=len(slices))
        await self._insert(entry, slices[0].operations)
        await self._commit_slices(begin, 1)

    async def _commit_slices(self, begin: int, first: int) -> None:
        """Commit the slices from `first` on of the series that begins at that entry of the log."""
        name = self._slices_blob(begin)
        data = await self.blobs.read(IMPORT_PAYLOADS, name)
        if data is None:
            log_now = await self.reader.read_log(self.record.number)
            if len(log_now) == len(self.log) and records.find_unfinished(log_now) is not None:
                raise UnreadableDataError("what is left to be done of an import of licenses")
            raise PreconditionFailedError("another handler has finished it")
        slices = await self.offload(10 * len(data), records.unpack_parts, data)
        for results, operations in slices[first:]:
            await self._insert(LogEntry(tuple(results), parts=0), operations)
        await self.blobs.delete(IMPORT_PAYLOADS, name)

    def _slices_blob(self, begin: int) -> str:
        """The blob's name; it has the company because a chunk may have several."""
        company = self.partition.partition("|")[2]
        return f"{self.record.tenant}/{self.record.import_id}.{company}.parts-{begin}"

    async def _append(self, transaction: LicenseTransaction) -> None:
        await self._insert(LogEntry(tuple(transaction.results)), transaction.operations)
        self.results |= {result.index: result for result in transaction.results}

    async def _insert(self, entry: LogEntry, operations: Sequence[Operation]) -> None:
        now = to_iso(self.clock.now())
        insert = records.insert_log_entry(
            self.partition, self.record.number, len(self.log), entry, now
        )
        await self.tables.transact(LICENSES.table, [insert, *operations])
        self.log.append(entry)


# Keys whose licenses an undo reads at once to find their employees.
_KEYS_AT_ONCE = 1_000


class CompanyUndo(CompanyProcessor):
    """The rows of one company in a chunk of an undo.

    It uses the log like an import. A license goes back together with all that it depends on, in one
    transaction or in one series of them.
    """

    company: UndoneCompanyRows

    def __post_init__(self) -> None:
        super().__post_init__()
        # An undo makes no new keys.
        self.knows_generated_keys = True

    async def _process_rows(self, before_commit: BeforeCommit) -> None:
        outlines = [row for row in self.company.rows if row.index not in self.results]
        size = sum(row.end - row.start for row in outlines)
        rows = await self.offload(size, self._read_undone, outlines)
        employees = await self._find_employees(rows)
        outlines = [row for row in outlines if row.index not in self.results]
        action = LicenseAction(self.record.options.action)
        for groups in await self.offload(size, _slice_groups, outlines, {}, action, employees):
            licenses, intact = await self._read_licenses(groups)
            named = frozenset().union(*(group.employees for group in intact))
            keys = {
                key
                for group in intact
                for row in group.rows
                for key in rows[row.index].license_keys
            }
            undo = LicenseUndo(
                undoes=self.record.undoes.number,
                number=self.record.number,
                import_id=self.record.import_id,
                stored=licenses,
                former=await self._read_former(licenses, keys),
                is_own=self._is_own,
                is_replace=action is LicenseAction.REPLACE,
                license_set=LicenseSet(licenses, employees=named),
                on_change=self.on_change,
            )
            undone = [[rows[row.index] for row in group.rows] for group in intact]
            transactions = await self.offload(size, self._build, undo, undone)
            await self._commit_all(transactions, before_commit)

    def _read_undone(self, outlines: Sequence[RowOutline]) -> dict[int, UndoneRow]:
        return {row.index: self.company.read_undone(row) for row in outlines}

    def _build(
        self, undo: LicenseUndo, groups: Sequence[Sequence[UndoneRow]]
    ) -> list[LicenseTransaction]:
        now = to_iso(self.clock.now())
        return list(build_undo_transactions(undo, self.partition, groups, now, self.max_writes))

    def _is_own(self, number: int) -> bool:
        return number == self.record.number or is_reversed(self.record, number)

    async def _find_employees(self, rows: Mapping[int, UndoneRow]) -> dict[int, set[Employee]]:
        """The employees whose licenses the rows concern besides their own, by index of the row.

        Those of a license are with the first row that names it; each other row has one of them, so
        that these rows come into one group. Rows with an unreadable key fail.
        """
        places: dict[str, dict[Employee, None]] = {}
        for row in rows.values():
            for key in row.license_keys:
                places.setdefault(key, {})[row.employee] = None
        owners = await self.reader.read_owners(places)
        self._fail_broken(
            [
                outline
                for outline in self.company.rows
                if outline.index in rows
                and not owners.broken.isdisjoint(rows[outline.index].license_keys)
            ]
        )
        for key, owner in owners.by_key.items():
            places[key][employee_of(owner.fields)] = None
        keys = sorted(places)
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            batch = {key: tuple(places[key]) for key in keys[start : start + _KEYS_AT_ONCE]}
            licenses = await self.reader.read_places(batch)
            for (key, _), (_, former) in (await self._read_former(licenses, batch)).items():
                if former is not None:
                    places[key][employee_of(former.document)] = None
        employees: dict[int, set[Employee]] = {}
        named_before: set[str] = set()
        for index, row in rows.items():
            for key in row.license_keys:
                named_employees = [employee for employee in places[key] if employee.is_named]
                employees.setdefault(index, set()).update(
                    named_employees[:1] if key in named_before else named_employees
                )
                named_before.add(key)
        return employees

    async def _read_former(
        self, licenses: Sequence[StoredLicense], keys: Container[str]
    ) -> FormerLicenses:
        """What these licenses were before the undone import, where it wrote them last."""
        return {
            (each.key, each.employee): await former_values(self.blobs, each)
            for each in licenses
            if each.number == self.record.undoes.number and each.key in keys
        }


def _keys_without_license(
    owners: Mapping[str, Owner],
    licenses: Sequence[StoredLicense],
    groups_read: Sequence[RowGroup],
    employees: Set[Employee],
) -> set[str]:
    """Keys of deleted licenses, and keys whose license should be among those read but is not."""
    existing_keys = {license_.key for license_ in licenses if license_.document is not None}
    requested_keys = {row.key for group in groups_read for row in group.rows}
    deleted_keys: set[str] = set()
    for key, owner in owners.items():
        employee = employee_of(owner.fields)
        is_read = employee in employees if employee.is_named else key in requested_keys
        if owner.is_gone or (is_read and key not in existing_keys):
            deleted_keys.add(key)
    return deleted_keys


def _first_employee_row(group: RowGroup) -> str:
    row_prefixes = [
        records.employee_rows(employee) for employee in group.employees if employee.is_named
    ]
    return min(row_prefixes, default=records.employee_rows(Employee()))


def _slice_groups(
    rows: Sequence[RowOutline],
    owner_fields: Mapping[str, Document],
    action: LicenseAction,
    extra_employees: Mapping[int, Set[Employee]],
) -> list[list[RowGroup]]:
    """The groups of rows in slices of a limited number of rows and bytes; no group is split."""
    groups = group_rows(rows, owner_fields, action, extra_employees)
    slices: list[list[RowGroup]] = []
    count = size = 0
    for group in sorted(groups, key=_first_employee_row):
        group_size = sum(row.end - row.start for row in group.rows)
        if not slices or count + len(group.rows) > _SLICE_ROWS or size + group_size > _SLICE_BYTES:
            slices.append([])
            count = size = 0
        slices[-1].append(group)
        count += len(group.rows)
        size += group_size
    return slices


BROKEN_LOG = (
    "what this import has stored of the company's licenses cannot be read; compare the licenses, "
    "then send the row again"
)


class LicenseProcessor:
    """The row processor of licenses; it calls `on_change` for each row that takes effect."""

    company_processor: ClassVar[type[CompanyProcessor]] = CompanyProcessor

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
        """`operations` is the limit of one transaction; the order model uses a small one."""
        self._on_change = on_change
        self._operations = operations
        self._tables = tables
        self._blobs = blobs
        self._groups = PartitionIndex(tables)
        self._clock = clock
        self._offload = offload

    async def run(
        self, record: ImportRecord, lines: bytes, before_commit: BeforeCommit
    ) -> list[RowResult]:
        lines_by_company = await self._read_lines(record, lines)
        companies = [company.name for company in lines_by_company.companies]
        await self._groups.note(LICENSES.table, record.tenant, companies)
        results = list(lines_by_company.without_company)
        for company in lines_by_company.companies:
            try:
                results += await self._make_processor(record, company).run(before_commit)
            except UnreadableDataError as error:
                results += _fail_all_rows(record, company, error)
        return lines_by_company.in_order(results)

    async def end(self, record: ImportRecord, lines: bytes, code: int) -> list[RowResult]:
        read = await self._read_lines(record, lines)
        results = [replace(result, messages=(Message(code),)) for result in read.without_company]
        for company in read.companies:
            try:
                results += await self._make_processor(record, company).end(Message(code))
            except UnreadableDataError as error:
                results += _fail_all_rows(record, company, error)
        return read.in_order(results)

    def is_readable(self, index: int, row: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """Always True, because the rules check the row."""
        return True

    async def _read_lines(self, record: ImportRecord, lines: bytes) -> LicenseLines:
        action = LicenseAction(record.options.action)
        return await self._offload(len(lines), read_company_lines, record.tenant, lines, action)

    def _make_processor(self, record: ImportRecord, company: CompanyRows) -> CompanyProcessor:
        return self.company_processor(
            record,
            company,
            self._tables,
            self._blobs,
            self._clock,
            self._offload,
            self._on_change,
            self._operations - 1,
        )


class LicenseUndoProcessor(LicenseProcessor):
    """The row processor of undos of licenses."""

    company_processor = CompanyUndo

    async def _read_lines(self, record: ImportRecord, lines: bytes) -> LicenseLines:
        action = LicenseAction(record.options.action)
        return await self._offload(len(lines), read_undone_lines, lines, action)


def _fail_all_rows(
    record: ImportRecord, company: CompanyRows, error: UnreadableDataError
) -> list[RowResult]:
    """Fail the rows of a company whose log is unreadable; other companies continue."""
    log.failure("company.unreadable", error, import_id=record.import_id)
    message = Message(MessageId.COULD_NOT_BE_PROCESSED, detail=BROKEN_LOG)
    return [failed(row.index, company.shown_key(row), message) for row in company.rows]
