"""Imports in storage: the record, its index entity and its open-import entity.

They are in the tenant's partition of `Imports`. One transaction writes the first seven:

    n|<inverted number>     the record; a query lists the newest first
    id|<import id>          the number of an import id
    open|<type>|<number>    exists while the import is open; has the record keys it may touch. One
                            that holds back all later imports has an entity for each type, which
                            says `IsBarrier`
    child|<inverted number of an ancestor>|<number>    a retry of that import, or a retry of its
                            retry: the rows that it retries, and after its end those that it
                            imported
    file|<type>|<SHA-256>|<inverted number>    finds the import by its body, newest first
    undone|<number>         the undo of that import; a second undo cannot be inserted
    unawaited|<number>      exists while an import of one chunk is open and no chunk waits for its
                            end; the transaction that adds the first such chunk deletes it
    wait|<number>|…         a chunk that waits for that import (`waiting_chunks`)

The fourth exists for retries only, one for each ancestor. The fifth exists if the hash of the body
is stored. The acceptance of an undo inserts the sixth and names the undo in the record of the
import that it undoes. The last exists while a chunk waits.
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
from shared.imports.files.profile import NO_PROFILE, ProfileRef
from shared.imports.import_type import OnExisting, Options
from shared.imports.planning import Chunk, Span
from shared.imports.registry import IMPORT_TYPES, TYPE_CATALOGUE, import_type
from shared.imports.results import NO_ORIGINS, Origins, pack_rows, unpack_origins, unpack_rows
from shared.imports.sender import NO_SENDER, NamedCaller, Sender, caller_from_texts
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

_Part = TypeVar("_Part")
# Above the number of every import.
LAST_NUMBER = 999_999_999_999
# The most ancestors of a retry. Each is an entity in the transaction of its acceptance.
MAX_GENERATIONS = 50
# The span of an import that may touch every record of its tenant.
EVERYTHING = Span("!", "~")
# First and last row key of a tenant's records.
RECORDS = ("n|", "n|~")


@dataclass(frozen=True, slots=True)
class Counts:
    """The number of rows by outcome. The sum of the first four is the number of ended rows.

    `cancelled` counts the failed rows that a cancel ended. `warnings` and `infos` count the rows,
    of any outcome, that have a message of that severity, `removing` those that removed a record or
    brought one back beside their own.
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
        """The number of rows with a final outcome."""
        return self.new + self.updated + self.unchanged + self.failed

    def plus(self, other: Counts) -> Counts:
        """The sum of both."""
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
    """The import whose failed rows an import retries, or whose rows it undoes; `number` is 0 if
    there is none.
    """

    import_id: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Ancestor:
    """An import whose rows are retried: the parent of a retry, or an ancestor of the parent.

    `rows` is the set of the ancestor's rows that are retried. It is only set for a retry that is
    about to be accepted. After that the `child|` entity has it.
    """

    number: int
    rows: int = 0


@dataclass(frozen=True, slots=True)
class RetryLink:
    """The `child|` entity of an ancestor and a retry.

    `is_child`: it is a retry of that import itself, not of a retry of it. `rows` is the set of the
    ancestor's rows that it retries, `repaired` the set of those that it imported.
    """

    ancestor: int
    number: int
    import_id: str
    is_child: bool
    rows: int
    repaired: int


