"""The gateway's own tokens, which it signs and checks itself (identity provider `local`);
the ring of keys that sign them.

The algorithm is fixed, and every claim is required and strictly checked. RFC 9068 defines the
names of the claims; `tenant` and `reg` (the client's registration) are our own.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared import log
from shared.auth.bearer import (
    TokenClaims,
    check_claim_types,
    check_times,
    key_id_of,
    token_refusals,
)
from shared.auth.clients import Client, Scope, known_scopes
from shared.auth.lookups import CachedLookups
from shared.auth.stored_keys import StoredKey
from shared.clock import Clock, Ids, from_iso
from shared.errors import (
    BearerTokenError,
    ConflictError,
    PreconditionFailedError,
    UnreadableDataError,
)
from shared.storage.names import SIGNING_KEYS
from shared.storage.ports import Entity, Insert, Replace, Tables, reading, retry_on_conflict

# The keys that sign the gateway's own tokens: a ring of keys in one record.
#
# Since there is one record, one conditional write decides about the first key and about every
# rotation. If two processes start at the same time, one inserts its key and the other uses that
# key. A new key is published a minute before it signs, so that clients which cache the published
# keys for the time of their `Cache-Control` have it in time. An old key is accepted until every
# token that it may have signed has expired.
#
# Where the gateway has data keys, the record is sealed like other sensitive values
# (docs/sealing.md).

PARTITION, ROW = "signing", "ring"
ALGORITHM = "ES256"
# The time between publishing a key and signing with it.
LEAD_SECONDS = 60
# How long an old key is accepted after that: the longest lifetime of a token, and some minutes.
OVERLAP_SECONDS = 86_400 + 300
MOST_KEYS = 20
_COORDINATE_BYTES = 32


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair on the curve P-256. Times are Unix seconds; `ends_at` is 0 if it is not set."""

    kid: str
    signs_from: int
    ends_at: int = 0
    private: ec.EllipticCurvePrivateKey = field(repr=False, kw_only=True)

    @property
    def public(self) -> ec.EllipticCurvePublicKey:
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
    """All keys, the newest first. There is always one that signs."""

    keys: tuple[SigningKey, ...]
    etag: str = ""

    def signing(self, now: int) -> SigningKey:
        """The key to sign with."""
        return next((key for key in self.keys if key.signs_from <= now), self.keys[-1])

    def published(self, now: int) -> tuple[SigningKey, ...]:
        """The keys whose tokens are accepted, including the next one to sign."""
        return tuple(key for key in self.keys if not key.ends_at or key.ends_at > now)

    def find(self, kid: str, now: int) -> SigningKey | None:
        """The published key of that id."""
        return next((key for key in self.published(now) if key.kid == kid), None)

    def rotated(self, kid: str, now: int) -> KeyRing:
        """The ring with a new key that soon signs. Raises ConflictError if there are too many."""
        accepted = self.published(now)
        if len(accepted) >= MOST_KEYS:
            raise ConflictError(
                f"There are {MOST_KEYS} signing keys with valid tokens: wait a day, or rotate with "
                "--at-once, which refuses all tokens so far."
            )
        ends_at = now + LEAD_SECONDS + OVERLAP_SECONDS
        older = tuple(replace(key, ends_at=key.ends_at or ends_at) for key in accepted)
        return KeyRing((new_signing_key(kid, now + LEAD_SECONDS), *older), self.etag)


def new_signing_key(kid: str, signs_from: int) -> SigningKey:
    return SigningKey(kid, signs_from, private=ec.generate_private_key(ec.SECP256R1()))


def ring_to_entity(ring: KeyRing) -> Entity:
    keys = [
        {
            "kid": key.kid,
            "signsFrom": key.signs_from,
            "endsAt": key.ends_at,
            "private": key.private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode(),
        }
        for key in ring.keys
    ]
    return Entity(PARTITION, ROW, {"keys": json.dumps(keys)}, ring.etag)


def ring_from_entity(entity: Entity) -> KeyRing:
    """The ring of an entity, without keys that cannot be read.

    Raises UnreadableDataError if no key can be read.
    """
    with reading("the ring of signing keys"):
        documents = list(json.loads(entity.text("keys")))
    keys: list[SigningKey] = []
    for document in documents:
        try:
            with reading("a signing key"):
                private = serialization.load_pem_private_key(document["private"].encode(), None)
                assert isinstance(private, ec.EllipticCurvePrivateKey)
                keys.append(
                    SigningKey(
                        str(document["kid"]),
                        int(document["signsFrom"]),
                        int(document["endsAt"]),
                        private=private,
                    )
                )
        except UnreadableDataError as error:
            log.failure("signing_key.unreadable", error)
    if not keys:
        raise UnreadableDataError("the ring of signing keys")
    return KeyRing(tuple(keys), entity.etag)


def _coordinate(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(_COORDINATE_BYTES, "big")).decode().rstrip("=")


# Seconds for which the ring is cached in which an unknown key id is looked up.
_RECENT_SECONDS = 1.0


