"""Takes the messages off the real queues, so that a test decides what is delivered and how often.

No gateway process works on the account `delivered`.
"""

from __future__ import annotations

import base64

from azure.storage.queue.aio import QueueServiceClient

from shared.imports.registry import IMPORT_TYPES
from shared.services.chunk_messages import ChunkMessage

QUEUES = tuple(queue for kind in IMPORT_TYPES.values() for queue in kind.queues)


class Pump:
    """The queues of one storage account."""

    def __init__(self, service: QueueServiceClient) -> None:
        self._service = service

    async def take(self) -> list[ChunkMessage]:
        """Every message that is visible now."""
        found: list[ChunkMessage] = []
        for name in QUEUES:
            queue = self._service.get_queue_client(name)
            async for message in queue.receive_messages(max_messages=32):
                found.append(ChunkMessage.from_text(base64.b64decode(message.content)))
                await queue.delete_message(message)
        return found