@dataclass(frozen=True, slots=True)
class ImportRecord:
    """One accepted import. Times are ISO text in UTC, "" if the event has not happened.

    `number` is its place in the tenant's order of acceptance. `inline` has the lines of a small
    payload; a larger one is in the blob `blob_name`. `is_inline_sealed`: the lines are sealed and
    did not open. `parent`, `origins` and `lineage` (its parent
    first, then the parent's parent, and so on) are set for a retry. `batch` is the batch of
    authentication data that it processes, `body_hash` the keyed hash by which the import is found,
    or "" if it is not found by its body. `sender` says who made the import, and of what content.
    `cancelled_by` is who asked for its cancel; None where a threshold stopped it.
    `undoes` is set for an undo and for a retry of one: the import whose rows it undoes.
    `undone_rows` is the set of that import's rows, in the order of its own. `undone_by` is the id
    of the undo of this import, or "".
    `is_broken`: the stored record is not sufficient to process the rows, so the import can only be
    closed. `has_counts` is False if its counts cannot be read.
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
    is_inline_sealed: bool = False
    cancelled_at: str = ""
    cancelled_by: NamedCaller | None = None
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
    # False if no later import can have written yet, so that a stamp of a later import is broken.
    # It is not stored.
    trusts_later_stamps: bool = True
    # The media type of its call's answer, if its type has more than one form of answer.
    media_type: str = ""
    undoes: Parent = Parent()
    undone_rows: int = 0
    undone_by: str = ""
    # The version of the mapping profile that made its rows, if any.
    profile: ProfileRef = NO_PROFILE
    # The rows of its body or file that the profile passed over. They are none of its rows.
    skipped: int = 0
    # The number of the last erasure of a person that erased rows of this import; 0 without one.
    erased_by: int = 0
    # The `traceparent` of the call that had it accepted, where telemetry is on.
    trace: str = ""

    @property
    def is_undo(self) -> bool:
        """Whether it undoes rows of another import, in place of importing rows."""
        return self.undoes.number > 0

    @property
    def blob_name(self) -> str:
        """The blob of a larger payload in the container of payloads."""
        return payload_blob(self.tenant, self.import_id)

    @property
    def is_open(self) -> bool:
        return not self.ended_at

    @property
    def is_cancelled(self) -> bool:
        return bool(self.cancelled_at)

    @property
    def span(self) -> Span | None:
        """The range of record keys that the import may touch."""
        spans = [chunk.span for chunk in self.chunks if chunk.span is not None]
        if len(spans) <= 1:
            return spans[0] if spans else None
        return Span(min(span.first for span in spans), max(span.last for span in spans))


@dataclass(frozen=True, slots=True)
class ImportFlags:
    """What a handler at work has to know of its import."""

    is_open: bool
    is_cancelled: bool


FLAG_COLUMNS = ("CancelledAt", "EndedAt")


def flags_from_entity(entity: Entity) -> ImportFlags:
    """The flags of an import whose record was read with `FLAG_COLUMNS`."""
    return ImportFlags(not entity.text("EndedAt"), bool(entity.text("CancelledAt")))


@dataclass(frozen=True, slots=True)
class OpenImport:
    """An open import, as its open-import entity describes it."""

    tenant: str
    number: int
    import_id: str
    type_name: str
    span: Span | None
    rows: int = 0
    is_undo: bool = False
    # It stands for an import of another type, which holds back all imports.
    is_barrier: bool = False


def payload_blob(tenant: str, import_id: str) -> str:
    return f"{tenant}/{import_id}.lines"


def record_row(number: int) -> str:
    return f"n|{LAST_NUMBER - number:012d}"


def number_of(row: str) -> int:
    return LAST_NUMBER - int(row.removeprefix("n|"))


def index_row(import_id: str) -> str:
    return f"id|{encode(import_id.lower())}"


def number_in_index(index: Entity) -> int | None:
    """The number in an index entity; None if it cannot be read."""
    try:
        number = index.number("Number")
    except UnreadableDataError:
        return None
    return number if 0 < number < LAST_NUMBER else None


def open_row(type_name: str, number: int) -> str:
    return f"open|{type_name}|{number:012d}"


def open_range(type_name: str, before: int, lowest: int = 0) -> tuple[str, str]:
    """First and last row key of the open imports of a type, from `lowest` to below `before`."""
    return open_row(type_name, lowest), open_row(type_name, before - 1)


def unawaited_row(number: int) -> str:
    return f"unawaited|{number:012d}"


OPEN_OF_ALL_TYPES = ("open|", "open|~")


def child_row(parent: int, number: int) -> str:
    return f"child|{LAST_NUMBER - parent:012d}|{number:012d}"


def children_range(newest: int, oldest: int) -> tuple[str, str]:
    """First and last row key of the retries, of any generation, of imports in this range."""
    return f"child|{LAST_NUMBER - newest:012d}|", f"child|{LAST_NUMBER - oldest:012d}|~"


def retry_link(entity: Entity) -> RetryLink:
    """The link of a `child|` entity. A set of rows that cannot be read counts as empty."""
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


# The columns of `child|` entities that a list of imports needs.
RETRY_LIST_COLUMNS = ("ImportId", "IsDistant", *(f"Repaired{part}" for part in range(8)))


def repair_operation(tenant: str, link: RetryLink, repaired: int) -> Operation:
    """The write that records which rows of an ancestor a retry imported."""
    values = split_bytes("Repaired", pack_rows(repaired))
    return Merge(Entity(tenant, child_row(link.ancestor, link.number), values))


def file_row(type_name: str, body_hash: str, number: int) -> str:
    return f"file|{encode(type_name)}|{body_hash}|{LAST_NUMBER - number:012d}"


def file_range(type_name: str, body_hash: str) -> tuple[str, str]:
    """First and last row key of the imports of a type with this body."""
    return file_row(type_name, body_hash, LAST_NUMBER), file_row(type_name, body_hash, 0)


def undone_row(number: int) -> str:
    return f"undone|{number:012d}"


def number_of_file(row: str) -> int:
    return LAST_NUMBER - int(row.rpartition("|")[2])


def acceptance_operations(record: ImportRecord) -> list[Operation]:
    """The transaction that accepts an import."""
    index = Entity(record.tenant, index_row(record.import_id), {"Number": record.number})
    operations: list[Operation] = [
        Insert(_to_entity(record)),
        Insert(index),
        *([Insert(_unawaited(record))] if len(record.chunks) == 1 else []),
        Insert(_open_entity(record)),
        *map(Insert, _barriers(record)),
    ]
    id_values: dict[str, Value] = {"ImportId": record.import_id}
    for ancestor in record.lineage:
        row = child_row(ancestor.number, record.number)
        values = {**id_values, **split_bytes("Rows", pack_rows(ancestor.rows))}
        if ancestor.number != record.parent.number:
            values["IsDistant"] = True
        operations.append(Insert(Entity(record.tenant, row, values)))
    if record.body_hash:
        row = file_row(record.type_name, record.body_hash, record.number)
        operations.append(Insert(Entity(record.tenant, row, id_values)))
    if record.is_undo and not record.parent.number:
        undone = record_row(record.undoes.number)
        operations += [
            Insert(Entity(record.tenant, undone_row(record.undoes.number), id_values)),
            Merge(Entity(record.tenant, undone, {"UndoneBy": record.import_id})),
        ]
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
    if record.is_undo:
        values["IsUndo"] = True
    values["Sum"] = _checksum(values)
    return Entity(record.tenant, open_row(record.type_name, record.number), values)


def _unawaited(record: ImportRecord) -> Entity:
    return Entity(record.tenant, unawaited_row(record.number), {})


def _barriers(record: ImportRecord) -> list[Entity]:
    """The entities by which an import holds back the imports of every type."""
    kind = TYPE_CATALOGUE.find(record.type_name, record.type_version)
    if kind is None or not kind.holds_back_all:
        return []
    values: dict[str, Value] = {
        "ImportId": record.import_id,
        "Rows": 0,
        "First": EVERYTHING.first,
        "Last": EVERYTHING.last,
        "IsBarrier": True,
    }
    values["Sum"] = _checksum(values)
    return [Entity(record.tenant, open_row(name, record.number), values) for name in IMPORT_TYPES]


def _checksum(values: Mapping[str, Value]) -> str:
    """The checksum of an open-import entity, whose record keys decide the order of imports."""
    pairs = sorted((name, str(value)) for name, value in values.items() if name != "Sum")
    return f"{zlib.crc32(json.dumps(pairs).encode()):08x}"


def reopen_operations(record: ImportRecord) -> list[Operation]:
    """The transaction that restores a lost open-import entity. It fails if the record has changed.

    The record was read, is open and is not broken.
    """
    assert record.etag, "the record must be as it was read"
    swept_reset = Entity(record.tenant, record_row(record.number), {"SweptAt": ""}, record.etag)
    return [Merge(swept_reset), Insert(_open_entity(record))]


def close_operations(
    record: ImportRecord, counts: Counts, ended_at: str, repairs: Sequence[Operation] = ()
) -> list[Operation]:
    """The transaction that ends an import. It fails if another handler has ended it.

    `repairs` record which rows of its ancestors a retry imported.
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
    # The barriers of a broken record are not known, because its type cannot be read.
    barriers = [] if record.is_broken else _barriers(record)
    return [
        Merge(Entity(record.tenant, record_row(record.number), values)),
        Delete(Entity(record.tenant, open_row(record.type_name, record.number), {})),
        *(Delete(Entity(each.partition, each.row, {})) for each in barriers),
        *repairs,
    ]


