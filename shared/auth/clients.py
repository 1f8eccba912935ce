"""OAuth clients, the programs of a tenant that request tokens, and secrets (docs/contracts.md#4).

Client ids are unique in the whole gateway, since a token request names no tenant. A client of
Entra is identified by its application id, and the gateway stores no secret for it. Revoking a
client deletes it. If a client is later added under the same id, its `registration` differs, so
that tokens of the first client are not valid for the second.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import unicodedata
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from shared.auth.lookups import CachedLookups
from shared.auth.stored_keys import MOST_KEYS, StoredKey, keys_from_text, keys_to_text
from shared.clock import Clock, is_guid
from shared.imports.registry import IMPORT_TYPES
from shared.storage.entities import encode
from shared.storage.names import CLIENTS
from shared.storage.ports import Entity, Merge, Tables, reading

# The scopes of bearer tokens, and the import types that each covers (docs/contracts.md#0 and
# docs/contracts.md#4).


class Scope(StrEnum):
    """A scope; the value is its name in tokens and in the options of `manage.py client`."""

    IMPORT_INBOX = "import_inbox"
    IMPORT_AUTHDATA = "import_authdata"
    READ_RECORDS = "read_records"
    READ_SENSITIVE = "read_sensitive"
    ADMIN = "admin"

    @property
    def type_name(self) -> str:
        """The import type whose imports a token of this scope sees; "" where it sees none."""
        names = (kind.name for kind in IMPORT_TYPES.values() if kind.scope == self.value)
        return next(names, "")

    @property
    def meaning(self) -> str:
        """What a token of this scope is good for, for the documents."""
        return _MEANINGS.get(self.value) or f"Imports of {self.type_name}."


_MEANINGS: Final = {
    Scope.READ_RECORDS.value: "Stored records; their sensitive values are masked.",
    Scope.READ_SENSITIVE.value: "With read_records: also the sensitive values of records.",
    Scope.ADMIN.value: "Administration of the tenant: `/api/admin/…`.",
}
# All clients share a partition: they are few, and listed in order of their id.
PARTITION = "clients"

MOST_CLIENT_ID = 200


@dataclass(frozen=True, slots=True)
class Client:
    """One client. `secrets`, the newest first, are empty for a client of Entra.

    Times are ISO text. `used_at` is the last call of a client of Entra, up to an hour old; the
    gateway does not know which of its secrets it has used.
    """

    client_id: str
    tenant: str
    name: str
    scopes: frozenset[Scope]
    registration: str
    created_at: str = ""
    secrets: tuple[StoredKey, ...] = ()
    used_at: str = ""

    @property
    def last_used_at(self) -> str:
        """The last call of a client of Entra, the last token of another; "" for none noted."""
        return max(self.used_at, *(secret.used_at for secret in self.secrets), "")

    @property
    def is_entra_client(self) -> bool:
        """Whether Entra keeps its secret."""
        return not self.secrets

    def has_valid_secret(self, secret_id: str, now: datetime) -> bool:
        """Whether it has a secret of that id that has not expired."""
        return any(each.id == secret_id and not each.has_expired(now) for each in self.secrets)


def normal_client_id(text: str) -> str:
    """A client id as it is compared: trimmed, in Unicode NFC. Case matters except in a GUID."""
    client_id = unicodedata.normalize("NFC", text.strip())
    return client_id.lower() if is_application_id(client_id) else client_id


def is_application_id(client_id: str) -> bool:
    """Whether it has the form of an application id of Entra."""
    return is_guid(client_id)


def client_row(client_id: str) -> str:
    return encode(normal_client_id(client_id))


def client_to_entity(client: Client, etag: str = "") -> Entity:
    """The entity of a client. A conditional write needs the `etag` of the last read."""
    uses = {_use_column(each.id): each.used_at for each in client.secrets if each.used_at}
    values = {
        "clientId": client.client_id,
        "tenant": client.tenant,
        "name": client.name,
        "scopes": " ".join(sorted(client.scopes)),
        "registration": client.registration,
        "createdAt": client.created_at,
        # Earlier versions know the newest secret alone.
        "secretHash": client.secrets[0].hash if client.secrets else "",
        "secrets": keys_to_text(client.secrets),
        "usedAt": client.used_at,
        **uses,
    }
    return Entity(PARTITION, client_row(client.client_id), values, etag)


def use_of_secret(client: Client, secret: StoredKey, at: str) -> Merge:
    """Writes the last use of a secret, where the client is still stored."""
    row = client_row(client.client_id)
    return Merge(Entity(PARTITION, row, {_use_column(secret.id): at}))


def use_of_client(client: Client, at: str) -> Merge:
    """Writes the last use of a client of Entra, where it is still stored."""
    return Merge(Entity(PARTITION, client_row(client.client_id), {"usedAt": at}))


def _use_column(secret_id: str) -> str:
    return f"used{secret_id}"


@reading("a client")
def _secrets(entity: Entity) -> tuple[StoredKey, ...]:
    """The secrets; of a client of an earlier version the one that it knows."""
    text, newest = entity.text("secrets"), entity.text("secretHash")
    if not text:
        return (StoredKey(newest, entity.text("createdAt")),) if newest else ()
    return tuple(
        replace(each, used_at=entity.text(_use_column(each.id))) for each in keys_from_text(text)
    )


def client_from_entity(entity: Entity) -> Client:
    """The client of an entity. A scope that this version does not know is left out."""
    return Client(
        client_id=entity.text("clientId"),
        tenant=entity.text("tenant"),
        name=entity.text("name"),
        scopes=known_scopes(entity.text("scopes").split()),
        registration=entity.text("registration"),
        created_at=entity.text("createdAt"),
        secrets=_secrets(entity),
        used_at=entity.text("usedAt"),
    )


def known_scopes(names: list[str]) -> frozenset[Scope]:
    """The scopes of these names; unknown names are ignored."""
    return frozenset(scope for scope in Scope if scope.value in names)


class ClientLookups:
    """Finds clients by id for token requests and tokens. Caches them for `cache_seconds`."""

    def __init__(self, tables: Tables, clock: Clock, cache_seconds: float) -> None:
        self._tables = tables
        self._lookups = CachedLookups(self._read, clock, cache_seconds)

    async def find(self, client_id: str) -> Client | None:
        """The client of that id, None for a revoked or unknown one."""
        return await self._lookups.get(client_row(client_id))

    async def read(self, client_id: str) -> Client | None:
        """Read the client from storage, in the same time whether the id is known or not.

        For calls that are not authenticated yet. A cached answer would be faster, and the time
        would show which ids are in use. For the same reason this is a query: it takes as long if
        it finds nothing, while a point read of a missing row is an error of another duration.
        """
        row = client_row(client_id)
        entities = await self._tables.query(CLIENTS, PARTITION, row, row)
        return client_from_entity(entities[0]) if entities else None

    async def _read(self, row: str) -> Client | None:
        entity = await self._tables.get(CLIENTS, PARTITION, row)
        return None if entity is None else client_from_entity(entity)


# Client secrets. The gateway shows a new secret once and stores only its slow hash.
#
# A secret has 256 random bits. Its hash is scrypt, which takes a quarter of a second, so it is
# computed in a thread, two at a time, and verified secrets are cached in this process under a
# keyed digest. Three bytes of a quick hash are stored beside the slow one. They refuse all wrong
# guesses but one in sixteen million, so that a flood of wrong secrets does not compute slow
# hashes. A thief of the record still has to guess 232 bits. An unknown client and a wrong secret
# take the same short time, for which each client counts as one with the most secrets.

# The prefix of every secret, so that a scanner for leaked secrets can recognise one.
PREFIX = "pigs_"

# Parameters of scrypt: 16 MiB and five rounds. They are stored with each hash, so that a later
# version can raise them.
_LOG_N, _R, _P = 14, 8, 5
_MEMORY = 64 * 1024 * 1024
_SALT_BYTES = 16
_CHECK_BYTES = 3
_MOST_CONCURRENT = 2
_HASH_FORM = re.compile(
    r"scrypt\$[0-9]+\$[0-9]+\$[0-9]+"
    rf"\$[0-9a-f]{{{2 * _SALT_BYTES}}}\$[0-9a-f]{{{2 * _CHECK_BYTES}}}\$[0-9a-f]{{64}}"
)
# The hash that is compared with for an unknown client, so that the answer takes the same time.
_UNKNOWN_CLIENT_HASH = f"scrypt$14$8$5${'00' * _SALT_BYTES}${'00' * _CHECK_BYTES}$00"
_MOST_REMEMBERED = 10_000


def new_client_secret() -> str:
    """Make a new secret. The gateway shows it once and stores only its hash."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_client_secret(secret: str, log_n: int = _LOG_N, p: int = _P) -> str:
    """`scrypt$14$8$5$salt$check$hash`, the last three in hex. Takes a quarter of a second.

    Lower parameters are for the clients of tests alone, which are made by the hundred.
    """
    salt = secrets.token_bytes(_SALT_BYTES)
    parts = (salt, _check(salt, secret), _scrypt(secret, salt, log_n, _R, p))
    return "$".join(["scrypt", str(log_n), str(_R), str(p), *(part.hex() for part in parts)])


