"""`Blobs` on Azure Blob storage, through the SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from typing import Any

from azure.core.exceptions import HttpResponseError
from azure.storage.blob.aio import BlobServiceClient

from shared.errors import PreconditionFailedError, StorageUnavailableError
from shared.storage.failures import storage_call

# The status of a read whose range begins behind the end of the blob.
_NOT_SATISFIABLE = 416


class AzureBlobs:
    """`Blobs` on Azure Blob storage."""

    def __init__(self, service: BlobServiceClient) -> None:
        self._service = service

    async def put(
        self,
        container: str,
        name: str,
        parts: Iterable[bytes],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """See `Blobs.put`. Parts are uploaded as blocks, one in memory at a time. A list of one
        part is one request.
        """
        client = self._service.get_blob_client(container, name)
        async with storage_call():
            await client.upload_blob(
                parts[0] if isinstance(parts, list) and len(parts) == 1 else _stream(parts),
                overwrite=True,
                max_concurrency=1,
                metadata=dict(metadata) if metadata else None,
            )

    async def read(
        self, container: str, name: str, start: int = 0, length: int | None = None
    ) -> bytes | None:
        """See `Blobs.read`."""
        client = self._service.get_blob_client(container, name)
        try:
            async with storage_call():
                # Never decoded by Content-Encoding, so that the read returns what was written.
                download = await client.download_blob(offset=start, length=length, decompress=False)
                return await read_all(download)
        except PreconditionFailedError:
            return None
        except HttpResponseError as error:
            if error.status_code != _NOT_SATISFIABLE:
                raise
            return b""

    async def names_before(self, container: str, prefix: str, time: datetime) -> list[str]:
        """See `Blobs.names_before`."""
        client = self._service.get_container_client(container)
        async with storage_call():
            return [
                str(blob.name)
                async for blob in client.list_blobs(name_starts_with=prefix)
                if blob.last_modified < time
            ]

    async def delete(self, container: str, name: str) -> None:
        """See `Blobs.delete`."""
        try:
            async with storage_call():
                await self._service.get_blob_client(container, name).delete_blob()
        except PreconditionFailedError:
            return


async def read_all(download: Any) -> bytes:
    """Read all bytes of a download. Raises StorageUnavailableError if some are missing."""
    content = bytes(await download.readall())
    if len(content) != download.size:
        raise StorageUnavailableError("storage has sent a part of a blob")
    return content


async def _stream(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Yield the parts, each made in a thread, because a chunk of rows may have 90 MB."""
    iterator = iter(parts)
    while (part := await asyncio.to_thread(next, iterator, None)) is not None:
        yield part