def close_unawaited_operations(record: ImportRecord) -> list[Operation]:
    """What ends an import only if no chunk waits for its end, beside `close_operations`.

    Empty for an import for which that is not known.
    """
    return [Delete(_unawaited(record))] if len(record.chunks) == 1 else []


def close_lost_import_operation(record: ImportRecord, counts: Counts, ended_at: str) -> Operation:
    """The write that ends an import whose open-import entity is lost, if the record is as read."""
    assert record.etag, "the record must be as it was read"
    merge = close_operations(record, counts, ended_at)[0]
    return Merge(replace(merge.entity, etag=record.etag))


def cancel_operation(
    record: ImportRecord, cancelled_at: str, caller: NamedCaller | None
) -> Operation:
    """The write that asks the handlers of an import to stop. It fails if the record has changed.

    Otherwise an import that ends at the same time would be marked as cancelled with all its rows
    imported.
    """
    assert record.etag, "a cancel needs the record as it was read"
    values: dict[str, Value] = {"CancelledAt": cancelled_at}
    if caller is not None:
        values |= {"CancelledByKind": caller.kind.value, "CancelledBy": caller.name}
    return Merge(Entity(record.tenant, record_row(record.number), values, record.etag))


def sweep_operation(record: ImportRecord, swept_at: str) -> Operation:
    """The write that records when the messages of an import were sent again."""
    values = {"SweptAt": swept_at}
    return Merge(Entity(record.tenant, record_row(record.number), values, record.etag))


