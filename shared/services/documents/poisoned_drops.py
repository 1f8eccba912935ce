"""Drops that the blob trigger has given up: looked at, and taken in once more (`manage.py poison`).

They still lie in their container, so the sweep tries them too; this is for an administrator who
does not want to wait, or wants to know.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared import log
from shared.services.documents.drops import Drops
from shared.storage.names import DOCUMENT_DROP
from shared.storage.poison_queue import PoisonedBlob, PoisonQueue


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

        Raises StorageUnavailableError where the queue itself is away.
        """
        done: list[Requeued] = []
        for blob in await self._queue.take():
            if blob.container == DOCUMENT_DROP:
                done.append(Requeued(blob.name, await self._take_in(blob)))
            else:
                await self._queue.give_back(blob)
        return done

    async def _take_in(self, blob: PoisonedBlob) -> bool:
        try:
            await self._drops.take_in(blob.name)
        except Exception as error:
            log.failure("drop.failed", error)
            await self._queue.give_back(blob)
            return False
        await self._queue.remove(blob)
        return True
