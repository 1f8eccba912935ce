"""Batches of authentication data in storage, table `AuthStaging`.

    PartitionKey              RowKey
    tenant|fileLogId          batch            state, the calls that appended to it, its import
    tenant|fileLogId          p|<call id>      the records of one call, or the blob they are in
    tenant                    b|<time>|<id>    an index of batches that are not tidied up yet
    tenant                    d|<time>|<id>    an index of those that are, by when that was
    tenant|import id          plan             what is decided of an import (`plan_records`)

One transaction on the batch's ETag writes a call's records and the batch that names the call. So of
concurrent calls each is appended once, in one order, or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.imports.sender import NO_SENDER, Sender
from shared.storage.entities import encode, join, join_bytes, pack_json, split_bytes, unpack_json
from shared.storage.import_records import sender_from_entity, sender_values
from shared.storage.ports import Entity, Insert, Operation, Replace, Value, reading

# Bytes of a call's records that sit in its entity; more go to a blob.
MAX_INLINE = 24 * 1024
BATCH_ROW = "batch"
PARTS = ("p|", "p|~")


class BatchState(StrEnum):
    """The state of a batch; only a staged one takes records."""

    STAGED = "Staged"
    PROCESSING = "Processing"
    PROCESSED = "Processed"
    CANCELLED = "Cancelled"
    EXPIRED = "Expired"


@dataclass(frozen=True, slots=True)
class StagedPart:
    """The number of records that a call appended, under the call's id."""

    id: str
    rows: int


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch. Times are ISO text in UTC.

    `changed_at` is the time of the last append or of the Process call. `import_id` is "" before
    that call. `exceeded` are the sentences of the thresholds that cancelled the staged batch, in
    the call `closed_by`. `is_lost` says that it was cancelled because its records are unreadable.
    `sender` made the Process call.
    """

    tenant: str
    file_log_id: str
    opened_at: str
    changed_at: str
    state: BatchState = BatchState.STAGED
    parts: tuple[StagedPart, ...] = ()
    import_id: str = ""
    exceeded: tuple[str, ...] = ()
    closed_by: str = ""
    is_lost: bool = False
    sender: Sender = NO_SENDER
    etag: str = ""

    @property
    def rows(self) -> int:
        """The number of records of all calls."""
        return sum(part.rows for part in self.parts)

    def has_seen(self, part_id: str) -> bool:
        """Whether a call is complete: its records are appended, or it closed the batch."""
        return part_id == self.closed_by or any(part.id == part_id for part in self.parts)


@dataclass(frozen=True, slots=True)
class PartData:
    """The packed records of a call, in the entity or in a blob of that name."""

    part: StagedPart
    data: bytes = b""
    blob: str = ""


def partition_of(tenant: str, file_log_id: str) -> str:
    """Partition key of a batch."""
    return join(tenant, file_log_id)


def part_blob(tenant: str, part_id: str) -> str:
    """The name of the blob with a call's records."""
    return f"{tenant}/staged/{part_id}"


def index_entity(batch: Batch) -> Entity:
    """The index entity of a batch that is not tidied up yet."""
    row = f"b|{encode(batch.opened_at)}|{encode(batch.file_log_id)}"
    return Entity(encode(batch.tenant), row, {"Batch": batch.file_log_id})


def done_row(time: str, file_log_id: str) -> str:
    """Row key of the index entity of a batch that was tidied up."""
    return f"d|{encode(time)}|{encode(file_log_id)}"


def done_entity(batch: Batch, time: str) -> Entity:
    """The index entity of a batch that is tidied up, until it is deleted."""
    row = done_row(time, batch.file_log_id)
    values = {"Batch": batch.file_log_id, "ImportId": batch.import_id}
    return Entity(encode(batch.tenant), row, values)


def done_before(time: str) -> tuple[str, str]:
    """First and last row key of the index entities of batches that were tidied up before then."""
    return "d|", f"d|{encode(time)}"


def done_since(time: str) -> tuple[str, str]:
    """The same of batches that were tidied up since then; "" for all of them."""
    return f"d|{encode(time)}", "d|~"


def index_after(time: str) -> tuple[str, str]:
    """The same of batches that were opened after then, by a clock that was ahead."""
    return f"b|{encode(time)}", "b|~"


def done_after(time: str) -> tuple[str, str]:
    """The same of batches that were tidied up after then, by a clock that was ahead."""
    return f"d|{encode(time)}", "d|~"


def index_before(time: str) -> tuple[str, str]:
    """First and last row key of the index entities of batches that were opened before then."""
    return "b|", f"b|{encode(time)}"


# First and last row key of the index entities of batches that are not tidied up.
OPENED = ("b|", "b|~")


