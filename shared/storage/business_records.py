"""Records in storage: the document of a worker or the like, with the stamp of who wrote it last.

PartitionKey   tenant|group         RowKey   r|reference
Number, Position, Outcomes          the stamp: which import and row wrote it, and what became
                                    of every row of that import for this record
Ended                               JSON: the imports that were ended for this record by poison
                                    or cancel, with the message id of their rows; they must not
                                    write it any more
ClosedThrough                       all imports up to this number had ended when `Ended` was written
ChangedBy                           the id of that import; CreatedBy of the one that created it
Created                             the number of the import that created it
PreviousNumber, Previous, …         what it was before that import (`former_columns`)
Deleted                             a tombstone: there is a stamp, but no record
Document0, Document1, …             the record as JSON; promoted columns stand beside it
x|<look-up>|reference               look-up entities, in the same partition and transaction
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from shared.errors import UnreadableDataError
from shared.imports.former_values import (
    NOTHING_FORMER,
    Created,
    Former,
    FormerRecord,
    FormerValues,
    former_of_own,
    pack_former,
)
from shared.imports.import_type import Document
from shared.imports.messages import MessageId
from shared.imports.results import RowResult, pack_result, unpack_result
from shared.storage import former_columns
from shared.storage.entities import (
    encode,
    entity_bytes,
    join,
    join_bytes,
    join_text,
    split_bytes,
    split_text,
)
from shared.storage.former_columns import Spilled
from shared.storage.ports import (
    MAX_ENTITY_BYTES,
    Delete,
    Entity,
    Insert,
    Merge,
    Operation,
    Upsert,
    Value,
    reading,
)
from shared.storage.ports import Replace as ReplaceEntity

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
    import_id: str = ""

    @classmethod
    def of(
        cls, number: int, position: int, results: Sequence[RowResult], import_id: str = ""
    ) -> Stamp:
        """The stamp of an import whose rows for a record ended like this."""
        packed = _compact([pack_result(result) for result in results])
        return cls(number, position, packed, import_id)

    @reading("the outcomes on a record")
    def results(self) -> list[RowResult]:
        """What became of the rows. Raises UnreadableDataError."""
        return [unpack_result(packed) for packed in json.loads(self.packed)]


@dataclass(frozen=True, slots=True)
class EndedImports:
    """The imports that may not write a record any more, although it does not have their stamp.

    `codes` has the message id (9001 or 9002) with which the rows of an import were ended, by its
    number. It names each import, since an earlier one that is healthy may still write. All imports
    up to `closed_through` are over, so `codes` need not name those.
    """

    codes: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    closed_through: int = 0

    def with_import(self, number: int, code: int, closed_through: int) -> EndedImports:
        """The same with one more import; `closed_through` is below its number."""
        through = max(self.closed_through, closed_through)
        codes = {each: said for each, said in self.codes.items() if each > through}
        return EndedImports({**codes, number: code}, through)

    def after_stamp(self, number: int) -> EndedImports:
        """What must be kept once import `number` has written the record.

        Its own mark stays: of two rows of one import that write a record, one may be ended.
        """
        codes = {each: said for each, said in self.codes.items() if each >= number}
        return EndedImports(codes, self.closed_through) if codes else NOTHING_ENDED


NOTHING_ENDED = EndedImports()
MOST_ENDED = 1_000
"""Imports that one record may name as ended."""
_ENDED_BYTES = 2 * 20 * MOST_ENDED + 1_000
"""What their numbers and codes, and the place of former values in a blob, may take in an entity."""


class RecordTooLargeError(ValueError):
    """The record does not fit an entity (1 MiB); Azurite would take it, the service would not."""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record with its stamp; `document` is None for a tombstone.

    `created_by` is the number of the import that created it, `created_import_id` its id.
    `former` is what it was before the import of the stamp.
    `is_broken`: what is stored cannot be read. Such a record has no document either, its stamp
    where that can be read, and nothing may be written over it but by the repair of records.
    """

    key: RecordKey
    document: Document | None
    stamp: Stamp
    ended: EndedImports = NOTHING_ENDED
    created_by: int = 0
    created_at: str = ""
    updated_at: str = ""
    lookups: tuple[str, ...] = ()
    columns: Mapping[str, str] | None = None
    etag: str = ""
    is_broken: bool = False
    created_import_id: str = ""
    former: Former = NOTHING_FORMER

    @property
    def created(self) -> Created:
        """Number and id of the import that created it, and when."""
        return self.created_by, self.created_import_id, self.created_at

    def before_import(self, number: int) -> Former:
        """The state that import `number`, which is about to write here, finds before its first
        write.
        """
        if self.stamp.number == number:
            return former_of_own(self.former, self.document, self.created)
        if self.document is None:
            return NOTHING_FORMER
        return FormerRecord(
            self.document, self.stamp.number, self.stamp.import_id, self.updated_at, *self.created
        )


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