def from_entity(entity: Entity) -> ImportRecord:
    """The record of an entity, without the parts that cannot be read.

    It is broken if its id, type, chunks, options or origins cannot be read, since its rows cannot
    be processed without them.
    """
    faults: list[UnreadableDataError] = []

    def read(read_part: Callable[[], _Part], default: _Part) -> _Part:
        try:
            with reading("the record of an import"):
                return read_part()
        except UnreadableDataError as error:
            faults.append(error)
            return default

    def read_options() -> Options:
        on_existing = OnExisting(entity.text("OnExisting", OnExisting.UPDATE))
        return Options(on_existing=on_existing, action=entity.text("Action"))

    no_chunks: tuple[Chunk, ...] = ()
    chunks = read(lambda: _chunks(unpack_json("Chunks", entity.values)), no_chunks)
    import_id = read(lambda: str(_required(entity, "ImportId")), "")
    options = read(read_options, Options())
    origins = read(lambda: unpack_origins(unpack_json("Origins", entity.values) or ()), NO_ORIGINS)
    type_version = read(lambda: entity.number("TypeVersion", 1), 1)
    type_name = read(
        lambda: import_type(entity.text("Type"), type_version).name, entity.text("Type")
    )
    undoes = read(lambda: Parent(entity.text("UndoesId"), entity.number("Undoes")), Parent())
    is_broken = bool(faults)
    undone_rows = read(lambda: unpack_rows(join_bytes("UndoneRows", entity.values)), 0)
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
        options=options,
        accepted_at=entity.text("AcceptedAt"),
        inline=join_text("Lines", entity.values),
        is_inline_sealed=isinstance(entity.values.get("Lines0"), bytes),
        cancelled_at=entity.text("CancelledAt"),
        cancelled_by=caller_from_texts(entity.text("CancelledByKind"), entity.text("CancelledBy")),
        ended_at=entity.text("EndedAt"),
        swept_at=entity.text("SweptAt"),
        counts=counts or Counts(),
        parent=parent,
        origins=origins,
        lineage=lineage,
        batch=entity.text("Batch"),
        body_hash=entity.text("BodySha256"),
        sender=_sender(entity),
        trace=entity.text("Trace"),
        payload_expired_at=entity.text("PayloadExpiredAt"),
        results_expired_at=entity.text("ResultsExpiredAt"),
        is_broken=is_broken,
        has_counts=counts is not None,
        etag=entity.etag,
        undoes=undoes,
        undone_rows=undone_rows,
        undone_by=entity.text("UndoneBy"),
        profile=read(lambda: _profile(entity), NO_PROFILE),
        skipped=read(lambda: entity.number("Skipped"), 0),
        erased_by=read(lambda: entity.number("ErasedBy"), 0),
    )


