"""Long values in short properties: text and bytes split over numbered properties of one entity.

A string property takes 32 Ki UTF-16 units and a binary one 64 KiB (docs/platform.md#8.1), so `Name`
becomes `Name0`, `Name1`, … Azurite checks neither the size of an entity nor the number of its
properties: `entity_bytes` says what the service would count, and the code keeps to it.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from shared.storage.ports import MAX_TEXT, Entity, Value

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


# Partition and row keys: any text becomes a key that table storage accepts, order kept stable.
#
# Every UTF-8 byte outside `[A-Za-z0-9._-]` is written `=HH`; parts are joined with `|`
# (docs/design.md#2). A part whose encoding would pass 200 characters keeps a prefix and ends in
# `==` and a SHA-256, which no shorter encoding can spell; so a key of three parts stays under the
# service's 1 KiB (512 UTF-16 units), and equal keys are equal parts.

_MOST = 200
_PREFIX = 120
_UNSAFE = re.compile(rb"[^A-Za-z0-9._-]")
_PLAIN = re.compile(r"[A-Za-z0-9._-]{0,200}")


def encode(part: str) -> str:
    """One part of a key; `part` is any text without lone surrogates."""
    if _PLAIN.fullmatch(part):
        return part
    data = part.encode("utf-8")
    # More than _MOST bytes are longer still when they are encoded: then only the prefix is needed.
    encoded = _UNSAFE.sub(lambda match: b"=%02X" % match.group()[0], data[: _MOST + 1]).decode()
    if len(encoded) <= _MOST:
        return encoded
    return f"{encoded[:_PREFIX]}=={hashlib.sha256(data).hexdigest()}"


def decode(part: str) -> str:
    """The inverse of `encode`; of a part that was shortened what can be read of it."""
    return unquote(part.replace("=", "%"), errors="replace")


def join(*parts: str) -> str:
    """Several parts as one key; distinct lists of parts give distinct keys."""
    return "|".join(encode(part) for part in parts)
