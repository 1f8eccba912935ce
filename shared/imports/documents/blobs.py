"""The files of documents: uploaded, dropped and rejected ones. Content is streamed in blocks.

documents/<tenant>/<import id>                  each upload is a blob of its own
document-drop/<tenant>/<round>/<worker>/<file>  dropped files
document-rejected/<same path>/<import id>       rejected drops, with the reason in the metadata
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

from azure.storage.blob.aio import BlobServiceClient

from shared.errors import PreconditionFailedError, StorageUnavailableError
from shared.storage.azure_blobs import read_all
from shared.storage.dropped_blobs import Drop, DroppedBlobs
from shared.storage.failures import storage_call
from shared.storage.names import (
    DOCUMENT_BLOBS,
)

_BYTES = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class DropCopy:
    """The first bytes of a copied drop, and the MD5 and the SHA-256 of its content."""

    head: bytes
    md5: bytes
    sha256: bytes


class DocumentBlobs:
    """The container of documents. Every method raises StorageUnavailableError."""

    def __init__(self, service: BlobServiceClient, drops: DroppedBlobs) -> None:
        self._service = service
        self._drops = drops

    async def keep(self, name: str, parts: Iterable[bytes], size: int) -> bytes:
        """Write the file of an upload, `size` bytes in `parts`. Returns its SHA-256."""
        return (await self._write(name, _iterate(parts), size, 0)).sha256

    async def read(self, name: str) -> bytes | None:
        """The file of an upload; None where it was deleted."""
        try:
            async with storage_call():
                download = await self._file_client(name).download_blob(decompress=False)
                return await read_all(download)
        except PreconditionFailedError:
            return None

    async def copy_drop(self, drop: Drop, name: str, head_bytes: int) -> DropCopy:
        """Copy a drop to the file of an upload, byte for byte.

        Raises PreconditionFailedError where the drop was deleted or overwritten.
        """
        return await self._write(name, self._drops.blocks(drop), drop.size, head_bytes)

    async def _write(
        self, name: str, blocks: AsyncIterator[bytes], size: int, head_bytes: int
    ) -> DropCopy:
        """Write the file of an upload, and check that storage has all of it."""
        head = bytearray()
        md5_digest, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()

        async def checked_blocks() -> AsyncIterator[bytes]:
            written = 0
            async for block in blocks:
                head.extend(block[: head_bytes - len(head)])
                md5_digest.update(block)
                sha256.update(block)
                written += len(block)
                yield block
            if written != size:
                # Raised while the upload reads, because it would wait minutes for the rest.
                raise StorageUnavailableError("a file has another length than it should have")

        target = self._file_client(name)
        async with storage_call():
            await target.upload_blob(checked_blocks(), length=size, overwrite=True)
            properties = await target.get_blob_properties()
        # Storage computes no MD5 for a file of several blocks.
        md5 = properties.content_settings.content_md5
        if properties.size != size or (md5 is not None and bytes(md5) != md5_digest.digest()):
            raise StorageUnavailableError("storage has another content than was sent")
        return DropCopy(bytes(head), md5_digest.digest(), sha256.digest())

    def _file_client(self, name: str) -> Any:
        return self._service.get_blob_client(DOCUMENT_BLOBS, name)


async def _iterate(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