def _profile(entity: Entity) -> ProfileRef:
    name = entity.text("Profile")
    return ProfileRef(name, entity.number("ProfileVersion")) if name else NO_PROFILE


def _sender(entity: Entity) -> Sender:
    sender = sender_from_entity(entity)
    # An import of an earlier version has the hash by which it is found alone.
    return replace(sender, body_hash=sender.body_hash or entity.text("BodySha256"))


def _lineage(entity: Entity) -> tuple[Ancestor, ...]:
    """The ancestors of a retry, its parent first. Each was accepted before its retry."""
    text = entity.text("Ancestors") or entity.text("Parent")
    numbers = [int(number) for number in text.split(",") if number]
    if len(numbers) > MAX_GENERATIONS:
        raise ValueError("too many ancestors")
    for number, later in zip(numbers, [number_of(entity.row), *numbers], strict=False):
        if not 0 < number < later:
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
    """The open import of an entity. If its range cannot be read, it may touch any record, and it
    may be an undo.
    """
    _, type_name, number = entity.row.split("|")
    span: Span | None = Span("", "\U0010ffff")
    import_id, rows, is_undo = "", 0, True
    with suppress(UnreadableDataError):
        span, rows = _open_span(entity), entity.number("Rows")
        is_undo = entity.flag("IsUndo")
        import_id = entity.text("ImportId")
    return OpenImport(
        tenant=entity.partition,
        number=int(number),
        import_id=import_id,
        type_name=type_name,
        span=span,
        rows=rows,
        is_undo=is_undo,
        is_barrier=entity.flag("IsBarrier"),
    )


@reading("the places of an open import")
def _open_span(entity: Entity) -> Span | None:
    if "First" not in entity.values or "Last" not in entity.values:
        raise ValueError("no places")
    # Entities of an earlier version have no checksum.
    if entity.values.get("Sum", checksum := _checksum(entity.values)) != checksum:
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
    if record.trace:
        values["Trace"] = record.trace
    if record.media_type:
        values["MediaType"] = record.media_type
    if record.options.action:
        values["Action"] = record.options.action
    if record.inline:
        values |= split_text("Lines", record.inline)
    if record.profile.name:
        values |= {"Profile": record.profile.name, "ProfileVersion": record.profile.version}
    if record.skipped:
        values["Skipped"] = record.skipped
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
    if record.is_undo:
        values |= {"UndoesId": record.undoes.import_id, "Undoes": record.undoes.number}
        values |= split_bytes("UndoneRows", pack_rows(record.undone_rows))
    return Entity(record.tenant, record_row(record.number), values)


def rewritten_entity(entity: Entity, record: ImportRecord) -> Entity:
    """The entity of a record as it was read, with other lines, chunks, sender and erasure."""
    gone = {"Lines", "Chunks", "CallerKind", "Caller", "Source", "BodyHash"}
    values: dict[str, Value] = {
        name: value
        for name, value in entity.values.items()
        if name.rstrip("0123456789") not in gone
    }
    values |= pack_json("Chunks", [_packed(chunk) for chunk in record.chunks])
    if record.inline:
        values |= split_text("Lines", record.inline)
    values |= sender_values(record.sender)
    if record.erased_by:
        values["ErasedBy"] = record.erased_by
    return replace(entity, values=values)


