"""The payload of an import, read by the chunk: from the record where it is small, else the blob."""

from __future__ import annotations

from shared.errors import PayloadGoneError
from shared.storage.import_records import ImportRecord
from shared.storage.names import IMPORT_PAYLOADS
from shared.storage.ports import Blobs


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
