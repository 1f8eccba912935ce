"""Tables and blobs that seal what is sensitive when it is written, and open it when it is read.

Everything above them works with open values, so nothing there can forget to seal. What is sealed:

* of the records of a type with sensitive fields, the values of these fields. `Document` has true
  in their place, so it stays readable, and says that there are sealed values. `Sealed0`,
  `Sealed1`, … have the values, one a line, each behind its place in `Document` and its name.
  `Previous` is sealed as a whole where it has one of the fields, or is compressed;
* the properties that `SEALED_COLUMNS` names, as a whole: lines of payloads, signing keys;
* payloads and former values in blobs, in blocks of BLOCK_BYTES, so that a range can be read.

What does not open is left as it is: sealed bytes in place of a text, and a document without the
fields. `Unreadable` then has their paths and sealed values, as JSON. A record that is written again
keeps them for fields that it does not have, and they are back once their key is back. Sealed values
that are not there any more, though the document says so, are unreadable too.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any, Final

from shared import log
from shared.errors import SealedDataError
from shared.storage.entities import join_bytes, join_text, split_bytes, split_text
from shared.storage.names import IMPORT_PAYLOADS, IMPORT_RESULT_BLOBS, IMPORTS, SIGNING_KEYS
from shared.storage.ports import (
    Delete,
    Entity,
    EntityRange,
    EntitySlice,
    Merge,
    Operation,
    StoredBlobs,
    StoredTables,
    Value,
)
from shared.storage.sealing import (
    GATEWAY,
    OVERHEAD,
    DataKeys,
    Sealer,
    digest_number,
    is_sealed,
    key_number,
)

# Texts that are sealed as a whole, by table. Of a text that is split this is the first property.
SEALED_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    IMPORTS: ("Lines0",),
    SIGNING_KEYS: ("keys", "key"),
}
# The property with the former values of a record.
_PREVIOUS: Final = "Previous"
_UNREADABLE: Final = "Unreadable"
# The digest of a document, under a key that belongs to a data key.
_DIGEST: Final = "Digest"
_SELECTED: Final = (*(f"Sealed{number}" for number in range(4)), _UNREADABLE)
# The most sealed values that do not open and that a record keeps: one for each key that was lost.
_MOST_UNREADABLE: Final = 4

_scan: Final = json.JSONDecoder().raw_decode
# What a document has in place of a sealed value. As long as null, which no sealed value is.
_MARK: Final = "true"
Path = list[str | int]


def tenant_of(table: str, partition: str) -> str:
    """The tenant whose data key seals the entities of a partition."""
    return GATEWAY if table == SIGNING_KEYS else partition.partition("|")[0]


@dataclass(frozen=True)
class SealedFields:
    """The sensitive fields of the records of a table, at any depth of a document."""

    names: frozenset[str]
    quoted: tuple[str, ...]
    marked: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[str]) -> SealedFields | None:
        """The fields of these names; None without any."""
        in_order = sorted(names)
        if not in_order:
            return None
        quoted = tuple(f'"{name}":' for name in in_order)
        return cls(frozenset(in_order), quoted, tuple(f"{name}{_MARK}" for name in quoted))

    def take_out(self, text: str) -> tuple[str, str]:
        """A document with true in place of each sensitive value, and the values, one a line.

        A null stays. No values ("") where there is none. The document is JSON without blanks.
        """
        parts: list[str] = []
        values: list[str] = []
        start = shorter = 0
        for at, first in self._found(text):
            if at < start or text[first] == "n":
                continue  # it is within a value that is sealed as a whole, or null
            last = _end_of(text, first)
            parts.append(text[start:first])
            values.append(f"{at - shorter}{text[at:last]}")
            shorter += last - first - len(_MARK)
            start = last
        if not values:
            return text, ""
        parts.append(text[start:])
        return _MARK.join(parts), "\n".join(values)

    def put_back(self, text: str, values: str) -> str:
        """The document that `take_out` has divided. Raises SealedDataError if they do not match."""
        parts: list[str] = []
        start = 0
        for line in values.split("\n"):
            place, member = _parts_of(line)
            quoted = member[: member.find('":') + 2]
            if not text.startswith(f"{quoted}{_MARK}", place):
                raise SealedDataError("the sealed values of a record")
            parts += (text[start:place], member)
            start = place + len(quoted) + len(_MARK)
        parts.append(text[start:])
        return "".join(parts)

    def are_in(self, text: str) -> bool:
        """Whether JSON without blanks has one of the fields."""
        return any(quoted in text for quoted in self.quoted)

    def are_sealed_in(self, text: str) -> bool:
        """Whether a document says that it has sealed values."""
        return any(marked in text for marked in self.marked)

    def _found(self, text: str) -> list[tuple[int, int]]:
        """Where the fields and their values begin in a document, in order. Inside a text every
        quote is escaped, so what is found is always the name of a field.
        """
        places: list[tuple[int, int]] = []
        for quoted in self.quoted:
            at = text.find(quoted)
            while at >= 0:
                first = at + len(quoted)
                places.append((at, first))
                at = text.find(quoted, first)
        if len(places) > 1:
            places.sort()
        return places

    def remove(self, text: str) -> tuple[str, list[Path]]:
        """A document that `take_out` has divided, without the sealed fields, and their paths in
        order.
        """
        document = json.loads(text)
        paths: list[Path] = []

        def walk(node: Any, path: Path) -> None:
            if isinstance(node, list):
                for at, item in enumerate(node):
                    walk(item, [*path, at])
            elif isinstance(node, dict):
                for name in list(node):
                    if name in self.names:
                        if node[name] is not None:
                            del node[name]
                            paths.append([*path, name])
                    else:
                        walk(node[name], [*path, name])

        walk(document, [])
        return _compact(document), paths


def _end_of(text: str, first: int) -> int:
    """Where the JSON value ends that begins there. Plain ones need not be decoded."""
    if text[first] == '"':
        end = text.find('"', first + 1) + 1
        if text[end - 2] != "\\":
            return end
    elif text[first] == "{":
        end = text.find("}", first) + 1
        inside = text[first + 1 : end]
        # An even number of quotes, none of them escaped: the brace is not inside a text.
        if "\\" not in inside and "{" not in inside and inside.count('"') % 2 == 0:
            return end
    return _scan(text, first)[1]


def _parts_of(line: str) -> tuple[int, str]:
    """Where a sealed value belongs in the document, and its name and value."""
    place, quote, rest = line.partition('"')
    return int(place), f"{quote}{rest}"


# Sealed values that did not open, as `Unreadable` has them: the path of each of their fields, in
# order, and None for a field that has another value by now.
_Lost = list[tuple[list[Path | None], bytes]]


def unreadable_paths(entity: Entity) -> list[Path]:
    """The paths of the fields of a record that could not be opened."""
    lost = _read_lost(entity.text(_UNREADABLE))
    return [path for paths, _ in lost for path in paths if path is not None]


def _read_lost(text: str) -> _Lost:
    if not text:
        return []
    with suppress(ValueError, TypeError):
        lost = [(paths, base64.b64decode(data)) for paths, data in json.loads(text)]
        if all(_is_path(path) for paths, _ in lost for path in paths if path is not None):
            return lost
    return []


def _is_path(path: Any) -> bool:
    return (
        isinstance(path, list)
        and bool(path)
        and isinstance(path[-1], str)
        and all(isinstance(step, str | int) for step in path)
    )


def _lost_text(lost: _Lost) -> str:
    return _compact([(paths, base64.b64encode(data).decode()) for paths, data in lost])


def _container(document: Any, path: Path) -> dict[str, Any] | None:
    """The object that has, or would have, the field of a path."""
    node = document
    for step in path[:-1]:
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            return None
    return node if isinstance(node, dict) else None


class SealingTables:
    """The tables of an account, sealed. `fields_of` gives the sensitive fields of a table."""

    def __init__(
        self,
        tables: StoredTables,
        data_keys: DataKeys,
        fields_of: Callable[[str], SealedFields | None],
    ) -> None:
        self._tables = tables
        self._data_keys = data_keys
        self._fields_of = fields_of

    async def get(self, table: str, partition: str, row: str) -> Entity | None:
        """See `Tables.get`."""
        entity = await self._tables.get(table, partition, row)
        if entity is None:
            return None
        [opened] = await self._opened(table, [entity])
        return opened

    async def query(
        self,
        table: str,
        partition: str,
        first: str = "",
        last: str | None = None,
        *,
        after: str = "",
        select: Sequence[str] | None = None,
        most: int | None = None,
    ) -> list[Entity]:
        """See `Tables.query`."""
        entities = await self._tables.query(
            table, partition, first, last, after=after, select=_selected(select), most=most
        )
        return await self._opened(table, entities)

    async def query_flagged(
        self, table: str, partition: str, first: str, last: str, flag: str, select: Sequence[str]
    ) -> list[Entity]:
        """See `SearchableTables.query_flagged`."""
        columns = _selected(select) or ()
        entities = await self._tables.query_flagged(table, partition, first, last, flag, columns)
        return await self._opened(table, entities)

    async def query_range(
        self, table: str, range_: EntityRange, after: tuple[str, str] | None, most: int
    ) -> EntitySlice:
        """See `RangeTables.query_range`."""
        columns = _selected(range_.select)
        selected = range_ if columns is None else replace(range_, select=tuple(columns))
        page = await self._tables.query_range(table, selected, after, most)
        return EntitySlice(await self._opened(table, page.entities), page.is_last)

    async def write(self, table: str, operation: Operation) -> str:
        """See `Tables.write`. Raises DataKeysNotSetError too."""
        [sealed] = await self._sealed(table, [operation])
        return await self._tables.write(table, sealed)

    async def transact(self, table: str, operations: Sequence[Operation]) -> None:
        """See `Tables.transact`. Raises DataKeysNotSetError too."""
        await self._tables.transact(table, await self._sealed(table, operations))

    def has_sealed(self, table: str) -> bool:
        """Whether entities of this table may have sealed values."""
        return table in SEALED_COLUMNS or self._fields_of(table) is not None

    async def _sealed(self, table: str, operations: Sequence[Operation]) -> Sequence[Operation]:
        if not self.has_sealed(table):
            return operations
        fields = self._fields_of(table)
        if fields is None and not self._data_keys.are_set:
            # Payloads of types without sensitive fields, and the gateway's own keys.
            return operations
        sealed: list[Operation] = []
        sealer: Sealer | None = None
        for each in operations:
            if isinstance(each, Delete) or not _needs_seal(table, each.entity, fields):
                sealed.append(each)
                continue
            # All operations are on one partition.
            sealer = sealer or await self._data_keys.sealer(tenant_of(table, each.entity.partition))
            sealed.append(_seal_operation(table, each, fields, sealer))
        return sealed

    async def _opened(self, table: str, entities: Sequence[Entity]) -> list[Entity]:
        if not self.has_sealed(table):
            return list(entities)
        fields = self._fields_of(table)
        opened: list[Entity] = []
        sealer: Sealer | None = None
        missing = 0
        for entity in entities:
            if not _has_sealed(table, entity.values):
                if not _lacks_sealed(entity.values, fields):
                    opened.append(entity)
                    continue
                missing += 1
            tenant = tenant_of(table, entity.partition)
            newest = _newest_key(table, entity.values)
            if sealer is None or sealer.tenant != tenant or sealer.current < newest:
                sealer = await self._data_keys.opener(tenant, newest)
            opened.append(_open_entity(table, entity, fields, sealer))
        if missing:
            tenant = tenant_of(table, entities[0].partition)
            log.warning("record.sealed_values_missing", tenant=tenant, type=table, rows=missing)
        return opened


def _selected(select: Sequence[str] | None) -> Sequence[str] | None:
    """The columns to read: a document needs its sealed values too."""
    if select is None or not any(name.startswith("Document") for name in select):
        return select
    return (*select, *_SELECTED)


def _needs_seal(table: str, entity: Entity, fields: SealedFields | None) -> bool:
    values = entity.values
    if fields is not None and ("Document0" in values or values.get(_PREVIOUS)):
        return True
    return any(values.get(name) for name in SEALED_COLUMNS.get(table, ()))


def _seal_operation(
    table: str, operation: Operation, fields: SealedFields | None, sealer: Sealer
) -> Operation:
    entity = operation.entity
    place = (table, entity.partition, entity.row)
    values = dict(entity.values)
    for name in SEALED_COLUMNS.get(table, ()):
        _seal_column(values, name, sealer, place)
    if fields is not None:
        previous = values.get(_PREVIOUS)
        if isinstance(previous, bytes) or (isinstance(previous, str) and fields.are_in(previous)):
            _seal_column(values, _PREVIOUS, sealer, place)
        if "Document0" in values:
            if isinstance(operation, Merge):
                raise ValueError("a Merge would leave the sealed values of the document before")
            _seal_document(values, fields, sealer, place)
    return type(operation)(Entity(entity.partition, entity.row, values, entity.etag))


def _seal_column(
    values: dict[str, Value], name: str, sealer: Sealer, place: tuple[str, str, str]
) -> None:
    value = values.get(name)
    if not value or (isinstance(value, bytes) and is_sealed(value)):
        return  # the latter did not open when it was read
    if isinstance(value, bytes):
        values[name] = sealer.seal(b"b" + value, *place, name)
    elif not name.endswith("0"):
        values[name] = sealer.seal(b"t" + str(value).encode(), *place, name)
    else:
        base = name[:-1]
        sealed = sealer.seal(b"t" + join_text(base, values).encode(), *place, name)
        _drop_parts(values, base)
        values |= split_bytes(base, sealed)


def _open_column(
    values: dict[str, Value], name: str, sealer: Sealer, place: tuple[str, str, str]
) -> None:
    """Open a property; one that does not open stays as it is."""
    value = values.get(name)
    if not isinstance(value, bytes) or not is_sealed(value):
        return
    is_split = name.endswith("0")
    with suppress(SealedDataError):
        sealed = join_bytes(name[:-1], values) if is_split else value
        data = sealer.open(sealed, *place, name)
        if is_split:
            _drop_parts(values, name[:-1])
            values |= split_text(name[:-1], data[1:].decode())
        else:
            values[name] = data[1:].decode() if data[:1] == b"t" else data[1:]


def _drop_parts(values: dict[str, Value], name: str) -> None:
    """Remove the parts of a split property."""
    number = 0
    while values.pop(f"{name}{number}", None) is not None:
        number += 1


def _set_document(values: dict[str, Value], text: str) -> None:
    if "Document1" in values:
        _drop_parts(values, "Document")
    values |= split_text("Document", text)


def _seal_document(
    values: dict[str, Value], fields: SealedFields, sealer: Sealer, place: tuple[str, str, str]
) -> None:
    text = join_text("Document", values)
    if _UNREADABLE in values:
        lost = _still_lost(text, _read_lost(str(values.pop(_UNREADABLE))))
        if lost:
            values[_UNREADABLE] = _lost_text(lost)
    open_text, secret = fields.take_out(text)
    if not secret:
        return
    _set_document(values, open_text)
    values |= split_bytes("Sealed", sealer.seal(secret.encode(), *place, "Sealed"))


def _still_lost(text: str, lost: _Lost) -> _Lost:
    """What is left when a document is written: a field that it has is lost no more."""
    document = json.loads(text)
    still_lost: _Lost = []
    for paths, data in lost[-_MOST_UNREADABLE:]:
        still_absent = [path if path and _is_absent(document, path) else None for path in paths]
        if any(still_absent):
            still_lost.append((still_absent, data))
    return still_lost


def _is_absent(document: Any, path: Path) -> bool:
    container = _container(document, path)
    return container is None or path[-1] not in container


def _newest_key(table: str, values: Mapping[str, Value]) -> int:
    """The highest number of the data keys under which values of an entity are sealed."""
    newest = 0
    for name in ("Sealed0", _PREVIOUS, *SEALED_COLUMNS.get(table, ())):
        value = values.get(name)
        if isinstance(value, bytes) and is_sealed(value):
            newest = max(newest, key_number(value))
    return newest


def _has_sealed(table: str, values: Mapping[str, Value]) -> bool:
    if "Sealed0" in values or _UNREADABLE in values or isinstance(values.get(_PREVIOUS), bytes):
        return True
    return any(isinstance(values.get(name), bytes) for name in SEALED_COLUMNS.get(table, ()))


def _lacks_sealed(values: Mapping[str, Value], fields: SealedFields | None) -> bool:
    """Whether the sealed values of a record were removed behind the back of the gateway."""
    return (
        fields is not None
        and "Document0" in values
        and fields.are_sealed_in(join_text("Document", values))
    )


def _open_entity(table: str, entity: Entity, fields: SealedFields | None, sealer: Sealer) -> Entity:
    place = (table, entity.partition, entity.row)
    values = dict(entity.values)
    for name in (*SEALED_COLUMNS.get(table, ()), _PREVIOUS):
        _open_column(values, name, sealer, place)
    if fields is not None and "Document0" in values:
        _open_document(values, fields, sealer, place)
    return Entity(entity.partition, entity.row, values, entity.etag)


def _open_document(
    values: dict[str, Value], fields: SealedFields, sealer: Sealer, place: tuple[str, str, str]
) -> None:
    text = join_text("Document", values)
    lost = _read_lost(str(values.pop(_UNREADABLE))) if _UNREADABLE in values else []
    sealed = join_bytes("Sealed", values)
    _drop_parts(values, "Sealed")
    is_missing = not sealed and fields.are_sealed_in(text)
    if not sealed and not lost and not is_missing:
        return
    if sealed or is_missing:
        try:
            text = fields.put_back(text, sealer.open(sealed, *place, "Sealed").decode())
        except SealedDataError:
            with suppress(ValueError):  # a document that is no JSON is reported by its reader
                text, paths = fields.remove(text)
                lost.append(([*paths], sealed))
    if lost:
        text, lost = _found_again(text, lost, sealer, place)
    _set_document(values, text)
    if lost:
        values[_UNREADABLE] = _lost_text(lost)


def _found_again(
    text: str, lost: _Lost, sealer: Sealer, place: tuple[str, str, str]
) -> tuple[str, _Lost]:
    """The document with the values that open again, and those that do not."""
    document = json.loads(text)
    still_lost: _Lost = []
    for paths, data in lost:
        try:
            lines = sealer.open(data, *place, "Sealed").decode().split("\n")
            members = [json.loads(f"{{{_parts_of(line)[1]}}}") for line in lines]
            if not _fit(paths, members):
                raise SealedDataError("the sealed values of a record")
        except SealedDataError:
            still_lost.append((paths, data))
            continue
        for path, member in zip(paths, members, strict=True):
            if path is None:
                continue
            container = _container(document, path)
            value = member[path[-1]]
            if container is not None and path[-1] not in container and value is not None:
                container[str(path[-1])] = value
    return _compact(document), still_lost


def _fit(paths: Sequence[Path | None], members: Sequence[Mapping[str, Any]]) -> bool:
    """Whether sealed values have the names of these paths; the document may have been changed."""
    return len(paths) == len(members) and all(
        path is None or path[-1] in member for path, member in zip(paths, members, strict=True)
    )


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# What has to be read of a record to seal it anew.
RESEALED_COLUMNS: Final = (*_SELECTED, _PREVIOUS, _DIGEST)


def resealed(table: str, entity: Entity, sealer: Sealer) -> Operation | None:
    """The write that seals the values of an entity, as it is stored, under the current key.

    None where they are; what does not open stays as it is. The digest of a document under another
    key goes, since nothing may depend on that key any more. A text of SIGNING_KEYS that is not
    sealed yet is sealed too.
    """
    place = (table, entity.partition, entity.row)
    values: dict[str, Value] = {}
    for name in (*SEALED_COLUMNS.get(table, ()), _PREVIOUS, "Sealed"):
        value = join_bytes(name, entity.values) if name == "Sealed" else entity.values.get(name)
        if isinstance(value, str) and table == SIGNING_KEYS and value:
            values[name] = sealer.seal(b"t" + value.encode(), *place, name)
        if not isinstance(value, bytes) or not is_sealed(value):
            continue
        if key_number(value) == sealer.current:
            continue
        with suppress(SealedDataError):
            sealed = sealer.seal(sealer.open(value, *place, name), *place, name)
            values |= split_bytes(name, sealed) if name == "Sealed" else {name: sealed}
    lost = _read_lost(entity.text(_UNREADABLE))
    anew = [(paths, _lost_anew(data, sealer, place)) for paths, data in lost]
    if anew != lost:
        values[_UNREADABLE] = _lost_text(anew)
    digest = entity.values.get(_DIGEST)
    if isinstance(digest, bytes) and digest and digest_number(digest) != sealer.current:
        values[_DIGEST] = b""
    if not values:
        return None
    return Merge(Entity(entity.partition, entity.row, values, entity.etag))


def _lost_anew(sealed: bytes, sealer: Sealer, place: tuple[str, str, str]) -> bytes:
    """A value that did not open, under the current key if it opens by now."""
    with suppress(SealedDataError):
        data = sealer.open(sealed, *place, "Sealed")
        if key_number(sealed) != sealer.current:
            return sealer.seal(data, *place, "Sealed")
    return sealed


def key_numbers(entity: Entity) -> set[int]:
    """The data keys under which values of a record are sealed, as it is stored."""
    values = [entity.values.get(name) for name in ("Sealed0", _PREVIOUS)]
    values += [data for _, data in _read_lost(entity.text(_UNREADABLE))]
    return {key_number(each) for each in values if isinstance(each, bytes) and is_sealed(each)}


# Blobs.

# Bytes of content in one sealed block.
BLOCK_BYTES: Final = 64 * 1024
_SEALED_BLOCK: Final = BLOCK_BYTES + OVERHEAD
# Blocks that are uploaded together.
_BLOCKS_AT_ONCE: Final = 16
FORMER_PREFIX: Final = "former-"


def former_blob(folder: str, tenant: str, digest: str) -> str:
    """The name of a blob of former values."""
    return f"{folder}{FORMER_PREFIX}{tenant}-{digest}"


def tenant_of_blob(container: str, name: str) -> str:
    """The tenant whose data key seals a blob; "" for one that is not sealed."""
    if container == IMPORT_PAYLOADS:
        tenant, slash, _ = name.partition("/")
        return tenant if slash else ""
    last = name.rpartition("/")[2]
    if container == IMPORT_RESULT_BLOBS and last.startswith(FORMER_PREFIX):
        return last.removeprefix(FORMER_PREFIX).rpartition("-")[0]
    return ""


class SealingBlobs:
    """The blobs of an account, sealed. Without GATEWAY_DATA_KEYS they are written as they are."""

    def __init__(self, blobs: StoredBlobs, data_keys: DataKeys) -> None:
        self._blobs = blobs
        self._data_keys = data_keys

    async def put(
        self,
        container: str,
        name: str,
        parts: Iterable[bytes],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """See `Blobs.put`. Raises DataKeysNotSetError too."""
        tenant = tenant_of_blob(container, name)
        if tenant and self._data_keys.are_set:
            sealer = await self._data_keys.sealer(tenant)
            blocks = _sealed_blocks(parts, sealer, (container, name))
            # A list of one part is one request, as it is for what is not sealed.
            parts = [b"".join(blocks)] if isinstance(parts, list) else _joined(blocks)
        await self._blobs.put(container, name, parts, metadata)

    async def read(
        self, container: str, name: str, start: int = 0, length: int | None = None
    ) -> bytes | None:
        """See `Blobs.read`. Raises SealedDataError for a blob that does not open."""
        tenant = tenant_of_blob(container, name)
        sealer = await self._data_keys.opener(tenant) if tenant else None
        if sealer is None or (not sealer.current and not sealer.keys):
            return await self._blobs.read(container, name, start, length)
        first, skipped = divmod(start, BLOCK_BYTES)
        sealed_length = None
        if length is not None:
            last = max(start, start + length - 1) // BLOCK_BYTES
            sealed_length = (last - first + 1) * _SEALED_BLOCK
        sealed = await self._blobs.read(container, name, first * _SEALED_BLOCK, sealed_length)
        if sealed is None:
            return None
        if not sealed:
            # The range begins behind the end, of a blob that may not be sealed.
            head = await self._blobs.read(container, name, 0, OVERHEAD) or b""
            return (
                b"" if is_sealed(head) else await self._blobs.read(container, name, start, length)
            )
        if not is_sealed(sealed):
            # Written before the setting was there.
            return await self._blobs.read(container, name, start, length)
        end = None if length is None else skipped + length
        return await self._opened_blocks(sealed, first, tenant, (container, name), skipped, end)

    async def touch(self, container: str, name: str) -> bool:
        """See `Blobs.touch`."""
        return await self._blobs.touch(container, name)

    async def read_whole(self, container: str, name: str) -> tuple[bytes, str] | None:
        """See `RewritableBlobs.read_whole`. Raises SealedDataError too."""
        blob = await self._blobs.read_whole(container, name)
        tenant = tenant_of_blob(container, name)
        if blob is None or not tenant or not is_sealed(blob[0]):
            return blob
        return await self._opened_blocks(blob[0], 0, tenant, (container, name)), blob[1]

    async def replace(self, container: str, name: str, parts: Iterable[bytes], etag: str) -> None:
        """See `RewritableBlobs.replace`. Raises DataKeysNotSetError too."""
        tenant = tenant_of_blob(container, name)
        if tenant and self._data_keys.are_set:
            sealer = await self._data_keys.sealer(tenant)
            parts = _joined(_sealed_blocks(parts, sealer, (container, name)))
        await self._blobs.replace(container, name, parts, etag)

    async def delete(self, container: str, name: str) -> None:
        """See `Blobs.delete`."""
        await self._blobs.delete(container, name)

    async def names_before(self, container: str, prefix: str, time: datetime) -> list[str]:
        """See `ListedBlobs.names_before`."""
        return await self._blobs.names_before(container, prefix, time)

    async def _opened_blocks(
        self,
        sealed: bytes,
        first: int,
        tenant: str,
        place: tuple[str, str],
        skipped: int = 0,
        end: int | None = None,
    ) -> bytes:
        """The content of sealed blocks, of which the first has that number, from byte `skipped` to
        byte `end`. Raises SealedDataError.
        """
        sealer = await self._data_keys.opener(tenant, key_number(sealed))
        blocks = [
            sealer.open(sealed[at : at + _SEALED_BLOCK], *place, str(first + number))
            for number, at in enumerate(range(0, len(sealed), _SEALED_BLOCK))
        ]
        # Only the blocks at the ends are cut, because a copy of everything takes longer than the
        # cipher.
        if end is not None:
            whole, rest = divmod(end, BLOCK_BYTES)
            blocks[whole:] = [block[:rest] for block in blocks[whole : whole + 1]]
        if skipped and blocks:
            blocks[0] = blocks[0][skipped:]
        return b"".join(blocks)


def _sealed_blocks(
    parts: Iterable[bytes], sealer: Sealer, place: tuple[str, str]
) -> Iterator[bytes]:
    """The blocks of these parts; an empty blob has none. A part is not copied as a whole."""
    number = 0
    rest = bytearray()
    for part in parts:
        view = memoryview(part)
        at = 0
        if rest:
            at = BLOCK_BYTES - len(rest)
            rest += view[:at]
            if len(rest) < BLOCK_BYTES:
                continue
            yield sealer.seal(rest, *place, str(number))
            number += 1
        while len(view) - at >= BLOCK_BYTES:
            yield sealer.seal(view[at : at + BLOCK_BYTES], *place, str(number))
            number += 1
            at += BLOCK_BYTES
        rest = bytearray(view[at:])
    if rest:
        yield sealer.seal(rest, *place, str(number))


def _joined(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Some blocks together, for one request each."""
    while some := b"".join(islice(blocks, _BLOCKS_AT_ONCE)):
        yield some
