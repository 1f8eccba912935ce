"""From a queue message to chunk processing, for every import type alike."""

from __future__ import annotations

import azure.functions as func

from shared.bootstrap import gateway
from shared.services.chunk_messages import ChunkMessage


async def process(msg: func.QueueMessage) -> None:
    """Work on the chunk that the message asks for."""
    await (await gateway()).chunks.process(ChunkMessage.from_text(msg.get_body()))


async def end_as_failed(msg: func.QueueMessage) -> None:
    """End the rows of the chunk, whose message came back too often."""
    await (await gateway()).chunks.end_as_failed(ChunkMessage.from_text(msg.get_body()))
