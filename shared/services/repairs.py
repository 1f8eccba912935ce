"""The failed rows of an import that its retries have imported.

A retry records once, in the transaction that ends it, which rows of its parent, of the parent's
parent and so on it has imported. It writes its own `child|` entities, so that two retries never
write the same one. The repaired rows of an import are the union of the sets of its retries.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from shared import log
from shared.errors import ConflictError, UnreadableDataError
from shared.imports.results import positions_in, select_rows, unite
from shared.storage import import_records as records
from shared.storage import result_records as results
from shared.storage.import_records import MAX_GENERATIONS, Ancestor, ImportRecord, RetryLink
from shared.storage.names import IMPORT_RESULTS, IMPORTS
from shared.storage.ports import Operation, Tables

TOO_DEEP = (
    "This import is a retry of a retry, {generations} times over. Retry the first of these "
    "imports, {first}, instead: that sends all failed rows that no retry has imported yet."
)


class Repairs:
    """The `child|` entities of a tenant's imports."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def retries(
        self, tenant: str, newest: int, oldest: int, select: Sequence[str] | None = None
    ) -> Mapping[int, Sequence[RetryLink]]:
        """The retries of the imports between two numbers, and their retries, by the ancestor."""
        first, last = records.children_range(newest, oldest)
        links: defaultdict[int, list[RetryLink]] = defaultdict(list)
        for entity in await self._tables.query(IMPORTS, tenant, first, last, select=select):
            link = records.retry_link(entity)
            links[link.ancestor].append(link)
        return links

    async def retries_for_list(
        self, tenant: str, newest: int, oldest: int
    ) -> Mapping[int, Sequence[RetryLink]]:
        """The retries of these imports for a list, without the sets of rows that they retry."""
        return await self.retries(tenant, newest, oldest, records.RETRY_LIST_COLUMNS)

    async def repaired_rows(self, record: ImportRecord) -> int:
        """The failed rows of an import that have been imported since.

        Its own retries have imported them, or, if it is a retry itself, another retry of one of its
        ancestors.
        """
        links = await self._retries_of(record, record.number)
        repaired = unite(link.repaired for link in links)
        for ancestor in record.lineage:
            links = await self._retries_of(record, ancestor.number)
            for own_link in (link for link in links if link.number == record.number):
                failed = own_link.rows & ~own_link.repaired
                rows = unite(link.repaired for link in links) & failed
                repaired |= positions_in(rows, all_rows=own_link.rows)
        return repaired

    async def lineage(self, parent: ImportRecord, rows: int) -> tuple[Ancestor, ...]:
        """The lineage of a retry of these rows of an import.

        Raises ConflictError for a retry of a retry, MAX_GENERATIONS times over.
        """
        if len(parent.lineage) >= MAX_GENERATIONS:
            row = records.record_row(parent.lineage[-1].number)
            first = await self._tables.get(IMPORTS, parent.tenant, row)
            raise ConflictError(
                TOO_DEEP.format(
                    generations=MAX_GENERATIONS, first=first.text("ImportId") if first else ""
                )
            )
        lineage = [Ancestor(parent.number, rows)]
        for ancestor in parent.lineage:
            link = await self._link(parent, ancestor)
            lineage.append(
                Ancestor(ancestor.number, select_rows(link.rows, rows) if link is not None else 0)
            )
        return tuple(lineage)

    async def repair_operations(self, record: ImportRecord) -> list[Operation]:
        """The writes that record which rows of its ancestors a retry has imported."""
        if not record.lineage:
            return []
        imported = await self._imported_rows(record)
        operations: list[Operation] = []
        for ancestor in record.lineage if imported else ():
            link = await self._link(record, ancestor)
            if link is not None:
                repaired = select_rows(link.rows, imported)
                operations.append(records.repair_operation(record.tenant, link, repaired))
        return operations

    async def with_retries(self, record: ImportRecord) -> ImportRecord:
        """Add to a retry the retries of the imports that its unchanged rows come from."""
        numbers = {number for number in record.origins.numbers if number}
        if not numbers:
            return record
        retries: dict[int, frozenset[int]] = {}
        for number in numbers:
            links = await self._retries_of(record, number, select=())
            retries[number] = frozenset(link.number for link in links)
        return replace(record, origins=replace(record.origins, retries=retries))

    async def _retries_of(
        self, record: ImportRecord, number: int, select: Sequence[str] | None = None
    ) -> Sequence[RetryLink]:
        """The retries of import `number` of the record's tenant, and their retries."""
        return (await self.retries(record.tenant, number, number, select)).get(number, ())

    async def _link(self, record: ImportRecord, ancestor: Ancestor) -> RetryLink | None:
        row = records.child_row(ancestor.number, record.number)
        entity = await self._tables.get(IMPORTS, record.tenant, row)
        return None if entity is None else records.retry_link(entity)

    async def _imported_rows(self, record: ImportRecord) -> int:
        entities = await self._tables.query(
            IMPORT_RESULTS, record.import_id, select=results.WENT_IN_COLUMNS
        )
        imported = 0
        for entity in entities:
            try:
                imported |= results.rows_that_went_in(entity)
            except UnreadableDataError as error:
                log.failure("result.unreadable", error, import_id=record.import_id)
        return imported
