"""The work on rows of licenses (CONTRACTS 2): company by company, and in it unit by unit.

All rows of a company in an import are in one chunk, and imports of a company follow one another
(DESIGN 1.2), so a handler is alone with the company but for stragglers and redelivered messages of
its own import. Those meet at the import's log in the company's partition: each transaction inserts
the next entry, with the results of the rows that it takes along. A redelivered handler goes on
behind the last entry; of two handlers at one place only one can commit; and who ends the rows
without running them writes the last entry, so that no straggler goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared import log
from shared.clock import Clock
from shared.errors import PreconditionFailedError, StorageUnavailableError
from shared.imports.definition import ReadRow
from shared.imports.folding import Noticed
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.deciding import LicenseImport
from shared.imports.licenses.definition import LICENSES
from shared.imports.licenses.identity import Employee
from shared.imports.licenses.shelf import Shelf
from shared.imports.licenses.units import Sketch, Unit, units
from shared.imports.messages import COULD_NOT_BE_PROCESSED, Message
from shared.imports.outcomes import RowResult, failed
from shared.services.groups import GroupRegister
from shared.services.license_lines import CompanyLines, LicenseLines, read_company_lines
from shared.services.license_reading import LicenseReader
from shared.services.license_segments import Segment, segments
from shared.services.moments import iso
from shared.services.offload import Offload
from shared.services.work import BeforeCommit, SupersededError
from shared.storage import license_records as records
from shared.storage.blobs import Blobs
from shared.storage.import_records import ImportRecord
from shared.storage.license_records import LogEntry
from shared.storage.names import LICENSE_DOCUMENTS
from shared.storage.stored_records import partition_of
from shared.storage.tables import MAX_OPERATIONS, Operation, Tables

_SLICE_ROWS = 250
_SLICE_BYTES = 4 * 1024 * 1024
_MOST_CONFLICTS = 20


class LicenseWork:
    """`Work` on rows of licenses; `noticed` is told what each row changes."""

    def __init__(
        self,
        *,
        tables: Tables,
        blobs: Blobs,
        clock: Clock,
        offload: Offload,
        noticed: Noticed | None = None,
    ) -> None:
        self._tables = tables
        self._blobs = blobs
        self._groups = GroupRegister(tables)
        self._clock = clock
        self._offload = offload
        self._noticed = noticed

    async def run(
        self, record: ImportRecord, lines: bytes, before_commit: BeforeCommit
    ) -> list[RowResult]:
        """See `Work`."""
        read = await self._lines(record, lines)
        companies = [company.name for company in read.companies]
        await self._groups.note(LICENSES.table, record.tenant, companies)
        results = list(read.without_company)
        for company in read.companies:
            at_work = self._at_work(record, company)
            results += await at_work.run(before_commit)
        return read.in_order(results)

    async def end(self, record: ImportRecord, lines: bytes, code: int) -> list[RowResult]:
        """See `Work`."""
        read = await self._lines(record, lines)
        results = [replace(result, messages=(Message(code),)) for result in read.without_company]
        for company in read.companies:
            results += await self._at_work(record, company).end(Message(code))
        return read.in_order(results)

    async def _lines(self, record: ImportRecord, lines: bytes) -> LicenseLines:
        action = LicenseAction(record.options.action)
        return await self._offload(len(lines), read_company_lines, record.tenant, lines, action)

    def _at_work(self, record: ImportRecord, company: CompanyLines) -> _CompanyAtWork:
        return _CompanyAtWork(
            record,
            company,
            self._tables,
            self._blobs,
            self._clock,
            self._offload,
            self._noticed,
        )


@dataclass
class _CompanyAtWork:
    """The rows of one company in a chunk."""

    record: ImportRecord
    company: CompanyLines
    tables: Tables
    blobs: Blobs
    clock: Clock
    offload: Offload
    noticed: Noticed | None

    def __post_init__(self) -> None:
        self.partition = partition_of(self.record.tenant, self.company.name)
        self.reader = LicenseReader(self.tables, LICENSES.table, self.partition)
        self.log: list[LogEntry] = []
        self.results: dict[int, RowResult] = {}

    async def run(self, before_commit: BeforeCommit) -> list[RowResult]:
        """Bring every row to its result; begins again behind the log where somebody else wrote."""
        looks_at_made_keys = False
        for _ in range(_MOST_CONFLICTS):
            grown = await self._read_log()
            try:
                await self._work_on(before_commit, looks_at_made_keys=looks_at_made_keys)
            except PreconditionFailedError:
                looks_at_made_keys = looks_at_made_keys or not grown
                continue
            await self._remove_obsolete()
            return list(self.results.values())
        raise StorageUnavailableError("the licenses of a company are written by too many at once")

    async def end(self, message: Message) -> list[RowResult]:
        """Rows without an entry in the log end with `message`; the log is closed by that."""
        for _ in range(_MOST_CONFLICTS):
            await self._read_log()
            rest = [
                failed(row.index, self.company.shown_key(row), message)
                for row in self.company.rows
                if row.index not in self.results
            ]
            try:
                if rest:
                    await self._append(Segment(rest))
            except PreconditionFailedError:
                continue
            await self._remove_obsolete()
            return list(self.results.values())
        raise StorageUnavailableError("the licenses of a company are written by too many at once")

    async def _read_log(self) -> bool:
        """Take over what is committed; whether there is more than before."""
        before = len(self.log)
        self.log = await self.reader.log(self.record.number)
        self.results = {
            result.index: result
            for entry in self.log
            if not entry.is_begun
            for result in entry.results
        }
        return len(self.log) > before

    async def _work_on(self, before_commit: BeforeCommit, *, looks_at_made_keys: bool) -> None:
        rows = [row for row in self.company.rows if row.index not in self.results]
        keys = {row.key for row in rows if row.key is not None}
        owners = await self.reader.owners(keys)
        taken: set[str] = set(owners)
        if looks_at_made_keys:
            made = {row.made_key for row in rows if row.made_key is not None}
            taken |= set(await self.reader.owners(made))
        ordered = sorted(units(rows, owners), key=_place)
        for some in _slices(ordered):
            await self._settle(some, taken, before_commit)

    async def _settle(
        self, some: Sequence[Unit], taken: set[str], before_commit: BeforeCommit
    ) -> None:
        held = await self.reader.held(some)
        if any(each.number > self.record.number for each in held):
            raise SupersededError
        shelf = Shelf(held, taken)
        size = sum(row.end - row.start for unit in some for row in unit.rows)
        for segment in await self.offload(size, self._decided, some, shelf):
            if segment.operations:
                await before_commit()
                await self._commit(segment)
            self.results |= {result.index: result for result in segment.results}

    def _decided(self, some: Sequence[Unit], shelf: Shelf) -> list[Segment]:
        record = self.record
        work = LicenseImport(
            tenant=record.tenant,
            company=self.company.name,
            action=LicenseAction(record.options.action),
            number=record.number,
            import_id=record.import_id,
            shelf=shelf,
            unforeseen=self._unforeseen,
            as_sent_after=lambda index: record.origins.of(index) or None,
            noticed=self.noticed,
        )
        rows = [[(self._read(row), row.employee) for row in unit.rows] for unit in some]
        return list(segments(work, self.partition, rows, iso(self.clock.now())))

    def _read(self, row: Sketch) -> ReadRow:
        """A fault that reading did not foresee is this row's alone."""
        try:
            return self.company.read(row)
        except Exception as error:
            return ReadRow(row.index, (None,) * 5, {}, (self._unforeseen(error),))

    def _unforeseen(self, error: Exception) -> Message:
        log.failure("row.failed", error, correlation_id=self.record.import_id)
        detail = f"correlation id {self.record.import_id}"
        return Message(COULD_NOT_BE_PROCESSED, detail=detail)

    async def _commit(self, segment: Segment) -> None:
        for name, data in segment.contents.items():
            await self.blobs.put(LICENSE_DOCUMENTS, f"{self.record.tenant}/{name}", [data])
        if segment.is_large:
            await self._begin(segment)
        await self._append(segment)

    async def _begin(self, segment: Segment) -> None:
        """Write what does not fit into the last transaction; who comes again does it once more."""
        most = MAX_OPERATIONS - 1
        while len(segment.operations) > most:
            some, segment.operations = segment.operations[:most], segment.operations[most:]
            await self._insert(replace(_entry(segment), is_begun=True), some)

    async def _append(self, segment: Segment) -> None:
        await self._insert(_entry(segment), segment.operations)
        self.results |= {result.index: result for result in segment.results}

    async def _insert(self, entry: LogEntry, operations: Sequence[Operation]) -> None:
        now = iso(self.clock.now())
        insert = records.logged(self.partition, self.record.number, len(self.log), entry, now)
        await self.tables.transact(LICENSES.table, [insert, *operations])
        self.log.append(entry)

    async def _remove_obsolete(self) -> None:
        for name in sorted(records.blobs_to_remove(self.log)):
            await self.blobs.delete(LICENSE_DOCUMENTS, f"{self.record.tenant}/{name}")


def _entry(segment: Segment) -> LogEntry:
    return LogEntry(tuple(segment.results), segment.obsolete, frozenset(segment.contents))


def _place(unit: Unit) -> str:
    named = [records.employee_rows(each) for each in unit.employees if each.is_named]
    return min(named, default=records.employee_rows(Employee()))


def _slices(ordered: Sequence[Unit]) -> list[list[Unit]]:
    """Units of some hundred rows, and of some bytes, together; a unit never parts."""
    slices: list[list[Unit]] = []
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
