"""A file cut into calls: within the limits of the gateway, each with a key of its own.

The key says which rows these are, of which file, and how they are asked for, so that the same
command sends the same calls again: what went in the first time is answered and not done again.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.errors import GatewayError


class RowTooLargeError(GatewayError):
    """A row that no call can carry."""


@dataclass(frozen=True, slots=True)
class RequestChunk:
    """The rows of one call; `first` is the place in the file of its first row, from 0."""

    first: int
    rows: Sequence[str]
    key: str

    def body(self) -> bytes:
        """The rows as a JSON array."""
        return f"[{','.join(self.rows)}]".encode()


@dataclass(frozen=True, slots=True)
class PartLimits:
    """The most that one call carries."""

    rows: int
    body_bytes: int


def cut_into_chunks(
    rows: Sequence[str], limits: PartLimits, asked: str, secret: str, lines: Sequence[int] = ()
) -> list[RequestChunk]:
    """The parts of a file, in order; `asked` is all else that the calls say.

    The gateway stores the keys, so they are hashed under the caller's `secret`: no value of a short
    file can be guessed from one. `lines` has the line of the file that each row begins in, for
    messages. Raises RowTooLargeError.
    """
    whole = hmac.new(secret.encode(), asked.encode(), "sha256")
    for row in rows:
        whole.update(b"\0" + row.encode())
    parts = []
    for start, end in _chunk_spans(rows, limits, lines):
        own = hashlib.sha256(f"{whole.hexdigest()} {start} {end}".encode()).hexdigest()
        parts.append(RequestChunk(start, rows[start:end], f"file-{own[:48]}"))
    return parts


def _chunk_spans(
    rows: Sequence[str], limits: PartLimits, lines: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """First row, and the row behind the last, of each part; brackets and commas are counted."""
    start, size = 0, 2
    for place, row in enumerate(rows):
        length = len(row.encode()) + 1
        if length + 2 > limits.body_bytes:
            line = f" (line {lines[place]})" if lines else ""
            raise RowTooLargeError(
                f"The row of index {place}{line} has {length - 1} bytes, and a call takes "
                f"{limits.body_bytes}: shorten the row."
            )
        if place - start == limits.rows or size + length > limits.body_bytes:
            yield start, place
            start, size = place, 2
        size += length
    if start < len(rows):
        yield start, len(rows)
