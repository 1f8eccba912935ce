"""The message that asks for a chunk: a claim check, never the rows.

    {"chunk": {"tenant", "number", "importId", "chunk", "after": [[number, importId]…] | "all",
               "tries"}}

One property at the top: the host writes top-level properties of a JSON message over the message's
own metadata (PLATFORM 2.5).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.imports.planning import SMALL_IMPORT
from shared.storage.import_records import ImportRecord, OpenImport

MAX_NAMED = 100
"""More earlier imports than this are not named one by one."""


class UnreadableMessageError(ValueError):
    """A message that this gateway did not write."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """An import accepted earlier whose rows may touch the same records."""

    number: int
    import_id: str


@dataclass(frozen=True, slots=True)
class ChunkMessage:
    """Which chunk is to be worked on, and which imports it must not overtake.

    `after` is None where there are too many to name: the chunk then looks at the open imports
    itself. `tries` counts how often the message was sent again, for the length of the next delay.
    """

    tenant: str
    number: int
    import_id: str
    chunk: int
    after: tuple[Earlier, ...] | None = ()
    tries: int = 0

    def again(self) -> ChunkMessage:
        """The message to send when the chunk has to wait."""
        return replace(self, tries=self.tries + 1)

    def holding(self, after: tuple[Earlier, ...]) -> ChunkMessage:
        """The message with those of its earlier imports that still hold it."""
        return self if after == self.after else replace(self, after=after, tries=0)

    @property
    def delay(self) -> int:
        """Seconds until the next look: 1, 2, 4, … 30."""
        return int(min(30, 2 ** min(self.tries, 5)))

    def to_text(self) -> str:
        """The message's body."""
        after = (
            "all"
            if self.after is None
            else [[earlier.number, earlier.import_id] for earlier in self.after]
        )
        return json.dumps(
            {
                "chunk": {
                    "tenant": self.tenant,
                    "number": self.number,
                    "importId": self.import_id,
                    "chunk": self.chunk,
                    "after": after,
                    "tries": self.tries,
                }
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_text(cls, text: str | bytes) -> ChunkMessage:
        """The inverse of `to_text`; raises UnreadableMessageError for any other body."""
        try:
            content = json.loads(text)["chunk"]
            after = content["after"]
            return cls(
                tenant=str(content["tenant"]),
                number=int(content["number"]),
                import_id=str(content["importId"]),
                chunk=int(content["chunk"]),
                after=None if after == "all" else _earlier(after),
                tries=max(0, int(content["tries"])),
            )
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
            raise UnreadableMessageError("this is no chunk message of the gateway") from None


def _earlier(named: Sequence[Sequence[Any]]) -> tuple[Earlier, ...]:
    return tuple(Earlier(int(number), str(import_id)) for number, import_id in named)


def messages_for(
    record: ImportRecord, earlier: Sequence[OpenImport], chunks: Sequence[int]
) -> list[ChunkMessage]:
    """A message for each of these chunks, naming the earlier imports that it may meet."""
    messages: list[ChunkMessage] = []
    for number in chunks:
        span = record.chunks[number].span
        met = [
            Earlier(other.number, other.import_id)
            for other in earlier
            if span is not None and other.span is not None and other.span.overlaps(span)
        ]
        after = None if len(met) > MAX_NAMED else tuple(met)
        messages.append(ChunkMessage(record.tenant, record.number, record.import_id, number, after))
    return messages


def queue_for(record: ImportRecord, queue: str, bulk_queue: str) -> str:
    """The queue of an import: small ones never stand behind large ones."""
    return queue if record.rows <= SMALL_IMPORT else bulk_queue
