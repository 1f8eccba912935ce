"""The secrets under which contents of calls are hashed, so that no content can be guessed from one.

A hash of a short body that anyone can compute gives the body away to who tries likely ones, also
when the rows themselves have been removed. The keys of GATEWAY_AUTHDATA_KEYS lie outside the
storage account, so the current one of them keys the hashes. Where none is set, it is a key that the
gateway makes for itself and keeps in storage.
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
    """Finds the secrets; the one in storage is made once and remembered."""

    def __init__(self, tables: Tables, configured: Sequence[HashKey]) -> None:
        self._tables = tables
        self._configured = tuple(key.secret for key in configured)
        self._own = b""

    async def secrets(self) -> tuple[bytes, ...]:
        """The secret to hash with, then the others to compare with.

        Hashes under the gateway's own key are recognised after GATEWAY_AUTHDATA_KEYS has been set,
        and hashes without a key (the last, empty one) are those of earlier versions.
        Raises StorageUnavailableError.
        """
        if not self._own:
            self._own = await self._read_or_make()
        return (*self._configured, self._own, b"")

    async def body_hash(self, body: bytes) -> str:
        """The hash of a body to keep. Two imports with the same one had the same body."""
        return await self.keyed(await to_thread_if_large(len(body), _sha256, body))

    async def keyed(self, digest: bytes) -> str:
        """The hash to keep of a content with this SHA-256."""
        if not self._configured and not self._own:
            self._own = await self._read_or_make()
        return hmac.digest((*self._configured, self._own)[0], digest, "sha256").hex()

    async def body_hashes(self, body: bytes) -> tuple[str, ...]:
        """What a whole body is found by: the hash to keep, then the others to look for."""
        keys = await self.secrets()
        digest = await to_thread_if_large(len(body), _sha256, body)
        keyed = [hmac.digest(key, digest, "sha256").hex() for key in keys if key]
        return (*keyed, digest.hex())

    async def _read_or_make(self) -> bytes:
        for _ in range(_TRIES):
            stored = await self._tables.get(SIGNING_KEYS, PARTITION, ROW)
            found = b"" if stored is None else _decoded(stored.text("key"))
            if len(found) == _BYTES:
                return found
            text = base64.b64encode(secrets.token_bytes(_BYTES)).decode()
            # One that cannot be read is replaced: its hashes are lost in any case.
            etag = "" if stored is None else stored.etag
            entity = Entity(PARTITION, ROW, {"key": text}, etag)
            # Another process may be faster, and its key counts; so it is read again.
            with suppress(PreconditionFailedError):
                await self._tables.write(
                    SIGNING_KEYS, Insert(entity) if stored is None else Replace(entity)
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
