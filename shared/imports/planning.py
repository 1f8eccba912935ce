"""The plan of an import: which rows go together, and what each chunk may touch (docs/design.md#1).

Rows are sorted by the record they speak of, then by position; rows of one record never part. The
span of a chunk (its first and last place) is what later imports compare themselves with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from shared.imports.json_rows import Payload, RawRow

SMALL_IMPORT = 100
"""Up to this many rows an import is one chunk, and its message goes to the quick queue."""
_CHUNKS_WANTED = 4


@dataclass(frozen=True, slots=True)
class Span:
    """The places between `first` and `last`, both included; where they are few, exactly which.

    Without the exact places two imports of a few rows each would wait for each other whenever their
    keys interleave.
    """

    first: str
    last: str
    places: frozenset[str] | None = None

    def overlaps(self, other: Span) -> bool:
        """Whether some place could be in both."""
        if self.last < other.first or other.last < self.first:
            return False
        if self.places is not None and other.places is not None:
            return not self.places.isdisjoint(other.places)
        if self.places is not None:
            return any(other.first <= place <= other.last for place in self.places)
        return other.places is None or other.overlaps(self)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One message's share of a payload: `start` to `end` are byte offsets of its lines.

    `span` is None where no row of the chunk has a usable key.
    """

    number: int
    start: int
    end: int
    rows: int
    span: Span | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The chunks of an import, and its rows in the order of the plan."""

    payload: Payload
    ordered: Sequence[RawRow]
    chunks: tuple[Chunk, ...]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.ordered)

    @property
    def size(self) -> int:
        """Bytes of all lines."""
        return self.chunks[-1].end if self.chunks else 0

    def lines(self) -> Iterator[bytes]:
        """The lines, chunk by chunk; made when asked for, so that memory holds one chunk's."""
        start = 0
        for chunk in self.chunks:
            rows = self.ordered[start : start + chunk.rows]
            yield b"".join(self.payload.line(row) for row in rows)
            start += chunk.rows


def plan(payload: Payload, *, chunk_rows: int, chunk_bytes: int) -> Plan:
    """Cut a payload into chunks of at most so many rows and bytes.

    The rows of one record stay together, even where a chunk grows past both limits by that. Rows
    without a usable key come last.
    """
    ordered = sorted(payload.rows, key=lambda row: (row.place is None, row.place or "", row.index))
    most = rows_per_chunk(len(ordered), chunk_rows)
    chunks: list[Chunk] = []
    start = 0
    for rows, size in _cut(payload, ordered, most, chunk_bytes):
        chunks.append(Chunk(len(chunks), start, start + size, len(rows), _span(rows)))
        start += size
    return Plan(payload, ordered, tuple(chunks))


def rows_per_chunk(rows: int, limit: int) -> int:
    """Enough chunks to keep four handlers busy, none of them under 100 rows."""
    return min(limit, max(SMALL_IMPORT, -(-rows // _CHUNKS_WANTED)))


def _cut(
    payload: Payload, ordered: Sequence[RawRow], most: int, chunk_bytes: int
) -> Iterator[tuple[list[RawRow], int]]:
    """The rows of each chunk and the bytes of their lines."""
    rows: list[RawRow] = []
    size = 0
    for group in _groups(ordered):
        group_size = sum(payload.line_size(row) for row in group)
        if rows and (len(rows) + len(group) > most or size + group_size > chunk_bytes):
            yield rows, size
            rows, size = [], 0
        rows.extend(group)
        size += group_size
    if rows:
        yield rows, size


def _groups(ordered: Sequence[RawRow]) -> Iterator[list[RawRow]]:
    """Rows of one record together; a row without a key is a group of its own."""
    for place, rows in groupby(ordered, key=lambda row: row.place):
        if place is None:
            yield from ([row] for row in rows)
        else:
            yield list(rows)


def _span(rows: Sequence[RawRow]) -> Span | None:
    places = [row.place for row in rows if row.place is not None]
    if not places:
        return None
    return Span(places[0], places[-1], frozenset(places) if len(rows) <= SMALL_IMPORT else None)
