"""Tombstones go when nothing can come any more that they would keep out (see `retention`).

A tombstone says that a record was deleted by the import of its number, or which imports were ended
for it. It keeps a straggler of such an import from committing, and a row that is retried as it was
sent from bringing back what a later import deleted (1101). So it stays while an import with such a
row may still come: one that is open, that ended lately, or whose payload is still there. Of a retry
the number of the first import counts that brought a row of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime

from shared.errors import UnreadableDataError
from shared.services.expiring_imports import remove_all
from shared.services.groups import GROUPS, group_of
from shared.services.import_log import ImportLog
from shared.services.moments import iso
from shared.storage.business_records import ended_imports, partition_of
from shared.storage.entities import encode
from shared.storage.import_records import LAST_NUMBER
from shared.storage.ports import Entity, SearchableTables

_TOMBSTONES_PER_PAGE = 1_000
_PLACES = ("k|", "r|~")
"""First and last row key between which tombstones lie: records, and the keys that they had."""

LogRange = Callable[[int], tuple[str, str]]
"""First and last row key of what a type logs of its imports up to a number."""


class ExpiringTombstones:
    """A step that goes through the records of every group of a tenant.

    `tables_of_records` are those whose records lie in the tenant's partition, or in partitions of
    tenant and group; the range is that of the log which the type keeps of its imports there (None:
    it keeps none).
    """

    def __init__(
        self,
        tables: SearchableTables,
        imports: ImportLog,
        tables_of_records: Mapping[str, LogRange | None],
    ) -> None:
        self._tables = tables
        self._imports = imports
        self._tables_of_records = tables_of_records

    async def tombstones(self, tenant: str, before: datetime) -> AsyncIterator[int]:
        """Tombstones and log entries of imports that are over since before then."""
        number = await self._over(tenant, iso(before))
        if number <= 0:
            return
        for table, log_range in self._tables_of_records.items():
            for partition in await self._partitions(table, tenant):
                yield await self._remove_tombstones(table, partition, number)
                if log_range is not None:
                    yield await self._remove_log(table, partition, log_range(number))

    async def _over(self, tenant: str, before: str) -> int:
        """The number up to which no import has a row that may still come."""
        summaries = await self._imports.summaries(tenant)
        alive = [
            each.first_origin
            for each in summaries
            if each.has_payload or not each.ended_before(before)
        ]
        newest = summaries[0].number if summaries else 0
        return min(alive) - 1 if alive else newest

    async def _partitions(self, table: str, tenant: str) -> list[str]:
        groups = await self._tables.query(table, encode(tenant), *GROUPS, select=["Group"])
        return [encode(tenant), *(partition_of(tenant, group_of(group)) for group in groups)]

    async def _remove_tombstones(self, table: str, partition: str, number: int) -> int:
        found = await self._tables.flagged(
            table, partition, *_PLACES, "Deleted", ["Number", "Ended"]
        )
        return await remove_all(
            self._tables, table, [each for each in found if _last_number(each) <= number]
        )

    async def _remove_log(self, table: str, partition: str, rows: tuple[str, str]) -> int:
        removed = 0
        while found := await self._tables.query(
            table, partition, *rows, select=[], most=_TOMBSTONES_PER_PAGE
        ):
            some = await remove_all(self._tables, table, found)
            removed += some
            if not some:
                break
        return removed


def _last_number(tombstone: Entity) -> int:
    """The last import that it may still have to keep out; any, where that cannot be read."""
    try:
        return max([tombstone.number("Number"), *ended_imports(tombstone).codes])
    except UnreadableDataError:
        return LAST_NUMBER
