"""The queue triggers: the same two for every import type with queues, named after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import azure.functions as func

from functions.loading import gateway_in_background
from shared.imports.queue_names import bulk_queue_of, queue_of

if TYPE_CHECKING:
    from shared.gateway import Gateway

CONNECTION = "AzureWebJobsStorage"


class ChunkFailedError(Exception):
    """Lets the host retry the message. The text is only the class of the error."""


def add_queue_triggers(blueprint: func.Blueprint, type_name: str) -> None:
    """Add `<type>_rows` and `<type>_rows_bulk`, which process the chunks of a type.

    The messages of chunks that failed five times are read by the sweep's timer
    (`shared/services/poisoned_chunks.py`).
    """
    _add_trigger(blueprint, f"{type_name}_rows", queue_of(type_name))
    _add_trigger(blueprint, f"{type_name}_rows_bulk", bulk_queue_of(type_name))


def _add_trigger(blueprint: func.Blueprint, name: str, queue: str) -> None:
    async def handle(msg: func.QueueMessage) -> None:
        try:
            async with gateway_in_background() as app:
                await _process(app, name, msg)
        except Exception as error:
            from shared import log

            log.failure("chunk.failed", error, function=name)
            raise ChunkFailedError(type(error).__name__) from None

    blueprint.function_name(name)(blueprint.queue_trigger("msg", queue, CONNECTION)(handle))


async def _process(app: Gateway, name: str, msg: func.QueueMessage) -> None:
    from shared import log
    from shared.services.chunk_messages import ChunkMessage, UnreadableMessageError
    from shared.services.early_polls import EARLY_POLL

    if msg.get_body() == EARLY_POLL.encode():
        return
    try:
        message = ChunkMessage.from_text(msg.get_body())
    except UnreadableMessageError as error:
        log.failure("message.unreadable", error, function=name)
        return
    await app.chunks.process(message)
