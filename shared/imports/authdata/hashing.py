"""Authentication values as the gateway knows them: keyed hashes, never the values.

See docs/contracts.md#3.

A value is HMAC-SHA-256(key, tenant, value). Keys are rotated by configuring a new one in front of
the old: an incoming value is hashed under every configured key, a stored one keeps the id of the
key it was hashed under, and the two are compared under that key. Equality is all that hashes know,
and all that the rules ask of them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

# One hash, or nothing, for each of the three values of an employee.
Triple = tuple[str | None, str | None, str | None]

NO_VALUES: Final[Triple] = (None, None, None)


@dataclass(frozen=True, slots=True)
class HashKey:
    """A key by its id; the secret shows up nowhere."""

    id: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class Fingerprints:
    """The three values of a record, hashed under each of some keys; the current key comes first."""

    by_key: tuple[tuple[str, Triple], ...] = ()

    @property
    def has_values(self) -> bool:
        """Whether any of the three values is there."""
        return bool(self.by_key)

    @property
    def present(self) -> tuple[bool, bool, bool]:
        """Which of the three values are there."""
        first, second, third = self.by_key[0][1] if self.by_key else NO_VALUES
        return first is not None, second is not None, third is not None

    def under(self, key: str) -> Triple | None:
        """The hashes under one key; None where the record was not hashed under it."""
        return next((triple for name, triple in self.by_key if name == key), None)

    @cached_property
    def triples(self) -> tuple[str, ...]:
        """A name of the whole triple under each key; records with a common one are equal."""
        return tuple(name_of(key, triple) for key, triple in self.by_key)

    def pack(self) -> list[Any]:
        """As a small JSON list: [key, first, second, third], … in one row."""
        return [part for key, triple in self.by_key for part in (key, *triple)]

    @classmethod
    def unpack(cls, packed: Sequence[Any]) -> Fingerprints:
        """The inverse of `pack`."""
        return cls(
            tuple(
                (packed[at], (packed[at + 1], packed[at + 2], packed[at + 3]))
                for at in range(0, len(packed), 4)
            )
        )


NO_FINGERPRINTS: Final = Fingerprints()


def name_of(key: str, triple: Triple) -> str:
    """A name that equal triples under one key have in common; letters, digits and `._-` only."""
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
        return Fingerprints(
            tuple((key, self._triple(started, values)) for key, started in self._keys)
        )

    def _triple(self, started: hmac.HMAC, values: Sequence[str | None]) -> Triple:
        first, second, third = (
            None if value is None else _finished(started, value) for value in values
        )
        return first, second, third


def _finished(started: hmac.HMAC, value: str) -> str:
    """The tenant is hashed once; each value goes on from there."""
    mac = started.copy()
    mac.update(value.encode())
    return _text(mac.digest())


def _text(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
