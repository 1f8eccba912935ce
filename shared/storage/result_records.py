"""Results in storage: one record per chunk with the compressed results of its rows.

A handler inserts the record when the chunk is done, and never replaces it. So of two handlers of
one chunk the first one's results count. Results that do not fit into an entity go to a blob that
the record names. The name of the blob depends on its content, so that the second handler of a chunk
cannot overwrite the blob of the first one's record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.errors import UnreadableDataError
from shared.imports.messages import MessageId, Severity
from shared.imports.results import (
    Outcome,
    RowResult,
    pack_result,
    pack_rows,
    row_set,
    unpack_result,
    unpack_rows,
)
from shared.storage.entities import compress_json, expand_json, join_bytes, split_bytes
from shared.storage.import_records import Counts, counts_of
from shared.storage.ports import Entity, Value, reading

_MAX_INLINE = 700_000
WENT_IN_COLUMNS = tuple(f"WentIn{part}" for part in range(8))
PROGRESS_COLUMNS = (
    *("New", "Updated", "Unchanged", "Failed", "Cancelled", "Warnings", "Infos", "Removing"),
    "DoneAt",
)


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """The results of the rows of one chunk, and the time when it was done (ISO text, UTC).

    `lost` counts failed rows without a result, because their payload is lost. `is_of_retry`: the
    set of imported rows is stored too, for the ancestors whose rows they repair.
    """

    import_id: str
    chunk: int
    results: tuple[RowResult, ...]
    done_at: str
    lost: int = 0
    is_of_retry: bool = False

    @property
    def counts(self) -> Counts:
        """The number of its rows by outcome."""
        outcomes = [result.outcome for result in self.results]
        with_messages = [result for result in self.results if result.messages]
        return Counts(
            outcomes.count(Outcome.NEW),
            outcomes.count(Outcome.UPDATED),
            outcomes.count(Outcome.UNCHANGED),
            outcomes.count(Outcome.FAILED) + self.lost,
            sum(
                1
                for result in with_messages
                if (
                    result.outcome is Outcome.FAILED
                    and any(message.id == MessageId.CANCELLED for message in result.messages)
                )
            ),
            sum(1 for result in with_messages if result.count(Severity.WARNING)),
            sum(1 for result in with_messages if result.count(Severity.INFO)),
            sum(1 for result in self.results if result.removed or result.restored),
        )


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A chunk's record as it was read. `spilled` is the name of the blob with its rows, or "".

    `counts` is None if they cannot be read. `has_message_counts` is False for a result of an
    earlier version, which did not count warnings and infos. `done_at` is ISO text.
    """

    import_id: str
    chunk: int
    counts: Counts | None
    data: bytes
    spilled: str
    has_message_counts: bool = True
    done_at: str = ""


def blobs_of(import_id: str) -> str:
    """The prefix of the names of an import's result blobs."""
    return f"{import_id}/"


def result_row(chunk: int) -> str:
    return f"c{chunk:06d}"


def chunk_of(row: str) -> int:
    return int(row.removeprefix("c"))


def to_entity(result: ChunkResult) -> tuple[Entity, bytes]:
    """The entity of a chunk's result, and the bytes to write to its blob first (often none)."""
    counts = result.counts
    data = compress_json([pack_result(row) for row in result.results])
    values: dict[str, Value] = {
        "DoneAt": result.done_at,
        "New": counts.new,
        "Updated": counts.updated,
        "Unchanged": counts.unchanged,
        "Failed": counts.failed,
        "Cancelled": counts.cancelled,
        "Warnings": counts.warnings,
        "Infos": counts.infos,
    }
    if counts.removing:
        values["Removing"] = counts.removing
    if result.is_of_retry:
        went_in = [row.index for row in result.results if row.outcome is not Outcome.FAILED]
        values |= split_bytes("WentIn", pack_rows(row_set(went_in)))
    row = result_row(result.chunk)
    if len(data) <= _MAX_INLINE:
        return Entity(result.import_id, row, values | split_bytes("Data", data)), b""
    spilled = f"{blobs_of(result.import_id)}{row}-{hashlib.sha256(data).hexdigest()[:16]}"
    return Entity(result.import_id, row, values | {"Spilled": spilled}), data


def with_rows(entity: Entity, rows: Sequence[RowResult]) -> tuple[Entity, bytes]:
    """The entity of a chunk's result as it was read, with other rows of the same outcomes, and the
    bytes to write to its blob first (often none).
    """
    values = {
        name: value
        for name, value in entity.values.items()
        if name.rstrip("0123456789") not in ("Data", "Spilled")
    }
    data = compress_json([pack_result(row) for row in rows])
    if len(data) <= _MAX_INLINE:
        return replace(entity, values=values | split_bytes("Data", data)), b""
    digest = hashlib.sha256(data).hexdigest()[:16]
    spilled = f"{blobs_of(entity.partition)}{entity.row}-{digest}"
    return replace(entity, values=values | {"Spilled": spilled}), data


def rows_that_went_in(entity: Entity) -> int:
    """The set of imported rows of a retry's chunk. Raises UnreadableDataError."""
    return unpack_rows(join_bytes("WentIn", entity.values))


def from_entity(entity: Entity) -> StoredResult:
    """The record of an entity. Its rows still have to be read (`rows_of`)."""
    try:
        counts = counts_of(entity)
    except UnreadableDataError:
        counts = None
    return StoredResult(
        import_id=entity.partition,
        chunk=chunk_of(entity.row),
        counts=counts,
        data=join_bytes("Data", entity.values),
        spilled=entity.text("Spilled"),
        has_message_counts="Infos" in entity.values,
        done_at=entity.text("DoneAt"),
    )


@reading("the results of a chunk")
def rows_of(data: bytes) -> Sequence[RowResult]:
    """Unpack the results in a record's bytes, in plan order. Raises UnreadableDataError."""
    return [unpack_result(packed) for packed in expand_json(data)]
