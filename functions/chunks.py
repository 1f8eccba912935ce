"""The queue triggers of an import type: the same four for every type, named after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import azure.functions as func

from shared import log
from shared.bootstrap import gateway
from shared.imports.import_type import ImportType
from shared.services.chunk_messages import ChunkMessage, UnreadableMessageError
from shared.storage_time import BACKGROUND_SECONDS, storage_time

CONNECTION = "AzureWebJobsStorage"
_Work = Callable[[ChunkMessage], Awaitable[None]]


class ChunkFailedError(Exception):
    """Tells the host that the message is to come back; says no more than what class of error."""


def add_chunk_triggers(blueprint: func.Blueprint, kind: ImportType) -> None:
    """Let the app take chunks of this type from its two queues, and from their poison queues.

    `<type>_rows` and `<type>_rows_bulk` work on chunks; `…_poison` end the rows of chunks that
    failed five times.
    """
    for queue, name in ((kind.queue, "rows"), (kind.bulk_queue, "rows_bulk")):
        _add(blueprint, f"{kind.name}_{name}", queue, _process)
        _add(blueprint, f"{kind.name}_{name}_poison", f"{queue}-poison", _end_as_failed)


def _add(blueprint: func.Blueprint, name: str, queue: str, work: _Work) -> None:
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
