"""The queue where the host puts blobs that failed too often: `webjobs-blobtrigger-poison`.

One queue for all blob functions of all apps on the account (PLATFORM 3), so a message is looked at
before it is taken. It is made by the host when it is needed.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from azure.storage.queue.aio import QueueServiceClient

from shared.errors import PreconditionFailedError
from shared.storage.failures import storage_call

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
