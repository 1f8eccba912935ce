"""Blobs: payloads of imports and results that outgrow an entity.

`Blobs` is the port of the services; `AzureBlobs` (module `azure_blobs`) carries it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol


class Blobs(Protocol):
    """The port of the services; the order model has an in-memory twin."""

    async def put(
        self,
        container: str,
        name: str,
        parts: Iterable[bytes],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Write a whole blob, replacing one of that name; `parts` are its bytes in order.

        `metadata` are up to 8 KiB of ASCII; their names are letters.
        """

    async def read(
        self, container: str, name: str, start: int = 0, length: int | None = None
    ) -> bytes | None:
        """A range of a blob's bytes; None where there is no such blob."""

    async def delete(self, container: str, name: str) -> None:
        """Remove a blob; a missing one is as good."""


class ListedBlobs(Blobs, Protocol):
    """Blobs that can also be listed, as retention does."""

    async def names_before(self, container: str, prefix: str, moment: datetime) -> list[str]:
        """The names of the blobs that begin with `prefix` and were last written before then."""
