"""How often storage is asked: a tally in front of the tables."""

from __future__ import annotations

from collections.abc import Sequence

from shared.storage.ports import Entity, Tables


class CountedTables:
    """The real tables, with the point reads and the queries counted."""

    def __init__(self, tables: Tables) -> None:
        self.reads = 0
        self.queries = 0
        self.write, self.transact = tables.write, tables.transact
        self._get, self._query = tables.get, tables.query

    async def get(self, table: str, partition: str, row: str) -> Entity | None:
        self.reads += 1
        return await self._get(table, partition, row)

    async def query(
        self,
        table: str,
        partition: str,
        first: str = "",
        last: str | None = None,
        *,
        after: str = "",
        select: Sequence[str] | None = None,
        most: int | None = None,
    ) -> list[Entity]:
        self.queries += 1
        return await self._query(
            table, partition, first, last, after=after, select=select, most=most
        )
