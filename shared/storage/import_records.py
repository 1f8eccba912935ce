"""Imports in storage: the record, its index entity and its open-import entity.

They live in the tenant's partition of `Imports`; one transaction writes the first three:

    n|<inverted number>     the record; newest first when listed
    id|<import id>          which number an import id has
    open|<type>|<number>    there while the import is open; carries the places it may touch
    child|<inverted number of an ancestor>|<number>    a retry of that import, or a retry of its
                            retry: the rows that it takes up, and once it has ended, those that
                            it brought in
    file|<type>|<SHA-256>|<inverted number>    finds the import by its body, newest first
    wait|<number>|…         a chunk that waits for that import (`waiting_chunks`)

The fourth is there for a retry only, one for each import up to the first; the fifth where the hash
of the body is kept. Both are written with the first three. The last is there while a chunk waits.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from shared import log
from shared.errors import UnreadableDataError
from shared.imports.import_type import OnExisting, Options
from shared.imports.planning import Chunk, Span
from shared.imports.registry import import_type
from shared.imports.results import NO_ORIGINS, Origins, unpack_origins
from shared.imports.row_sets import pack_rows, unpack_rows
from shared.imports.sender import NO_SENDER, Sender
from shared.storage.entities import (
    encode,
    join_bytes,
    join_text,
    pack_json,
    split_bytes,
    split_text,
    unpack_json,
)
from shared.storage.ports import Delete, Entity, Insert, Merge, Operation, Value, reading
from shared.storage.senders import sender_from_entity, sender_values

_Part = TypeVar("_Part")
LAST_NUMBER = 999_999_999_999
"""No import ever gets it: the place behind all others."""
MAX_GENERATIONS = 50
"""How many imports a retry has above it; each is an entity in the transaction of its acceptance."""
RECORDS = ("n|", "n|~")
"""First and last row key between which the records of a tenant lie."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows ended how; the sum of the first four is the number of rows that ended.

    `cancelled` are those of the failed ones that a cancel ended before they were stored. `warnings`
    and `infos` are rows, whatever their outcome, that have a message of that kind, `removing` those
    that removed a record.
    """

    new: int = 0
    updated: int = 0
    unchanged: int = 0
    failed: int = 0
    cancelled: int = 0
    warnings: int = 0
    infos: int = 0
    removing: int = 0

    @property
    def done(self) -> int:
        """Rows with a final outcome."""
        return self.new + self.updated + self.unchanged + self.failed

    def plus(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(
            self.new + other.new,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            self.failed + other.failed,
            self.cancelled + other.cancelled,
            self.warnings + other.warnings,
            self.infos + other.infos,
            self.removing + other.removing,
        )


@dataclass(frozen=True, slots=True)
class Parent:
    """The import whose failed rows a retry takes up; `number` 0 where there is none."""

    import_id: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Ancestor:
    """An import whose rows a retry takes up: its parent, or an import of which that is a retry.

    `rows` is the set of the ancestor's rows that it takes up, in the order of its own rows. It is
    there for a retry that is about to be accepted; afterwards the `child|` entity has it.
    """

    number: int
    rows: int = 0


@dataclass(frozen=True, slots=True)
class RetryLink:
    """What the `child|` entity of an ancestor and a retry says.

    `is_child`: it is a retry of that import itself, not of a retry of it. `rows` are the rows of
    the ancestor that it takes up, `repaired` those of them that it brought in.
    """

    ancestor: int
    number: int
    import_id: str
    is_child: bool
    rows: int
    repaired: int


@dataclass(frozen=True, slots=True)
class ImportRecord:
    """One accepted import. Times are ISO text in UTC; "" where it has not happened.

    `number` is its place in the tenant's order of acceptance. `inline` holds the lines of a small
    payload; those of a larger one are the blob `blob_name`. `parent`, `origins` and `lineage` (its
    parent first, then the parent's parent, and so on) are a retry's. `batch` is the batch of
    authentication data that it processes, `body_hash` the keyed hash by which the import is found,
    "" where it is not to be found by its body. `sender` says who had it made, and what of.
    `is_broken`: what is stored of it does not say what to do with its rows, so it can only be
    closed. `has_counts` is False where its own counts cannot be read.
    """

    tenant: str
    number: int
    import_id: str
    type_name: str
    rows: int
    chunks: tuple[Chunk, ...]
    options: Options
    accepted_at: str
    inline: str = ""
    cancelled_at: str = ""
    ended_at: str = ""
    swept_at: str = ""
    counts: Counts = Counts()
    parent: Parent = Parent()
    origins: Origins = NO_ORIGINS
    lineage: tuple[Ancestor, ...] = ()
    batch: str = ""
    body_hash: str = ""
    sender: Sender = NO_SENDER
    payload_expired_at: str = ""
    results_expired_at: str = ""
    is_broken: bool = False
    has_counts: bool = True
    etag: str = ""
    type_version: int = 1
    trusts_later_stamps: bool = True
    """False where it is known that no later import may have written here yet, so that a stamp of
    one is broken. It is not stored."""
    media_type: str = ""
    """What its call was answered in, where its type has more than one form of answer."""

    @property
    def blob_name(self) -> str:
        """Where a larger payload lies in the container of payloads."""
        return payload_blob(self.tenant, self.import_id)

    @property
    def is_open(self) -> bool:
        """Whether some row has no outcome yet."""
        return not self.ended_at

    @property
    def is_cancelled(self) -> bool:
        """Whether what is not committed yet is to end as 9002."""
        return bool(self.cancelled_at)

    @property
    def span(self) -> Span | None:
        """The places that the import may touch."""
        spans = [chunk.span for chunk in self.chunks if chunk.span is not None]
        if len(spans) <= 1:
            return spans[0] if spans else None
        return Span(min(span.first for span in spans), max(span.last for span in spans))


@dataclass(frozen=True, slots=True)
class OpenImport:
    """An import that is not finished, as its open-import entity tells it."""

    tenant: str
    number: int
    import_id: str
    type_name: str
    span: Span | None
    rows: int = 0


def payload_blob(tenant: str, import_id: str) -> str:
    """The name of a payload's blob."""
    return f"{tenant}/{import_id}.lines"


def record_row(number: int) -> str:
    """Row key of the record with that number."""
    return f"n|{LAST_NUMBER - number:012d}"


def number_of(row: str) -> int:
    """The number in a record's row key."""
    return LAST_NUMBER - int(row.removeprefix("n|"))


def index_row(import_id: str) -> str:
    """Row key of the index entity of an import id."""
    return f"id|{encode(import_id.lower())}"


def number_in_index(index: Entity) -> int | None:
    """The number that an index entity names; None where it cannot be read."""
    try:
        number = index.number("Number")
    except UnreadableDataError:
        return None
    return number if 0 < number < LAST_NUMBER else None


def open_row(type_name: str, number: int) -> str:
    """Row key of the open-import entity."""
    return f"open|{type_name}|{number:012d}"


def open_range(type_name: str, before: int, lowest: int = 0) -> tuple[str, str]:
    """First and last row key of the open imports of a type with numbers from lowest to before."""
    return open_row(type_name, lowest), open_row(type_name, before - 1)


OPEN_OF_ALL_TYPES = ("open|", "open|~")


def child_row(parent: int, number: int) -> str:
    """Row key of the entity that names a retry of import `parent`."""
    return f"child|{LAST_NUMBER - parent:012d}|{number:012d}"


def children_range(newest: int, oldest: int) -> tuple[str, str]:
    """First and last row key of the retries of the imports with these numbers and between.

    With those of the retries' retries.
    """
    return f"child|{LAST_NUMBER - newest:012d}|", f"child|{LAST_NUMBER - oldest:012d}|~"


def retry_link(entity: Entity) -> RetryLink:
    """What a `child|` entity says; a set of rows that cannot be read counts as empty."""
    _, ancestor, number = entity.row.split("|")
    return RetryLink(
        ancestor=LAST_NUMBER - int(ancestor),
        number=int(number),
        import_id=entity.text("ImportId"),
        is_child=not entity.flag("IsDistant"),
        rows=_set_of("Rows", entity),
        repaired=_set_of("Repaired", entity),
    )


def _set_of(name: str, entity: Entity) -> int:
    try:
        return unpack_rows(join_bytes(name, entity.values))
    except UnreadableDataError as error:
        log.failure("retry.unreadable", error, tenant=entity.partition)
        return 0


LISTED_OF_RETRIES = ("ImportId", "IsDistant", *(f"Repaired{part}" for part in range(8)))
"""The columns of `child|` entities that a list of imports needs."""


def repairing(tenant: str, link: RetryLink, repaired: int) -> Operation:
    """The write that says which rows of an ancestor a retry brought in."""
    values = split_bytes("Repaired", pack_rows(repaired))
    return Merge(Entity(tenant, child_row(link.ancestor, link.number), values))


def file_row(type_name: str, body_hash: str, number: int) -> str:
    """Row key of the entity that finds an import by its body."""
    return f"file|{encode(type_name)}|{body_hash}|{LAST_NUMBER - number:012d}"


def file_range(type_name: str, body_hash: str) -> tuple[str, str]:
    """First and last row key of the imports of a type that had this body."""
    return file_row(type_name, body_hash, LAST_NUMBER), file_row(type_name, body_hash, 0)


def number_of_file(row: str) -> int:
    """The number of the import in the row key of `file_row`."""
    return LAST_NUMBER - int(row.rpartition("|")[2])


def acceptance(record: ImportRecord) -> list[Operation]:
    """The transaction that makes a call an import."""
    index = Entity(record.tenant, index_row(record.import_id), {"Number": record.number})
    operations: list[Operation] = [
        Insert(_to_entity(record)),
        Insert(index),
        Insert(_open_entity(record)),
    ]
    named: dict[str, Value] = {"ImportId": record.import_id}
    for ancestor in record.lineage:
        row = child_row(ancestor.number, record.number)
        taken = {**named, **split_bytes("Rows", pack_rows(ancestor.rows))}
        if ancestor.number != record.parent.number:
            taken["IsDistant"] = True
        operations.append(Insert(Entity(record.tenant, row, taken)))
    if record.body_hash:
        row = file_row(record.type_name, record.body_hash, record.number)
        operations.append(Insert(Entity(record.tenant, row, named)))
    return operations


def _open_entity(record: ImportRecord) -> Entity:
    span = record.span
    values: dict[str, Value] = {
        "ImportId": record.import_id,
        "Rows": record.rows,
        "First": span.first if span else "",
        "Last": span.last if span else "",
        **_places(span),
    }
    values["Sum"] = _checksum(values)
    return Entity(record.tenant, open_row(record.type_name, record.number), values)


def _checksum(values: Mapping[str, Value]) -> str:
    """The checksum of an open-import entity, whose places decide about the order of imports."""
    named = sorted((name, str(value)) for name, value in values.items() if name != "Sum")
    return f"{zlib.crc32(json.dumps(named).encode()):08x}"


def reopening(record: ImportRecord) -> list[Operation]:
    """The transaction that writes the open-import entity again; it fails where the record moved on.

    The record was read, is open and is not broken.
    """
    assert record.etag, "the record must be as it was read"
    unswept = Entity(record.tenant, record_row(record.number), {"SweptAt": ""}, record.etag)
    return [Merge(unswept), Insert(_open_entity(record))]


def closing(
    record: ImportRecord, counts: Counts, ended_at: str, repairs: Sequence[Operation] = ()
) -> list[Operation]:
    """The transaction that ends an import; it fails where another handler has ended it.

    `repairs` say which rows of other imports it brought in, where it is a retry.
    """
    values: dict[str, Value] = {
        "EndedAt": ended_at,
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
    if record.is_broken:
        values["IsBroken"] = True
    return [
        Merge(Entity(record.tenant, record_row(record.number), values)),
        Delete(Entity(record.tenant, open_row(record.type_name, record.number), {})),
        *repairs,
    ]


def closing_without_open_entity(record: ImportRecord, counts: Counts, ended_at: str) -> Operation:
    """The write that ends an import whose open-import entity is lost, over the record as read."""
    assert record.etag, "the record must be as it was read"
    merge = closing(record, counts, ended_at)[0]
    return Merge(replace(merge.entity, etag=record.etag))


def cancelling(record: ImportRecord, cancelled_at: str) -> Operation:
    """The write that asks the handlers of an import to stop; it fails where the record moved on.

    Else an import that ends in this moment would be called cancelled with every row in it.
    """
    assert record.etag, "a cancel needs the record as it was read"
    values = {"CancelledAt": cancelled_at}
    return Merge(Entity(record.tenant, record_row(record.number), values, record.etag))


def sweeping(record: ImportRecord, swept_at: str) -> Operation:
    """The write that notes when the messages of an import were sent again."""
    values = {"SweptAt": swept_at}
    return Merge(Entity(record.tenant, record_row(record.number), values, record.etag))


def from_entity(entity: Entity) -> ImportRecord:
    """The record that an entity holds; what cannot be read of it is left out.

    Without its type, chunks, options and origins no row can be worked on: it is then broken.
    """
    faults: list[UnreadableDataError] = []

    def read(get: Callable[[], _Part], otherwise: _Part) -> _Part:
        try:
            with reading("the record of an import"):
                return get()
        except UnreadableDataError as error:
            faults.append(error)
            return otherwise

    def options() -> Options:
        chosen = OnExisting(entity.text("OnExisting", OnExisting.UPDATE))
        return Options(on_existing=chosen, action=entity.text("Action"))

    no_chunks: tuple[Chunk, ...] = ()
    chunks = read(lambda: _chunks(unpack_json("Chunks", entity.values)), no_chunks)
    import_id = read(lambda: str(_required(entity, "ImportId")), "")
    chosen = read(options, Options())
    origins = read(lambda: unpack_origins(unpack_json("Origins", entity.values) or ()), NO_ORIGINS)
    type_version = read(lambda: entity.number("TypeVersion", 1), 1)
    type_name = read(
        lambda: import_type(entity.text("Type"), type_version).name, entity.text("Type")
    )
    is_broken = bool(faults)
    rows = read(lambda: entity.number("Rows", -1), -1)
    counts = read(lambda: counts_of(entity), None)
    parent = read(lambda: Parent(entity.text("ParentId"), entity.number("Parent")), Parent())
    no_lineage: tuple[Ancestor, ...] = ()
    lineage = read(lambda: _lineage(entity), no_lineage)
    return ImportRecord(
        tenant=entity.partition,
        number=number_of(entity.row),
        import_id=import_id,
        type_name=type_name,
        type_version=type_version,
        media_type=entity.text("MediaType"),
        rows=rows if rows >= 0 else sum(chunk.rows for chunk in chunks),
        chunks=chunks,
        options=chosen,
        accepted_at=entity.text("AcceptedAt"),
        inline=join_text("Lines", entity.values),
        cancelled_at=entity.text("CancelledAt"),
        ended_at=entity.text("EndedAt"),
        swept_at=entity.text("SweptAt"),
        counts=counts or Counts(),
        parent=parent,
        origins=origins,
        lineage=lineage,
        batch=entity.text("Batch"),
        body_hash=entity.text("BodySha256"),
        sender=_sender(entity),
        payload_expired_at=entity.text("PayloadExpiredAt"),
        results_expired_at=entity.text("ResultsExpiredAt"),
        is_broken=is_broken,
        has_counts=counts is not None,
        etag=entity.etag,
    )


def _sender(entity: Entity) -> Sender:
    sender = sender_from_entity(entity)
    # An import of an earlier version has the hash by which it is found alone.
    return replace(sender, body_hash=sender.body_hash or entity.text("BodySha256"))


def _lineage(entity: Entity) -> tuple[Ancestor, ...]:
    """The imports above a retry, its parent first; each was accepted before the one under it."""
    text = entity.text("Ancestors") or entity.text("Parent")
    numbers = [int(number) for number in text.split(",") if number]
    if len(numbers) > MAX_GENERATIONS:
        raise ValueError("too many ancestors")
    for number, under in zip(numbers, [number_of(entity.row), *numbers], strict=False):
        if not 0 < number < under:
            raise ValueError("no ancestor")
    return tuple(map(Ancestor, numbers))


def _required(entity: Entity, name: str) -> Value:
    value = entity.values.get(name)
    if value in (None, ""):
        raise ValueError(name)
    return value


def counts_of(entity: Entity) -> Counts:
    """The counts in an entity of an import or of a chunk's result. Raises UnreadableDataError."""
    return Counts(
        entity.number("New"),
        entity.number("Updated"),
        entity.number("Unchanged"),
        entity.number("Failed"),
        entity.number("Cancelled"),
        entity.number("Warnings"),
        entity.number("Infos"),
        entity.number("Removing"),
    )


def open_from_entity(entity: Entity) -> OpenImport:
    """The open import that an entity tells of; one whose places cannot be read may touch any."""
    _, type_name, number = entity.row.split("|")
    span: Span | None = Span("", "\U0010ffff")
    import_id, rows = "", 0
    with suppress(UnreadableDataError):
        span, rows = _open_span(entity), entity.number("Rows")
        import_id = entity.text("ImportId")
    return OpenImport(
        tenant=entity.partition,
        number=int(number),
        import_id=import_id,
        type_name=type_name,
        span=span,
        rows=rows,
    )


@reading("the places of an open import")
def _open_span(entity: Entity) -> Span | None:
    if "First" not in entity.values or "Last" not in entity.values:
        raise ValueError("no places")
    # Entities of an earlier version have no checksum.
    if entity.values.get("Sum", known := _checksum(entity.values)) != known:
        raise ValueError("other places")
    first, places = entity.text("First"), join_text("Places", entity.values)
    exact = frozenset(json.loads(places)) if places else None
    return Span(first, entity.text("Last"), exact) if first else None


def _to_entity(record: ImportRecord) -> Entity:
    values: dict[str, Value] = {
        "ImportId": record.import_id,
        "Type": record.type_name,
        "TypeVersion": record.type_version,
        "Rows": record.rows,
        "OnExisting": record.options.on_existing.value,
        "AcceptedAt": record.accepted_at,
        **pack_json("Chunks", [_packed(chunk) for chunk in record.chunks]),
    }
    if record.media_type:
        values["MediaType"] = record.media_type
    if record.options.action:
        values["Action"] = record.options.action
    if record.inline:
        values |= split_text("Lines", record.inline)
    if record.batch:
        values["Batch"] = record.batch
    if record.body_hash:
        values["BodySha256"] = record.body_hash
    values |= sender_values(record.sender)
    if record.parent.number:
        values |= {"ParentId": record.parent.import_id, "Parent": record.parent.number}
        values["FirstOrigin"] = record.origins.lowest
        values["Ancestors"] = ",".join(str(ancestor.number) for ancestor in record.lineage)
        values |= pack_json("Origins", record.origins.pack())
    return Entity(record.tenant, record_row(record.number), values)


def _places(span: Span | None) -> dict[str, Value]:
    if span is None or span.places is None:
        return {}
    return split_text("Places", json.dumps(sorted(span.places)))


def _packed(chunk: Chunk) -> list[Any]:
    span = chunk.span
    if span is None:
        return [chunk.start, chunk.end, chunk.rows]
    places = None if span.places is None else sorted(span.places)
    return [chunk.start, chunk.end, chunk.rows, span.first, span.last, places]


def _chunks(packed: Sequence[Sequence[Any]]) -> tuple[Chunk, ...]:
    chunks: list[Chunk] = []
    if not packed:
        raise ValueError("no chunks")
    for number, (start, end, rows, *places) in enumerate(packed):
        if not all(isinstance(each, int) for each in (start, end, rows)) or not 0 <= start <= end:
            raise ValueError("no chunk")
        span = None
        if places:
            first, last, exact = places
            span = Span(first, last, None if exact is None else frozenset(exact))
        chunks.append(Chunk(number, start, end, rows, span))
    return tuple(chunks)


# What retention reads and writes of imports: a summary of each, and the marks of what has gone.
#
# A record first says that its payload or its results have expired, so that readers are told so
# (410) while the rest goes; the record itself goes last, with its index and kinship entities.

SUMMARY_COLUMNS = (
    "ImportId",
    "EndedAt",
    "PayloadExpiredAt",
    "ResultsExpiredAt",
    "FirstOrigin",
)


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """An import as retention sees it. Times are ISO text, "" where it has not happened.

    `first_origin` is the lowest number that a row of it is compared with: that of the first import
    that brought such a row, its own where it is no retry.
    """

    tenant: str
    number: int
    import_id: str
    ended_at: str
    has_payload: bool
    has_results: bool
    first_origin: int

    def ended_before(self, moment: str) -> bool:
        """Whether it ended before that moment (ISO text)."""
        return bool(self.ended_at) and self.ended_at < moment


def summary_from_entity(entity: Entity) -> ImportSummary:
    """The summary that these columns of a record make."""
    number = number_of(entity.row)
    return ImportSummary(
        tenant=entity.partition,
        number=number,
        import_id=entity.text("ImportId"),
        ended_at=entity.text("EndedAt"),
        has_payload=not entity.text("PayloadExpiredAt"),
        has_results=not entity.text("ResultsExpiredAt"),
        first_origin=_first_origin(entity) or number,
    )


def _first_origin(entity: Entity) -> int:
    """The lowest origin of a retry; 1, which keeps every tombstone, where it cannot be read."""
    try:
        return entity.number("FirstOrigin")
    except UnreadableDataError:
        return 1


# What the feed of changes reads of imports.

OUTLINE_COLUMNS: Final = (
    *("ImportId", "Type", "Rows", "EndedAt", "ResultsExpiredAt"),
    *("New", "Updated", "Removing", "IsBroken"),
)


@dataclass(frozen=True, slots=True)
class ImportOutline:
    """An import as the feed of changes sees it. `ended_at` is ISO text, "" while it is open.

    `may_have_changed` is False where it is known that no row took effect. `is_complete` is False
    where not all results can be there: it was closed because its record could not be read.
    """

    number: int
    import_id: str
    type_name: str
    rows: int
    ended_at: str
    has_results: bool
    may_have_changed: bool
    is_complete: bool


def outline_from_entity(entity: Entity) -> ImportOutline:
    """The outline that these columns of a record make."""
    is_complete = not entity.flag("IsBroken") and bool(entity.text("ImportId"))
    rows = 0
    try:
        rows = entity.number("Rows")
        changed = sum(entity.number(name) for name in ("New", "Updated", "Removing")) > 0
    except UnreadableDataError:
        is_complete = changed = False
    return ImportOutline(
        number=number_of(entity.row),
        import_id=entity.text("ImportId"),
        type_name=entity.text("Type"),
        rows=rows,
        ended_at=entity.text("EndedAt"),
        has_results=not entity.text("ResultsExpiredAt"),
        may_have_changed=changed or not is_complete,
        is_complete=is_complete,
    )


def outline_range(after: int, through: int) -> tuple[str, str]:
    """First and last row key of the records with numbers above `after`, up to `through`."""
    return record_row(through), record_row(after + 1)


def without_payload(entity: Entity, now: str) -> Operation:
    """The write that takes the lines of a small payload out of a record, given as it was read."""
    lines = dict.fromkeys((name for name in entity.values if _holds_lines(name)), "")
    values: dict[str, Value] = {"PayloadExpiredAt": now, **lines}
    return Merge(Entity(entity.partition, entity.row, values))


def without_results(summary: ImportSummary, now: str) -> Operation:
    """The write that says that the results of an import have expired."""
    row = record_row(summary.number)
    return Merge(Entity(summary.tenant, row, {"ResultsExpiredAt": now}))


def removal(record: ImportRecord) -> list[Operation]:
    """The transaction that removes the record of an ended import; it fails where it is gone."""
    rows = [record_row(record.number), index_row(record.import_id)]
    rows += [child_row(ancestor.number, record.number) for ancestor in record.lineage]
    if record.body_hash:
        rows.append(file_row(record.type_name, record.body_hash, record.number))
    return [Delete(Entity(record.tenant, row, {})) for row in rows]


def _holds_lines(name: str) -> bool:
    return name.startswith("Lines") and name.removeprefix("Lines").isdigit()
