"""The queue triggers: the same two for every import type with queues, named after it."""

from __future__ import annotations

import azure.functions as func

from shared import log
from shared.bootstrap import gateway
from shared.imports.registry import IMPORT_TYPES
from shared.services.chunk_messages import ChunkMessage, UnreadableMessageError
from shared.storage_time import BACKGROUND_SECONDS, storage_time

CONNECTION = "AzureWebJobsStorage"
blueprint = func.Blueprint()


class ChunkFailedError(Exception):
    """Lets the host retry the message. The text is only the class of the error."""


def _add_trigger(name: str, queue: str) -> None:
    async def handle(msg: func.QueueMessage) -> None:
        try:
            with storage_time(BACKGROUND_SECONDS):
                message = ChunkMessage.from_text(msg.get_body())
                await (await gateway()).chunks.process(message)
        except UnreadableMessageError as error:
            log.failure("message.unreadable", error, function=name)
        except Exception as error:
            log.failure("chunk.failed", error, function=name)
            raise ChunkFailedError(type(error).__name__) from None

    blueprint.function_name(name)(blueprint.queue_trigger("msg", queue, CONNECTION)(handle))


# `<type>_rows` and `<type>_rows_bulk` process chunks. The messages of chunks that failed five times
# are read by the sweep's timer (`shared/services/poisoned_chunks.py`).
for kind in IMPORT_TYPES.values():
    if kind.has_queues:
        for queue, name in ((kind.queue, "rows"), (kind.bulk_queue, "rows_bulk")):
            _add_trigger(f"{kind.name}_{name}", queue)
