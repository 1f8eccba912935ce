"""Sealing of sensitive data at rest with AES-256-GCM, and the data keys (docs/sealing.md).

A sealed value is a header, a nonce of 12 random bytes, the ciphertext and its tag of 16 bytes. The
header has the format and the number of the data key. The additional data binds the value to its
place: the tenant, the table or container, and the keys of the entity or the name of the blob.

Data keys lie in the table `DataKeys`:

PartitionKey   tenant, or `-` for the gateway itself      RowKey   `k|` and the number of the key
Wrapped        the key of 32 random bytes, sealed under a key of GATEWAY_DATA_KEYS
Under          the id of that key
CreatedAt      when it was made, and so when the key before it was retired
ResealAfter, ResealedAt, ResealedKeys, LastNumber, ImportsEndedAt
               how far the values under older keys are sealed anew
               (`shared/services/data_key_rotation.py`)

The key with the highest number is the current one, so a rotation is one Insert.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from shared import log
from shared.clock import Clock, to_iso
from shared.errors import (
    ConflictError,
    DataKeysNotSetError,
    PreconditionFailedError,
    SealedDataError,
)
from shared.imports.authdata.hashing import HashKey
from shared.storage.entities import encode
from shared.storage.names import DATA_KEYS
from shared.storage.ports import Delete, Entity, Insert, Merge, Tables, Value

# The gateway's own partition: its signing keys are no tenant's.
GATEWAY: Final = "-"
# No text and no compressed data begins with this byte.
_FORMAT: Final = 1
_HEADER: Final = struct.Struct(">BI")
_NUMBER: Final = struct.Struct(">I")
_DIGEST_BYTES: Final = 16
_DAY: Final = struct.Struct(">I")
# The bytes of a digest of a document, and those that a digest of a row as it was sent adds.
_DOCUMENT_BYTES: Final = _NUMBER.size + _DIGEST_BYTES
_SENT_BYTES: Final = _DIGEST_BYTES + _DAY.size
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
# By how much a sealed value is longer than its content.
OVERHEAD: Final = _HEADER.size + _NONCE_BYTES + 16
_MOST_TENANTS: Final = 1_000
# Seconds within which one look at the keys serves all callers.
_MOMENT: Final = 1.0
# Stands for the key of keyed hashes, in the row `h|`; data keys count from 1.
_HASH_NUMBER: Final = -1
_PROGRESS: Final = ("ResealAfter", "ResealedAt", "ResealedKeys", "LastNumber", "ImportsEndedAt")


def is_sealed(data: bytes) -> bool:
    """Whether these bytes are a sealed value."""
    return len(data) >= OVERHEAD and data[0] == _FORMAT


def key_number(sealed: bytes) -> int:
    """The number of the data key that a value was sealed under."""
    number: int = _HEADER.unpack_from(sealed)[1]
    return number


def digest_number(digest: bytes) -> int:
    """The number of the data key to which the key of a digest belongs; -1 where it has none."""
    is_whole = len(digest) in (_DOCUMENT_BYTES, _DOCUMENT_BYTES + _SENT_BYTES)
    return int(_NUMBER.unpack_from(digest)[0]) if is_whole else -1


@dataclass(frozen=True, slots=True)
class RecordDigests:
    """Keyed digests of the documents of records, to compare a document without reading it.

    A digest is the number of a data key and an HMAC under a key that is derived from it, so it says
    nothing of the sealed values, and it matches only while these can be opened. Without
    GATEWAY_DATA_KEYS nothing is sealed, and the digest is a plain hash.
    """

    current: int
    keys: Mapping[int, bytes] = field(repr=False)

    @property
    def are_known(self) -> bool:
        """Whether there is a key to make them."""
        return self.current in self.keys

    def make(self, partition: str, row: str, text: str) -> bytes:
        """The digest of a document, as JSON, at its place."""
        return self._digest(self.current, f"{partition}\n{row}\n{text}".encode())

    def matches(self, digest: bytes, partition: str, row: str, text: str) -> bool:
        """Whether a stored digest is that of this document."""
        number = digest_number(digest)
        made = self._digest(number, f"{partition}\n{row}\n{text}".encode())
        return made != b"" and hmac.compare_digest(digest[:_DOCUMENT_BYTES], made)

    def make_sent(self, parts: Sequence[bytes], day: int) -> bytes:
        """What may follow the digest of a document: that of the row which has written it.

        `parts` are all that has decided about the row but for the day on which it did.
        """
        made = self._digest(self.current, _sent_message(parts))
        return made[_NUMBER.size :] + _DAY.pack(day) if made else b""

    def matches_sent(self, digest: bytes, parts: Sequence[bytes], day: int) -> bool:
        """Whether a stored digest is of a document that this row has written, on `day` or before.

        False where the digest is of the document alone.
        """
        if len(digest) != _DOCUMENT_BYTES + _SENT_BYTES:
            return False
        if _DAY.unpack_from(digest, _DOCUMENT_BYTES + _DIGEST_BYTES)[0] > day:
            return False
        made = self._digest(digest_number(digest), _sent_message(parts))
        sent = digest[_DOCUMENT_BYTES : _DOCUMENT_BYTES + _DIGEST_BYTES]
        return made != b"" and hmac.compare_digest(sent, made[_NUMBER.size :])

    def _digest(self, number: int, message: bytes) -> bytes:
        key = self.keys.get(number)
        if key is None:
            return b""
        made = hmac.digest(key, message, hashlib.sha256)
        return _NUMBER.pack(number) + made[:_DIGEST_BYTES]


def _sent_message(parts: Sequence[bytes]) -> bytes:
    """What is digested of a row; it begins with a zero, and no document with its place does."""
    lengths = struct.pack(f">{len(parts)}I", *map(len, parts))
    return b"".join((b"\0", lengths, *parts))


# The digests of a gateway without GATEWAY_DATA_KEYS.
PLAIN_DIGESTS: Final = RecordDigests(0, {0: b""})


@dataclass(frozen=True, slots=True)
class Sealer:
    """Seals and opens values of one tenant. `current` is the number of the key that seals.

    `digest_keys` are those of `RecordDigests`.
    """

    tenant: str
    current: int
    keys: Mapping[int, Any] = field(repr=False)
    digest_keys: Mapping[int, bytes] = field(repr=False, default_factory=dict)

    def seal(self, data: bytes | bytearray | memoryview, *place: str) -> bytes:
        """The sealed value, which opens at this place only."""
        header = _HEADER.pack(_FORMAT, self.current)
        nonce = os.urandom(_NONCE_BYTES)
        sealed: bytes = self.keys[self.current].encrypt(nonce, data, self._bound(place))
        return header + nonce + sealed

    def open(self, sealed: bytes, *place: str) -> bytes:
        """The content of a sealed value.

        Raises SealedDataError where its key is not there, or where it was sealed at another place.
        """
        if not is_sealed(sealed):
            raise SealedDataError("a sealed value")
        key = self.keys.get(key_number(sealed))
        if key is None:
            raise SealedDataError("a sealed value whose data key is not there")
        start = _HEADER.size + _NONCE_BYTES
        try:
            data: bytes = key.decrypt(
                sealed[_HEADER.size : start], sealed[start:], self._bound(place)
            )
        except Exception as error:  # InvalidTag, whose class is not imported for this
            raise SealedDataError("a sealed value") from error
        return data

    def _bound(self, place: Sequence[str]) -> bytes:
        # No part of a place contains a line break.
        return "\n".join((self.tenant, *place)).encode()


@dataclass(frozen=True, slots=True)
class StoredDataKey:
    """A data key as it is stored. `under` is the id of the key of the setting that wraps it."""

    tenant: str
    number: int
    under: str
    created_at: str
    wrapped: bytes = field(repr=False)
    etag: str = ""
    progress: Mapping[str, Value] = field(default_factory=dict)

    def entity(self, **values: Value) -> Entity:
        """Its entity, with these values."""
        return Entity(encode(self.tenant), _row_of(self.number), values, self.etag)

    @classmethod
    def from_entity(cls, tenant: str, entity: Entity) -> StoredDataKey:
        """The data key of an entity; one that cannot be read has no wrapped key."""
        wrapped = entity.values.get("Wrapped", b"")
        return cls(
            tenant=tenant,
            number=_number_of(entity.row),
            under=entity.text("Under"),
            created_at=entity.text("CreatedAt"),
            wrapped=wrapped if isinstance(wrapped, bytes) else b"",
            etag=entity.etag,
            progress={name: entity.values[name] for name in _PROGRESS if name in entity.values},
        )


@dataclass(frozen=True, slots=True)
class _CachedSealer:
    sealer: Sealer
    read_at: float


class DataKeys:
    """The data keys of all tenants. The current key of a tenant is made when it is first needed.

    `master_keys` are those of GATEWAY_DATA_KEYS, the current one first.
    """

    def __init__(
        self, tables: Tables, master_keys: Sequence[HashKey], clock: Clock, cache_seconds: float
    ) -> None:
        self._tables = tables
        self._master_keys = tuple(master_keys)
        self._clock = clock
        self._cache_seconds = cache_seconds
        self._sealers: dict[str, _CachedSealer] = {}
        self._ciphers: dict[str, Any] = {}

    @property
    def are_set(self) -> bool:
        """Whether GATEWAY_DATA_KEYS is set."""
        return bool(self._master_keys)

    @property
    def master_id(self) -> str:
        """The id of the first key of the setting."""
        return self._master_keys[0].id if self._master_keys else ""

    async def sealer(self, tenant: str) -> Sealer:
        """The sealer of a tenant, whose current key can seal.

        Raises DataKeysNotSetError where the setting is missing, or where it has no key that opens
        the tenant's current data key. Raises StorageUnavailableError.
        """
        if not self._master_keys:
            raise DataKeysNotSetError("GATEWAY_DATA_KEYS is not set")
        sealer = await self.opener(tenant)
        if sealer.current not in sealer.keys:
            if sealer.current:
                raise DataKeysNotSetError(
                    f"GATEWAY_DATA_KEYS has no key that opens the data key of {tenant}"
                )
            await self._add(tenant, 1)
            sealer = await self._read(tenant)
        return sealer

    async def opener(self, tenant: str, newest: int = 0) -> Sealer:
        """The sealer of a tenant with the data keys that the setting opens; it may have none.

        `current` is 0 where the tenant has no data key. `newest` is the number of a key that
        something is sealed under: another process may have made it since this one has looked.
        Raises StorageUnavailableError.
        """
        cached = self._sealers.get(tenant)
        now = self._clock.elapsed()
        if (
            cached is not None
            and now - cached.read_at < self._cache_seconds
            and cached.sealer.current >= newest
        ):
            return cached.sealer
        if cached is not None:
            # One caller looks; the others go on with what is remembered for a moment.
            read_at = now - self._cache_seconds + min(_MOMENT, self._cache_seconds)
            self._sealers[tenant] = replace(cached, read_at=read_at)
        return await self._read(tenant)

    def digests(self, tenant: str) -> RecordDigests:
        """The digests of a tenant's records, under the keys that this process remembers."""
        if not self.are_set:
            return PLAIN_DIGESTS
        cached = self._sealers.get(tenant)
        if cached is None:
            return RecordDigests(0, {})
        return RecordDigests(cached.sealer.current, cached.sealer.digest_keys)

    async def stored(self, tenant: str) -> list[StoredDataKey]:
        """The data keys of a tenant, the current one last. Raises StorageUnavailableError."""
        entities = await self._tables.query(DATA_KEYS, encode(tenant), "k|", "k|~")
        return [StoredDataKey.from_entity(tenant, entity) for entity in entities]

    async def rotate(self, tenant: str) -> int:
        """Make a new current data key; its number. The others still open what they have sealed.

        Raises DataKeysNotSetError, ConflictError, StorageUnavailableError.
        """
        if not self._master_keys:
            raise DataKeysNotSetError("GATEWAY_DATA_KEYS is not set")
        keys = await self.stored(tenant)
        number = (keys[-1].number if keys else 0) + 1
        if not await self._add(tenant, number):
            raise ConflictError(f"Another process is rotating the data key of {tenant}; try again.")
        self._sealers.pop(tenant, None)
        return number

    async def hash_key(self, tenant: str) -> bytes:
        """The key of a tenant's keyed hashes, made when it is first needed.

        No rotation replaces it, since a hash under another key could not be compared. Raises
        DataKeysNotSetError, StorageUnavailableError.
        """
        if not self._master_keys:
            raise DataKeysNotSetError("GATEWAY_DATA_KEYS is not set")
        if not await self._stored_hash_keys(tenant):
            await self._add(tenant, _HASH_NUMBER)
        for stored in await self._stored_hash_keys(tenant):
            data = self.unwrapped(stored)
            if data is not None:
                return data
        raise DataKeysNotSetError(f"GATEWAY_DATA_KEYS has no key that opens the keys of {tenant}")

    async def replace_lost_hash_key(self, tenant: str) -> None:
        """Make a new key of keyed hashes where no key of the setting opens the present one.

        Hashes under the lost key match no name any more. Raises StorageUnavailableError.
        """
        for stored in await self._stored_hash_keys(tenant):
            if self.unwrapped(stored) is None:
                wrapped = self._wrap(tenant, _HASH_NUMBER, os.urandom(_KEY_BYTES))
                now = to_iso(self._clock.now())
                entity = stored.entity(Wrapped=wrapped, Under=self.master_id, CreatedAt=now)
                with suppress(PreconditionFailedError):  # another process has done it
                    await self._tables.write(DATA_KEYS, Merge(entity))

    async def _stored_hash_keys(self, tenant: str) -> list[StoredDataKey]:
        entity = await self._tables.get(DATA_KEYS, encode(tenant), _row_of(_HASH_NUMBER))
        return [] if entity is None else [StoredDataKey.from_entity(tenant, entity)]

    async def rewrap(self, tenant: str) -> int:
        """Wrap the data keys of a tenant under the first key of the setting; how many were not.

        A key that no key of the setting opens stays as it is. Raises StorageUnavailableError.
        """
        count = 0
        for stored in [*await self.stored(tenant), *await self._stored_hash_keys(tenant)]:
            data = None if stored.under == self.master_id else self.unwrapped(stored)
            if data is None:
                continue
            entity = stored.entity(**self.wrapped(stored, data))
            with suppress(PreconditionFailedError):  # another process has done it
                await self._tables.write(DATA_KEYS, Merge(entity))
                count += 1
        return count

    async def note(self, stored: StoredDataKey, **values: Value) -> None:
        """Write down how far the work on a data key is. The last of two writers counts."""
        entity = stored.entity(**values)
        await self._tables.write(DATA_KEYS, Merge(Entity(entity.partition, entity.row, values)))

    async def remove(self, stored: StoredDataKey) -> None:
        """Delete a data key under which nothing is sealed any more."""
        with suppress(PreconditionFailedError):
            await self._tables.write(DATA_KEYS, Delete(stored.entity()))
        self.forget(stored.tenant)

    def unwrapped(self, stored: StoredDataKey) -> bytes | None:
        """The key itself; None where no key of the setting opens it."""
        for master in self._master_keys:
            if master.id == stored.under:
                wrapping = Sealer(stored.tenant, 0, {0: self._cipher(master)})
                with suppress(SealedDataError):
                    return wrapping.open(stored.wrapped, *_place(stored.number))
        return None

    def wrapped(self, stored: StoredDataKey, data: bytes) -> dict[str, Value]:
        """The values of its entity with which this gateway opens the data key `data`."""
        wrapped = self._wrap(stored.tenant, stored.number, data)
        return {"Wrapped": wrapped, "Under": self.master_id}

    def forget(self, tenant: str) -> None:
        """Forget the keys of a tenant that this process remembers."""
        self._sealers.pop(tenant, None)

    async def _read(self, tenant: str) -> Sealer:
        read_at = self._clock.elapsed()
        stored = await self.stored(tenant)
        data = {each.number: self.unwrapped(each) for each in stored}
        keys = {number: aes_gcm(key) for number, key in data.items() if key is not None}
        for key in stored:
            if key.number not in keys:
                log.warning(
                    "data_key.not_opened",
                    tenant=tenant,
                    number=key.number,
                    reason="GATEWAY_DATA_KEYS",
                )
        digest_keys = {
            number: hmac.digest(key, b"payroll-import-gateway record digests", hashlib.sha256)
            for number, key in data.items()
            if key is not None
        }
        sealer = Sealer(tenant, stored[-1].number if stored else 0, keys, digest_keys)
        self._sealers.pop(tenant, None)
        if not stored:  # another process may make the first one at any time
            return sealer
        # The oldest entry goes; a tenant that is in use comes back with its next reading.
        self._sealers[tenant] = _CachedSealer(sealer, read_at)
        while len(self._sealers) > _MOST_TENANTS:
            del self._sealers[next(iter(self._sealers))]
        return sealer

    async def _add(self, tenant: str, number: int) -> bool:
        """Insert a new data key; False if another process was faster."""
        now = to_iso(self._clock.now())
        wrapped = self._wrap(tenant, number, os.urandom(_KEY_BYTES))
        key = StoredDataKey(tenant, number, self.master_id, now, wrapped)
        entity = key.entity(Wrapped=wrapped, Under=self.master_id, CreatedAt=now)
        try:
            await self._tables.write(DATA_KEYS, Insert(entity))
        except PreconditionFailedError:
            return False
        return True

    def _wrap(self, tenant: str, number: int, data: bytes) -> bytes:
        wrapping = Sealer(tenant, 0, {0: self._cipher(self._master_keys[0])})
        return wrapping.seal(data, *_place(number))

    def _cipher(self, master: HashKey) -> Any:
        if master.id not in self._ciphers:
            # A key of the setting may be longer than 32 bytes, or also hash authentication data.
            key = hmac.digest(master.secret, b"payroll-import-gateway data keys", hashlib.sha256)
            self._ciphers[master.id] = aes_gcm(key)
        return self._ciphers[master.id]


def _row_of(number: int) -> str:
    return "h|" if number == _HASH_NUMBER else f"k|{number:010}"


def _number_of(row: str) -> int:
    return _HASH_NUMBER if row == "h|" else int(row.removeprefix("k|"))


def _place(number: int) -> tuple[str, str]:
    return DATA_KEYS, str(number)


def aes_gcm(key: bytes) -> Any:
    """The cipher of a key of 32 bytes."""
    # Imported here, since it takes some time that a cold start does not have.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)
