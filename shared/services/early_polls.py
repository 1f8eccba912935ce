"""Early polls: the host begins to poll a bulk queue often while a large payload is still read.

The host polls an idle queue every `maxPollingInterval`. After a message it polls at once, and its
pauses begin again at 100 ms (docs/platform.md#2.3). So a message without content, sent when the
reading begins, lets the first chunks wait less. Nothing depends on it: the trigger drops it, and it
expires where no host runs.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress

from shared.errors import StorageUnavailableError
from shared.storage.ports import Queues

EARLY_POLL = '{"earlyPoll":[]}'

# Bytes of a body from which its reading and writing take longer than the shortest pause.
_LARGE = 512 * 1024
# Seconds after which the host's pauses have grown again.
_PAUSES_GROW = 0.5
_EXPIRES = 30


class EarlyPolls:
    """Sends the messages, for each queue at most two a second."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._sent_at: dict[str, float] = {}
        self._sending: set[asyncio.Task[None]] = set()

    def ask(self, queue: str, size: int) -> None:
        """Let the host poll the queue soon. Does not wait, and raises nothing.

        `size`: the bytes to read or write before its next message; few bytes ask for nothing.
        """
        now = asyncio.get_running_loop().time()
        if size < _LARGE or now - self._sent_at.get(queue, -math.inf) < _PAUSES_GROW:
            return
        self._sent_at[queue] = now
        task = asyncio.create_task(self._send(queue))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, queue: str) -> None:
        with suppress(StorageUnavailableError):
            await self._queues.send(queue, EARLY_POLL, expires=_EXPIRES)
