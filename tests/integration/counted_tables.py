"""How often storage is asked: a tally in front of the tables."""

from __future__ import annotations

from shared.storage.tables import Entity, Tables


class CountedTables:
    """The real tables, with the point reads counted."""

    def __init__(self, tables: Tables) -> None:
        self.reads = 0
        self.query, self.write, self.transact = tables.query, tables.write, tables.transact
        self._get = tables.get

    async def get(self, table: str, partition: str, row: str) -> Entity | None:
        self.reads += 1
        return await self._get(table, partition, row)
