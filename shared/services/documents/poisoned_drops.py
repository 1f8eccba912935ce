"""Drops that the blob trigger has given up: looked at, and taken in once more (`manage.py poison`).

They still lie in their container, so the sweep tries them too; this is for an administrator who
does not want to wait, or wants to know.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from shared import log
from shared.errors import StorageUnavailableError
from shared.imports.documents.drop_paths import plain_name
from shared.services.documents.drops import Drops
from shared.storage.document_blobs import PoisonedBlob, PoisonQueue
from shared.storage.names import DOCUMENT_DROP

_SECONDS_PER_DROP: Final = 60


@dataclass(frozen=True, slots=True)
class Requeued:
    """A failed drop and whether it is settled now: imported, rejected or gone."""

    name: str
    is_settled: bool


class PoisonedDrops:
    """The poison queue of the host, as far as it is about drops; other messages stay there."""

    def __init__(self, queue: PoisonQueue, drops: Drops) -> None:
        self._queue = queue
        self._drops = drops

    async def failed(self) -> list[PoisonedBlob]:
        """The drops that failed too often: up to 32 of them, the oldest first."""
        return [blob for blob in await self._queue.look() if blob.container == DOCUMENT_DROP]

    async def requeue(self) -> list[Requeued]:
        """Take every failed drop in once more; the message of a settled one is deleted.

        A drop that fails again does not hold up the others. Raises StorageUnavailableError where
        the queue itself is away.
        """
        done: list[Requeued] = []
        for blob in await self._queue.take():
            is_drop = blob.container == DOCUMENT_DROP
            is_settled = is_drop and await self._is_settled(blob.name)
            if is_drop:
                done.append(Requeued(blob.name, is_settled))
            try:
                await (self._queue.remove(blob) if is_settled else self._queue.give_back(blob))
            except StorageUnavailableError as error:
                # The message shows itself again after a while, and taking a drop in is repeatable.
                log.failure("poison.kept", error, drop=plain_name(blob.name))
        return done

    async def _is_settled(self, name: str) -> bool:
        try:
            async with asyncio.timeout(_SECONDS_PER_DROP):
                await self._drops.take_in(name)
        except Exception as error:
            log.failure("drop.failed", error, drop=plain_name(name))
            return False
        return True
