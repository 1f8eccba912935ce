"""What a record was before the import of its stamp wrote it (docs/design.md#former-values).

A record keeps the former values of the fields that its last import changed, so that the former
document can be made again from the present one, byte for byte. A tombstone keeps the whole former
document. An import that writes a record more than once keeps the state before its first write.

How it is packed, as JSON that is compressed where it is long:

import, at       id of the import that had written the record before, and when it did (UpdatedAt)
fields           former values of the top-level fields that changed or went, by name
added            names of the fields that came, if any
places           where the fields that went stood in the former document, in the order of `fields`
document         the whole former document, in place of these three: on a tombstone, and where the
                 three do not say the order of the former fields
created          [number, import id, time]: who created the former record, where that is not what
                 the record itself says

What is longer than MAX_INLINE goes to a blob as a whole former document. So it can be carried
along without being read, whatever the import writes next.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import NoneType
from typing import Any, Final

from shared.errors import UnreadableDataError
from shared.imports.import_type import Document
from shared.imports.json_rows import json_text

# Bytes of packed former values that lie in the record itself.
MAX_INLINE: Final = 8 * 1024
# Characters from which on they are compressed.
_LONG_TEXT: Final = 4_000


# Of compression: a third of the time of the usual one, and hardly longer.
_LEVEL: Final = 1


class FormerState(StrEnum):
    """What is known of a record before the import of its stamp."""

    # There was no record.
    NONE = "none"
    KEPT = "kept"
    # They could not be kept, cannot be read, or an earlier version wrote the record.
    LOST = "lost"
    # The results of the import have expired.
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class FormerRecord:
    """A record before an import wrote it: what it said, who wrote it then, who created it.

    Times are ISO text. `number` and `import_id` are of the import that had written it last.
    Licenses have no `created_by`.
    """

    document: Document
    number: int
    import_id: str
    updated_at: str
    created_by: int = 0
    created_import_id: str = ""
    created_at: str = ""


@dataclass(frozen=True, slots=True)
class FormerValues:
    """What a record keeps of its former state, packed.

    `number` is that of the import which had written it before. Of a state that is kept there is
    `text` or `data`, or `blob`: the name of a blob, and the range in it. `spilled` is what has to
    be written to a blob before the record; until a blob is named, the record says LOST.
    """

    state: FormerState
    number: int = 0
    text: str = ""
    data: bytes = b""
    blob: str = ""
    start: int = 0
    length: int = 0
    spilled: bytes = field(default=b"", repr=False)


NOTHING_FORMER: Final = FormerValues(FormerState.NONE)
LOST_FORMER: Final = FormerValues(FormerState.LOST)

# A former record in memory, or what a stored record keeps of it.
Former = FormerRecord | FormerValues

# Number and id of the import that created a record, and when.
Created = tuple[int, str, str]


def pack_former(former: Former, present: Document | None, created: Created) -> FormerValues:
    """As it is kept beside the record that is written; `present` is None on a tombstone.

    What is packed already is kept as it is: it must be of the same present document.
    """
    if isinstance(former, FormerValues):
        return former
    packed: dict[str, Any] = {"import": former.import_id, "at": former.updated_at}
    created_before = (former.created_by, former.created_import_id, former.created_at)
    if present is None or created_before != created:
        packed["created"] = created_before
    changes = None if present is None else _changes(former.document, present)
    packed |= changes or {"document": former.document}
    text = json_text(packed)
    if len(text) <= _LONG_TEXT:
        return FormerValues(FormerState.KEPT, former.number, text=text)
    data = zlib.compress(text.encode(), _LEVEL)
    if len(data) <= MAX_INLINE:
        return FormerValues(FormerState.KEPT, former.number, data=data)
    head = {"import": former.import_id, "at": former.updated_at, "created": created_before}
    spilled = zlib.compress(json_text({**head, "document": former.document}).encode(), _LEVEL)
    return FormerValues(FormerState.LOST, former.number, spilled=spilled)


def unpack_former(
    former: FormerValues, data: bytes, present: Document | None, created: Created
) -> FormerRecord:
    """The former record; `data` are the bytes of its blob, where its values are in one.

    `present` and `created` are what the record that keeps them says. Raises UnreadableDataError.
    """
    try:
        return _unpacked(former, data, present, created)
    except Exception as error:
        raise UnreadableDataError("the former values of a record") from error


def _unpacked(
    former: FormerValues, data: bytes, present: Document | None, created: Created
) -> FormerRecord:
    packed = former.data or data
    text = zlib.decompress(packed).decode() if packed else former.text
    values: dict[str, Any] = json.loads(text)
    if "document" in values:
        document = values["document"]
    elif present is not None:
        added, places = values.get("added", ()), values.get("places", ())
        document = _restored(present, values["fields"], added, places)
    else:
        raise ValueError("a tombstone without the former document")
    if not isinstance(document, dict):
        raise ValueError("no document")
    created_by, created_import_id, created_at = values.get("created", created)
    return FormerRecord(
        document=document,
        number=former.number,
        import_id=str(values["import"]),
        updated_at=str(values["at"]),
        created_by=int(created_by),
        created_import_id=str(created_import_id),
        created_at=str(created_at),
    )


def former_of_own(former: Former, present: Document | None, created: Created) -> Former:
    """What an import carries along that writes a record a second time; `former` is of the first.

    Former values that cannot be read are lost, and never keep the record from being written.
    """
    if isinstance(former, FormerRecord) or former.state is not FormerState.KEPT or former.blob:
        return former
    try:
        return unpack_former(former, b"", present, created)
    except UnreadableDataError:
        return LOST_FORMER


def previous_fields(former: Document, present: Document | None) -> dict[str, Any]:
    """The former values of the top-level fields in which two documents differ, in the order of the
    former one; None where the former one has no such field. Of a deleted record all fields.
    """
    present = present or {}
    fields = {name: former[name] for name in _changed_names(former, present)}
    return fields | {name: None for name in present if name not in former}


def _changes(former: Document, present: Document) -> dict[str, Any] | None:
    """What makes the former document of the present one; None where the order of the fields that
    both have is another.
    """
    fields = {name: former[name] for name in _changed_names(former, present)}
    if list(former) == list(present):
        return {"fields": fields}
    both = [name for name in former if name in present]
    if both != [name for name in present if name in former]:
        return None
    places = [place for place, name in enumerate(former) if name not in present]
    added = [name for name in present if name not in former]
    return {"fields": fields, "added": added, "places": places}


def _changed_names(former: Document, present: Document) -> list[str]:
    """The fields of the former document that went or say something else.

    Values are the same where they are the same JSON text: Python takes 1 for true, and an object
    for one with the same names in another order.
    """
    names: list[str] = []
    get = present.get
    for name, value in former.items():
        now = get(name, _ABSENT)
        if now is value:
            continue
        if now != value or (type(now) is not str and not _has_same_text(value, now)):
            names.append(name)
    return names


def _has_same_text(value: Any, equal: Any) -> bool:
    """Whether two values that Python takes for equal are the same JSON text."""
    if type(value) is dict and type(equal) is dict:
        types = list(map(type, value.values()))
        if _PLAIN.issuperset(types):
            # Objects such as addresses, whose texts need not be made.
            return list(value) == list(equal) and types == list(map(type, equal.values()))
    return json_text(value) == json_text(equal)


# The types whose equal values are the same JSON text.
_PLAIN: Final = frozenset((str, int, bool, NoneType))


def _restored(
    present: Document, fields: Document, added: Sequence[str], places: Sequence[int]
) -> Document:
    came = set(added)
    kept = {name: fields.get(name, value) for name, value in present.items() if name not in came}
    if not places:
        return kept
    items = list(kept.items())
    removed_names = [name for name in fields if name not in present]
    for name, place in zip(removed_names, places, strict=True):
        items.insert(place, (name, fields[name]))
    return dict(items)


_ABSENT: Final = object()
