"""Sets of rows of an import, by their 0-based indexes: one bit of a whole number per row.

100,000 rows are 12.5 KB, however many of them are in the set. Union, intersection and difference
are those of whole numbers (`|`, `&`, `& ~`), and `int.bit_count` counts the rows.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Iterator
from itertools import compress, count

from shared.errors import UnreadableDataError

_MAX_BYTES = 125_000
"""A million rows: GATEWAY_MAX_ROWS allows no more."""


def row_set(indexes: Collection[int]) -> int:
    """The set of these rows."""
    bits = bytearray(max(indexes, default=-1) // 8 + 1)
    for index in indexes:
        bits[index >> 3] |= 1 << (index & 7)
    return int.from_bytes(bits, "little")


def rows_in(rows: int) -> Iterator[int]:
    """The rows of a set, in order."""
    return compress(count(), map(int, reversed(f"{rows:b}")))


def select_rows(rows: int, places: int) -> int:
    """Of the rows of a set those at these places, counted in the order of the rows."""
    chosen = map(int, reversed(f"{places:b}"))
    return row_set(
        [row for row, is_chosen in zip(rows_in(rows), chosen, strict=False) if is_chosen]
    )


def places_of(rows: int, among: int) -> int:
    """The places at which the set `among` has the rows of the set `rows`."""
    bits = rows.to_bytes((max(rows, among).bit_length() + 7) // 8, "little")
    return row_set([at for at, row in enumerate(rows_in(among)) if bits[row >> 3] >> (row & 7) & 1])


def unite(sets: Iterable[int]) -> int:
    """All rows that are in one of the sets."""
    united = 0
    for each in sets:
        united |= each
    return united


def pack_rows(rows: int) -> bytes:
    """A set as it is stored."""
    return zlib.compress(rows.to_bytes((rows.bit_length() + 7) // 8, "little"))


def unpack_rows(data: bytes) -> int:
    """The inverse of `pack_rows`; no data is the empty set. Raises UnreadableDataError."""
    if not data:
        return 0
    unpacker = zlib.decompressobj()
    try:
        bits = unpacker.decompress(data, _MAX_BYTES + 1)
    except zlib.error as error:
        raise UnreadableDataError("a set of rows") from error
    if len(bits) > _MAX_BYTES or not unpacker.eof:
        raise UnreadableDataError("a set of rows")
    return int.from_bytes(bits, "little")
