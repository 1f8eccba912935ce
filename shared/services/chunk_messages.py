"""The queue message of a chunk: a claim check without the rows.

    {"chunk": {"tenant", "number", "importId", "chunk", "after": [] | "all"}}

"all" means that imports accepted earlier may still write the same records. There is only one
top-level property, because the host overwrites the message's metadata with top-level properties of
a JSON message (docs/platform.md#2.5).
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from shared import log
from shared.clock import Clock
from shared.errors import StorageUnavailableError
from shared.imports.planning import SMALL_IMPORT
from shared.imports.registry import TYPE_CATALOGUE
from shared.storage.import_records import LAST_NUMBER, ImportRecord, OpenImport

_TENANT = re.compile(r"[A-Za-z0-9._-]{1,100}")


class UnreadableMessageError(ValueError):
    """The message was not written by this gateway."""


@dataclass(frozen=True, slots=True)
class ChunkMessage:
    """A request to process a chunk.

    `looks_back`: the handler first looks for earlier imports that the chunk must not overtake.
    """

    tenant: str
    number: int
    import_id: str
    chunk: int
    looks_back: bool = False

    def to_text(self) -> str:
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
        """Read the body of a message. Raises UnreadableMessageError."""
        try:
            content = json.loads(text)["chunk"]
            after = content["after"]
            if after != "all" and not isinstance(after, list):
                raise TypeError
            tenant, number = str(content["tenant"]), int(content["number"])
            # A text that is no tenant id may not be a valid key, which storage would refuse.
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
    record: ImportRecord,
    earlier: Sequence[OpenImport],
    chunks: Sequence[int],
    *,
    looks_back: bool = False,
) -> list[ChunkMessage]:
    """Make a message for each chunk. It looks back if it may overlap an earlier import, or if
    `looks_back` is true.
    """
    messages: list[ChunkMessage] = []
    for number in chunks:
        span = record.chunks[number].span
        may_overlap = span is not None and any(
            open_import.span is not None and open_import.span.overlaps(span)
            for open_import in earlier
        )
        messages.append(
            ChunkMessage(
                record.tenant, record.number, record.import_id, number, looks_back or may_overlap
            )
        )
    return messages


def may_hold_back(record: ImportRecord) -> bool:
    """Whether chunks may wait for the import. True if its type cannot be read."""
    kind = TYPE_CATALOGUE.find(record.type_name, record.type_version)
    return kind is None or kind.has_queues or kind.holds_back_all or bool(kind.belongs_to)


def queue_for(record: ImportRecord, queue: str, bulk_queue: str) -> str:
    """The queue of an import, so that small imports never wait behind large ones."""
    return queue if is_small(record.rows) else bulk_queue


def is_small(rows: int) -> bool:
    return rows <= SMALL_IMPORT


# Processes the only chunk of an import (`ChunkProcessor.process_directly`).
RunDirectly = Callable[[ImportRecord], Awaitable[object]]


async def run_without_queues(record: ImportRecord, run_directly: RunDirectly) -> None:
    """Process an accepted import at once if its type has no queues. If storage fails, the sweep
    does it.
    """
    kind = TYPE_CATALOGUE.find(record.type_name, record.type_version)
    if kind is None or kind.has_queues:
        return
    try:
        await run_directly(record)
    except StorageUnavailableError as error:
        log.failure("import.left_to_the_sweep", error, import_id=record.import_id)


# A record that was just accepted is as good as a cancel flag of that age, in seconds.
_KEPT_SECONDS = 1.0
_MOST_KEPT = 64


class AcceptedImports:
    """Imports of one chunk that this process has just accepted, for the handlers of their first
    messages.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, ImportRecord]] = OrderedDict()

    def keep(self, record: ImportRecord) -> None:
        """Keep an import whose message is about to be sent, because its chunk need not wait."""
        # A record with an ETag was read: another call had it accepted.
        if record.etag or len(record.chunks) > 1:
            return
        if record.lineage or record.is_undo or record.batch:
            return
        self._kept[record.import_id] = self._clock.elapsed(), record
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)

    def forget(self, record: ImportRecord) -> None:
        """Let the handler read the record, because it changes."""
        self._kept.pop(record.import_id, None)

    def take(self, message: ChunkMessage) -> ImportRecord | None:
        """The import of a message, if it was accepted less than a second ago.

        Only for its first message, when the chunk has no result yet. A handler of any other one
        reads what is stored.
        """
        accepted_at, record = self._kept.pop(message.import_id, (0.0, None))
        if record is None or message.looks_back or message.chunk:
            return None
        if self._clock.elapsed() - accepted_at > _KEPT_SECONDS:
            return None
        is_same = (record.tenant, record.number) == (message.tenant, message.number)
        return record if is_same else None
