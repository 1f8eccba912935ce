"""Snapshots: everything that is stored, as a file of JSON lines (docs/stand-in.md#snapshots).

The first line names the format and the tenants with their credentials; each further one is an
entity or a blob. Data keys are in the clear, since another machine wraps them under other keys.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from azure.data.tables import EdmType, EntityProperty, UpdateMode

from local_host.standin.control_calls import RefusedCallError
from local_host.standin.storage import TABLE_NAMES, EmulatorStorage
from shared.storage.entities import decode
from shared.storage.names import CONTAINERS, DATA_KEYS
from shared.storage.ports import Entity
from shared.storage.sealing import DataKeys, StoredDataKey

_FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
_MOST_OPERATIONS = 100
_MOST_BATCH_BYTES = 2_000_000
_AT_ONCE = 8
_CLEAR = "clear"
_CREDENTIALS = ("tenant", "functionsKey", "softwareKey", "clientId", "clientSecret")
_TYPES: Mapping[str, tuple[EdmType, Callable[[str], Any]]] = {
    "Edm.Binary": (EdmType.BINARY, base64.b64decode),
    "Edm.Int64": (EdmType.INT64, int),
    "Edm.Double": (EdmType.DOUBLE, float),
    "Edm.DateTime": (EdmType.DATETIME, datetime.fromisoformat),
    "Edm.Guid": (EdmType.GUID, str),
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The content of a file. An entity or a blob is as its line shows it."""

    tenants: Sequence[Mapping[str, Any]]
    entities: Sequence[Mapping[str, Any]]
    blobs: Sequence[Mapping[str, Any]]

    def lines(self) -> Iterator[str]:
        """The lines of the file."""
        head = {"format": _FORMAT, "tenants": list(self.tenants)}
        for line in (head, *self.entities, *self.blobs):
            yield json.dumps(line, ensure_ascii=False) + "\n"

    def document(self, name: str) -> dict[str, Any]:
        """What is shown of it."""
        return {
            "name": name,
            "entities": len(self.entities),
            "blobs": len(self.blobs),
            "tenants": list(self.tenants),
        }


class SnapshotFolder:
    """The folder with the files of snapshots."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check_name(self, name: str) -> None:
        """Raise RefusedCallError if a snapshot cannot have this name."""
        self._file(name)

    def names(self) -> list[str]:
        """The names of the snapshots there are."""
        return sorted(file.stem for file in self._folder.glob("*.jsonl"))

    def save(self, name: str, snapshot: Snapshot) -> Path:
        """Write a snapshot; it is complete when it is there. An earlier one is replaced."""
        file = self._file(name)
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(f".{os.getpid()}.tmp")
        with draft.open("w", encoding="utf-8") as lines:
            lines.writelines(snapshot.lines())
        draft.replace(file)
        return file

    def read(self, name: str) -> Snapshot:
        """The snapshot of that name. Raises RefusedCallError."""
        file = self._file(name)
        try:
            with file.open(encoding="utf-8") as lines:
                head, *rest = (json.loads(line) for line in lines)
            if head["format"] != _FORMAT:
                raise ValueError("another format")
            entities = [line for line in rest if "table" in line]
            blobs = [line for line in rest if "container" in line]
            if len(entities) + len(blobs) != len(rest):
                raise ValueError("a line that is neither an entity nor a blob")
            snapshot = Snapshot(head["tenants"], entities, blobs)
            _check(snapshot)
            return snapshot
        except FileNotFoundError:
            raise RefusedCallError(404, f"There is no snapshot {name}; GET lists them.") from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            message = f"The file of snapshot {name} cannot be read, so nothing was changed."
            raise RefusedCallError(400, message, [f"{type(error).__name__}: {error}"]) from None

    def delete(self, name: str) -> None:
        """Delete a snapshot. Raises RefusedCallError."""
        try:
            self._file(name).unlink()
        except FileNotFoundError:
            raise RefusedCallError(404, f"There is no snapshot {name}; GET lists them.") from None

    def _file(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise RefusedCallError(
                400,
                f"A snapshot cannot have the name {name!r}: choose another one.",
                [
                    "A name has 1 to 80 letters, digits, dots, hyphens and underscores, and begins "
                    "with a letter or digit."
                ],
            )
        return self._folder / f"{name}.jsonl"


async def take_snapshot(
    storage: EmulatorStorage, keys: DataKeys, tenants: Iterable[Mapping[str, Any]]
) -> Snapshot:
    """Everything that is stored now, sorted, so that two files can be compared."""
    entities: list[Mapping[str, Any]] = []
    for table in sorted(TABLE_NAMES):
        stored = storage.tables.get_table_client(table).list_entities()
        lines = [_entity_line(table, entity, keys) async for entity in stored]
        entities += sorted(lines, key=_entity_key)
    blobs: list[Mapping[str, Any]] = []
    for container in sorted(CONTAINERS):
        client = storage.blobs.get_container_client(container)
        async for blob in client.list_blobs(include=["metadata"]):
            content = await client.download_blob(blob.name, decompress=False)
            settings = blob.content_settings
            blobs.append(
                {
                    "container": container,
                    "name": blob.name,
                    "metadata": dict(blob.metadata or {}),
                    "type": settings.content_type,
                    "encoding": settings.content_encoding,
                    "data": base64.b64encode(await content.readall()).decode(),
                }
            )
    return Snapshot(list(tenants), entities, blobs)


async def load_snapshot(storage: EmulatorStorage, keys: DataKeys, snapshot: Snapshot) -> None:
    """Store everything of a snapshot in the tables and containers, which are there and empty."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def write(table: str, entities: Sequence[Mapping[str, Any]]) -> None:
        operations = [("upsert", each, {"mode": UpdateMode.REPLACE}) for each in entities]
        async with limit:
            await storage.tables.get_table_client(table).submit_transaction(operations)

    async def put(blob: Mapping[str, Any]) -> None:
        from azure.storage.blob import ContentSettings

        settings = ContentSettings(
            content_type=blob.get("type"), content_encoding=blob.get("encoding")
        )
        client = storage.blobs.get_blob_client(blob["container"], blob["name"])
        async with limit:
            await client.upload_blob(
                base64.b64decode(blob["data"]),
                overwrite=True,
                metadata=dict(blob["metadata"]),
                content_settings=settings,
            )

    batches = [
        (table, [_wrap_again(table, _entity_from_line(each), keys) for each in batch])
        for (table, _), group in groupby(snapshot.entities, key=lambda each: _entity_key(each)[:2])
        for batch in _batches(group)
    ]
    await asyncio.gather(
        *(write(table, entities) for table, entities in batches),
        *(put(blob) for blob in snapshot.blobs),
    )


