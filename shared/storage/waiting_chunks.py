"""Chunks that wait for an earlier import, as entities in the tenant's partition of `Imports`:

    wait|<number>|end|<number of the waiting import>|<its chunk>        waits until the import ends
    wait|<number>|<chunk>|<number of the waiting import>|<its chunk>    waits for the chunk's result

The handler that brings what is waited for reads one range of row keys and sends the messages.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.storage.ports import Delete, Entity, Operation, Upsert

_END = "end"


@dataclass(frozen=True, slots=True)
class WaitingChunk:
    """Chunk `chunk` of import `number` waits for an import with a lower number.

    `awaited_chunk` is None where it waits for the end of that import. `queue` is where the message
    of the waiting chunk belongs.
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
        """The row key."""
        awaited = _END if self.awaited_chunk is None else f"{self.awaited_chunk:06d}"
        return f"wait|{self.awaited_number:012d}|{awaited}|{self.number:012d}|{self.chunk:06d}"


def waiting_range(number: int, chunk: int | None) -> tuple[str, str]:
    """First and last row key of what waits for a chunk; for any part of the import where None."""
    prefix = f"wait|{number:012d}|" if chunk is None else f"wait|{number:012d}|{chunk:06d}|"
    return prefix, f"{prefix}~"


def adding(waiting: WaitingChunk) -> Operation:
    """The write that makes a chunk wait."""
    values = {"ImportId": waiting.import_id, "Queue": waiting.queue}
    return Upsert(Entity(waiting.tenant, waiting.row, values))


def removing(waiting: WaitingChunk) -> Operation:
    """The write that ends the wait; it fails where somebody else has ended it."""
    return Delete(Entity(waiting.tenant, waiting.row, {}))


def from_entity(entity: Entity) -> WaitingChunk:
    """The waiting chunk that an entity names."""
    _, awaited_number, awaited, number, chunk = entity.row.split("|")
    return WaitingChunk(
        tenant=entity.partition,
        number=int(number),
        import_id=entity.text("ImportId"),
        chunk=int(chunk),
        queue=entity.text("Queue"),
        awaited_number=int(awaited_number),
        awaited_chunk=None if awaited == _END else int(awaited),
    )
