"""The former state of a record as columns of its entity (`shared.imports.former_values`).

PreviousNumber   the number of the import that had written the record before; EXPIRED once the
                 former values were removed; absent where there was no record
Previous         the former values: text, or bytes where they are compressed
PreviousBlob     name, start and length of the range of a blob that has them instead
PreviousLost     they could not be kept
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from shared.errors import UnreadableDataError
from shared.imports.former_values import (
    LOST_FORMER,
    NOTHING_FORMER,
    Created,
    Former,
    FormerRecord,
    FormerState,
    FormerValues,
    previous_fields,
    unpack_former,
)
from shared.imports.import_type import Document
from shared.storage.entities import join_text
from shared.storage.names import IMPORT_RESULT_BLOBS
from shared.storage.ports import BlobReader, Blobs, Entity, Merge, Operation, Value, reading
from shared.storage.result_records import blobs_of
from shared.storage.sealed_storage import former_blob
from shared.storage.sealing import is_sealed

_EXPIRED = -1
# Former values that are to be written to a blob before their record, by its row key.
Spilled = dict[str, bytes]
COLUMNS = ("PreviousNumber", "Previous", "PreviousBlob", "PreviousLost")


def to_values(former: FormerValues) -> dict[str, Value]:
    """The columns. What is still to be written to a blob says that it is lost."""
    match former.state:
        case FormerState.NONE:
            return {}
        case FormerState.EXPIRED:
            return {"PreviousNumber": _EXPIRED}
        case FormerState.LOST:
            return {"PreviousNumber": former.number, "PreviousLost": True}
        case FormerState.KEPT if former.blob:
            place = f"{former.blob} {former.start} {former.length}"
            return {"PreviousNumber": former.number, "PreviousBlob": place}
        case FormerState.KEPT:
            return {"PreviousNumber": former.number, "Previous": former.data or former.text}


def from_entity(entity: Entity) -> FormerValues:
    """What an entity keeps; never raises, since a record does not depend on it."""
    try:
        return _from_entity(entity)
    except (UnreadableDataError, ValueError):
        return LOST_FORMER


def _from_entity(entity: Entity) -> FormerValues:
    values = entity.values
    if "PreviousNumber" not in values:
        return NOTHING_FORMER if "ChangedBy" in values else LOST_FORMER
    number = entity.number("PreviousNumber")
    if number < 0:
        return FormerValues(FormerState.EXPIRED)
    if entity.flag("PreviousLost"):
        return FormerValues(FormerState.LOST, number)
    packed = values.get("Previous")
    if isinstance(packed, bytes):
        return FormerValues(FormerState.KEPT, number, data=packed)
    if isinstance(packed, str):
        return FormerValues(FormerState.KEPT, number, text=packed)
    blob, start, length = entity.text("PreviousBlob").rsplit(" ", 2)
    return FormerValues(FormerState.KEPT, number, blob=blob, start=int(start), length=int(length))


def check_columns(entity: Entity, present: Document | None, created: Created) -> None:
    """Raises UnreadableDataError where an entity has former values that cannot be true.

    `present` and `created` are what the record says. What lies in a blob, or is
    sealed under a key that is not there, is not looked at.
    """
    with reading("the former values of a record"):
        former = _from_entity(entity)
        is_kept = former.state is FormerState.KEPT
        if is_kept and former.number >= entity.number("Number"):
            raise ValueError("a former import that is a later one")
        if is_kept and not former.blob and not is_sealed(former.data):
            unpack_former(former, b"", present, created)


def lost(entity: Entity) -> Operation:
    """The write that says of an entity, as it was read, that its former values are lost."""
    texts = {name: "" for name in ("Previous", "PreviousBlob") if name in entity.values}
    values: dict[str, Value] = {"PreviousNumber": 0, "PreviousLost": True, **texts}
    return Merge(Entity(entity.partition, entity.row, values, entity.etag))


def without_values(entity: Entity) -> Entity:
    """The same entity, which says that its former values are lost where it has some."""
    if "PreviousNumber" not in entity.values or entity.number("PreviousNumber") < 0:
        return entity
    kept = {name: value for name, value in entity.values.items() if name not in COLUMNS}
    lost = FormerValues(FormerState.LOST, entity.number("PreviousNumber"))
    return replace(entity, values=kept | to_values(lost))


def are_kept(entity: Entity) -> bool:
    """Whether an entity that was read with COLUMNS has former values."""
    return "PreviousNumber" in entity.values and from_entity(entity).state is FormerState.KEPT


# Limits a range to entities whose former values were not removed.
EXPIRING: Final = ("PreviousNumber", 0, None)


def expire_former_values(entity: Entity) -> Operation:
    """The write that removes the former values of an entity that was read with COLUMNS."""
    texts = {name: "" for name in ("Previous", "PreviousBlob") if name in entity.values}
    values: dict[str, Value] = {"PreviousNumber": _EXPIRED, **texts}
    return Merge(Entity(entity.partition, entity.row, values, entity.etag))


async def keep_spilled(
    blobs: Blobs, import_id: str, operations: Sequence[Operation], spilled: Spilled
) -> list[Operation]:
    """Write the former values of the records of one transaction to one blob; the operations that
    name it, to be carried out afterwards.

    The blob goes with the results of the import. Its name depends on its content, so a handler that
    was only slow cannot write over what a record refers to.
    """
    named = [each.entity.row for each in operations if each.entity.row in spilled]
    data = [spilled[row] for row in named]
    digest = hashlib.sha256(b"".join(data)).hexdigest()[:32]
    tenant = operations[0].entity.partition.partition("|")[0]
    blob = former_blob(blobs_of(import_id), tenant, digest)
    await blobs.put(IMPORT_RESULT_BLOBS, blob, data)
    places: dict[str, FormerValues] = {}
    start = 0
    for row, part in zip(named, data, strict=True):
        places[row] = FormerValues(FormerState.KEPT, blob=blob, start=start, length=len(part))
        start += len(part)
    return [
        _with_blob(each, places[each.entity.row]) if each.entity.row in places else each
        for each in operations
    ]


def _with_blob(operation: Operation, former: FormerValues) -> Operation:
    entity = operation.entity
    number = entity.number("PreviousNumber")
    values = {name: value for name, value in entity.values.items() if name not in COLUMNS}
    values |= to_values(replace(former, number=number))
    return replace(operation, entity=replace(entity, values=values))


class KeepsFormer(Protocol):
    """A stored record of any type, a tombstone too."""

    @property
    def document(self) -> Document | None:
        """What it says; None on a tombstone."""

    @property
    def created(self) -> Created:
        """Who created it."""

    @property
    def former(self) -> Former:
        """What it keeps, as it was read."""


async def former_values(
    blobs: BlobReader, stored: KeepsFormer
) -> tuple[FormerState, FormerRecord | None]:
    """What is known of a stored record before the import of its stamp; the former record where it
    is kept. For one that was renamed or moved, that is the record in its former place.

    Reads a blob where the values are in one, else nothing. Values that cannot be read are lost; a
    blob that is gone went with the results of the import. Raises StorageUnavailableError.
    """
    former = stored.former
    if isinstance(former, FormerRecord):
        return FormerState.KEPT, former
    if former.state is not FormerState.KEPT:
        return former.state, None
    data = b""
    if former.blob:
        block = await blobs.read(IMPORT_RESULT_BLOBS, former.blob, former.start, former.length)
        if block is None:
            return FormerState.EXPIRED, None
        data = block
    try:
        return former.state, unpack_former(former, data, stored.document, stored.created)
    except UnreadableDataError:
        return FormerState.LOST, None


async def read_former_blob(blobs: BlobReader, entity: Entity) -> bytes:
    """The bytes of the blob in which the former values of an entity are; b"" where they are not in
    a blob, or it is gone. Raises StorageUnavailableError.
    """
    former = from_entity(entity)
    if not former.blob:
        return b""
    try:
        data = await blobs.read(IMPORT_RESULT_BLOBS, former.blob, former.start, former.length)
    except UnreadableDataError:
        return b""
    return data or b""


def are_in_blob(entity: Entity) -> bool:
    """Whether the former values of an entity are in a blob."""
    return "PreviousBlob" in entity.values and bool(from_entity(entity).blob)


def former_fields(entity: Entity, data: bytes = b"") -> dict[str, Any] | None:
    """The former values of the top-level fields that the last import changed, None where there was
    none; all fields of a deleted record. `data` is what `read_former_blob` has read.

    None where nothing is kept, or nothing that can be read.
    """
    former = from_entity(entity)
    packed = former.data or data
    if former.state is not FormerState.KEPT or not (packed or former.text):
        return None
    try:
        text = zlib.decompress(packed).decode() if packed else former.text
        values = json.loads(text)
        if "document" in values:
            present = json.loads(join_text("Document", entity.values) or "null")
            return previous_fields(values["document"], present)
        return {**values["fields"], **dict.fromkeys(values.get("added", ()))}
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
        return None
