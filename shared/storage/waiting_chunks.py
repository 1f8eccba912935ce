"""Chunks that wait for an earlier import, as entities in the tenant's partition of `Imports`:

    wait|<number>|end|<number of the waiting import>|<its chunk>        waits for the import's end
    wait|<number>|<chunk>|<number of the waiting import>|<its chunk>    waits for the chunk's result

The handler that ends the import or the chunk reads one range of row keys and sends the messages.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.storage.ports import Delete, Entity, Operation, Upsert

_END = "end"


@dataclass(frozen=True, slots=True)
class WaitingChunk:
    """Chunk `chunk` of import `number` waits for an import with a lower number.

    `awaited_chunk` is None if it waits for the end of that import. `queue` is the queue for the
    message of the waiting chunk.
    """

    tenant: str
    number: int
    import_id: str
    chunk: int
    queue: str
    awaited_number: int
    awaited_chunk: int | None = None

    @property
    def row(self) -> str:
        awaited_part = _END if self.awaited_chunk is None else f"{self.awaited_chunk:06d}"
        return f"wait|{self.awaited_number:012d}|{awaited_part}|{self.number:012d}|{self.chunk:06d}"


def waiting_range(number: int, chunk: int | None) -> tuple[str, str]:
    """First and last row key of the chunks that wait for a chunk, or for any of the import."""
    prefix = f"wait|{number:012d}|" if chunk is None else f"wait|{number:012d}|{chunk:06d}|"
    return prefix, f"{prefix}~"


def wait_operation(waiting: WaitingChunk) -> Operation:
    """The write that adds a waiting chunk."""
    values = {"ImportId": waiting.import_id, "Queue": waiting.queue}
    return Upsert(Entity(waiting.tenant, waiting.row, values))


def stop_waiting_operation(waiting: WaitingChunk) -> Operation:
    """The write that removes a waiting chunk. It fails if another handler has removed it."""
    return Delete(Entity(waiting.tenant, waiting.row, {}))


def from_entity(entity: Entity) -> WaitingChunk:
    _, awaited_number, awaited_part, number, chunk = entity.row.split("|")
    return WaitingChunk(
        tenant=entity.partition,
        number=int(number),
        import_id=entity.text("ImportId"),
        chunk=int(chunk),
        queue=entity.text("Queue"),
        awaited_number=int(awaited_number),
        awaited_chunk=None if awaited_part == _END else int(awaited_part),
    )
