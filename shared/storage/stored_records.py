"""Records in storage: the document of a worker or the like, with the stamp of who wrote it last.

PartitionKey   tenant|group         RowKey   r|reference
Number, Position, Outcomes          the stamp: which import and row wrote it, and what became
                                    of every row of that import for this record
Ended                               the highest import that was ended for this record by
                                    poison or cancel; its own rows must not be committed later
Created                             the number of the import that created it
Deleted                             a tombstone: there is a stamp, but no record
Document0, Document1, …             the record as JSON; promoted columns stand beside it
x|<look-up>|reference               look-up entities, in the same partition and transaction
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.imports.definition import Document
from shared.imports.outcomes import RowResult, pack_result, unpack_result
from shared.storage.keys import encode, join
from shared.storage.packing import (
    entity_bytes,
    join_bytes,
    join_text,
    split_bytes,
    split_text,
)
from shared.storage.tables import MAX_ENTITY_BYTES, Delete, Entity, Insert, Merge, Operation, Value
from shared.storage.tables import Replace as ReplaceEntity

_LONG_OUTCOMES = 4_000
"""Characters; a record that one row names has some hundred."""


@dataclass(frozen=True, slots=True)
class RecordKey:
    """Where a record lies."""

    partition: str
    row: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which import and row wrote a record last, and what became of all rows of that import.

    The results stay packed: of a thousand records that are read, hardly one is asked for them.
    """

    number: int
    position: int
    packed: str

    @classmethod
    def of(cls, number: int, position: int, results: Sequence[RowResult]) -> Stamp:
        """The stamp of an import whose rows for a record ended like this."""
        return cls(number, position, _compact([pack_result(result) for result in results]))

    def results(self) -> list[RowResult]:
        """What became of the rows."""
        return [unpack_result(packed) for packed in json.loads(self.packed)]


class RecordTooLargeError(ValueError):
    """The record does not fit an entity (1 MiB); Azurite would take it, the service would not."""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record with its stamp; `document` is None for a tombstone."""

    key: RecordKey
    document: Document | None
    stamp: Stamp
    ended: int = 0
    created_by: int = 0
    created_at: str = ""
    updated_at: str = ""
    lookups: tuple[str, ...] = ()
    columns: Mapping[str, str] | None = None
    etag: str = ""


def partition_of(tenant: str, group: str) -> str:
    """Partition key of the records of one group (an employer, a company) of a tenant."""
    return join(tenant, group)


def row_of(reference: str) -> str:
    """Row key of a record."""
    return f"r|{encode(reference)}"


def lookup_range(name: str) -> tuple[str, str]:
    """First and last row key of the look-ups of that name; a reference follows the first."""
    first = f"x|{encode(name)}|"
    return first, f"{first}~"


def place_of(key: RecordKey) -> str:
    """Where a record stands in the order of a plan; sorts as (partition, row) do."""
    return f"{key.partition} {key.row}"


def from_entity(entity: Entity) -> StoredRecord:
    """The record that an entity holds."""
    text = join_text("Document", entity.values)
    return StoredRecord(
        key=RecordKey(entity.partition, entity.row),
        document=None if entity.flag("Deleted") else json.loads(text),
        stamp=Stamp(
            entity.number("Number"),
            entity.number("Position", -1),
            _unpacked_outcomes(entity),
        ),
        ended=entity.number("Ended"),
        created_by=entity.number("Created"),
        created_at=entity.text("CreatedAt"),
        updated_at=entity.text("UpdatedAt"),
        lookups=tuple(json.loads(entity.text("Lookups", "[]"))),
        etag=entity.etag,
    )


def writing(record: StoredRecord, before: StoredRecord | None) -> list[Operation]:
    """The operations that put a record in place of what was read, its look-ups with it.

    Raises RecordTooLargeError.
    """
    entity = _to_entity(record)
    if entity_bytes(entity) > MAX_ENTITY_BYTES:
        raise RecordTooLargeError(record.key.row)
    write: Operation
    if before is None:
        write = Insert(entity)
    else:
        write = ReplaceEntity(replace(entity, etag=before.etag))
    old = set(before.lookups) if before else set()
    reference = record.key.row.removeprefix("r|")
    gone = sorted(old - set(record.lookups))
    come = sorted(set(record.lookups) - old)
    return [
        write,
        *(Delete(_lookup(record.key, name, reference)) for name in gone),
        *(Insert(_lookup(record.key, name, reference)) for name in come),
    ]


def ending(key: RecordKey, before: StoredRecord | None, number: int) -> Operation:
    """The write that keeps import `number` from committing to this record from now on."""
    if before is None:
        values = {"Ended": number, "Deleted": True}
        return Insert(Entity(key.partition, key.row, values))
    return Merge(Entity(key.partition, key.row, {"Ended": number}, before.etag))


def _lookup(key: RecordKey, name: str, reference: str) -> Entity:
    return Entity(key.partition, lookup_range(name)[0] + reference, {})


def _to_entity(record: StoredRecord) -> Entity:
    values: dict[str, Any] = {
        **(record.columns or {}),
        "Number": record.stamp.number,
        "Position": record.stamp.position,
        "Created": record.created_by,
        "CreatedAt": record.created_at,
        "UpdatedAt": record.updated_at,
        **_packed_outcomes(record.stamp.packed),
    }
    if record.ended:
        values["Ended"] = record.ended
    if record.lookups:
        values["Lookups"] = _compact(list(record.lookups))
    if record.document is None:
        values["Deleted"] = True
    else:
        values |= split_text("Document", _compact(record.document))
    return Entity(record.key.partition, record.key.row, values)


def _packed_outcomes(text: str) -> dict[str, Value]:
    """As text while it is short; compressed where thousands of rows name one record."""
    if len(text) <= _LONG_OUTCOMES:
        return split_text("Outcomes", text)
    return split_bytes("Outcomes", zlib.compress(text.encode()))


def _unpacked_outcomes(entity: Entity) -> str:
    data = join_bytes("Outcomes", entity.values)
    return zlib.decompress(data).decode() if data else join_text("Outcomes", entity.values) or "[]"


def _compact(value: Document | Sequence[Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
