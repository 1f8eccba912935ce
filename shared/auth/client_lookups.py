"""Finding a client by its id, for a token request or a token."""

from __future__ import annotations

from shared.auth.clients import PARTITION, Client, client_from_entity, client_row
from shared.auth.lookups import CachedLookups
from shared.clock import Clock
from shared.storage.names import CLIENTS
from shared.storage.tables import Tables


class ClientLookups:
    """Finds clients by id; remembers them for `cache_seconds`."""

    def __init__(self, tables: Tables, clock: Clock, cache_seconds: float) -> None:
        self._tables = tables
        self._lookups = CachedLookups(self._read, clock, cache_seconds)

    async def find(self, client_id: str) -> Client | None:
        """The client of that id, None for a revoked or unknown one."""
        return await self._lookups.get(client_row(client_id))

    async def _read(self, row: str) -> Client | None:
        entity = await self._tables.get(CLIENTS, PARTITION, row)
        return None if entity is None else client_from_entity(entity)
