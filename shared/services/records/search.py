"""Ways to the records that a caller asks for, each a walk in slices that can be taken up again.

A place tells how far a walk has come. It holds nothing but keys, and every walk checks that a place
is one of its own: a caller may send whatever it likes as continuation.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Protocol

from shared.imports.results import RowResult
from shared.services.status import Reporting
from shared.storage.business_records import RecordKey, load_records
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Entity, EntityRange, RangeTables, Tables

Place = tuple[str, ...]
_POINTS_AT_ONCE: Final = 16
_CHUNK: Final = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class SearchHit:
    """An entity, and the place behind it."""

    entity: Entity
    place: Place


@dataclass(frozen=True, slots=True)
class SearchSlice:
    """The next entities of a walk; `reached` is where it goes on, None at its end."""

    hits: Sequence[SearchHit]
    reached: Place | None


class RecordSearch(Protocol):
    """A walk over entities, in order."""

    def is_place(self, place: Place) -> bool:
        """Whether a walk may go on at the place."""

    async def read(self, after: Place | None, most: int) -> SearchSlice:
        """Up to `most` entities behind a place; there may be fewer, even none, before the end."""


@dataclass(frozen=True, slots=True)
class RangeSearch:
    """Every entity of a range of partitions and rows."""

    tables: RangeTables
    table: str
    range: EntityRange

    def is_place(self, place: Place) -> bool:
        """See `RecordSearch.is_place`."""
        return len(place) == _KEYS and self.range.contains(*place)

    async def read(self, after: Place | None, most: int) -> SearchSlice:
        """See `RecordSearch.read`."""
        behind = None if after is None else (after[0], after[1])
        part = await self.tables.query_range(self.table, self.range, behind, most)
        hits = [SearchHit(each, (each.partition, each.row)) for each in part.entities]
        if part.is_last:
            return SearchSlice(hits, None)
        return SearchSlice(hits, hits[-1].place if hits else after)


_KEYS: Final = 2


class KeySearch:
    """The entities under these keys, as far as they are there."""

    def __init__(self, tables: Tables, table: str, keys: Sequence[RecordKey]) -> None:
        self._tables = tables
        self._table = table
        self._keys = sorted({(key.partition, key.row) for key in keys})

    def is_place(self, place: Place) -> bool:
        """See `RecordSearch.is_place`: whatever the keys, the next of its own keys follow."""
        return len(place) == _KEYS

    async def read(self, after: Place | None, most: int) -> SearchSlice:
        """See `RecordSearch.read`."""
        start = 0 if after is None else bisect_right(self._keys, (after[0], after[1]))
        keys = self._keys[start : start + most]
        hits: list[SearchHit] = []
        for at in range(0, len(keys), _POINTS_AT_ONCE):
            some = keys[at : at + _POINTS_AT_ONCE]
            read = await asyncio.gather(*(self._tables.get(self._table, *key) for key in some))
            hits += [
                SearchHit(each, (each.partition, each.row)) for each in read if each is not None
            ]
        is_last = start + most >= len(self._keys)
        return SearchSlice(hits, None if is_last or not keys else keys[-1])


class ImportSearch:
    """What the rows of an import named, chunk by chunk, where the stored entity is still its own.

    `places_of` gives the keys of the entities that a result is about.
    """

    def __init__(
        self,
        tables: Tables,
        table: str,
        reporting: Reporting,
        record: ImportRecord,
        places_of: Callable[[RowResult], Sequence[RecordKey]],
    ) -> None:
        self._tables = tables
        self._table = table
        self._reporting = reporting
        self._record = record
        self._places_of = places_of

    def is_place(self, place: Place) -> bool:
        """See `RecordSearch.is_place`."""
        return len(place) == 1 + _KEYS and _CHUNK.fullmatch(place[0]) is not None

    async def read(self, after: Place | None, most: int) -> SearchSlice:
        """See `RecordSearch.read`: entities of one chunk only."""
        chunk, *behind = after or ("0", "", "")
        async for number, rows in self._reporting.chunks(self._record, int(chunk)):
            ordered = sorted({(key.partition, key.row) for key in self._keys(rows)})
            start = bisect_right(ordered, tuple(behind)) if number == int(chunk) else 0
            some = ordered[start : start + most]
            hits = await self._load(number, some)
            if start + most < len(ordered):
                return SearchSlice(hits, (str(number), *some[-1]))
            is_last = number + 1 >= len(self._record.chunks)
            return SearchSlice(hits, None if is_last else (str(number + 1), "", ""))
        return SearchSlice((), None)

    def _keys(self, rows: Sequence[RowResult]) -> Iterator[RecordKey]:
        for row in rows:
            if row.outcome.took_effect or row.removed:
                yield from self._places_of(row)

    async def _load(self, chunk: int, keys: Sequence[tuple[str, str]]) -> list[SearchHit]:
        """Those of the entities that the import wrote last, by ranges; `keys` are sorted."""
        hits: list[SearchHit] = []
        for partition, group in groupby(keys, key=lambda key: key[0]):
            rows = [row for _, row in group]
            entities = await load_records(self._tables, self._table, partition, rows)
            hits += [
                SearchHit(entities[row], (str(chunk), partition, row))
                for row in rows
                if row in entities and entities[row].values.get("Number") == self._record.number
            ]
        return hits
