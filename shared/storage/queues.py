"""Sending messages to the queues of the app.

The queue triggers receive; nothing here does. Messages are base64, as `host.json` says, and never
expire: the sweep replaces what is lost, and an old message meets a closed import and is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from shared.storage.failures import translated

if TYPE_CHECKING:
    from azure.storage.queue.aio import QueueServiceClient

MAX_MESSAGE_BYTES = 49_152
"""64 KiB after base64 (PLATFORM 8.1)."""


class Queues(Protocol):
    """The port of the services; the order model has an in-memory twin."""

    async def send(self, queue: str, text: str, *, delay: int = 0) -> None:
        """Put one message on a queue, visible after `delay` seconds.

        Raises StorageUnavailableError when storage does not answer.
        """


class AzureQueues:
    """`Queues` on Azure Queue storage."""

    def __init__(self, service: QueueServiceClient) -> None:
        self._service = service

    async def send(self, queue: str, text: str, *, delay: int = 0) -> None:
        """See `Queues.send`."""
        from azure.storage.queue import TextBase64EncodePolicy

        client = self._service.get_queue_client(
            queue, message_encode_policy=TextBase64EncodePolicy()
        )
        with translated():
            await client.send_message(text, visibility_timeout=delay or None, time_to_live=-1)
