"""Dropped blobs of one container, and what the host keeps of them.

Every method raises StorageUnavailableError.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from azure.core import MatchConditions
from azure.storage.blob import BlobType, ContentSettings, StandardBlobTier
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from shared.clock import StoredTime, same_time
from shared.errors import PreconditionFailedError, StorageUnavailableError
from shared.storage.failures import storage_call
from shared.storage.names import HOST_CONTAINER
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


class DroppedBlobs:
    """The blobs of a container into which files are dropped."""

    def __init__(
        self, service: BlobServiceClient, container: str, stored_time: StoredTime = same_time
    ) -> None:
        self._service = service
        self._container = container
        self._stored_time = stored_time

    async def find(self, name: str) -> Drop | None:
        """The current version of a dropped blob; None where there is none."""
        try:
            async with storage_call():
                properties = await self._client(name).get_blob_properties()
                drop = _drop_from_properties(properties, self._stored_time, name)
            # A proxy or a broken answer may lose the length, and an empty file is rejected for
            # good. So this asks storage for its first byte.
            if drop.size == 0 and not drop.is_folder and await self._has_content(drop):
                raise StorageUnavailableError("storage gives a drop two lengths")
        except PreconditionFailedError:
            return None
        return drop

    async def _has_content(self, drop: Drop) -> bool:
        async with storage_call():
            download = await self._client(drop.name).download_blob(
                offset=0, length=1, decompress=False, **_unchanged(drop)
            )
            return bool(await download.readall())

    async def put(self, name: str, content: bytes) -> str:
        """Drop a file; returns its ETag. Raises PreconditionFailedError where one is there."""
        async with storage_call():
            answer = await self._client(name).upload_blob(content, overwrite=False)
        return str(answer["etag"]).strip('"')

    async def list_before(self, before: datetime, prefix: str = "") -> AsyncIterator[Drop]:
        """Dropped blobs whose names begin with `prefix` and that have not changed since `before`.

        They have no metadata, so a directory cannot be distinguished from an empty file.
        """
        container = self._service.get_container_client(self._container)
        blobs = aiter(container.list_blobs(prefix or None))
        while True:
            # The time limit of storage calls must not include the caller's work between two drops.
            async with storage_call():
                blob = await anext(blobs, None)
            if blob is None:
                return
            if self._stored_time(blob.last_modified) <= before:
                yield _drop_from_properties(blob, self._stored_time)

    async def blocks(self, drop: Drop) -> AsyncIterator[bytes]:
        """The content of a drop, byte for byte.

        Raises PreconditionFailedError where the drop was deleted or overwritten.
        """
        async with storage_call():
            # Not decoded, because length and MD5 are those of the stored bytes.
            download = await self._client(drop.name).download_blob(
                decompress=False, **_unchanged(drop)
            )
        async for block in download.chunks():
            yield block

    async def copy(
        self, drop: Drop, container: str, name: str, metadata: Mapping[str, str]
    ) -> bool:
        """Copy a drop to another container; False while storage is still copying.

        Storage itself copies, so the drop may have any size, or be archived. Raises
        PreconditionFailedError where the drop was deleted or overwritten.
        """
        target = self._service.get_blob_client(container, name)
        async with storage_call():
            copy = await _find_copy(target)
            if copy is None:
                await target.start_copy_from_url(
                    self._client(drop.name).url,
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
                # A reader of the copy must get the bytes that were dropped.
                await target.set_http_headers(ContentSettings(content_type=_BYTES))
        return True

    async def remove(self, drop: Drop) -> bool:
        """Delete this version of a drop; False where it was deleted or overwritten."""
        try:
            async with storage_call():
                await self._client(drop.name).delete_blob(
                    delete_snapshots="include", **_unchanged(drop)
                )
        except PreconditionFailedError:
            return False
        return True

    def _client(self, name: str) -> Any:
        return self._service.get_blob_client(self._container, name)


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


def _drop_from_properties(properties: Any, stored_time: StoredTime, name: str = "") -> Drop:
    metadata = properties.metadata or {}
    settings = properties.content_settings
    encoding = (settings.content_encoding or "").strip().lower()
    return Drop(
        name=name or properties.name,
        etag=properties.etag.strip('"'),
        size=properties.size,
        created_at=stored_time(properties.creation_time),
        changed_at=stored_time(properties.last_modified),
        metadata={name.lower(): value for name, value in metadata.items()},
        encoding="" if encoding == "identity" else encoding,
        md5=bytes(settings.content_md5) if settings.content_md5 else None,
        is_page_blob=properties.blob_type == BlobType.PAGEBLOB,
        is_archived=properties.blob_tier == StandardBlobTier.ARCHIVE,
        is_leased=properties.lease.state == "leased",
    )


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
