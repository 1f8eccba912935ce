"""The files of documents: uploaded, dropped and rejected ones. Content is streamed in blocks.

documents/<tenant>/<import id>                  each upload is a blob of its own
document-drop/<tenant>/<round>/<worker>/<file>  dropped files
document-rejected/<same path>/<import id>       rejected drops, with the reason in the metadata
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from azure.core import MatchConditions
from azure.storage.blob import BlobType, ContentSettings, StandardBlobTier
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from shared.errors import PreconditionFailedError, StorageUnavailableError
from shared.storage.azure_blobs import read_all
from shared.storage.failures import storage_call
from shared.storage.names import (
    DOCUMENT_BLOBS,
    DOCUMENT_DROP,
    DOCUMENT_REJECTED,
    HOST_CONTAINER,
)
from shared.storage.ports import ListedBlobs

_BYTES = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Drop:
    """One version of a dropped blob. Metadata has lower-case names."""

    name: str
    etag: str
    size: int
    created_at: datetime
    changed_at: datetime
    metadata: Mapping[str, str]
    # The Content-Encoding in lower case; "" without one.
    encoding: str = ""
    # The Content-MD5 property of the blob.
    md5: bytes | None = None
    is_page_blob: bool = False
    # Whether the content is unreadable because it is in the archive tier.
    is_archived: bool = False
    is_leased: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether the blob marks a directory (accounts with a hierarchical namespace)."""
        return self.size == 0 and self.metadata.get("hdi_isfolder", "").lower() == "true"


@dataclass(frozen=True, slots=True)
class DropCopy:
    """The first bytes of a copied drop, and the MD5 and the SHA-256 of its content."""

    head: bytes
    md5: bytes
    sha256: bytes


class DocumentBlobs:
    """The three containers. Every method raises StorageUnavailableError."""

    def __init__(self, service: BlobServiceClient) -> None:
        self._service = service

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

    async def find_drop(self, name: str) -> Drop | None:
        """The current version of a dropped blob; None where there is none."""
        try:
            async with storage_call():
                drop = _drop_from_properties(
                    await self._drop_client(name).get_blob_properties(), name
                )
            # A proxy or a broken answer may lose the length, and an empty file is rejected for
            # good. So this asks storage for its first byte.
            if drop.size == 0 and not drop.is_folder and await self._has_content(drop):
                raise StorageUnavailableError("storage gives a drop two lengths")
        except PreconditionFailedError:
            return None
        return drop

    async def _has_content(self, drop: Drop) -> bool:
        async with storage_call():
            download = await self._drop_client(drop.name).download_blob(
                offset=0, length=1, decompress=False, **_unchanged(drop)
            )
            return bool(await download.readall())

    async def drops_before(self, before: datetime, prefix: str = "") -> AsyncIterator[Drop]:
        """Dropped blobs whose names begin with `prefix` and that have not changed since `before`.

        They have no metadata, so a directory cannot be distinguished from an empty file.
        """
        container = self._service.get_container_client(DOCUMENT_DROP)
        blobs = aiter(container.list_blobs(prefix or None))
        while True:
            # The time limit of storage calls must not include the caller's work between two drops.
            async with storage_call():
                blob = await anext(blobs, None)
            if blob is None:
                return
            if blob.last_modified <= before:
                yield _drop_from_properties(blob)

    async def copy_drop(self, drop: Drop, name: str, head_bytes: int) -> DropCopy:
        """Copy a drop to the file of an upload, byte for byte.

        Raises PreconditionFailedError where the drop was deleted or overwritten.
        """
        async with storage_call():
            # Not decoded, because length and MD5 are those of the stored bytes.
            download = await self._drop_client(drop.name).download_blob(
                decompress=False, **_unchanged(drop)
            )
        return await self._write(name, _blocks(download), drop.size, head_bytes)

    async def reject(self, drop: Drop, name: str, metadata: Mapping[str, str]) -> bool:
        """Copy a drop to the rejected drops; False while storage is still copying.

        Storage itself copies, so the drop may have any size, or be archived. Raises
        PreconditionFailedError where the drop was deleted or overwritten.
        """
        target = self._service.get_blob_client(DOCUMENT_REJECTED, name)
        async with storage_call():
            copy = await _find_copy(target)
            if copy is None:
                await target.start_copy_from_url(
                    self._drop_client(drop.name).url,
                    metadata=dict(metadata),
                    source_etag=drop.etag,
                    source_match_condition=MatchConditions.IfNotModified,
                    standard_blob_tier=StandardBlobTier.HOT if drop.is_archived else None,
                )
                copy = await _find_copy(target)
            if copy is None or copy.copy.status != "success":
                return False
            if copy.size != drop.size:
                raise StorageUnavailableError("storage copied less of a drop than it has")
            if copy.content_settings.content_encoding:
                # A reader of a rejected file must get the bytes that were dropped.
                await target.set_http_headers(ContentSettings(content_type=_BYTES))
        return True

    async def remove_drop(self, drop: Drop) -> bool:
        """Delete this version of a drop; False where it was deleted or overwritten."""
        try:
            async with storage_call():
                await self._drop_client(drop.name).delete_blob(
                    delete_snapshots="include", **_unchanged(drop)
                )
        except PreconditionFailedError:
            return False
        return True

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

    def _drop_client(self, name: str) -> Any:
        return self._service.get_blob_client(DOCUMENT_DROP, name)


