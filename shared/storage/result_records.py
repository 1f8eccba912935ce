"""Results in storage: one record per chunk, the outcome of each row in it, compact.

The record is a chunk's last act and the marker that it is done: it is inserted, never replaced, so
of two handlers of one chunk the first one's word stands. Rows are compressed; what does not fit an
entity goes to a blob that the record names. Its name depends on its content: of two handlers of a
chunk the second one must not write over what the first one's record tells of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import UnreadableDataError
from shared.imports.messages import MessageId, Severity
from shared.imports.results import Outcome, RowResult, pack_result, unpack_result
from shared.imports.row_sets import pack_rows, row_set, unpack_rows
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
    """What became of the rows of one chunk, and when it was known (ISO text, UTC).

    `lost` counts rows that failed and have no result: their payload is gone. `is_of_retry`: the
    rows that went in are stored as a set too, for the imports whose rows they repair.
    """

    import_id: str
    chunk: int
    results: tuple[RowResult, ...]
    done_at: str
    lost: int = 0
    is_of_retry: bool = False

    @property
    def counts(self) -> Counts:
        """How many of its rows ended how."""
        outcomes = [result.outcome for result in self.results]
        return Counts(
            outcomes.count(Outcome.NEW),
            outcomes.count(Outcome.UPDATED),
            outcomes.count(Outcome.UNCHANGED),
            outcomes.count(Outcome.FAILED) + self.lost,
            sum(1 for result in self.results if _is_cancelled(result)),
            sum(1 for result in self.results if result.count(Severity.WARNING)),
            sum(1 for result in self.results if result.count(Severity.INFO)),
            sum(1 for result in self.results if result.removed),
        )


def _is_cancelled(result: RowResult) -> bool:
    return result.outcome is Outcome.FAILED and any(
        message.id == MessageId.CANCELLED for message in result.messages
    )


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A chunk's record as it was read: `spilled` names the blob where its rows went, or is "".

    `counts` is None where they cannot be read. `has_message_counts` is False for a result that an
    earlier version has written, which did not count warnings and infos. `done_at` is ISO text.
    """

    import_id: str
    chunk: int
    counts: Counts | None
    data: bytes
    spilled: str
    has_message_counts: bool = True
    done_at: str = ""


def blobs_of(import_id: str) -> str:
    """What the names of the blobs of an import's results begin with."""
    return f"{import_id}/"


def result_row(chunk: int) -> str:
    """Row key of a chunk's result."""
    return f"c{chunk:06d}"


def chunk_of(row: str) -> int:
    """The chunk number in a row key."""
    return int(row.removeprefix("c"))


def to_entity(result: ChunkResult) -> tuple[Entity, bytes]:
    """The entity of a chunk's result, and the bytes to write to `Spilled` first (often none)."""
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


def rows_that_went_in(entity: Entity) -> int:
    """The set of the rows of a retry's chunk that went in. Raises UnreadableDataError."""
    return unpack_rows(join_bytes("WentIn", entity.values))


def from_entity(entity: Entity) -> StoredResult:
    """The record that an entity holds; its rows are still to be read (`rows_of`)."""
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
    """The rows in a record's bytes, in plan order. Raises UnreadableDataError."""
    return [unpack_result(packed) for packed in expand_json(data)]
