"""`Queues` on Azure Queue storage, through the SDK."""

from __future__ import annotations

from collections.abc import Mapping

from azure.storage.queue import TextBase64EncodePolicy
from azure.storage.queue.aio import QueueServiceClient

from shared.storage.failures import storage_call
from shared.storage_time import retried, storage_time_now


class AzureQueues:
    """`Queues` on Azure Queue storage."""

    def __init__(self, service: QueueServiceClient) -> None:
        self._service = service

    async def send(self, queue: str, text: str, *, delay: int = 0) -> None:
        """See `Queues.send`."""
        client = self._service.get_queue_client(
            queue, message_encode_policy=TextBase64EncodePolicy()
        )

        async def attempt() -> None:
            async with storage_call(storage_time_now().longest_try):
                await client.send_message(text, visibility_timeout=delay, time_to_live=-1)

        await retried(attempt)

    async def set_metadata(self, queue: str, metadata: Mapping[str, str]) -> None:
        """Write metadata of a queue. Raises StorageUnavailableError."""
        client = self._service.get_queue_client(queue)

        async def attempt() -> None:
            async with storage_call(storage_time_now().longest_try):
                await client.set_queue_metadata(dict(metadata))

        await retried(attempt)

    async def get_metadata(self, queue: str) -> dict[str, str]:
        """The metadata of a queue. Raises StorageUnavailableError."""
        client = self._service.get_queue_client(queue)

        async def attempt() -> dict[str, str]:
            async with storage_call(storage_time_now().longest_try):
                return dict((await client.get_queue_properties()).metadata or {})

        return await retried(attempt)
