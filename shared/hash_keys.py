"""The keys under which authentication values are hashed, as a setting holds them (CONTRACTS 3).

    GATEWAY_AUTHDATA_KEYS = 2027:<base64>,2026:<base64>

An id and a secret for each key, the current one first. The others are compared with, so that what
was stored under them is still recognised while keys are being rotated.
"""

from __future__ import annotations

import base64
import binascii
import re

from shared.imports.authdata.hashing import HashKey

FORM = "id:secret, or several with commas between, the current one first"
MOST_KEYS = 5
LEAST_BYTES = 32
EXAMPLE_SECRET = b"for a local gateway only, no secret"
"""The secret of the example file, which everybody can read."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,20}")


def read_hash_keys(name: str, text: str, problems: list[str]) -> tuple[HashKey, ...]:
    """The keys of a setting; what is wrong is told in `problems`, never quoting a secret."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MOST_KEYS:
        problems.append(f"{name} must have at most {MOST_KEYS} keys.")
        return ()
    keys = [_read_key(part) for part in parts]
    if None in keys:
        problems.append(
            f"{name} must be {FORM}: an id of up to 20 letters, digits, _ and -, and at least "
            f"{LEAST_BYTES} random bytes in base64 (key number {keys.index(None) + 1} is not)."
        )
        return ()
    found = tuple(key for key in keys if key is not None)
    if len({key.id for key in found}) != len(found):
        problems.append(f"{name} must give each key an id of its own.")
        return ()
    return found


def _read_key(part: str) -> HashKey | None:
    id_, _, secret = part.partition(":")
    try:
        data = base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError):
        return None
    if not _ID.fullmatch(id_) or len(data) < LEAST_BYTES:
        return None
    return HashKey(id_, data)
