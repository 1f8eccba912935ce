"""Batches of authentication data in storage, table `AuthStaging`.

    PartitionKey              RowKey
    tenant|fileLogId          batch            state, the calls that appended to it, its import
    tenant|fileLogId          p|<call id>      the records of one call, or the blob they are in
    tenant                    b|<time>|<id>    an index of batches that are not tidied up yet
    tenant                    d|<time>|<id>    an index of those that are, by when that was
    tenant|import id          plan             what is decided of an import (`plan_records`)

A call's records and the batch that names the call go in by one transaction, on the batch's ETag:
whatever two calls do at once, each is in once, in one order, or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.imports.sender import NO_SENDER, Sender
from shared.storage.entities import encode, join, join_bytes, pack_json, split_bytes, unpack_json
from shared.storage.ports import Entity, Insert, Operation, Replace, Value, reading
from shared.storage.senders import sender_from_entity, sender_values

MAX_INLINE = 24 * 1024
"""Bytes of a call's records that sit in its entity; more go to a blob."""
BATCH_ROW = "batch"
PARTS = ("p|", "p|~")


class BatchState(StrEnum):
    """Where a batch stands; only a staged one takes records."""

    STAGED = "Staged"
    PROCESSING = "Processing"
    PROCESSED = "Processed"
    CANCELLED = "Cancelled"
    EXPIRED = "Expired"


@dataclass(frozen=True, slots=True)
class StagedPart:
    """What one call appended: how many records, under the call's id."""

    id: str
    rows: int


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it stands. Times are ISO text in UTC.

    `changed_at` is when it was last appended to, or began to be processed. `import_id` is "" until
    then. `exceeded` are the sentences of the thresholds that cancelled it while it was staged, by
    the call `closed_by`. `is_lost`: it was cancelled because its records cannot be read. `sender`
    is who had it processed.
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
        """How many records were submitted in all."""
        return sum(part.rows for part in self.parts)

    def has_seen(self, part_id: str) -> bool:
        """Whether a call has done its work: its records are in, or it closed the batch."""
        return part_id == self.closed_by or any(part.id == part_id for part in self.parts)


@dataclass(frozen=True, slots=True)
class PartData:
    """The packed records of a call: in the entity, or in a blob of that name."""

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
    """The entity by which the batch is found when it is to be tidied up."""
    row = f"b|{encode(batch.opened_at)}|{encode(batch.file_log_id)}"
    return Entity(encode(batch.tenant), row, {"Batch": batch.file_log_id})


def done_row(moment: str, file_log_id: str) -> str:
    """Row key of the index entity of a batch that was tidied up."""
    return f"d|{encode(moment)}|{encode(file_log_id)}"


def done_entity(batch: Batch, moment: str) -> Entity:
    """The entity by which a batch is found when it is to be forgotten."""
    row = done_row(moment, batch.file_log_id)
    values = {"Batch": batch.file_log_id, "ImportId": batch.import_id}
    return Entity(encode(batch.tenant), row, values)


def done_before(moment: str) -> tuple[str, str]:
    """First and last row key of the index entities of batches that were tidied up before then."""
    return "d|", f"d|{encode(moment)}"


def index_after(moment: str) -> tuple[str, str]:
    """The same of batches that were opened after then, by a clock that was ahead."""
    return f"b|{encode(moment)}", "b|~"


def done_after(moment: str) -> tuple[str, str]:
    """The same of batches that were tidied up after then, by a clock that was ahead."""
    return f"d|{encode(moment)}", "d|~"


def index_before(moment: str) -> tuple[str, str]:
    """First and last row key of the index entities of batches that were opened before then."""
    return "b|", f"b|{encode(moment)}"


def writing(batch: Batch) -> Operation:
    """The conditional write of a batch: an insert where it was not read."""
    entity = _to_entity(batch)
    return Replace(entity) if batch.etag else Insert(entity)


def appending(batch: Batch, added: PartData) -> list[Operation]:
    """The transaction that puts a call's records into a batch that names the call already."""
    row = f"p|{encode(added.part.id)}"
    values: dict[str, Value] = (
        {"Blob": added.blob} if added.blob else split_bytes("Data", added.data)
    )
    partition = partition_of(batch.tenant, batch.file_log_id)
    return [Insert(Entity(partition, row, values)), writing(batch)]


def part_from_entity(entity: Entity, part: StagedPart) -> PartData:
    """The records of a call as they were stored."""
    return PartData(part, join_bytes("Data", entity.values), entity.text("Blob"))


def part_row(part: StagedPart) -> str:
    """Row key of a call's records."""
    return f"p|{encode(part.id)}"


@reading("a batch")
def from_entity(tenant: str, file_log_id: str, entity: Entity) -> Batch:
    """The batch that an entity holds. Raises UnreadableDataError."""
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


# What is decided of an import of authentication data, in table `AuthStaging` (row `plan`).
#
# The decisions are a blob, one compressed part per chunk; small ones sit in the entity. The
# entity is inserted, never replaced, and nothing is committed before it is there: so every
# handler of the import works by one plan, made on the store as it was before the import's first
# write.

PLAN_ROW = "plan"
MAX_INLINE_PLAN = 24 * 1024


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """Where the decisions on each chunk are.

    `chunks` maps the index of a chunk's first row to the range of its bytes. `exceeded` are the
    sentences of the thresholds that stop the import. `ended` is the message id with which every
    row ends where no plan can be made any more: it was cancelled, or failed too often; 0 else.
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
    """As it is stored."""
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
