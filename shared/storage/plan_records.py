"""What is decided of an import of authentication data, in table `AuthStaging` (row `plan`).

The decisions are a blob, one compressed part per chunk; small ones sit in the entity. The entity is
inserted, never replaced, and nothing is committed before it is there: so every handler of the
import works by one plan, made on the store as it was before the import's first write.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from shared.storage.keys import join
from shared.storage.packing import join_bytes, pack_json, split_bytes, unpack_json
from shared.storage.tables import Entity, Value, reading

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
