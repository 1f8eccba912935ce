"""The files of documents: kept ones, dropped ones, rejected ones. Content is streamed in blocks.

documents/<tenant>/<import id>                  each upload is a blob of its own
document-drop/<tenant>/<round>/<worker>/<file>  what somebody dropped
document-rejected/<same path>/<import id>       what could not be taken, reason in the metadata
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from azure.core import MatchConditions
from azure.storage.blob import BlobType, ContentSettings, StandardBlobTier
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from shared.errors import PreconditionFailedError, StorageUnavailableError
from shared.storage.azure_blobs import whole
from shared.storage.failures import storage_call
from shared.storage.names import DOCUMENT_BLOBS, DOCUMENT_DROP, DOCUMENT_REJECTED

_MARK = "unreferenced"
"""Metadata of a file that no document refers to."""
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
    encoding: str = ""
    """Its Content-Encoding in lower case; "" where its bytes are what they are."""
    md5: bytes | None = None
    """The MD5 that the blob says its content has."""
    is_page_blob: bool = False
    is_archived: bool = False
    """Whether its content cannot be read, because it is in the archive tier."""
    is_leased: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether it only marks a directory (accounts with a hierarchical namespace)."""
        return self.size == 0 and self.metadata.get("hdi_isfolder", "").lower() == "true"


@dataclass(frozen=True, slots=True)
class KeptFile:
    """The file of an upload; `is_marked`: it was found without a document when it last changed."""

    name: str
    etag: str
    changed_at: datetime
    is_marked: bool


@dataclass(frozen=True, slots=True)
class CopiedDrop:
    """What the copy of a drop has shown: its first bytes, and two digests of all of them."""

    head: bytes
    md5: bytes
    sha256: bytes


class DocumentBlobs:
    """The three containers. Every method raises StorageUnavailableError."""

    def __init__(self, service: BlobServiceClient) -> None:
        self._service = service

    async def keep(self, name: str, parts: Iterable[bytes], size: int) -> bytes:
        """Write the file of an upload, `size` bytes in `parts`; the SHA-256 of them."""
        return (await self._write(name, _each(parts), size, 0)).sha256

    async def read(self, name: str) -> bytes | None:
        """The file of an upload; None where it is not there any more."""
        try:
            async with storage_call():
                download = await self._kept(name).download_blob(decompress=False)
                return await whole(download)
        except PreconditionFailedError:
            return None

    async def kept_of(self, tenant: str) -> list[KeptFile]:
        """The files of a tenant's uploads."""
        container = self._service.get_container_client(DOCUMENT_BLOBS)
        async with storage_call():
            return [
                KeptFile(
                    blob.name,
                    blob.etag.strip('"'),
                    blob.last_modified,
                    _MARK in (blob.metadata or {}),
                )
                async for blob in container.list_blobs(f"{tenant}/", include=["metadata"])
            ]

    async def mark(self, file: KeptFile) -> None:
        """Note that no document refers to a file; nothing where it has changed meanwhile."""
        with suppress(PreconditionFailedError):
            async with storage_call():
                await self._kept(file.name).set_blob_metadata({_MARK: "true"}, **_unchanged(file))

    async def remove(self, file: KeptFile) -> None:
        """Delete a file; nothing where it has changed meanwhile."""
        with suppress(PreconditionFailedError):
            async with storage_call():
                await self._kept(file.name).delete_blob(**_unchanged(file))

    async def find_drop(self, name: str) -> Drop | None:
        """A dropped blob as it is now; None where there is none."""
        try:
            async with storage_call():
                drop = _drop(await self._dropped(name).get_blob_properties(), name)
            # A proxy or a broken answer may lose the length, and an empty file is rejected for
            # good: so storage is asked for its first byte.
            if drop.size == 0 and not drop.is_folder and await self._has_bytes(drop):
                raise StorageUnavailableError("storage gives a drop two lengths")
        except PreconditionFailedError:
            return None
        return drop

    async def _has_bytes(self, drop: Drop) -> bool:
        async with storage_call():
            download = await self._dropped(drop.name).download_blob(
                offset=0, length=1, decompress=False, **_unchanged(drop)
            )
            return bool(await download.readall())

    async def drops_before(self, moment: datetime, prefix: str = "") -> AsyncIterator[Drop]:
        """Dropped blobs whose names begin with `prefix`, and that have not changed since `moment`.

        Without their metadata, so that a directory cannot be told from an empty file.
        """
        container = self._service.get_container_client(DOCUMENT_DROP)
        blobs = aiter(container.list_blobs(prefix or None))
        while True:
            # The limit on storage's time is not one on what is done with a drop in between.
            async with storage_call():
                blob = await anext(blobs, None)
            if blob is None:
                return
            if blob.last_modified <= moment:
                yield _drop(blob)

    async def keep_drop(self, drop: Drop, name: str, head_bytes: int) -> CopiedDrop:
        """Copy a drop to the file of an upload, byte for byte.

        Raises PreconditionFailedError where the drop is gone or was written over.
        """
        async with storage_call():
            # Never decoded on the way: its length and its MD5 are those of the bytes as they lie.
            download = await self._dropped(drop.name).download_blob(
                decompress=False, **_unchanged(drop)
            )
        return await self._write(name, _blocks(download), drop.size, head_bytes)

    async def reject(self, drop: Drop, name: str, metadata: Mapping[str, str]) -> bool:
        """Copy a drop to the rejected ones; False where storage is still at it.

        Storage itself copies, so the drop may be as large as it likes, or archived. Raises
        PreconditionFailedError where the drop is gone or was written over.
        """
        target = self._service.get_blob_client(DOCUMENT_REJECTED, name)
        async with storage_call():
            copy = await _copy_of(target)
            if copy is None:
                await target.start_copy_from_url(
                    self._dropped(drop.name).url,
                    metadata=dict(metadata),
                    source_etag=drop.etag,
                    source_match_condition=MatchConditions.IfNotModified,
                    standard_blob_tier=StandardBlobTier.HOT if drop.is_archived else None,
                )
                copy = await _copy_of(target)
            if copy is None or copy.copy.status != "success":
                return False
            if copy.size != drop.size:
                raise StorageUnavailableError("storage copied less of a drop than it has")
            if copy.content_settings.content_encoding:
                # Whoever looks at a rejected file gets the bytes that were dropped.
                await target.set_http_headers(ContentSettings(content_type=_BYTES))
        return True

    async def remove_drop(self, drop: Drop) -> bool:
        """Delete this version of a drop; False where it is gone or was written over."""
        try:
            async with storage_call():
                await self._dropped(drop.name).delete_blob(
                    delete_snapshots="include", **_unchanged(drop)
                )
        except PreconditionFailedError:
            return False
        return True

    async def _write(
        self, name: str, blocks: AsyncIterator[bytes], size: int, head_bytes: int
    ) -> CopiedDrop:
        """Write the file of an upload, and check that storage has all of it."""
        head = bytearray()
        digest, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()

        async def counted() -> AsyncIterator[bytes]:
            written = 0
            async for block in blocks:
                head.extend(block[: head_bytes - len(head)])
                digest.update(block)
                sha256.update(block)
                written += len(block)
                yield block
            if written != size:
                # Raised while the upload reads, since it would wait for the rest for minutes.
                raise StorageUnavailableError("a file has another length than it should have")

        target = self._kept(name)
        async with storage_call():
            await target.upload_blob(counted(), length=size, overwrite=True)
            kept = await target.get_blob_properties()
        # Of a file that went up in several blocks storage makes no MD5.
        md5 = kept.content_settings.content_md5
        if kept.size != size or (md5 is not None and bytes(md5) != digest.digest()):
            raise StorageUnavailableError("storage has another content than was sent")
        return CopiedDrop(bytes(head), digest.digest(), sha256.digest())

    def _kept(self, name: str) -> Any:
        return self._service.get_blob_client(DOCUMENT_BLOBS, name)

    def _dropped(self, name: str) -> Any:
        return self._service.get_blob_client(DOCUMENT_DROP, name)


