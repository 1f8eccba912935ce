"""The queue triggers: the same four for every import type with queues, named after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import azure.functions as func

from shared import log
from shared.bootstrap import gateway
from shared.imports.registry import IMPORT_TYPES
from shared.services.chunk_messages import ChunkMessage, UnreadableMessageError
from shared.storage_time import BACKGROUND_SECONDS, storage_time

CONNECTION = "AzureWebJobsStorage"
blueprint = func.Blueprint()

_Work = Callable[[ChunkMessage], Awaitable[None]]


class ChunkFailedError(Exception):
    """Lets the host retry the message. The text is only the class of the error."""


def _add_trigger(name: str, queue: str, work: _Work) -> None:
    async def handle(msg: func.QueueMessage) -> None:
        try:
            with storage_time(BACKGROUND_SECONDS):
                await work(ChunkMessage.from_text(msg.get_body()))
        except UnreadableMessageError as error:
            log.failure("message.unreadable", error, function=name)
        except Exception as error:
            log.failure("chunk.failed", error, function=name)
            raise ChunkFailedError(type(error).__name__) from None

    blueprint.function_name(name)(blueprint.queue_trigger("msg", queue, CONNECTION)(handle))


async def _process(message: ChunkMessage) -> None:
    await (await gateway()).chunks.process(message)


async def _end_as_failed(message: ChunkMessage) -> None:
    await (await gateway()).chunks.end_as_failed(message)


# `<type>_rows` and `<type>_rows_bulk` process chunks. `…_poison` end the rows of chunks that failed
# five times.
for kind in IMPORT_TYPES.values():
    if kind.has_queues:
        for queue, name in ((kind.queue, "rows"), (kind.bulk_queue, "rows_bulk")):
            _add_trigger(f"{kind.name}_{name}", queue, _process)
            _add_trigger(f"{kind.name}_{name}_poison", f"{queue}-poison", _end_as_failed)