def write_operation(batch: Batch) -> Operation:
    """The conditional write of a batch; an insert where it is new."""
    entity = _to_entity(batch)
    return Replace(entity) if batch.etag else Insert(entity)


def append_operations(batch: Batch, added: PartData) -> list[Operation]:
    """The transaction that appends a call's records to a batch that names the call."""
    row = f"p|{encode(added.part.id)}"
    values: dict[str, Value] = (
        {"Blob": added.blob} if added.blob else split_bytes("Data", added.data)
    )
    partition = partition_of(batch.tenant, batch.file_log_id)
    return [Insert(Entity(partition, row, values)), write_operation(batch)]


def part_from_entity(entity: Entity, part: StagedPart) -> PartData:
    """The stored records of a call."""
    return PartData(part, join_bytes("Data", entity.values), entity.text("Blob"))


def part_bytes(entity: Entity) -> bytes:
    """The packed records of a call that are in its entity; b"" where they are in a blob."""
    return join_bytes("Data", entity.values)


def part_row(part: StagedPart) -> str:
    """Row key of a call's records."""
    return f"p|{encode(part.id)}"


@reading("a batch")
def from_entity(tenant: str, file_log_id: str, entity: Entity) -> Batch:
    """The batch in an entity. Raises UnreadableDataError."""
    if "Parts0" not in entity.values:
        raise ValueError("no parts")
    parts: Sequence[Sequence[str | int]] = unpack_json("Parts", entity.values) or []
    return Batch(
        tenant=tenant,
        file_log_id=file_log_id,
        opened_at=entity.text("OpenedAt"),
        changed_at=entity.text("ChangedAt"),
        state=BatchState(entity.text("State")),
        parts=tuple(StagedPart(str(id_), int(rows)) for id_, rows in parts),
        import_id=entity.text("ImportId"),
        exceeded=tuple(json.loads(entity.text("Exceeded", "[]"))),
        closed_by=entity.text("ClosedBy"),
        is_lost=entity.flag("IsLost"),
        sender=sender_from_entity(entity),
        etag=entity.etag,
    )


def _to_entity(batch: Batch) -> Entity:
    values: dict[str, Value] = {
        "State": batch.state.value,
        "OpenedAt": batch.opened_at,
        "ChangedAt": batch.changed_at,
        "Records": batch.rows,
        "ImportId": batch.import_id,
        "Exceeded": json.dumps(batch.exceeded),
        "ClosedBy": batch.closed_by,
        "IsLost": batch.is_lost,
        **sender_values(batch.sender),
        **pack_json("Parts", [[part.id, part.rows] for part in batch.parts]),
    }
    partition = partition_of(batch.tenant, batch.file_log_id)
    return Entity(partition, BATCH_ROW, values, batch.etag)


# The plan of an import of authentication data, in table `AuthStaging` (row `plan`).
#
# The decisions are in a blob, one compressed part per chunk; small ones are in the entity. The
# entity is inserted before the first commit and never replaced, so every handler of the import uses
# the same plan, made from the employees that were stored before the import's first write.

PLAN_ROW = "plan"
MAX_INLINE_PLAN = 24 * 1024


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """The stored plan of an import.

    `chunks` maps the index of a chunk's first row to the byte range of its decisions. `exceeded`
    are the sentences of the thresholds that stop the import. `ended` is not 0 for a void plan: the
    message id with which every row ends, because the import was cancelled or failed too often.
    """

    tenant: str
    import_id: str
    chunks: dict[int, tuple[int, int]]
    exceeded: tuple[str, ...] = ()
    ended: int = 0
    data: bytes = b""
    blob: str = ""


def plan_partition(tenant: str, import_id: str) -> str:
    """Partition key of an import's plan."""
    return join(tenant, import_id)


def plan_to_entity(plan: PlanRecord) -> Entity:
    values: dict[str, Value] = {
        "Exceeded": json.dumps(plan.exceeded),
        "Ended": plan.ended,
        "Blob": plan.blob,
        **pack_json("Chunks", [[first, *span] for first, span in plan.chunks.items()]),
        **split_bytes("Data", plan.data),
    }
    return Entity(plan_partition(plan.tenant, plan.import_id), PLAN_ROW, values)


@reading("the plan of an import")
def plan_from_entity(tenant: str, import_id: str, entity: Entity) -> PlanRecord:
    """The inverse of `plan_to_entity`. Raises UnreadableDataError."""
    chunks = unpack_json("Chunks", entity.values) or []
    return PlanRecord(
        tenant=tenant,
        import_id=import_id,
        chunks={first: (start, end) for first, start, end in chunks},
        exceeded=tuple(json.loads(entity.text("Exceeded", "[]"))),
        ended=entity.number("Ended"),
        data=join_bytes("Data", entity.values),
        blob=entity.text("Blob"),
    )
