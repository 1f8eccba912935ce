"""`Queues` on Azure Queue storage, through the SDK."""

from __future__ import annotations

from azure.storage.queue import TextBase64EncodePolicy
from azure.storage.queue.aio import QueueServiceClient

from shared.storage.failures import translated


class AzureQueues:
    """`Queues` on Azure Queue storage."""

    def __init__(self, service: QueueServiceClient) -> None:
        self._service = service

    async def send(self, queue: str, text: str, *, delay: int = 0) -> None:
        """See `Queues.send`."""
        client = self._service.get_queue_client(
            queue, message_encode_policy=TextBase64EncodePolicy()
        )
        with translated():
            await client.send_message(text, visibility_timeout=delay, time_to_live=-1)
