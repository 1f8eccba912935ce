"""Sets of rows of an import, by their 0-based indexes: one bit of a whole number per row.

100,000 rows are 12.5 KB, however many of them are in the set. Union, intersection and difference
are those of whole numbers (`|`, `&`, `& ~`), and `int.bit_count` counts the rows.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Iterator
from itertools import compress, count

from shared.errors import UnreadableDataError

# A million rows, the most that GATEWAY_MAX_ROWS allows.
_MAX_BYTES = 125_000


def row_set(indexes: Collection[int]) -> int:
    """The set of these rows."""
    bits = bytearray(max(indexes, default=-1) // 8 + 1)
    for index in indexes:
        bits[index >> 3] |= 1 << (index & 7)
    return int.from_bytes(bits, "little")


def rows_in(rows: int) -> Iterator[int]:
    """The rows of a set, in order."""
    return compress(count(), map(int, reversed(f"{rows:b}")))


def select_rows(rows: int, positions: int) -> int:
    """The rows of a set that are at these positions, counted in the order of the rows."""
    flags = map(int, reversed(f"{positions:b}"))
    return row_set(
        [row for row, is_selected in zip(rows_in(rows), flags, strict=False) if is_selected]
    )


def positions_in(rows: int, all_rows: int) -> int:
    """The positions in the set `all_rows` of the rows of the set `rows`."""
    bits = rows.to_bytes((max(rows, all_rows).bit_length() + 7) // 8, "little")
    return row_set(
        [
            position
            for position, row in enumerate(rows_in(all_rows))
            if bits[row >> 3] >> (row & 7) & 1
        ]
    )


def unite(sets: Iterable[int]) -> int:
    """The rows that are in any of the sets."""
    union = 0
    for rows in sets:
        union |= rows
    return union


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
