"""The files of documents: kept ones, dropped ones, rejected ones. Content is streamed in blocks.

documents/<tenant>/<import id>                  each upload is a blob of its own
document-drop/<tenant>/<round>/<worker>/<file>  what somebody dropped
document-rejected/<same path>/<import id>       what could not be taken, reason in the metadata
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from azure.core import MatchConditions
from azure.storage.blob.aio import BlobServiceClient

from shared.errors import PreconditionFailedError
from shared.storage.failures import translated
from shared.storage.names import DOCUMENT_BLOBS, DOCUMENT_DROP, DOCUMENT_REJECTED

_MARK = "unreferenced"
"""Metadata of a file that no document refers to."""


@dataclass(frozen=True, slots=True)
class Drop:
    """One version of a dropped blob. Metadata has lower-case names."""

    name: str
    etag: str
    size: int
    created_at: datetime
    changed_at: datetime
    metadata: Mapping[str, str]

    @property
    def is_folder(self) -> bool:
        """Whether it only marks a directory (accounts with a hierarchical namespace)."""
        return self.metadata.get("hdi_isfolder", "").lower() == "true"


@dataclass(frozen=True, slots=True)
class KeptFile:
    """The file of an upload; `is_marked`: it was found without a document when it last changed."""

    name: str
    etag: str
    changed_at: datetime
    is_marked: bool


class OpenedDrop:
    """A dropped blob that is being read, in the version that was there when it was opened."""

    def __init__(self, drop: Drop, download: Any) -> None:
        self.drop = drop
        self._download = download

    def content(self) -> AsyncIterator[bytes]:
        """Its bytes, block by block; once."""
        return _blocks(self._download)


class DocumentBlobs:
    """The three containers. Every method raises StorageUnavailableError."""

    def __init__(self, service: BlobServiceClient) -> None:
        self._service = service

    async def keep(self, name: str, parts: Iterable[bytes], size: int) -> None:
        """Write the file of an upload, `size` bytes in `parts`."""
        with translated():
            await self._kept(name).upload_blob(_each(parts), length=size, overwrite=True)

    async def read(self, name: str) -> bytes | None:
        """The file of an upload; None where it is not there any more."""
        try:
            with translated():
                download = await self._kept(name).download_blob()
                return bytes(await download.readall())
        except PreconditionFailedError:
            return None

    async def kept_of(self, tenant: str) -> list[KeptFile]:
        """The files of a tenant's uploads."""
        container = self._service.get_container_client(DOCUMENT_BLOBS)
        with translated():
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
        with suppress(PreconditionFailedError), translated():
            await self._kept(file.name).set_blob_metadata({_MARK: "true"}, **_unchanged(file))

    async def remove(self, file: KeptFile) -> None:
        """Delete a file; nothing where it has changed meanwhile."""
        with suppress(PreconditionFailedError), translated():
            await self._kept(file.name).delete_blob(**_unchanged(file))

    async def open_drop(self, name: str) -> OpenedDrop | None:
        """A dropped blob as it is now, with its first block read; None where there is none."""
        try:
            with translated():
                download = await self._service.get_blob_client(DOCUMENT_DROP, name).download_blob()
        except PreconditionFailedError:
            return None
        return OpenedDrop(_drop(download.properties, name), download)

    async def drops_before(self, moment: datetime, most: int) -> list[Drop]:
        """Dropped blobs that nobody has changed since `moment`, and nobody holds a lease on."""
        found: list[Drop] = []
        container = self._service.get_container_client(DOCUMENT_DROP)
        with translated():
            async for blob in container.list_blobs(include=["metadata"]):
                drop, is_held = _drop(blob), blob.lease.state == "leased"
                if drop.changed_at <= moment and not drop.is_folder and not is_held:
                    found.append(drop)
                if len(found) == most:
                    break
        return found

    async def keep_drop(self, opened: OpenedDrop, name: str, head_bytes: int) -> bytes:
        """Copy a drop to the file of an upload; its first bytes.

        Raises PreconditionFailedError where the drop is gone or was written over.
        """
        head = bytearray()

        async def noted() -> AsyncIterator[bytes]:
            async for part in opened.content():
                if len(head) < head_bytes:
                    head.extend(part[: head_bytes - len(head)])
                yield part

        size = opened.drop.size
        with translated():
            await self._kept(name).upload_blob(noted(), length=size, overwrite=True)
        return bytes(head)

    async def reject(self, drop: Drop, name: str, metadata: Mapping[str, str]) -> None:
        """Copy a drop to the rejected ones. Raises PreconditionFailedError as `keep_drop` does."""
        target = self._service.get_blob_client(DOCUMENT_REJECTED, name)
        with translated():
            download = await self._dropped(drop.name).download_blob(**_unchanged(drop))
            await target.upload_blob(
                _blocks(download), length=drop.size, overwrite=True, metadata=dict(metadata)
            )

    async def remove_drop(self, drop: Drop) -> bool:
        """Delete this version of a drop; False where it is gone or was written over."""
        try:
            with translated():
                await self._dropped(drop.name).delete_blob(
                    delete_snapshots="include", **_unchanged(drop)
                )
        except PreconditionFailedError:
            return False
        return True

    def _kept(self, name: str) -> Any:
        return self._service.get_blob_client(DOCUMENT_BLOBS, name)

    def _dropped(self, name: str) -> Any:
        return self._service.get_blob_client(DOCUMENT_DROP, name)


def _unchanged(drop: Drop | KeptFile) -> dict[str, Any]:
    return {"etag": drop.etag, "match_condition": MatchConditions.IfNotModified}


def _drop(properties: Any, name: str = "") -> Drop:
    metadata = properties.metadata or {}
    return Drop(
        name=name or properties.name,
        etag=properties.etag.strip('"'),
        size=properties.size,
        created_at=properties.creation_time,
        changed_at=properties.last_modified,
        metadata={name.lower(): value for name, value in metadata.items()},
    )


async def _blocks(download: Any) -> AsyncIterator[bytes]:
    """A generator, since an upload takes the library's own iterator for something else."""
    async for block in download.chunks():
        yield block


async def _each(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