class KeyStore:
    """Reads and writes the record of the ring; makes the first key at first use."""

    def __init__(self, tables: Tables, clock: Clock, ids: Ids, cache_seconds: float) -> None:
        self._tables = tables
        self._clock = clock
        self._ids = ids
        self._cached_rings = CachedLookups(self._load, clock, cache_seconds)
        self._recent_rings = CachedLookups(self._load, clock, min(cache_seconds, _RECENT_SECONDS))

    @property
    def now(self) -> int:
        """Unix seconds."""
        return int(self._clock.now().timestamp())

    async def signing(self) -> SigningKey:
        """The key to sign with. Makes the first key if there is none."""
        return (await self._ring(self._cached_rings)).signing(self.now)

    async def published(self) -> tuple[SigningKey, ...]:
        """The keys whose tokens are accepted."""
        return (await self._ring(self._cached_rings)).published(self.now)

    async def find(self, kid: str) -> SigningKey | None:
        """Find the accepted key of that id.

        For an unknown id the ring is read again, at most once a second: another process may just
        have rotated the keys.
        """
        key = (await self._ring(self._cached_rings)).find(kid, self.now)
        return key or (await self._ring(self._recent_rings)).find(kid, self.now)

    @retry_on_conflict(
        5, lambda: ConflictError("Other processes are changing the signing keys; try again.")
    )
    async def rotate(self, *, at_once: bool) -> KeyRing:
        """Add a new key that signs in a minute, while the older keys are still accepted.

        `at_once` is for keys that may have leaked or cannot be read: it removes the older keys,
        which makes every token so far invalid. Raises ConflictError.
        """
        if at_once:
            entity = await self._tables.get(SIGNING_KEYS, PARTITION, ROW)
            ring = await self._make() if entity is None else KeyRing((), entity.etag)
        else:
            ring = await self._read() or await self._make()
        kid = self._ids.new()
        rotated = (
            KeyRing((new_signing_key(kid, self.now),), ring.etag)
            if at_once
            else ring.rotated(kid, self.now)
        )
        await self._tables.write(SIGNING_KEYS, Replace(ring_to_entity(rotated)))
        return rotated

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
        """Insert the first ring, or read it if another process was faster."""
        first = KeyRing((new_signing_key(self._ids.new(), self.now),))
        with suppress(PreconditionFailedError):
            await self._tables.write(SIGNING_KEYS, Insert(ring_to_entity(first)))
        ring = await self._read()
        if ring is None:
            raise ConflictError("Other processes are changing the signing keys; try again.")
        return ring


# The required claims of a token.
CLAIMS = ("iss", "aud", "sub", "tenant", "reg", "scope", "iat", "exp", "jti")
_TEXTS = ("iss", "aud", "sub", "tenant", "reg", "scope", "jti")
_TIMES = ("iat", "exp", "nbf")
# The id of the secret that a token was issued for; tokens of earlier versions have none.
_SECRET_ID = "secret_id"  # noqa: S105 (the name of a claim)
# The `typ` of access tokens (RFC 9068, 2.1).
MEDIA_TYPE = "at+jwt"
# The upper limit of GATEWAY_TOKEN_SECONDS.
LONGEST_LIFE_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class TokenTerms:
    """The values that all tokens of a gateway share. The lifetime is in seconds."""

    issuer: str
    audience: str
    lifetime: int


class LocalTokens:
    """Issues and reads tokens with the ring of signing keys."""

    def __init__(self, keys: KeyStore, clock: Clock, ids: Ids, terms: TokenTerms) -> None:
        self._keys = keys
        self._clock = clock
        self._ids = ids
        self.terms = terms

    async def issue(
        self, client: Client, scopes: Iterable[Scope], secret: StoredKey | None = None
    ) -> str:
        """Issue a signed token to the client for these scopes.

        A token for a secret is valid as long as the secret: it names it, and ends with it.
        """
        key = await self._keys.signing()
        now = int(self._clock.now().timestamp())
        claims: dict[str, Any] = {
            "iss": self.terms.issuer,
            "aud": self.terms.audience,
            "sub": client.client_id,
            "tenant": client.tenant,
            "reg": client.registration,
            "scope": " ".join(sorted(scopes)),
            "iat": now,
            "exp": now + self.lifetime(secret),
            "jti": self._ids.new(),
        }
        if secret is not None:
            claims[_SECRET_ID] = secret.id
        header = {"kid": key.kid, "typ": MEDIA_TYPE}
        return jwt.encode(claims, key.private, ALGORITHM, header)

    def lifetime(self, secret: StoredKey | None) -> int:
        """Seconds for which a token that is issued now for this secret is valid."""
        if secret is None or not secret.expires_at:
            return self.terms.lifetime
        remaining = from_iso(secret.expires_at) - self._clock.now()
        return max(1, min(self.terms.lifetime, int(remaining.total_seconds())))

    async def read(self, token: str) -> TokenClaims:
        """Read the claims. Raises BearerTokenError."""
        with token_refusals():
            key = await self._keys.find(key_id_of(token, ALGORITHM, MEDIA_TYPE))
            if key is None:
                raise BearerTokenError(
                    "The token was signed with a key that the gateway does not accept, or no "
                    "longer accepts: get a new one from /connect/token."
                )
            claims = jwt.decode(
                token,
                key.public,
                algorithms=[ALGORITHM],
                audience=self.terms.audience,
                issuer=self.terms.issuer,
                # The library would ask the machine for the time.
                options={
                    "require": list(CLAIMS),
                    "strict_aud": True,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
            check_claim_types(claims, _TEXTS, _TIMES)
            check_claim_types(claims, [_SECRET_ID] if _SECRET_ID in claims else [], ())
            check_times(claims, self._clock.now().timestamp())
            if claims["exp"] - claims["iat"] > LONGEST_LIFE_SECONDS:
                raise jwt.InvalidTokenError("valid for longer than any token")
        return TokenClaims(
            client_id=claims["sub"],
            scopes=known_scopes(claims["scope"].split()),
            tenant=claims["tenant"],
            registration=claims["reg"],
            secret_id=claims.get(_SECRET_ID),
        )