@reading("a stored record")
def from_entity(entity: Entity) -> StoredRecord:
    """The record that an entity holds. Raises UnreadableDataError for a broken one."""
    document: Document | None = None
    if not entity.flag("Deleted"):
        document = json.loads(join_text("Document", entity.values))
        if not isinstance(document, dict) or "Number" not in entity.values:
            raise ValueError("no document with a stamp")
    lookups = json.loads(entity.text("Lookups", "[]"))
    if not isinstance(lookups, list) or not all(isinstance(name, str) for name in lookups):
        raise ValueError("no list of names")
    return StoredRecord(
        key=RecordKey(entity.partition, entity.row),
        document=document,
        stamp=_stamp(entity),
        ended=ended_imports(entity),
        created_by=entity.number("Created"),
        created_at=entity.text("CreatedAt"),
        updated_at=entity.text("UpdatedAt"),
        lookups=tuple(lookups),
        etag=entity.etag,
        created_import_id=entity.text("CreatedBy"),
        former=former_columns.from_entity(entity),
    )


@reading("the imports that were ended for a record")
def ended_imports(entity: Entity) -> EndedImports:
    """The imports that were ended for the record of an entity. Raises UnreadableDataError."""
    ended = entity.values.get("Ended", "{}")
    if isinstance(ended, int):  # as the first version of this table had it: one number
        return EndedImports({ended: MessageId.COULD_NOT_BE_PROCESSED})
    codes = {int(number): int(code) for number, code in json.loads(str(ended)).items()}
    return EndedImports(codes, entity.number("ClosedThrough")) if codes else NOTHING_ENDED


def from_any_entity(entity: Entity) -> StoredRecord:
    """The record that an entity holds; a broken one is marked and has what can be read of it."""
    try:
        return from_entity(entity)
    except UnreadableDataError:
        stamp = Stamp(0, -1, "[]")
        with suppress(UnreadableDataError):
            stamp = _stamp(entity)
        key = RecordKey(entity.partition, entity.row)
        return StoredRecord(key, None, stamp, etag=entity.etag, is_broken=True)


@reading("the stamp of a record")
def _stamp(entity: Entity) -> Stamp:
    stamp = Stamp(
        entity.number("Number"),
        entity.number("Position", -1),
        _unpacked_outcomes(entity),
        entity.text("ChangedBy"),
    )
    if not (stamp.packed.startswith("[") and stamp.packed.endswith("]")):
        raise ValueError("no list of outcomes")
    return stamp


def writing(
    record: StoredRecord, before: StoredRecord | None, spilled: Spilled | None = None
) -> list[Operation]:
    """The operations that put a record in place of what was read, its look-ups with it.

    Former values that are too long for the record are put into `spilled`; without it they are lost.

    Raises RecordTooLargeError. Room is left for imports that are ended for the record later. A
    record that fits only without its former values is written without them.
    """
    former = pack_former(record.former, record.document, record.created)
    entity = _to_entity(record, former)
    if former.spilled and spilled is not None:
        spilled[record.key.row] = former.spilled
    most = MAX_ENTITY_BYTES - _ENDED_BYTES
    if entity_bytes(entity) > most:
        entity = former_columns.without_values(entity)
        if entity_bytes(entity) > most:
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
        # Upsert: a look-up that an earlier fault has left behind must not refuse the record.
        *(Upsert(_lookup(record.key, name, reference)) for name in come),
    ]


def ending(key: RecordKey, before: StoredRecord | None, ended: EndedImports) -> Operation:
    """The write that keeps these imports from committing to this record from now on."""
    values = _ended_values(ended)
    if before is None:
        return Insert(Entity(key.partition, key.row, {**values, "Deleted": True}))
    return Merge(Entity(key.partition, key.row, values, before.etag))


def _ended_values(ended: EndedImports) -> dict[str, Value]:
    return {"Ended": _compact(ended.codes), "ClosedThrough": ended.closed_through}


def _lookup(key: RecordKey, name: str, reference: str) -> Entity:
    return Entity(key.partition, lookup_range(name)[0] + reference, {})


def _to_entity(record: StoredRecord, former: FormerValues) -> Entity:
    values: dict[str, Any] = {
        **(record.columns or {}),
        "Number": record.stamp.number,
        "Position": record.stamp.position,
        "ChangedBy": record.stamp.import_id,
        "Created": record.created_by,
        "CreatedBy": record.created_import_id,
        "CreatedAt": record.created_at,
        "UpdatedAt": record.updated_at,
        **former_columns.to_values(former),
        **_packed_outcomes(record.stamp.packed),
    }
    ended = record.ended.after_stamp(record.stamp.number)
    if ended.codes:
        values |= _ended_values(ended)
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


def _compact(value: Mapping[Any, Any] | Sequence[Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
