"""The keys that sign the gateway's own tokens: a ring of them, in one record.

One record means that making the first key and every rotation is decided by one conditional write:
of two processes that start at once, one's key goes in and the other takes it. A new key is
published a minute before it signs, so that who remembers the published keys for as long as their
`Cache-Control` says knows it in time; an old one is accepted until every token that it may have
signed has expired.

The private keys lie in storage as they are: who can read the gateway's storage can read everything
that a token would give access to.
"""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared import log
from shared.auth.lookups import CachedLookups
from shared.clock import Clock, Ids
from shared.errors import ConflictError, PreconditionFailedError, UnreadableDataError
from shared.storage.conflicts import retry_on_conflict
from shared.storage.names import SIGNING_KEYS
from shared.storage.ports import Entity, Insert, Replace, Tables, reading

PARTITION, ROW = "signing", "ring"
ALGORITHM = "ES256"
# Between publishing a key and signing with it.
LEAD_SECONDS = 60
# How long an old key is accepted after that: the longest life of a token, and a little.
OVERLAP_SECONDS = 86_400 + 300
MOST_KEYS = 20
_COORDINATE_BYTES = 32


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair on the curve P-256; times are Unix seconds, `ends_at` 0 where none is set."""

    kid: str
    signs_from: int
    ends_at: int = 0
    private: ec.EllipticCurvePrivateKey = field(repr=False, kw_only=True)

    @property
    def public(self) -> ec.EllipticCurvePublicKey:
        """What tokens are checked with."""
        return self.private.public_key()

    @property
    def jwk(self) -> dict[str, str]:
        """The public half as a JSON Web Key (RFC 7517)."""
        numbers = self.public.public_numbers()
        return {
            "kty": "EC",
            "use": "sig",
            "alg": ALGORITHM,
            "kid": self.kid,
            "crv": "P-256",
            "x": _coordinate(numbers.x),
            "y": _coordinate(numbers.y),
        }


@dataclass(frozen=True, slots=True)
class KeyRing:
    """All keys, the newest first; there is always one that signs."""

    keys: tuple[SigningKey, ...]
    etag: str = ""

    def signing(self, now: int) -> SigningKey:
        """The key to sign with."""
        return next((key for key in self.keys if key.signs_from <= now), self.keys[-1])

    def published(self, now: int) -> tuple[SigningKey, ...]:
        """The keys whose tokens are accepted, the next one to sign included."""
        return tuple(key for key in self.keys if not key.ends_at or key.ends_at > now)

    def find(self, kid: str, now: int) -> SigningKey | None:
        """The published key of that id."""
        return next((key for key in self.published(now) if key.kid == kid), None)

    def rotated(self, kid: str, now: int) -> KeyRing:
        """With a new key that soon takes over. Raises ConflictError where there are too many."""
        kept = self.published(now)
        if len(kept) >= MOST_KEYS:
            raise ConflictError(
                f"There are {MOST_KEYS} signing keys with valid tokens: wait a day, or rotate with "
                "--at-once, which refuses all tokens so far."
            )
        ends_at = now + LEAD_SECONDS + OVERLAP_SECONDS
        older = tuple(replace(key, ends_at=key.ends_at or ends_at) for key in kept)
        return KeyRing((new_signing_key(kid, now + LEAD_SECONDS), *older), self.etag)


def new_signing_key(kid: str, signs_from: int) -> SigningKey:
    """A new random key."""
    return SigningKey(kid, signs_from, private=ec.generate_private_key(ec.SECP256R1()))


def ring_to_entity(ring: KeyRing) -> Entity:
    """As it is stored."""
    keys = [
        {
            "kid": key.kid,
            "signsFrom": key.signs_from,
            "endsAt": key.ends_at,
            "private": _pem(key.private),
        }
        for key in ring.keys
    ]
    return Entity(PARTITION, ROW, {"keys": json.dumps(keys)}, ring.etag)


def ring_from_entity(entity: Entity) -> KeyRing:
    """The inverse of `ring_to_entity`, without keys that cannot be read.

    Raises UnreadableDataError where no key is left.
    """
    with reading("the ring of signing keys"):
        stored = list(json.loads(entity.text("keys")))
    keys: list[SigningKey] = []
    for each in stored:
        try:
            with reading("a signing key"):
                keys.append(_key_from(each))
        except UnreadableDataError as error:
            log.failure("signing_key.unreadable", error)
    if not keys:
        raise UnreadableDataError("the ring of signing keys")
    return KeyRing(tuple(keys), entity.etag)


def _key_from(stored: dict[str, Any]) -> SigningKey:
    private = serialization.load_pem_private_key(stored["private"].encode(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return SigningKey(
        str(stored["kid"]), int(stored["signsFrom"]), int(stored["endsAt"]), private=private
    )


def _pem(private: ec.EllipticCurvePrivateKey) -> str:
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _coordinate(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(_COORDINATE_BYTES, "big")).decode().rstrip("=")


# The ring of signing keys in storage: made at first use, remembered for seconds, rotated.

# How old the ring may be that an unknown key id is looked up in.
_RECENT_SECONDS = 1.0


class KeyStore:
    """Reads and writes the one record of the ring."""

    def __init__(self, tables: Tables, clock: Clock, ids: Ids, cache_seconds: float) -> None:
        self._tables = tables
        self._clock = clock
        self._ids = ids
        self._usual = CachedLookups(self._load, clock, cache_seconds)
        self._recent = CachedLookups(self._load, clock, min(cache_seconds, _RECENT_SECONDS))

    @property
    def now(self) -> int:
        """Unix seconds."""
        return int(self._clock.now().timestamp())

    async def signing(self) -> SigningKey:
        """The key to sign with; the first one is made where there is none."""
        return (await self._ring(self._usual)).signing(self.now)

    async def published(self) -> tuple[SigningKey, ...]:
        """The keys whose tokens are accepted."""
        return (await self._ring(self._usual)).published(self.now)

    async def find(self, kid: str) -> SigningKey | None:
        """The accepted key of that id.

        For one that is not known the ring is read again, at most once a second: another process
        may just have rotated.
        """
        found = (await self._ring(self._usual)).find(kid, self.now)
        return found or (await self._ring(self._recent)).find(kid, self.now)

    @retry_on_conflict(
        5, lambda: ConflictError("Other processes are changing the signing keys; try again.")
    )
    async def rotate(self, *, at_once: bool) -> KeyRing:
        """A new key that takes over in a minute while the older ones go on being accepted.

        `at_once` is for keys that may have leaked, or cannot be read: the older ones are
        forgotten, and with them every token so far. Raises ConflictError.
        """
        if at_once:
            found = await self._tables.get(SIGNING_KEYS, PARTITION, ROW)
            stored = await self._make() if found is None else KeyRing((), found.etag)
        else:
            stored = await self._read() or await self._make()
        kid = self._ids.new()
        changed = (
            KeyRing((new_signing_key(kid, self.now),), stored.etag)
            if at_once
            else stored.rotated(kid, self.now)
        )
        await self._tables.write(SIGNING_KEYS, Replace(ring_to_entity(changed)))
        return changed

    async def _ring(self, lookups: CachedLookups[KeyRing]) -> KeyRing:
        ring = await lookups.get(ROW)
        assert ring is not None
        return ring

    async def _load(self, _row: str) -> KeyRing | None:
        return await self._read() or await self._make()

    async def _read(self) -> KeyRing | None:
        entity = await self._tables.get(SIGNING_KEYS, PARTITION, ROW)
        return None if entity is None else ring_from_entity(entity)

    async def _make(self) -> KeyRing:
        """The first ring: ours, or that of another process which was faster."""
        first = KeyRing((new_signing_key(self._ids.new(), self.now),))
        with suppress(PreconditionFailedError):
            await self._tables.write(SIGNING_KEYS, Insert(ring_to_entity(first)))
        stored = await self._read()
        if stored is None:
            raise ConflictError("Other processes are changing the signing keys; try again.")
        return stored
