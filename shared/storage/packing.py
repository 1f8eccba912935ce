"""Long values in short properties: text and bytes split over numbered properties of one entity.

A string property takes 32 Ki UTF-16 units and a binary one 64 KiB (PLATFORM 8.1), so `Name` becomes
`Name0`, `Name1`, … Azurite checks neither the size of an entity nor the number of its properties:
`entity_bytes` says what the service would count, and the code keeps to it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from shared.storage.tables import MAX_TEXT, Entity, Value

_MAX_BINARY = 64 * 1024


def split_text(name: str, text: str) -> dict[str, Value]:
    """`text` as properties name0, name1, … each within the limit of a string property.

    Counted in UTF-16 units: a character outside the basic plane counts twice.
    """
    if len(text) <= MAX_TEXT // 2 or (len(text) <= MAX_TEXT and text.isascii()):
        return {f"{name}0": text}
    step = MAX_TEXT if text.isascii() else MAX_TEXT // 2
    parts = [text[at : at + step] for at in range(0, len(text), step)]
    return {f"{name}{number}": part for number, part in enumerate(parts)}


def join_text(name: str, values: Mapping[str, Value]) -> str:
    """The inverse of `split_text`; "" where there is no such property."""
    parts: list[str] = []
    while isinstance(part := values.get(f"{name}{len(parts)}"), str):
        parts.append(part)
    return "".join(parts)


def pack_json(name: str, value: Any) -> dict[str, Value]:
    """A JSON value, compressed, as binary properties name0, name1, …"""
    return split_bytes(name, compress_json(value))


def unpack_json(name: str, values: Mapping[str, Value]) -> Any:
    """The inverse of `pack_json`; None where there is no such property."""
    data = join_bytes(name, values)
    return expand_json(data) if data else None


def compress_json(value: Any) -> bytes:
    """JSON, compressed."""
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 6)


def expand_json(data: bytes) -> Any:
    """The inverse of `compress_json`."""
    return json.loads(zlib.decompress(data))


def split_bytes(name: str, data: bytes) -> dict[str, Value]:
    """`data` as properties name0, name1, … each within the limit of a binary property."""
    return {
        f"{name}{at // _MAX_BINARY}": data[at : at + _MAX_BINARY]
        for at in range(0, len(data), _MAX_BINARY)
    }


def join_bytes(name: str, values: Mapping[str, Value]) -> bytes:
    """The inverse of `split_bytes`."""
    parts: list[bytes] = []
    while isinstance(part := values.get(f"{name}{len(parts)}"), bytes):
        parts.append(part)
    return b"".join(parts)


def entity_bytes(entity: Entity) -> int:
    """An upper bound of what the service counts for an entity: names and text in UTF-16."""
    size = 4 + 2 * (len(entity.partition) + len(entity.row))
    for name, value in entity.values.items():
        size += 8 + 2 * len(name)
        if isinstance(value, str):
            size += 4 + (2 if value.isascii() else 4) * len(value)
        elif isinstance(value, bytes):
            size += 4 + len(value)
        else:
            size += 8
    return size
