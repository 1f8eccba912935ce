"""Finding a client by its id, for a token request or a token."""

from __future__ import annotations

from shared.auth.clients import PARTITION, Client, client_from_entity, client_row
from shared.auth.lookups import CachedLookups
from shared.clock import Clock
from shared.storage.names import CLIENTS
from shared.storage.ports import Tables


class ClientLookups:
    """Finds clients by id; remembers them for `cache_seconds`."""

    def __init__(self, tables: Tables, clock: Clock, cache_seconds: float) -> None:
        self._tables = tables
        self._lookups = CachedLookups(self._read, clock, cache_seconds)

    async def find(self, client_id: str) -> Client | None:
        """The client of that id, None for a revoked or unknown one."""
        return await self._lookups.get(client_row(client_id))

    async def read(self, client_id: str) -> Client | None:
        """The same from storage, as it is now, in the same time whether the id is known or not.

        For calls that prove nothing yet: what is remembered would be answered faster, and by that
        tell which ids are in use. A query takes as long where it finds nothing; a point read of
        what is missing is a fault, which takes its own time.
        """
        row = client_row(client_id)
        found = await self._tables.query(CLIENTS, PARTITION, row, row)
        return client_from_entity(found[0]) if found else None

    async def _read(self, row: str) -> Client | None:
        entity = await self._tables.get(CLIENTS, PARTITION, row)
        return None if entity is None else client_from_entity(entity)
