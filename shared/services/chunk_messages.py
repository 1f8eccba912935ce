"""The message that asks for a chunk: a claim check, never the rows.

    {"chunk": {"tenant", "number", "importId", "chunk", "after": [] | "all"}}

"all" says that imports accepted earlier may still work on the same records. One property at the
top: the host writes top-level properties of a JSON message over the message's own metadata
(docs/platform.md#2.5).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared.imports.planning import SMALL_IMPORT
from shared.imports.registry import TYPE_CATALOGUE
from shared.storage.import_records import LAST_NUMBER, ImportRecord, OpenImport

_TENANT = re.compile(r"[A-Za-z0-9._-]{1,100}")


class UnreadableMessageError(ValueError):
    """A message that this gateway did not write."""


@dataclass(frozen=True, slots=True)
class ChunkMessage:
    """Which chunk is to be worked on.

    `looks_back`: the chunk first looks for imports accepted earlier that it must not overtake.
    """

    tenant: str
    number: int
    import_id: str
    chunk: int
    looks_back: bool = False

    def to_text(self) -> str:
        """The message's body."""
        return json.dumps(
            {
                "chunk": {
                    "tenant": self.tenant,
                    "number": self.number,
                    "importId": self.import_id,
                    "chunk": self.chunk,
                    "after": "all" if self.looks_back else [],
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
            if after != "all" and not isinstance(after, list):
                raise TypeError
            tenant, number = str(content["tenant"]), int(content["number"])
            # What no tenant is called may be no key either: storage would refuse to look for it.
            if not _TENANT.fullmatch(tenant) or not 0 < number < LAST_NUMBER:
                raise ValueError
            return cls(
                tenant=tenant,
                number=number,
                import_id=str(content["importId"]),
                chunk=int(content["chunk"]),
                # An earlier version named the imports one by one.
                looks_back=bool(after),
            )
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
            raise UnreadableMessageError("this is no chunk message of the gateway") from None


def messages_for(
    record: ImportRecord, earlier: Sequence[OpenImport], chunks: Sequence[int]
) -> list[ChunkMessage]:
    """A message for each of these chunks; it looks back where it may meet an earlier import."""
    messages: list[ChunkMessage] = []
    for number in chunks:
        span = record.chunks[number].span
        looks_back = span is not None and any(
            open_import.span is not None and open_import.span.overlaps(span)
            for open_import in earlier
        )
        messages.append(
            ChunkMessage(record.tenant, record.number, record.import_id, number, looks_back)
        )
    return messages


def has_queues(record: ImportRecord) -> bool:
    """Whether chunks of the import go through queues; those of a type that cannot be read may."""
    kind = TYPE_CATALOGUE.find(record.type_name, record.type_version)
    return kind is None or kind.has_queues


def queue_for(record: ImportRecord, queue: str, bulk_queue: str) -> str:
    """The queue of an import: small ones never stand behind large ones."""
    return queue if is_small(record.rows) else bulk_queue


def is_small(rows: int) -> bool:
    """Whether an import of so many rows goes to the queue of small imports."""
    return rows <= SMALL_IMPORT
