"""Rows of one record are worked on in the order of acceptance (DESIGN 1, hold back).

A chunk does not start while a chunk of an earlier import that may touch the same records has no
result. Every wait points to a lower number, so nothing waits in a circle.
"""

from __future__ import annotations

from shared.imports.planning import Span
from shared.services.chunk_messages import ChunkMessage, Earlier
from shared.services.import_log import ImportLog
from shared.storage.import_records import ImportRecord


async def held_back(
    imports: ImportLog, message: ChunkMessage, record: ImportRecord
) -> ChunkMessage | None:
    """The message as it stands where its chunk has to wait; None where it may start.

    Imports that do not hold the chunk any more are dropped from it, and its tries begin anew: the
    delays grow only while nothing moves, or a row of imports would end half a minute apart.
    """
    span = record.chunks[message.chunk].span
    if span is None:
        return None
    earlier = await _earlier(imports, message, record, span)
    for position, other in enumerate(earlier):
        if await _holds(imports, message.tenant, other, span):
            return message if message.after is None else message.holding(earlier[position:])
    return None


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
