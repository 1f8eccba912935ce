"""Sending messages to the queues of the app.

The queue triggers receive; nothing here does. Messages are base64, as `host.json` says, and never
expire: the sweep replaces what is lost, and an old message meets a closed import and is dropped.
"""

from __future__ import annotations

from typing import Protocol

MAX_MESSAGE_BYTES = 49_152
"""64 KiB after base64 (PLATFORM 8.1)."""


class Queues(Protocol):
    """The port of the services; the order model has an in-memory twin."""

    async def send(self, queue: str, text: str, *, delay: int = 0) -> None:
        """Put one message on a queue, visible after `delay` seconds.

        Raises StorageUnavailableError when storage does not answer.
        """
