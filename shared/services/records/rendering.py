"""A stored record as text: as it is stored, or with its sensitive values masked.

The document of a record is JSON already, so it is not written anew where nothing is masked. Amounts
are kept as text in storage, so that no digit is lost; they become numbers again by the names of
their fields (`number_names`), since a name within JSON text never stands before a colon otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import UnreadableDataError
from shared.imports.import_type import Document
from shared.imports.json_rows import json_text, read_json_text
from shared.imports.row_reader import dotted
from shared.imports.text_checks import masked_value
from shared.storage.entities import join_text
from shared.storage.ports import Entity, reading
from shared.storage.sealed_storage import unreadable_paths
from shared.storage.sealing import is_sealed

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordShape:
    """How the entities of a type are shown.

    record_text(entity)   the record as JSON text by the names of the contract, amounts as stored
    key_of(entity)        the key fields of a record that is gone, or cannot be read
    is_sensitive(path)    whether a value at a path of the record is sensitive
    sensitive_names       the fields of the record that are sensitive, or have such values in them
    always_there          fields of every row that may be null, so that the record can be sent again
    number_names          the fields, at any depth, that are stored as text and are numbers
    never_shown           names of fields that a row may have and no record shows
    former_fields(fields) former values under the names of the contract, as they are shown
    former_key(entity)    partition and row key of the entity that keeps the former values of a
                          record that is gone; None where its own entity keeps them
    notes(entity)         what an item has besides
    """

    record_text: Callable[[Entity], str] = lambda entity: join_text("Document", entity.values)
    key_of: Callable[[Entity], Document]
    is_sensitive: Callable[[Sequence[str | int]], bool]
    sensitive_names: frozenset[str] = frozenset()
    always_there: tuple[str, ...] = ()
    number_names: frozenset[str] = frozenset()
    never_shown: frozenset[str] = frozenset()
    former_fields: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda fields: fields
    former_key: Callable[[Entity], tuple[str, str] | None] = lambda _entity: None
    notes: Callable[[Entity], Mapping[str, Any]] = lambda _entity: {}


class RecordRenderer:
    """Renders the records of a type, `name` being the type's; `masks` hides sensitive values.

    `previous` gives the former values that may be shown of an entity, None where there are none.
    """

    def __init__(
        self,
        name: str,
        shape: RecordShape,
        previous: Callable[[Entity], Mapping[str, Any] | None],
        *,
        masks: bool,
    ) -> None:
        self._name = name
        self._shape = shape
        self._previous = previous
        self._masks = masks
        names = "|".join(map(re.escape, sorted(shape.number_names)))
        self._numbers = re.compile(rf'("(?:{names})":)"(-?[0-9]+(?:\.[0-9]+)?)"') if names else None
        self._sensitive = tuple(f'"{name}":' for name in sorted(shape.sensitive_names))

    def item(self, entity: Entity) -> str:
        """The item of an entity as JSON, whatever is in it."""
        if entity.flag("Deleted"):
            return self._without_record(entity, "deleted")
        try:
            text, masked = self._record(entity)
            notes = dict(self._shape.notes(entity))
        except UnreadableDataError:
            return self._without_record(entity, "unreadable")
        if masked:
            notes["masked"] = masked
        unreadable = unreadable_fields(entity)
        if unreadable:
            notes["unreadable"] = unreadable
        return f'{{"record":{text},{self._rest(entity, notes)}'

    def row(self, entity: Entity) -> str:
        """The record alone as JSON, of one that is gone its key; "" for one that is unreadable."""
        if entity.flag("Deleted"):
            return self._key(entity)
        try:
            return self._record(entity)[0]
        except UnreadableDataError:
            return ""

    @reading("a stored record")
    def _record(self, entity: Entity) -> tuple[str, list[str]]:
        """The text of the record, and the paths of what is masked. Raises UnreadableDataError."""
        text = self._shape.record_text(entity)
        document = read_json_text(text)
        if not isinstance(document, dict):
            raise ValueError("no record")
        masked: list[str] = []
        if self._masks and any(mark in text for mark in self._sensitive):
            visible = self._masked_document(document, masked)
            text = json_text(visible) if masked else text
        absent = [name for name in self._shape.always_there if name not in document]
        if absent:
            nulls = ",".join(f'"{name}":null' for name in absent)
            text = f"{text.rstrip()[:-1]}{',' if document else ''}{nulls}}}"
        if self._numbers is not None:
            text = self._numbers.sub(r"\1\2", text)
        return text, masked

    def _without_record(self, entity: Entity, why: str) -> str:
        return f'{{"record":null,"key":{self._key(entity)},{self._rest(entity, {why: True})}'

    def _key(self, entity: Entity) -> str:
        return json_text(self._masked_document(self._shape.key_of(entity), []))

    def _rest(self, entity: Entity, notes: dict[str, Any]) -> str:
        """The members behind the record, and the end of the item."""
        previous = self._previous(entity)
        if previous is not None:
            visible = self._shape.former_fields(previous)
            notes["previous"] = self._masked_document(visible, []) if self._masks else visible
        get = entity.text
        rest = {
            "type": self._name,
            "createdAt": get("CreatedAt") or None,
            "createdBy": get("CreatedBy") or None,
            "changedAt": get("UpdatedAt") or None,
            "changedBy": get("ChangedBy") or None,
            **notes,
        }
        text = json_text(rest)
        if self._numbers is not None and previous is not None:
            text = self._numbers.sub(r"\1\2", text)
        return text[1:]

    def _masked_document(self, document: Mapping[str, Any], masked: list[str]) -> Document:
        """The document with each sensitive value masked; their paths are added to `masked`."""
        if not self._masks:
            return dict(document)
        sensitive = self._shape.sensitive_names
        return {
            name: self._masked((name,), value, masked) if name in sensitive else value
            for name, value in document.items()
        }

    def _masked(self, path: Path, value: Any, masked: list[str]) -> Any:
        if value is None:
            return None
        if isinstance(value, dict):
            return {name: self._masked((*path, name), item, masked) for name, item in value.items()}
        if isinstance(value, list):
            return [self._masked((*path, at), item, masked) for at, item in enumerate(value)]
        if not self._shape.is_sensitive(path):
            return value
        masked.append(dotted(path))
        return masked_value(value)


def unreadable_fields(entity: Entity) -> list[str]:
    """The fields of a record that are sealed and did not open; `previous`, where that did not."""
    fields = [dotted(path) for path in unreadable_paths(entity)]
    previous = entity.values.get("Previous")
    return [*fields, "previous"] if isinstance(previous, bytes) and is_sealed(previous) else fields


def number_names(schema: Mapping[str, Any]) -> frozenset[str]:
    """The fields of a row, at any depth, that are numbers and no whole ones.

    Raises ValueError where another field of such a name is of another type: storage keeps these
    numbers as text, and a name alone has to tell.
    """
    kinds: dict[str, set[bool]] = {}
    for name, node in _properties(schema):
        types = node.get("type", ())
        is_number = "number" in ([types] if isinstance(types, str) else types)
        kinds.setdefault(name, set()).add(is_number)
    ambiguous = [name for name, known in kinds.items() if len(known) > 1]
    if ambiguous:
        raise ValueError(f"numbers at one place and not at another: {ambiguous}")
    return frozenset(name for name, known in kinds.items() if True in known)


def always_there(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields that every row must have and that may be null: a record does not keep null."""
    properties = schema.get("properties", {})
    return tuple(
        name for name in schema.get("required", ()) if "null" in properties[name].get("type", ())
    )


def sensitive_names(
    schema: Mapping[str, Any], is_sensitive: Callable[[Sequence[str | int]], bool]
) -> frozenset[str]:
    """The fields of a row that are sensitive, or have a value in them that is."""
    return frozenset(path[0] for path in _paths(schema, schema, ()) if is_sensitive(path))


def _properties(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for node in (schema, *schema.get("$defs", {}).values()):
        yield from node.get("properties", {}).items()


def _paths(
    node: Mapping[str, Any], schema: Mapping[str, Any], path: tuple[str, ...]
) -> Iterable[tuple[str, ...]]:
    """The path of every field, those of objects and of elements of lists behind their own."""
    for option in (node, *node.get("anyOf", ()), node.get("items", {})):
        inner = schema["$defs"][option["$ref"].rpartition("/")[2]] if "$ref" in option else option
        for name, item in inner.get("properties", {}).items():
            yield (*path, name)
            yield from _paths(item, schema, (*path, name))
