"""`Blobs` on Azure Blob storage, through the SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob.aio import BlobServiceClient

from shared.clock import StoredTime, same_time
from shared.errors import PreconditionFailedError, StorageUnavailableError
from shared.storage.failures import storage_call
from shared.storage.ports import RecordFile
from shared.storage_time import storage_time_now

# The status of a read whose range begins behind the end of the blob.
_NOT_SATISFIABLE = 416


class AzureBlobs:
    """`Blobs` on Azure Blob storage.

    `background` reads more with one request, where no call waits for it.
    """

    def __init__(
        self,
        service: BlobServiceClient,
        stored_time: StoredTime = same_time,
        background: BlobServiceClient | None = None,
    ) -> None:
        self._service = service
        self._background = background or service
        self._stored_time = stored_time

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
        is_background = storage_time_now().is_background
        service = self._background if is_background else self._service
        client = service.get_blob_client(container, name)
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

    async def read_whole(self, container: str, name: str) -> tuple[bytes, str] | None:
        """See `RewritableBlobs.read_whole`."""
        client = self._service.get_blob_client(container, name)
        try:
            async with storage_call():
                download = await client.download_blob(decompress=False)
                return await read_all(download), str(download.properties.etag)
        except PreconditionFailedError:
            return None

    async def replace(self, container: str, name: str, parts: Iterable[bytes], etag: str) -> None:
        """See `RewritableBlobs.replace`."""
        client = self._service.get_blob_client(container, name)
        async with storage_call():
            await client.upload_blob(
                _stream(parts),
                overwrite=True,
                max_concurrency=1,
                etag=etag,
                match_condition=MatchConditions.IfNotModified,
            )

    async def names_before(self, container: str, prefix: str, time: datetime) -> list[str]:
        """See `Blobs.names_before`."""
        client = self._service.get_container_client(container)
        async with storage_call():
            return [
                str(blob.name)
                async for blob in client.list_blobs(name_starts_with=prefix)
                if self._stored_time(blob.last_modified) < time
            ]

    async def touch(self, container: str, name: str) -> bool:
        """See `Blobs.touch`."""
        client = self._service.get_blob_client(container, name)
        try:
            async with storage_call():
                properties = await client.get_blob_properties()
                await client.set_blob_metadata(properties.metadata)
        except PreconditionFailedError:
            return False
        return True

    async def delete(self, container: str, name: str) -> None:
        """See `Blobs.delete`."""
        try:
            async with storage_call():
                await self._service.get_blob_client(container, name).delete_blob()
        except PreconditionFailedError:
            return


# Metadata of a file that no record names.
_UNREFERENCED = "unreferenced"


class AzureRecordFiles:
    """`RecordFiles` in one container of Azure Blob storage."""

    def __init__(
        self, service: BlobServiceClient, container: str, stored_time: StoredTime = same_time
    ) -> None:
        self._container = service.get_container_client(container)
        self._stored_time = stored_time

    async def list_files(self, tenant: str) -> list[RecordFile]:
        """See `RecordFiles.list_files`. Each page has a time limit of its own."""
        listed = self._container.list_blobs(f"{tenant}/", include=["metadata"])
        pages = aiter(listed.by_page())
        files: list[RecordFile] = []
        while True:
            async with storage_call():
                page = await anext(pages, None)
                if page is None:
                    return files
                files += [_record_file(blob, self._stored_time) async for blob in page]

    async def mark(self, file: RecordFile) -> None:
        """See `RecordFiles.mark`."""
        await self._set_metadata(file, {**file.metadata, _UNREFERENCED: "true"})

    async def unmark(self, file: RecordFile) -> None:
        """See `RecordFiles.unmark`."""
        await self._set_metadata(file, file.metadata)

    async def remove(self, file: RecordFile) -> None:
        """See `RecordFiles.remove`."""
        with suppress(PreconditionFailedError):
            async with storage_call():
                await self._container.get_blob_client(file.name).delete_blob(**_unchanged(file))

    async def _set_metadata(self, file: RecordFile, metadata: Mapping[str, str]) -> None:
        with suppress(PreconditionFailedError):
            async with storage_call():
                await self._container.get_blob_client(file.name).set_blob_metadata(
                    dict(metadata), **_unchanged(file)
                )


def _record_file(blob: Any, stored_time: StoredTime) -> RecordFile:
    metadata = {name.lower(): value for name, value in (blob.metadata or {}).items()}
    is_marked = metadata.pop(_UNREFERENCED, None) is not None
    changed_at = stored_time(blob.last_modified)
    return RecordFile(blob.name, blob.etag.strip('"'), changed_at, metadata, is_marked)


def _unchanged(file: RecordFile) -> dict[str, Any]:
    return {"etag": file.etag, "match_condition": MatchConditions.IfNotModified}


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
