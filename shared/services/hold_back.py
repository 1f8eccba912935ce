"""Rows of one record are worked on in the order of acceptance (DESIGN 1, hold back).

A chunk does not start while a chunk of an earlier import that may touch the same records has no
result. Every wait points to a lower number, so nothing waits in a circle.
"""

from __future__ import annotations

from shared.imports.planning import Span
from shared.services.chunk_messages import ChunkMessage, Earlier
from shared.services.import_log import ImportLog
from shared.storage.import_records import ImportRecord


async def is_held_back(imports: ImportLog, message: ChunkMessage, record: ImportRecord) -> bool:
    """Whether the chunk of this message has to wait for an import accepted earlier."""
    span = record.chunks[message.chunk].span
    if span is None:
        return False
    for earlier in await _earlier(imports, message, record, span):
        if await _holds(imports, message.tenant, earlier, span):
            return True
    return False


async def _earlier(
    imports: ImportLog, message: ChunkMessage, record: ImportRecord, span: Span
) -> tuple[Earlier, ...]:
    if message.after is not None:
        return message.after
    return tuple(
        Earlier(other.number, other.import_id)
        for other in await imports.open_before(record)
        if other.span is not None and other.span.overlaps(span)
    )


async def _holds(imports: ImportLog, tenant: str, earlier: Earlier, span: Span) -> bool:
    """Whether a chunk of that import still has to work on a record within the span."""
    record = await imports.read(tenant, earlier.number)
    if record is None or not record.is_open:
        return False
    met = {
        chunk.number
        for chunk in record.chunks
        if chunk.span is not None and chunk.span.overlaps(span)
    }
    if not met:
        return False
    progress = await imports.progress(earlier.import_id)
    return bool(met - progress.chunks)