def _check(snapshot: Snapshot) -> None:
    """Raise ValueError, TypeError or KeyError for what could not be loaded."""
    if not isinstance(snapshot.tenants, list):
        raise TypeError("tenants must be a list")
    for tenant in snapshot.tenants:
        if not all(isinstance(tenant[name], str) for name in _CREDENTIALS):
            raise TypeError(f"a tenant must have {', '.join(_CREDENTIALS)}")
    keys = [_entity_key(each) for each in snapshot.entities]
    if len(keys) != len(set(keys)):
        raise ValueError("two entities have the same keys")
    for each in snapshot.entities:
        if each["table"] not in TABLE_NAMES:
            raise ValueError(f"there is no table {each['table']!r}")
        for name, value in _entity_from_line(each).items():
            if isinstance(value, dict) and (each["table"], name) == (DATA_KEYS, "Wrapped"):
                base64.b64decode(value[_CLEAR], validate=True)
                continue
            is_known = isinstance(value, (str, bool, float, int, EntityProperty))
            if not is_known or (isinstance(value, int) and not -(2**31) <= value < 2**31):
                raise TypeError(f"{name} of an entity cannot be {value!r}")
            if name in ("PartitionKey", "RowKey") and not isinstance(value, str):
                raise TypeError(f"{name} must be text")
    for each in snapshot.blobs:
        if each["container"] not in CONTAINERS:
            raise ValueError(f"there is no container {each['container']!r}")
        base64.b64decode(each["data"], validate=True)
        texts = [each["name"], *each["metadata"].values(), *each["metadata"]]
        texts += [each[name] for name in ("type", "encoding") if each.get(name) is not None]
        if not each["name"] or not all(isinstance(text, str) for text in texts):
            raise TypeError("name, type, encoding and metadata of a blob must be text")


def _batches(lines: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """The entities of a partition in parts that fit into a transaction."""
    batch: list[Mapping[str, Any]] = []
    size = 0
    for line in lines:
        length = len(json.dumps(line))
        if batch and (len(batch) == _MOST_OPERATIONS or size + length > _MOST_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += length
    if batch:
        yield batch


def _entity_key(line: Mapping[str, Any]) -> tuple[str, str, str]:
    entity = line["entity"]
    return line["table"], entity["PartitionKey"], entity["RowKey"]


def _entity_line(table: str, entity: Mapping[str, Any], keys: DataKeys) -> dict[str, Any]:
    values = {name: _value_to_json(value) for name, value in entity.items()}
    if table == DATA_KEYS and isinstance(entity.get("Wrapped"), bytes):
        clear = keys.unwrapped(_stored_key(entity))
        if clear is not None:
            values["Wrapped"] = {_CLEAR: base64.b64encode(clear).decode()}
    return {"table": table, "entity": values}


def _value_to_json(value: Any) -> Any:
    match value:
        case bool() | str():
            return value
        case EntityProperty(value=number, edm_type=EdmType.INT64):
            return {"Edm.Int64": str(number)}
        case int():
            return value
        case float():
            return {"Edm.Double": repr(value)}
        case bytes():
            return {"Edm.Binary": base64.b64encode(value).decode()}
        case datetime():
            return {"Edm.DateTime": value.isoformat()}
        case _:
            return {"Edm.Guid": str(value)}


def _entity_from_line(line: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in line["entity"].items():
        if not isinstance(value, dict):
            values[name] = value
            continue
        [(kind, text)] = value.items()
        if kind == _CLEAR:
            values[name] = value
        else:
            edm_type, read = _TYPES[kind]
            values[name] = EntityProperty(read(text), edm_type)
    _ = values["PartitionKey"], values["RowKey"], line["table"]
    return values


def _wrap_again(table: str, entity: dict[str, Any], keys: DataKeys) -> dict[str, Any]:
    """A data key as this gateway's keys wrap it; any other entity as it is."""
    wrapped = entity.get("Wrapped")
    if table != DATA_KEYS or not isinstance(wrapped, dict):
        return entity
    stored = _stored_key({**entity, "Wrapped": b""})
    return {**entity, **keys.wrapped(stored, base64.b64decode(wrapped[_CLEAR]))}


def _stored_key(entity: Mapping[str, Any]) -> StoredDataKey:
    partition, row = entity["PartitionKey"], entity["RowKey"]
    values = {
        name: value for name, value in entity.items() if not isinstance(value, EntityProperty)
    }
    return StoredDataKey.from_entity(decode(partition), Entity(partition, row, values))
