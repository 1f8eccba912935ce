"""The encoding of long values and of keys for entities.

A string property is limited to 32 Ki UTF-16 units and a binary one to 64 KiB
(docs/platform.md#8.1), so a long value `Name` is split over the properties `Name0`, `Name1`, …
Azurite checks neither the size of an entity nor the number of its properties, so the code keeps to
the size that `entity_bytes` computes.
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
    """Split `text` into properties name0, name1, … within the limit of a string property.

    The limit is in UTF-16 units: a character outside the basic plane counts twice.
    """
    if len(text) <= MAX_TEXT // 2 or (len(text) <= MAX_TEXT and text.isascii()):
        return {f"{name}0": text}
    step = MAX_TEXT if text.isascii() else MAX_TEXT // 2
    parts = [text[at : at + step] for at in range(0, len(text), step)]
    return {f"{name}{number}": part for number, part in enumerate(parts)}


def join_text(name: str, values: Mapping[str, Value]) -> str:
    """The text that `split_text` has split; "" if there is no such property."""
    if f"{name}1" not in values:  # most have one part
        text = values.get(f"{name}0")
        return text if isinstance(text, str) else ""
    parts: list[str] = []
    while isinstance(part := values.get(f"{name}{len(parts)}"), str):
        parts.append(part)
    return "".join(parts)


def pack_json(name: str, value: Any) -> dict[str, Value]:
    """Compress a JSON value into binary properties name0, name1, …"""
    return split_bytes(name, compress_json(value))


def unpack_json(name: str, values: Mapping[str, Value]) -> Any:
    """The value that `pack_json` has packed; None if there is no such property."""
    data = join_bytes(name, values)
    return expand_json(data) if data else None


def compress_json(value: Any) -> bytes:
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 6)


def expand_json(data: bytes) -> Any:
    return json.loads(zlib.decompress(data))


def split_bytes(name: str, data: bytes) -> dict[str, Value]:
    """Split `data` into properties name0, name1, … within the limit of a binary property."""
    if 0 < len(data) <= _MAX_BINARY:
        return {f"{name}0": data}
    return {
        f"{name}{at // _MAX_BINARY}": data[at : at + _MAX_BINARY]
        for at in range(0, len(data), _MAX_BINARY)
    }


def join_bytes(name: str, values: Mapping[str, Value]) -> bytes:
    """The bytes that `split_bytes` has split; b"" if there is no such property."""
    if f"{name}1" not in values:
        data = values.get(f"{name}0")
        return data if isinstance(data, bytes) else b""
    parts: list[bytes] = []
    while isinstance(part := values.get(f"{name}{len(parts)}"), bytes):
        parts.append(part)
    return b"".join(parts)


def entity_bytes(entity: Entity) -> int:
    """An upper bound of an entity's size as the service counts it, with text in UTF-16."""
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


# Partition and row keys: any text is encoded into a key that table storage accepts.
#
# Every UTF-8 byte outside `[A-Za-z0-9._-]` is written `=HH`, and parts are joined with `|`
# (docs/design.md#2). A part whose encoding exceeds 200 characters is shortened to a prefix, `==`
# and a SHA-256. No shorter encoding contains `==`, so different parts have different keys. A key of
# three parts stays under the service's limit of 1 KiB (512 UTF-16 units).

_MOST = 200
_PREFIX = 120
_UNSAFE = re.compile(rb"[^A-Za-z0-9._-]")
_PLAIN = re.compile(r"[A-Za-z0-9._-]{0,200}")


def encode(part: str) -> str:
    """Encode one part of a key. `part` is any text without lone surrogates."""
    if _PLAIN.fullmatch(part):
        return part
    data = part.encode("utf-8")
    # The encoding of more than _MOST bytes is longer than _MOST, so the rest need not be encoded.
    encoded = _UNSAFE.sub(lambda match: b"=%02X" % match.group()[0], data[: _MOST + 1]).decode()
    if len(encoded) <= _MOST:
        return encoded
    return f"{encoded[:_PREFIX]}=={hashlib.sha256(data).hexdigest()}"


def decode(part: str) -> str:
    """The text of an encoded part. Of a shortened part only the prefix can be decoded."""
    return unquote(part.replace("=", "%"), errors="replace")


def join(*parts: str) -> str:
    """Encode several parts as one key. Different lists of parts give different keys."""
    return "|".join(encode(part) for part in parts)
