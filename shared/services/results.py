"""Result records: written once per chunk, read by chunk or as a whole import."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from shared.errors import PayloadGoneError, PreconditionFailedError, UnreadableDataError
from shared.imports.results import RowResult
from shared.services.background import Offload
from shared.storage import result_records as records
from shared.storage.import_records import ImportRecord
from shared.storage.names import IMPORT_PAYLOADS, IMPORT_RESULT_BLOBS, IMPORT_RESULTS
from shared.storage.ports import Blobs, Insert, Tables, query_pages
from shared.storage.result_records import ChunkResult, StoredResult

_READ_AT_ONCE = 20
_BYTES_PER_ROW = 500
_GROWS = 20
"""About what a compressed result comes to, for the choice of a thread."""


class Results:
    """The partition of each import in `ImportResults`."""

    def __init__(self, tables: Tables, blobs: Blobs, offload: Offload) -> None:
        self._tables = tables
        self._blobs = blobs
        self._offload = offload

    async def add(self, result: ChunkResult) -> bool:
        """Record a chunk as done; False where it has a result already, which then stands."""
        size = _BYTES_PER_ROW * len(result.results)
        entity, spilled = await self._offload(size, records.to_entity, result)
        if spilled:
            await self._blobs.put(IMPORT_RESULT_BLOBS, entity.text("Spilled"), [spilled])
        try:
            await self._tables.write(IMPORT_RESULTS, Insert(entity))
        except PreconditionFailedError:
            return False
        return True

    async def chunks(self, import_id: str, first: int = 0) -> AsyncIterator[StoredResult]:
        """The results of an import from chunk `first` on, in plan order."""
        after = records.result_row(first - 1) if first > 0 else ""
        async for page in query_pages(
            self._tables, IMPORT_RESULTS, import_id, after=after, most=_READ_AT_ONCE
        ):
            for entity in page:
                yield records.from_entity(entity)

    async def row_counts(self, import_id: str) -> list[tuple[int, int]]:
        """The number of each chunk that is done, and how many rows it has; 0 where unknown."""
        found = await self._tables.query(IMPORT_RESULTS, import_id, select=records.PROGRESS_COLUMNS)
        chunks: list[tuple[int, int]] = []
        for entity in found:
            counts = records.from_entity(entity).counts
            chunks.append((records.chunk_of(entity.row), 0 if counts is None else counts.done))
        return chunks

    async def rows(self, stored: StoredResult) -> Sequence[RowResult]:
        """The rows of a chunk's result, in plan order. Raises UnreadableDataError."""
        data = stored.data
        if stored.spilled:
            read = await self._blobs.read(IMPORT_RESULT_BLOBS, stored.spilled)
            if read is None:
                raise UnreadableDataError("the results of a chunk")
            data = read
        return await self._offload(_GROWS * len(data), records.rows_of, data)


# The payload of an import, read by the chunk: from the record where it is small, else the blob.


class Payloads:
    """Reads what intake wrote (`payload.read_lines` reads the lines)."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def lines(self, record: ImportRecord, number: int) -> bytes:
        """The lines of a chunk. Raises PayloadGoneError where they are not there any more."""
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
        """The lines of all chunks. Raises PayloadGoneError where they are not there any more."""
        if record.inline:
            return record.inline.encode()
        data = await self._blobs.read(IMPORT_PAYLOADS, record.blob_name)
        if data is None:
            raise PayloadGoneError("the payload of an import is not there")
        return data