def _unchanged(drop: Drop) -> dict[str, Any]:
    return {"etag": drop.etag, "match_condition": MatchConditions.IfNotModified}


async def _find_copy(target: Any) -> Any:
    """A copy with its state; None where there is none, or where it failed."""
    try:
        async with storage_call():
            properties = await target.get_blob_properties()
    except PreconditionFailedError:
        return None
    return properties if properties.copy.status in ("success", "pending") else None


def _drop_from_properties(properties: Any, name: str = "") -> Drop:
    metadata = properties.metadata or {}
    settings = properties.content_settings
    encoding = (settings.content_encoding or "").strip().lower()
    return Drop(
        name=name or properties.name,
        etag=properties.etag.strip('"'),
        size=properties.size,
        created_at=properties.creation_time,
        changed_at=properties.last_modified,
        metadata={name.lower(): value for name, value in metadata.items()},
        encoding="" if encoding == "identity" else encoding,
        md5=bytes(settings.content_md5) if settings.content_md5 else None,
        is_page_blob=properties.blob_type == BlobType.PAGEBLOB,
        is_archived=properties.blob_tier == StandardBlobTier.ARCHIVE,
        is_leased=properties.lease.state == "leased",
    )


async def _blocks(download: Any) -> AsyncIterator[bytes]:
    """A generator, because an upload misreads the type of the library's own iterator."""
    async for block in download.chunks():
        yield block


async def _iterate(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


# The queue where the host puts blobs that failed too often: `webjobs-blobtrigger-poison`.
#
# All blob functions of all apps on the account share this queue (docs/platform.md#3), so the
# gateway checks each message. The host creates the queue when it needs it.

POISON_QUEUE = "webjobs-blobtrigger-poison"
MAX_MESSAGES = 32
_RECEIPTS = "blobreceipts/"
_HIDDEN_SECONDS = 300


@dataclass(frozen=True, slots=True)
class PoisonedBlob:
    """A message of the queue: the blob that failed, and when."""

    container: str
    name: str
    failed_at: datetime
    # The message, which the queue needs to delete it; None where it was only peeked.
    handle: Any = None


class PoisonQueue:
    """Reads the poison queue. Every method raises StorageUnavailableError."""

    def __init__(self, service: QueueServiceClient) -> None:
        self._queue = service.get_queue_client(POISON_QUEUE)

    async def peek(self) -> list[PoisonedBlob]:
        """Up to 32 messages, the oldest first, without hiding them."""
        try:
            async with storage_call():
                messages = await self._queue.peek_messages(max_messages=MAX_MESSAGES)
        except PreconditionFailedError:
            return []
        return [_blob_from_message(message, None) for message in messages]

    async def receive(self) -> list[PoisonedBlob]:
        """All messages, hidden for five minutes from other readers."""
        try:
            async with storage_call():
                messages = self._queue.receive_messages(
                    messages_per_page=MAX_MESSAGES, visibility_timeout=_HIDDEN_SECONDS
                )
                return [_blob_from_message(message, message) async for message in messages]
        except PreconditionFailedError:
            return []

    async def delete(self, blob: PoisonedBlob) -> None:
        """Delete a received message."""
        try:
            async with storage_call():
                await self._queue.delete_message(blob.handle)
        except PreconditionFailedError:
            return

    async def release(self, blob: PoisonedBlob) -> None:
        """Make a received message visible again."""
        try:
            async with storage_call():
                await self._queue.update_message(blob.handle, visibility_timeout=0)
        except PreconditionFailedError:
            return


class HostRecords:
    """What the host keeps of dropped blobs under their names: receipts, and poison messages."""

    def __init__(self, blobs: ListedBlobs, poison: PoisonQueue | None) -> None:
        self._blobs = blobs
        self._poison = poison

    async def delete(self, is_gone: Callable[[str, str], bool], before: datetime) -> int:
        """Delete what is kept of blobs of which `is_gone(container, name)` is true.

        Returns the number of deletions. The host has no list by name, so all receipts are listed.
        """
        receipts: list[str] = []
        with suppress(PreconditionFailedError):  # no host has run on this account
            receipts = await self._blobs.names_before(HOST_CONTAINER, _RECEIPTS, before)
        deleted = 0
        for name in receipts:
            # blobreceipts/<host>/<function>/<etag>/<container>/<name of the blob>
            _, _, rest = name.removeprefix(_RECEIPTS).partition("/")
            _, _, rest = rest.partition("/")
            _, _, rest = rest.partition("/")
            container, _, blob = rest.partition("/")
            if is_gone(container, blob):
                await self._blobs.delete(HOST_CONTAINER, name)
                deleted += 1
        for message in await self._poison.receive() if self._poison else ():
            if self._poison and is_gone(message.container, message.name):
                await self._poison.delete(message)
                deleted += 1
            elif self._poison:
                await self._poison.release(message)
        return deleted


def _blob_from_message(message: Any, handle: Any) -> PoisonedBlob:
    """The blob in a message; blank where the message is not the host's."""
    try:
        content = json.loads(base64.b64decode(message.content, validate=True))
        container, name = str(content["ContainerName"]), str(content["BlobName"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        container, name = "", ""
    return PoisonedBlob(container, name, message.inserted_on, handle)
