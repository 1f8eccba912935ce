"""The ring of signing keys in storage: made at first use, remembered for seconds, rotated."""

from __future__ import annotations

from contextlib import suppress

from shared.auth.lookups import CachedLookups
from shared.auth.signing_keys import (
    PARTITION,
    ROW,
    KeyRing,
    SigningKey,
    new_signing_key,
    ring_from_entity,
    ring_to_entity,
)
from shared.clock import Clock, Ids
from shared.errors import ConflictError, PreconditionFailedError
from shared.storage.names import SIGNING_KEYS
from shared.storage.ports import Insert, Replace, Tables

_RECENT_SECONDS = 1.0
"""How old the ring may be that an unknown key id is looked up in."""
_TRIES = 5


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

    async def rotate(self, *, at_once: bool) -> KeyRing:
        """A new key that takes over in a minute while the older ones go on being accepted.

        `at_once` is for keys that may have leaked, or cannot be read: the older ones are
        forgotten, and with them every token so far. Raises ConflictError.
        """
        for _ in range(_TRIES):
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
            with suppress(PreconditionFailedError):
                await self._tables.write(SIGNING_KEYS, Replace(ring_to_entity(changed)))
                return changed
        raise ConflictError("The signing keys keep changing; try again.")

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
            raise ConflictError("The signing keys keep changing; try again.")
        return stored
