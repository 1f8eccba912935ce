"""The plan of an import: its chunks, and the records that each chunk may write (docs/design.md#1).

Rows are sorted by their record, then by position; rows of one record stay in one chunk. Later
imports compare their own spans with the span of a chunk (its first and last sort key).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from shared.imports.json_rows import Payload, RawRow

# Up to this many rows an import is one chunk, and its message goes to the quick queue.
SMALL_IMPORT = 100
_TARGET_CHUNKS = 4
_PART_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Span:
    """The records from `first` to `last`, by sort key; `sort_keys` names each of them if few.

    Without the exact sort keys two imports of a few rows each would wait for each other whenever
    their keys interleave.
    """

    first: str
    last: str
    sort_keys: frozenset[str] | None = None

    def overlaps(self, other: Span) -> bool:
        """Whether some record could be in both spans."""
        if self.last < other.first or other.last < self.first:
            return False
        if self.sort_keys is not None and other.sort_keys is not None:
            return not self.sort_keys.isdisjoint(other.sort_keys)
        if self.sort_keys is not None:
            return any(other.first <= sort_key <= other.last for sort_key in self.sort_keys)
        return other.sort_keys is None or other.overlaps(self)


@dataclass(frozen=True, slots=True)
class Chunk:
    """The rows of one queue message; `start` and `end` are byte offsets in the stored lines.

    `span` is None where no row of the chunk has a usable key.
    """

    number: int
    start: int
    end: int
    rows: int
    span: Span | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The chunks of an import, and the order of its rows: their places in the payload."""

    payload: Payload
    order: Sequence[int]
    chunks: tuple[Chunk, ...]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.order)

    @property
    def size(self) -> int:
        """The length of all lines in bytes."""
        return self.chunks[-1].end if self.chunks else 0

    def lines(self) -> Iterator[bytes]:
        """The lines, chunk by chunk; a generator, so that memory holds one chunk at a time."""
        start = 0
        for chunk in self.chunks:
            places = self.order[start : start + chunk.rows]
            yield b"".join(self.payload.line(self.payload.rows[place]) for place in places)
            start += chunk.rows

    def parts(self) -> Iterator[bytes]:
        """The lines in parts of about `_PART_BYTES`, for writing them: a chunk may be large."""
        part = bytearray()
        for place in self.order:
            part += self.payload.line(self.payload.rows[place])
            if len(part) >= _PART_BYTES:
                yield bytes(part)
                part.clear()
        if part:
            yield bytes(part)


def plan(payload: Payload, *, chunk_rows: int, chunk_bytes: int) -> Plan:
    """Cut a payload into chunks of at most `chunk_rows` rows and `chunk_bytes` bytes.

    The rows of one record stay together, even where a chunk exceeds both limits because of that.
    Rows without a usable key come last.
    """
    order = _order_by_record(payload.rows)
    max_rows = rows_per_chunk(len(order), chunk_rows)
    chunks: list[Chunk] = []
    start = 0
    for rows, size in _cut_into_chunks(payload, order, max_rows, chunk_bytes):
        chunks.append(Chunk(len(chunks), start, start + size, len(rows), _span(rows)))
        start += size
    return Plan(payload, order, tuple(chunks))


def _order_by_record(rows: Sequence[RawRow]) -> Sequence[int]:
    """The places of the rows, sorted by their record, then by place; those without a key last.

    Only numbers are kept, because there may be 100,000 of them beside the payload.
    """
    sort_keys = [row.sort_key for row in rows]
    with_key = [place for place, sort_key in enumerate(sort_keys) if sort_key is not None]
    with_key.sort(key=lambda place: sort_keys[place] or "")
    order = array("L", with_key)
    order.extend(place for place, sort_key in enumerate(sort_keys) if sort_key is None)
    return order


def rows_per_chunk(rows: int, limit: int) -> int:
    """The rows of a chunk: enough chunks for four handlers, none of them under 100 rows."""
    return min(limit, max(SMALL_IMPORT, -(-rows // _TARGET_CHUNKS)))


def _cut_into_chunks(
    payload: Payload, order: Sequence[int], max_rows: int, chunk_bytes: int
) -> Iterator[tuple[list[RawRow], int]]:
    """The rows of each chunk and the bytes of their lines."""
    rows: list[RawRow] = []
    size = 0
    for group in _group_by_record(payload.rows[place] for place in order):
        group_size = sum(payload.line_size(row) for row in group)
        if rows and (len(rows) + len(group) > max_rows or size + group_size > chunk_bytes):
            yield rows, size
            rows, size = [], 0
        rows.extend(group)
        size += group_size
    if rows:
        yield rows, size


def _group_by_record(ordered: Iterable[RawRow]) -> Iterator[list[RawRow]]:
    """The rows of each record; a row without a key is a group of its own."""
    for sort_key, rows in groupby(ordered, key=lambda row: row.sort_key):
        if sort_key is None:
            yield from ([row] for row in rows)
        else:
            yield list(rows)


def _span(rows: Sequence[RawRow]) -> Span | None:
    sort_keys = [row.sort_key for row in rows if row.sort_key is not None]
    if not sort_keys:
        return None
    return Span(
        sort_keys[0], sort_keys[-1], frozenset(sort_keys) if len(rows) <= SMALL_IMPORT else None
    )
