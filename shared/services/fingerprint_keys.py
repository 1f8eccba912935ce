"""The keys for hashes of call contents, so that a content cannot be guessed from its hash.

An attacker could find a short body by hashing likely ones, even after its rows have been deleted.
The keys of GATEWAY_AUTHDATA_KEYS are outside the storage account, so the hashes use the current one
of them. If none is set, the gateway makes a key and stores it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from contextlib import suppress

from shared.errors import ConflictError, PreconditionFailedError
from shared.imports.authdata.hashing import HashKey
from shared.services.background import to_thread_if_large
from shared.storage.names import SIGNING_KEYS
from shared.storage.ports import Entity, Insert, Replace, Tables

PARTITION, ROW = "fingerprints", "key"
_BYTES = 32
_TRIES = 5


class FingerprintKeys:
    """Finds the secrets. Makes the one in storage once, and caches it."""

    def __init__(self, tables: Tables, configured: Sequence[HashKey]) -> None:
        self._tables = tables
        self._configured = tuple(key.secret for key in configured)
        self._own_secret = b""

    async def secrets(self) -> tuple[bytes, ...]:
        """The secret to hash with, then the others to compare with.

        The others include the gateway's own key, for hashes from before GATEWAY_AUTHDATA_KEYS was
        set, and an empty one, for hashes of earlier versions, which had no key.
        Raises StorageUnavailableError.
        """
        if not self._own_secret:
            self._own_secret = await self._read_or_make()
        return (*self._configured, self._own_secret, b"")

    async def body_hashes(self, body: bytes) -> tuple[str, ...]:
        """The hashes of a whole body: the one to store, then the others to search for."""
        keys = await self.secrets()
        digest = await to_thread_if_large(len(body), _sha256, body)
        keyed = [hmac.digest(key, digest, "sha256").hex() for key in keys if key]
        return (*keyed, digest.hex())

    async def _read_or_make(self) -> bytes:
        for _ in range(_TRIES):
            entity = await self._tables.get(SIGNING_KEYS, PARTITION, ROW)
            secret = b"" if entity is None else _decoded(entity.text("key"))
            if len(secret) == _BYTES:
                return secret
            text = base64.b64encode(secrets.token_bytes(_BYTES)).decode()
            # A key that cannot be read is replaced, since its hashes are lost in any case.
            etag = "" if entity is None else entity.etag
            new_entity = Entity(PARTITION, ROW, {"key": text}, etag)
            # Another process may be faster, so the key is read again.
            with suppress(PreconditionFailedError):
                await self._tables.write(
                    SIGNING_KEYS, Insert(new_entity) if entity is None else Replace(new_entity)
                )
        raise ConflictError(
            "Other processes are changing the key for hashes of bodies: send the call again."
        )


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _sha256(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()
