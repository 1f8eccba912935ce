"""Partition and row keys: any text becomes a key that table storage accepts, order kept stable.

Every UTF-8 byte outside `[A-Za-z0-9._-]` is written `=HH`; parts are joined with `|` (DESIGN 2).
A part whose encoding would pass 200 characters keeps a prefix and ends in `==` and a SHA-256, which
no shorter encoding can spell; so a key of three parts stays under the service's 1 KiB (512 UTF-16
units), and equal keys are equal parts.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote

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