def _places(span: Span | None) -> dict[str, Value]:
    if span is None or span.sort_keys is None:
        return {}
    return split_text("Places", json.dumps(sorted(span.sort_keys)))


def _packed(chunk: Chunk) -> list[Any]:
    span = chunk.span
    if span is None:
        return [chunk.start, chunk.end, chunk.rows]
    places = None if span.sort_keys is None else sorted(span.sort_keys)
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


# The summaries of imports for retention, and the marks of expired parts.
#
# Retention first marks in the record that its payload or its results have expired, so that readers
# get 410 while they are being deleted. It deletes the record last, with its index, `child|` and
# `file|` entities.

SUMMARY_COLUMNS = (
    "ImportId",
    "EndedAt",
    "PayloadExpiredAt",
    "ResultsExpiredAt",
    "FirstOrigin",
)


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """An import, as retention reads it. Times are ISO text, "" if the event has not happened.

    `first_origin` is the lowest number that its rows are compared with: that of the first import
    which contained such a row, or its own number if it is not a retry.
    """

    tenant: str
    number: int
    import_id: str
    ended_at: str
    has_payload: bool
    has_results: bool
    first_origin: int

    def ended_before(self, time: str) -> bool:
        """Whether the import ended before `time` (ISO text)."""
        return bool(self.ended_at) and self.ended_at < time


def summary_from_entity(entity: Entity) -> ImportSummary:
    """The summary of a record's `SUMMARY_COLUMNS`."""
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
    """The lowest origin of a retry. If it cannot be read, it is 1, which keeps every tombstone."""
    try:
        return entity.number("FirstOrigin")
    except UnreadableDataError:
        return 1


# What the change feed reads of imports.

OUTLINE_COLUMNS: Final = (
    *("ImportId", "Type", "Rows", "EndedAt", "ResultsExpiredAt"),
    *("New", "Updated", "Removing", "IsBroken"),
)


@dataclass(frozen=True, slots=True)
class ImportOutline:
    """An import for the change feed. `ended_at` is ISO text, "" while it is open.

    `may_have_changed` is False if it is known that no row took effect. `is_complete` is False if
    results may be missing: the import was closed because its record could not be read.
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
    """The outline in the columns of a record."""
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


def payload_expiry_operation(entity: Entity, now: str) -> Operation:
    """The write that removes the lines of a small payload from a record, given as it was read."""
    lines = dict.fromkeys(
        (
            name
            for name in entity.values
            if (name.startswith("Lines") and name.removeprefix("Lines").isdigit())
        ),
        "",
    )
    values: dict[str, Value] = {"PayloadExpiredAt": now, **lines}
    return Merge(Entity(entity.partition, entity.row, values))


def results_expiry_operation(summary: ImportSummary, now: str) -> Operation:
    """The write that marks the results of an import as expired."""
    row = record_row(summary.number)
    return Merge(Entity(summary.tenant, row, {"ResultsExpiredAt": now}))


def removal_operations(record: ImportRecord) -> list[Operation]:
    """The transaction that deletes the record of an ended import. It fails if it is missing."""
    rows = [record_row(record.number), index_row(record.import_id)]
    rows += [child_row(ancestor.number, record.number) for ancestor in record.lineage]
    if record.body_hash:
        rows.append(file_row(record.type_name, record.body_hash, record.number))
    if record.undone_by:
        rows.append(undone_row(record.number))
    return [Delete(Entity(record.tenant, row, {})) for row in rows]


# The columns of a `Sender`, in the records of imports and of batches.


def sender_values(sender: Sender) -> dict[str, Value]:
    """The columns of a sender that have a value."""
    values: dict[str, Value] = {}
    if sender.caller is not None:
        values |= {"CallerKind": sender.caller.kind.value, "Caller": sender.caller.name}
    if sender.source:
        values["Source"] = sender.source
    if sender.body_hash:
        values["BodyHash"] = sender.body_hash
    return values


def sender_from_entity(entity: Entity) -> Sender:
    """The inverse of `sender_values`."""
    caller = caller_from_texts(entity.text("CallerKind"), entity.text("Caller"))
    return Sender(caller, entity.text("Source"), entity.text("BodyHash"))