def _unchanged(drop: Drop | KeptFile) -> dict[str, Any]:
    return {"etag": drop.etag, "match_condition": MatchConditions.IfNotModified}


async def _copy_of(target: Any) -> Any:
    """What there is of a copy, with its state; None where there is none, or one that failed."""
    try:
        async with storage_call():
            found = await target.get_blob_properties()
    except PreconditionFailedError:
        return None
    return found if found.copy.status in ("success", "pending") else None


def _drop(properties: Any, name: str = "") -> Drop:
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
    """A generator, since an upload takes the library's own iterator for something else."""
    async for block in download.chunks():
        yield block


async def _each(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


# The queue where the host puts blobs that failed too often: `webjobs-blobtrigger-poison`.
#
# One queue for all blob functions of all apps on the account (docs/platform.md#3), so a message is
# looked at before it is taken. It is made by the host when it is needed.

POISON_QUEUE = "webjobs-blobtrigger-poison"
MOST_AT_ONCE = 32
_HIDDEN_SECONDS = 300


@dataclass(frozen=True, slots=True)
class PoisonedBlob:
    """A message of the queue: which blob failed, and since when."""

    container: str
    name: str
    failed_at: datetime
    handle: Any = None
    """What the queue needs to delete the message; None where it was only looked at."""


class PoisonQueue:
    """Reads the poison queue. Every method raises StorageUnavailableError."""

    def __init__(self, service: QueueServiceClient) -> None:
        self._queue = service.get_queue_client(POISON_QUEUE)

    async def look(self) -> list[PoisonedBlob]:
        """Up to 32 messages, the oldest ones, left where they are."""
        try:
            async with storage_call():
                messages = await self._queue.peek_messages(max_messages=MOST_AT_ONCE)
        except PreconditionFailedError:
            return []
        return [_blob(message, None) for message in messages]

    async def take(self) -> list[PoisonedBlob]:
        """Every message that is there, hidden for five minutes from everybody else."""
        try:
            async with storage_call():
                messages = self._queue.receive_messages(
                    messages_per_page=MOST_AT_ONCE, visibility_timeout=_HIDDEN_SECONDS
                )
                return [_blob(message, message) async for message in messages]
        except PreconditionFailedError:
            return []

    async def remove(self, blob: PoisonedBlob) -> None:
        """Delete a message that was taken."""
        try:
            async with storage_call():
                await self._queue.delete_message(blob.handle)
        except PreconditionFailedError:
            return

    async def give_back(self, blob: PoisonedBlob) -> None:
        """Show a message again that was taken."""
        try:
            async with storage_call():
                await self._queue.update_message(blob.handle, visibility_timeout=0)
        except PreconditionFailedError:
            return


def _blob(message: Any, handle: Any) -> PoisonedBlob:
    """What a message says; blank where it is none of the host's."""
    try:
        content = json.loads(base64.b64decode(message.content, validate=True))
        container, name = str(content["ContainerName"]), str(content["BlobName"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        container, name = "", ""
    return PoisonedBlob(container, name, message.inserted_on, handle)
