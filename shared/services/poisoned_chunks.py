"""Messages of chunks that failed too often: the housekeeping timer ends their rows.

The host moves such a message to the poison queue of its queue. The timer reads all poison queues in
each run, since a trigger for each of them would poll it several times a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from shared import log
from shared.services.background import UpkeepFaults
from shared.services.chunk_messages import ChunkMessage, UnreadableMessageError
from shared.storage.ports import ReceivedMessage, ReceivingQueues

# Received at once; a run ends with a queue that has fewer.
_MOST_RECEIVED = 32
_MOST_ROUNDS = 30
# A message whose rows could not be ended comes back after this time.
_HIDDEN_SECONDS = 60


class PoisonedChunks:
    """Ends the rows of the messages in the poison queues of these queues.

    `end` is awaited with each message (`ChunkProcessor.end_as_failed`).
    """

    def __init__(
        self,
        queues: ReceivingQueues,
        names: Sequence[str],
        end: Callable[[ChunkMessage], Awaitable[None]],
    ) -> None:
        self._queues = queues
        self._names = [poison_queue(name) for name in names]
        self._end = end

    async def run(self) -> None:
        """Empty the poison queues. A message that fails does not stop the others."""
        faults = UpkeepFaults("poison.kept")
        await asyncio.gather(*(self._empty(name, faults) for name in self._names))

    async def _empty(self, name: str, faults: UpkeepFaults) -> None:
        for _ in range(_MOST_ROUNDS):
            messages = await self._queues.receive(name, _MOST_RECEIVED, _HIDDEN_SECONDS)
            for message in messages:
                try:
                    await self._settle(name, message)
                except Exception as error:
                    faults.note(error, queue=name)
                else:
                    faults.note_success()
            if len(messages) < _MOST_RECEIVED:
                return

    async def _settle(self, name: str, message: ReceivedMessage) -> None:
        try:
            await self._end(ChunkMessage.from_text(message.text))
        except UnreadableMessageError as error:
            log.failure("message.unreadable", error, queue=name)
        await self._queues.delete(name, message)


def poison_queue(queue: str) -> str:
    """The queue to which the host moves the messages of a queue that failed too often."""
    return f"{queue}-poison"
