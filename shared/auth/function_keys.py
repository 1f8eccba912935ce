"""Function keys: made here, shown once, stored as a hash.

A key carries 256 random bits, so a plain SHA-256 is enough: there is nothing to guess that a slow
hash would protect. The platform has function keys of its own, but it never tells Python the name of
the key that was used (PLATFORM 2), and the name is what the contract checks.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field

from shared.storage.ports import Entity

PREFIX = "pig_"
"""Begins every key, so that a scanner for leaked secrets can know one."""

ROW = "key"


@dataclass(frozen=True, slots=True)
class FunctionKey:
    """Whose key it is: the tenant, and the software key that is its name."""

    key_hash: str = field(repr=False)
    tenant: str
    name: str


def new_function_key() -> str:
    """A new key in the clear; the only time that it exists outside its owner's hands."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_function_key(key: str) -> str:
    """SHA-256 in hex, 64 characters; any text can be asked for."""
    return hashlib.sha256(key.encode("utf-8", errors="replace")).hexdigest()


def key_to_entity(key: FunctionKey) -> Entity:
    """As it is stored: a partition of its own, so that a look-up is one point read."""
    return Entity(key.key_hash, ROW, {"tenant": key.tenant, "name": key.name})


def key_from_entity(entity: Entity) -> FunctionKey:
    """The inverse of `key_to_entity`."""
    return FunctionKey(entity.partition, entity.text("tenant"), entity.text("name"))