def may_match(secret_hash: str, secret: str) -> bool:
    """Whether the slow hash has to be computed: the quick check of the secret fits.

    An empty or a broken hash matches no secret, but comparing with it takes the same time.
    """
    is_usable = _HASH_FORM.fullmatch(secret_hash) is not None
    *_, salt, check, _ = (secret_hash if is_usable else _UNKNOWN_CLIENT_HASH).split("$")
    is_alike = hmac.compare_digest(_check(bytes.fromhex(salt), secret), bytes.fromhex(check))
    return is_alike and is_usable


def matches(secret_hash: str, secret: str) -> bool:
    """Whether this is the secret. Takes a quarter of a second."""
    _, log_n, r, p, salt, _, expected = secret_hash.split("$")
    actual = _scrypt(secret, bytes.fromhex(salt), int(log_n), int(r), int(p))
    return hmac.compare_digest(actual, bytes.fromhex(expected))


def may_match_any(keys: Sequence[StoredKey], secret: str) -> bool:
    """Whether the slow hash of one of a client's secrets has to be computed.

    It takes the same time however many secrets the client has, and for an unknown client.
    """
    hashes = [*(key.hash for key in keys), *[""] * MOST_KEYS][: max(MOST_KEYS, len(keys))]
    return any(may_match(each, secret) for each in hashes)


