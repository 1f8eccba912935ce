"""The work on rows of licenses (CONTRACTS 2): company by company, and in it unit by unit.

All rows of a company in an import are in one chunk, and imports of a company follow one another
(DESIGN 1.2), so a handler is alone with the company but for stragglers and redelivered messages of
its own import. Those meet at the import's log in the company's partition: each transaction inserts
the next entry, with the results of the rows that it takes along. A redelivered handler goes on
behind the last entry; of two handlers at one place only one can commit; and who ends the rows
without running them writes the last entry, so that no straggler goes on.

What belongs together and is too much for one transaction (Replace of an employee with many
licenses) goes into a blob first; with its first transaction in, whoever comes next carries out the
rest, also who only ends the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shared import log
from shared.clock import Clock
from shared.errors import UnreadableDataError
from shared.imports.folding import Noticed
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.definition import LICENSES
from shared.imports.messages import COULD_NOT_BE_PROCESSED, Message
from shared.imports.outcomes import RowResult, failed
from shared.services.groups import GroupRegister
from shared.services.licenses.company import CompanyAtWork
from shared.services.licenses.lines import CompanyLines, LicenseLines, read_company_lines
from shared.services.offload import Offload
from shared.services.work import BeforeCommit
from shared.storage.import_records import ImportRecord
from shared.storage.ports import MAX_OPERATIONS, Blobs, Tables

BROKEN_LOG = (
    "what this import has stored of the company's licenses cannot be read; compare the licenses, "
    "then send the row again"
)


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
        operations: int = MAX_OPERATIONS,
    ) -> None:
        """`operations` is what one transaction may hold; the order model has it small."""
        self._noticed = noticed
        self._operations = operations
        self._tables = tables
        self._blobs = blobs
        self._groups = GroupRegister(tables)
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

    def _at_work(self, record: ImportRecord, company: CompanyLines) -> CompanyAtWork:
        return CompanyAtWork(
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
    record: ImportRecord, company: CompanyLines, error: UnreadableDataError
) -> list[RowResult]:
    """What the import has done in this company cannot be known; other companies go on."""
    log.failure("company.unreadable", error, import_id=record.import_id)
    said = Message(COULD_NOT_BE_PROCESSED, detail=BROKEN_LOG)
    return [failed(row.index, company.shown_key(row), said) for row in company.rows]
