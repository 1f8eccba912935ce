"""Results of imports, written once per chunk, and the failed rows that retries have imported."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from shared import log
from shared.errors import (
    ConflictError,
    PayloadGoneError,
    PreconditionFailedError,
    SealedDataError,
    UnreadableDataError,
)
from shared.imports.results import RowResult, positions_in, select_rows, unite
from shared.services.background import Offload
from shared.storage import import_records, result_records
from shared.storage.import_records import MAX_GENERATIONS, Ancestor, ImportRecord, RetryLink
from shared.storage.names import IMPORT_PAYLOADS, IMPORT_RESULT_BLOBS, IMPORT_RESULTS, IMPORTS
from shared.storage.ports import Blobs, Insert, Operation, Tables, query_pages
from shared.storage.result_records import ChunkResult, StoredResult
from shared.telemetry import traced

_READ_AT_ONCE = 20
_BYTES_PER_ROW = 500
# About the factor by which a compressed result grows, for the choice of a thread.
_COMPRESSION_RATIO = 20


class Results:
    """The partition of each import in `ImportResults`."""

    def __init__(self, tables: Tables, blobs: Blobs, offload: Offload) -> None:
        self._tables = tables
        self._blobs = blobs
        self._offload = offload

    @traced("chunk.results")
    async def add(self, result: ChunkResult) -> bool:
        """Record the result of a chunk; False if it has one already, which then counts."""
        size = _BYTES_PER_ROW * len(result.results)
        entity, spilled_bytes = await self._offload(size, result_records.to_entity, result)
        if spilled_bytes:
            await self._blobs.put(IMPORT_RESULT_BLOBS, entity.text("Spilled"), [spilled_bytes])
        try:
            await self._tables.write(IMPORT_RESULTS, Insert(entity))
        except PreconditionFailedError:
            return False
        return True

    async def chunks(self, import_id: str, first: int = 0) -> AsyncIterator[StoredResult]:
        """The results of an import from chunk `first` on, in plan order."""
        after = result_records.result_row(first - 1) if first > 0 else ""
        async for page in query_pages(
            self._tables, IMPORT_RESULTS, import_id, after=after, most=_READ_AT_ONCE
        ):
            for entity in page:
                yield result_records.from_entity(entity)

    async def row_counts(self, import_id: str) -> list[tuple[int, int]]:
        """The number of each chunk that is done, and how many rows it has; 0 where unknown."""
        entities = await self._tables.query(
            IMPORT_RESULTS, import_id, select=result_records.PROGRESS_COLUMNS
        )
        chunks: list[tuple[int, int]] = []
        for entity in entities:
            counts = result_records.from_entity(entity).counts
            chunks.append(
                (result_records.chunk_of(entity.row), 0 if counts is None else counts.done)
            )
        return chunks

    async def rows(self, stored: StoredResult) -> Sequence[RowResult]:
        """The rows of a chunk's result, in plan order. Raises UnreadableDataError."""
        data = stored.data
        if stored.spilled:
            blob = await self._blobs.read(IMPORT_RESULT_BLOBS, stored.spilled)
            if blob is None:
                raise UnreadableDataError("the results of a chunk")
            data = blob
        return await self._offload(_COMPRESSION_RATIO * len(data), result_records.rows_of, data)


# A small payload is read from the import record, a larger one from its blob.


class Payloads:
    """Reads the payload of an import (`json_rows.read_lines` parses the lines)."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def lines(self, record: ImportRecord, number: int) -> bytes:
        """The lines of a chunk.

        Raises PayloadGoneError if they are missing, SealedDataError if they do not open.
        """
        _check_opened(record)
        chunk = record.chunks[number]
        if record.inline:
            return record.inline.encode()[chunk.start : chunk.end]
        data = await self._blobs.read(
            IMPORT_PAYLOADS, record.blob_name, chunk.start, chunk.end - chunk.start
        )
        if data is None:
            raise PayloadGoneError("the payload of an import is not there")
        return data

    async def whole(self, record: ImportRecord) -> bytes:
        """The lines of all chunks. Raises the same errors."""
        _check_opened(record)
        if record.inline:
            return record.inline.encode()
        data = await self._blobs.read(IMPORT_PAYLOADS, record.blob_name)
        if data is None:
            raise PayloadGoneError("the payload of an import is not there")
        return data


def _check_opened(record: ImportRecord) -> None:
    if record.is_inline_sealed:
        raise SealedDataError("the sealed rows of an import")


# The failed rows of an import that its retries have imported.
#
# A retry records once, in the transaction that ends it, which rows of its parent, of the parent's
# parent and so on it has imported. It writes its own `child|` entities, so that two retries never
# write the same one. The repaired rows of an import are the union of the sets of its retries.

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
        first, last = import_records.children_range(newest, oldest)
        links: defaultdict[int, list[RetryLink]] = defaultdict(list)
        for entity in await self._tables.query(IMPORTS, tenant, first, last, select=select):
            link = import_records.retry_link(entity)
            links[link.ancestor].append(link)
        return links

    async def retries_for_list(
        self, tenant: str, newest: int, oldest: int
    ) -> Mapping[int, Sequence[RetryLink]]:
        """The retries of these imports for a list, without the sets of rows that they retry."""
        return await self.retries(tenant, newest, oldest, import_records.RETRY_LIST_COLUMNS)

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
            row = import_records.record_row(parent.lineage[-1].number)
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
                operations.append(import_records.repair_operation(record.tenant, link, repaired))
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
        row = import_records.child_row(ancestor.number, record.number)
        entity = await self._tables.get(IMPORTS, record.tenant, row)
        return None if entity is None else import_records.retry_link(entity)

    async def _imported_rows(self, record: ImportRecord) -> int:
        entities = await self._tables.query(
            IMPORT_RESULTS, record.import_id, select=result_records.WENT_IN_COLUMNS
        )
        imported = 0
        for entity in entities:
            try:
                imported |= result_records.rows_that_went_in(entity)
            except UnreadableDataError as error:
                log.failure("result.unreadable", error, import_id=record.import_id)
        return imported
