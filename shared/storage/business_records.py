"""Business records (workers, assignments, …) in storage, with the stamp of their last writer.

PartitionKey   tenant|group         RowKey   r|reference
Number, Position, Outcomes          the stamp: the import and row that wrote the record, and the
                                    outcome of every row of that import for this record
Ended                               JSON: the imports that were ended for this record by poison
                                    or cancel, with the message id of their rows. They must not
                                    write it any more
ClosedThrough                       all imports up to this number had ended when `Ended` was written
ChangedBy                           the id of that import; CreatedBy of the one that created it
Created                             the number of the import that created it
PreviousNumber, Previous, …         what it was before that import (`former_columns`)
Deleted                             a tombstone: there is a stamp, but no record
Document0, Document1, …             the record as JSON, beside its promoted columns
Digest                              a keyed digest of that JSON, so that a row can be compared with
                                    the record without reading it, and one of the row that wrote it
                                    (`shared/services/sent_rows.py`); both may be missing
x|<look-up>|reference               look-up entities, in the same partition and transaction
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
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
from shared.imports.json_rows import json_text, read_json_text
from shared.imports.messages import MessageId
from shared.imports.planning import Span
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
    Tables,
    Upsert,
    Value,
    reading,
)
from shared.storage.ports import Replace as ReplaceEntity
from shared.storage.sealing import RecordDigests

# Characters. Longer outcomes are compressed; those of a single row have some hundred.
_LONG_OUTCOMES = 4_000
_OUTCOMES = re.compile(r"Outcomes[0-9]+")


@dataclass(frozen=True, slots=True)
class RecordKey:
    """The partition key and row key of a record."""

    partition: str
    row: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """The import and row that wrote a record last, and the results of all rows of that import.

    The results stay packed, because they are rarely needed when a record is read.
    """

    number: int
    position: int
    packed: str
    import_id: str = ""

    @classmethod
    def from_results(
        cls, number: int, position: int, results: Sequence[RowResult], import_id: str = ""
    ) -> Stamp:
        """The stamp of an import with the results of its rows for a record."""
        packed = json_text([pack_result(result) for result in results])
        return cls(number, position, packed, import_id)

    @reading("the outcomes on a record")
    def results(self) -> list[RowResult]:
        """Unpack the results of the rows. Raises UnreadableDataError."""
        return [unpack_result(packed) for packed in json.loads(self.packed)]


@dataclass(frozen=True, slots=True)
class EndedImports:
    """The imports that must not write a record any more, although it does not have their stamp.

    `codes` maps the number of an import to the message id (9001 or 9002) with which its rows were
    ended. It names each import separately, since an earlier import may still write. All imports up
    to `closed_through` have ended, so `codes` need not name those.
    """

    codes: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    closed_through: int = 0

    def with_import(self, number: int, code: int, closed_through: int) -> EndedImports:
        """Add an import. `closed_through` is below its number."""
        closed = max(self.closed_through, closed_through)
        codes = {ended: id_ for ended, id_ in self.codes.items() if ended > closed}
        return EndedImports({**codes, number: code}, closed)

    def after_stamp(self, number: int) -> EndedImports:
        """The imports to keep after import `number` has written the record.

        Its own number stays, because an import may write a record with one row and have ended
        another.
        """
        codes = {ended: id_ for ended, id_ in self.codes.items() if ended >= number}
        return EndedImports(codes, self.closed_through) if codes else NOTHING_ENDED


NOTHING_ENDED = EndedImports()
# The most imports that one record names as ended.
MOST_ENDED = 1_000
# The most bytes in an entity for their numbers and codes, and for the place of former values in a
# blob.
_ENDED_BYTES = 2 * 20 * MOST_ENDED + 1_000


class RecordTooLargeError(ValueError):
    """The record exceeds the limit of an entity (1 MiB), which Azurite does not enforce."""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record with its stamp. `document` is None for a tombstone.

    `created_by` is the number of the import that created it, `created_import_id` its id. `former`
    is the record before the import of the stamp. `unreadable` has sealed values that did not open
    (`sealed_storage`); the document does not have them. `is_broken`: the entity cannot be read.
    Such a record has no document, and its stamp only if that can be read. Only the repair of
    records may overwrite it.
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
    unreadable: str = ""

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


# The rows of an import name few groups.
@lru_cache(maxsize=256)
def partition_of(tenant: str, group: str) -> str:
    """Partition key of the records of one group (an employer, a company) of a tenant."""
    return join(tenant, group)


def row_of(reference: str) -> str:
    return f"r|{encode(reference)}"


def lookup_range(name: str) -> tuple[str, str]:
    """First and last row key of the look-ups of that name. The row key ends in a reference."""
    first = f"x|{encode(name)}|"
    return first, f"{first}~"


def sort_key_of(key: RecordKey) -> str:
    """The sort key of a record in a plan; it sorts as (partition, row) does."""
    return f"{key.partition} {key.row}"


def tenant_span(tenant: str) -> Span:
    """All records in the partition of a tenant that has no groups."""
    return Span(f"{encode(tenant)} ", f"{encode(tenant)} ~")


@reading("a stored record")
def from_entity(entity: Entity) -> StoredRecord:
    """The record of an entity. Raises UnreadableDataError for a broken one."""
    document: Document | None = None
    if not entity.flag("Deleted"):
        document = read_json_text(join_text("Document", entity.values))
        if not isinstance(document, dict) or "Number" not in entity.values:
            raise ValueError("no document with a stamp")
    lookups = read_json_text(entity.text("Lookups", "[]"))
    if not isinstance(lookups, list) or not all(isinstance(name, str) for name in lookups):
        raise ValueError("no list of names")
    return StoredRecord(
        key=RecordKey(entity.partition, entity.row),
        document=document,
        stamp=_read_stamp(entity),
        ended=ended_imports(entity),
        created_by=entity.number("Created"),
        created_at=entity.text("CreatedAt"),
        updated_at=entity.text("UpdatedAt"),
        lookups=tuple(lookups),
        etag=entity.etag,
        created_import_id=entity.text("CreatedBy"),
        former=former_columns.from_entity(entity),
        unreadable=entity.text("Unreadable"),
    )


@reading("the imports that were ended for a record")
def ended_imports(entity: Entity) -> EndedImports:
    """The imports that were ended for the record of an entity. Raises UnreadableDataError."""
    ended = entity.values.get("Ended")
    if ended is None:
        return NOTHING_ENDED
    if isinstance(ended, int):  # the first version of this table stored one number
        return EndedImports({ended: MessageId.COULD_NOT_BE_PROCESSED})
    codes = {int(number): int(code) for number, code in json.loads(str(ended)).items()}
    return EndedImports(codes, entity.number("ClosedThrough")) if codes else NOTHING_ENDED


def from_any_entity(entity: Entity) -> StoredRecord:
    """The record of an entity. A broken one has `is_broken` and the parts that can be read."""
    try:
        return from_entity(entity)
    except UnreadableDataError:
        stamp = Stamp(0, -1, "[]")
        with suppress(UnreadableDataError):
            stamp = _read_stamp(entity)
        key = RecordKey(entity.partition, entity.row)
        return StoredRecord(key, None, stamp, etag=entity.etag, is_broken=True)


@reading("the stamp of a record")
def _read_stamp(entity: Entity) -> Stamp:
    data = join_bytes("Outcomes", entity.values)
    stamp = Stamp(
        entity.number("Number"),
        entity.number("Position", -1),
        zlib.decompress(data).decode() if data else join_text("Outcomes", entity.values) or "[]",
        entity.text("ChangedBy"),
    )
    if not (stamp.packed.startswith("[") and stamp.packed.endswith("]")):
        raise ValueError("no list of outcomes")
    return stamp


def writing(
    record: StoredRecord,
    before: StoredRecord | None,
    spilled: Spilled | None = None,
    digests: RecordDigests | None = None,
    sent: bytes = b"",
) -> list[Operation]:
    """The operations that replace the record as it was read, and its look-ups.

    Former values that are too long for the record are added to `spilled`; without it they are lost.
    With `digests` the record has the digest of its document, followed by `sent`.

    Raises RecordTooLargeError. Some bytes are reserved for imports that are ended later. A record
    that fits only without its former values is written without them.
    """
    former = pack_former(record.former, record.document, record.created)
    entity = _to_entity(record, former, digests, sent)
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
        write = ReplaceEntity(Entity(entity.partition, entity.row, entity.values, before.etag))
    old_lookups = before.lookups if before else ()
    if record.lookups == old_lookups:
        return [write]
    reference = record.key.row.removeprefix("r|")
    removed_lookups = sorted(set(old_lookups).difference(record.lookups))
    new_lookups = sorted(set(record.lookups).difference(old_lookups))
    return [
        write,
        *(Delete(_lookup_entity(record.key, name, reference)) for name in removed_lookups),
        # Upsert, so that a look-up which an earlier failure left behind does not block the record.
        *(Upsert(_lookup_entity(record.key, name, reference)) for name in new_lookups),
    ]


def without_messages(entity: Entity, stamp: Stamp) -> Entity:
    """The entity of a record as it was read, whose outcomes have no messages any more.

    They are needed only while the import of the stamp is open.
    """
    values = {name: value for name, value in entity.values.items() if not _OUTCOMES.fullmatch(name)}
    results = [replace(result, messages=()) for result in stamp.results()]
    packed = json_text([pack_result(result) for result in results])
    return replace(entity, values={**values, **_packed_outcomes(packed)})


def ending(key: RecordKey, before: StoredRecord | None, ended: EndedImports) -> Operation:
    """The write that prevents these imports from writing the record from now on."""
    values = _ended_values(ended)
    if before is None:
        return Insert(Entity(key.partition, key.row, {**values, "Deleted": True}))
    return Merge(Entity(key.partition, key.row, values, before.etag))


def _ended_values(ended: EndedImports) -> dict[str, Value]:
    return {"Ended": json_text(ended.codes), "ClosedThrough": ended.closed_through}


def _lookup_entity(key: RecordKey, name: str, reference: str) -> Entity:
    return Entity(key.partition, lookup_range(name)[0] + reference, {})


def _to_entity(
    record: StoredRecord, former: FormerValues, digests: RecordDigests | None, sent: bytes
) -> Entity:
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
    if record.ended.codes:
        ended = record.ended.after_stamp(record.stamp.number)
        if ended.codes:
            values |= _ended_values(ended)
    if record.lookups:
        values["Lookups"] = json_text(record.lookups)
    if record.document is None:
        values["Deleted"] = True
    else:
        text = json_text(record.document)
        values |= split_text("Document", text)
        if record.unreadable:
            values["Unreadable"] = record.unreadable
        elif digests is not None and digests.are_known:
            values["Digest"] = digests.make(record.key.partition, record.key.row, text) + sent
    return Entity(record.key.partition, record.key.row, values)


def _packed_outcomes(text: str) -> dict[str, Value]:
    """The outcomes as text, or compressed if thousands of rows name one record."""
    if len(text) <= _LONG_OUTCOMES:
        return split_text("Outcomes", text)
    return split_bytes("Outcomes", zlib.compress(text.encode()))


# Reading many records of one partition: by ranges if they are dense, else one by one.
#
# One query reads a thousand neighbours, but most of a range may not be needed, for example if few
# workers of a large employer have changed. So a query is limited, and if it returns too few of the
# wanted records, the rest is read one by one.

_READ_AT_ONCE = 1_000
_MARGIN = 50
# A range is worth a query if one of so many records is wanted.
WORTH_IT = 10
# The same for look-ups and small records, which are quickly read.
SMALL = 60
_POINTS_AT_ONCE = 8
# Fewer records than these are read at once, without their states.
FEW_ROWS = 50
_LAST_ROW = "r|~"


async def load_records(
    tables: Tables,
    table: str,
    partition: str,
    rows: Sequence[str],
    *,
    select: Sequence[str] | None = None,
    one_in: int = WORTH_IT,
) -> dict[str, Entity]:
    """The entities among `rows` (sorted, distinct row keys) that are stored, by row key.

    Ranges are read as long as one of `one_in` entities in them is wanted.
    """
    wanted_rows = frozenset(rows)
    entities: dict[str, Entity] = {}
    start = 0
    while len(rows) - start > 1:
        most = min(_READ_AT_ONCE, one_in // 5 * (len(rows) - start) + _MARGIN)
        page = await tables.query(table, partition, rows[start], rows[-1], select=select, most=most)
        entities |= {entity.row: entity for entity in page if entity.row in wanted_rows}
        if len(page) < most:
            start = len(rows)
            break
        next_start = bisect_right(rows, page[-1].row)
        is_worth_it = (next_start - start) * one_in >= most
        start = next_start
        if not is_worth_it:
            break
    for row in rows[start:]:
        entity = await tables.get(table, partition, row)
        if entity is not None:
            entities[row] = entity
    return entities


# What is read of a record to see whether a row changes it.
_STATE = ("Number", "Ended", "Deleted", "Digest")


class RecordStates:
    """The digests and stamps of the records of a chunk, read ahead of its rows.

    One query reads a thousand neighbours. Where few of them are wanted, no more are read. `rows` is
    the number of rows in the chunk.
    """

    def __init__(self, tables: Tables, table: str, digests: RecordDigests, rows: int) -> None:
        self._tables = tables
        self._table = table
        self._digests = digests
        self._most = min(_READ_AT_ONCE, rows + _MARGIN)
        self._is_worth_it = digests.are_known
        self._spans: list[tuple[str, str, str]] = []
        self._states: dict[RecordKey, Entity] = {}

    async def read(self, partition: str, rows: Sequence[str]) -> bool:
        """Read the states of these records (sorted row keys), unless they have been read.

        False if it is not worth it.
        """
        if not self._is_worth_it:
            return False
        if self._were_read(partition, rows):
            return True
        if len(rows) < FEW_ROWS:
            return False
        page = await self._tables.query(
            self._table, partition, rows[0], _LAST_ROW, select=_STATE, most=self._most
        )
        last = page[-1].row if len(page) == self._most else _LAST_ROW
        self._spans.append((partition, rows[0], last))
        self._states |= {RecordKey(entity.partition, entity.row): entity for entity in page}
        self._is_worth_it = rows[-1] <= last
        return self._is_worth_it

    def _were_read(self, partition: str, rows: Sequence[str]) -> bool:
        spans = [(first, last) for read, first, last in self._spans if read == partition]
        return bool(spans) and all(
            any(first <= row <= last for first, last in spans) for row in rows
        )

    def note(self, unchanged: int, changed: int) -> None:
        """Read no more of them where rows change most of their records."""
        self._is_worth_it = unchanged >= changed

    def has(self, key: RecordKey) -> bool:
        """Whether the record, or a tombstone or mark in its place, is stored."""
        return key in self._states

    def digest(self, key: RecordKey, number: int) -> tuple[int, bytes] | None:
        """The digest of the record and the number of the import that wrote it.

        None where it has none, or where rows of import `number` may not be decided by it: they may
        have results already, or the record may not be written any more.
        """
        entity = self._states.get(key)
        if entity is None:
            return None
        state = entity.values
        digest, stamp = state.get("Digest"), state.get("Number")
        if (
            not isinstance(digest, bytes)
            or not isinstance(stamp, int)
            or not 0 < stamp < number
            or "Ended" in state
            or state.get("Deleted")
        ):
            return None
        return stamp, digest

    def unchanged(self, key: RecordKey, document: Document, number: int) -> StoredRecord | None:
        """The stored record, if its document is this one and an import before `number` wrote it.

        It has what is needed to decide about a row that changes nothing, and cannot be written.
        """
        found = self.digest(key, number)
        if found is None or not self._digests.matches(
            found[1], key.partition, key.row, json_text(document)
        ):
            return None
        return StoredRecord(key, document, Stamp(found[0], -1, "[]"))


async def load_lookups(
    tables: Tables, table: str, partition: str, names: Sequence[str]
) -> dict[str, str]:
    """The references of look-ups, by name. `names` are sorted and distinct.

    Look-ups are entities `x|<name>|<reference>` whose names need no encoding. If a name has several
    references, the first counts.
    """
    references: dict[str, str] = {}
    start = 0
    while len(names) - start > 1:
        most = min(_READ_AT_ONCE, SMALL // 5 * (len(names) - start) + _MARGIN)
        first, last = f"x|{names[start]}|", f"x|{names[-1]}|~"
        entities = await tables.query(table, partition, first, last, select=["RowKey"], most=most)
        references |= _references_by_name(entities)
        if len(entities) < most:
            start = len(names)
            break
        *_, (last_name, _reference) = map(_name_and_reference, entities)
        next_start = bisect_right(names, last_name)
        is_worth_it = (next_start - start) * SMALL >= most
        start = next_start
        if not is_worth_it:
            break
    for at in range(start, len(names), _POINTS_AT_ONCE):
        batch = names[at : at + _POINTS_AT_ONCE]
        single = (
            tables.query(table, partition, f"x|{name}|", f"x|{name}|~", most=1) for name in batch
        )
        for entities in await asyncio.gather(*single):
            references |= _references_by_name(entities)
    return {name: references[name] for name in names if name in references}


def _references_by_name(entities: Sequence[Entity]) -> dict[str, str]:
    return dict(_name_and_reference(entity) for entity in reversed(entities))


def _name_and_reference(entity: Entity) -> tuple[str, str]:
    _, name, reference = entity.row.split("|", 2)
    return name, reference
