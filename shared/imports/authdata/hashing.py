"""Keyed hashes of authentication values; the gateway never stores the values.

See docs/contracts.md#3.

A hash is HMAC-SHA-256(key, tenant, value). An operator rotates keys by configuring a new one before
the old one. An incoming value is hashed under every configured key, a stored one has the id of its
key, and both are compared under that key. The rules need only equality, which hashes can tell.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

# A hash or None for each of the three values of an employee.
Triple = tuple[str | None, str | None, str | None]

NO_VALUES: Final[Triple] = (None, None, None)


@dataclass(frozen=True, slots=True)
class HashKey:
    """A hash key; its `repr` does not show the secret."""

    id: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class Fingerprints:
    """The three values of a record, hashed under each of some keys; the current key comes first."""

    by_key: tuple[tuple[str, Triple], ...] = ()

    @property
    def has_values(self) -> bool:
        """Whether any of the three values is present."""
        return bool(self.by_key)

    @property
    def present(self) -> tuple[bool, bool, bool]:
        """Which of the three values are present."""
        first, second, third = self.by_key[0][1] if self.by_key else NO_VALUES
        return first is not None, second is not None, third is not None

    def hashes_for(self, key: str) -> Triple | None:
        """The hashes under one key; None where the record was not hashed under it."""
        return next((triple for name, triple in self.by_key if name == key), None)

    @cached_property
    def triples(self) -> tuple[str, ...]:
        """The name of the triple under each key; triples with a common name are equal."""
        return tuple(triple_name(key, triple) for key, triple in self.by_key)

    def pack(self) -> list[Any]:
        """As a small JSON list: [key, first, second, third], … in one row."""
        return [part for key, triple in self.by_key for part in (key, *triple)]

    @classmethod
    def unpack(cls, packed: Sequence[Any]) -> Fingerprints:
        """The inverse of `pack`."""
        return cls(
            tuple(
                (packed[offset], (packed[offset + 1], packed[offset + 2], packed[offset + 3]))
                for offset in range(0, len(packed), 4)
            )
        )


NO_FINGERPRINTS: Final = Fingerprints()


def triple_name(key: str, triple: Triple) -> str:
    """The name of a triple under a key, the same for equal ones; letters, digits and `._-` only."""
    digest = hashlib.sha256("\n".join(part or "" for part in triple).encode()).digest()
    return f"{key}.{_text(digest)}"


class Hasher:
    """Hashes the values of one tenant under every configured key, the current one first."""

    def __init__(self, keys: Sequence[HashKey], tenant: str) -> None:
        prefix = f"{tenant}\n".encode()
        self._keys = [(key.id, hmac.new(key.secret, prefix, hashlib.sha256)) for key in keys]

    def fingerprints(self, values: Sequence[str | None]) -> Fingerprints:
        """The hashes of three values in the clear."""
        if not any(values):
            return NO_FINGERPRINTS
        return Fingerprints(tuple((key, self._triple(mac, values)) for key, mac in self._keys))

    def _triple(self, tenant_mac: hmac.HMAC, values: Sequence[str | None]) -> Triple:
        hashes: list[str | None] = []
        for value in values:
            if value is None:
                hashes.append(None)
                continue
            # `tenant_mac` has hashed the tenant already; each value continues from a copy of it.
            mac = tenant_mac.copy()
            mac.update(value.encode())
            hashes.append(_text(mac.digest()))
        first, second, third = hashes
        return first, second, third


def _text(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