class SecretChecker:
    """Compares secrets with stored hashes in threads, so that the event loop is not blocked."""

    def __init__(self) -> None:
        self._own_key = secrets.token_bytes(32)
        self._verified: OrderedDict[bytes, None] = OrderedDict()
        self._slots = asyncio.Semaphore(_MOST_CONCURRENT)
        self.computed = 0

    async def find(self, keys: Sequence[StoredKey], secret: str) -> StoredKey | None:
        """The one of a client's secrets that `secret` is."""
        for key in keys:
            if await self.is_right(key.hash, secret):
                return key
        return None

    async def is_right(self, secret_hash: str, secret: str) -> bool:
        """Whether `secret` has this hash. `computed` counts the slow hashes so far."""
        if not may_match(secret_hash, secret):
            return False
        mark = hmac.digest(self._own_key, f"{secret_hash}\0{secret}".encode(), "sha256")
        if mark in self._verified:
            return True
        async with self._slots:
            if mark in self._verified:
                return True
            self.computed += 1
            is_right = await asyncio.to_thread(matches, secret_hash, secret)
        if is_right:
            self._verified[mark] = None
            if len(self._verified) > _MOST_REMEMBERED:
                self._verified.popitem(last=False)
        return is_right


def _check(salt: bytes, secret: str) -> bytes:
    return hmac.digest(salt, _bytes(secret), "sha256")[:_CHECK_BYTES]


def _scrypt(secret: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(_bytes(secret), salt=salt, n=2**log_n, r=r, p=p, maxmem=_MEMORY, dklen=32)


def _bytes(secret: str) -> bytes:
    return secret.encode("utf-8", errors="replace")
