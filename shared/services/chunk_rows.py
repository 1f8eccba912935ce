"""From the lines of a chunk to rows that were read, gathered by the record they speak of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from shared import log
from shared.imports.definition import ImportType, ReadRow, RowKey
from shared.imports.messages import COULD_NOT_BE_PROCESSED, Message
from shared.imports.payload import fold_names, read_lines
from shared.services.settling import KeyRows
from shared.storage.business_records import RecordKey, partition_of, place_of, row_of

SLICE_ROWS = 250
_SHOWN = 200
"""Rows that are read and settled at a time."""


@dataclass(frozen=True, slots=True)
class ChunkRows:
    """Rows of a chunk: by record, sorted, and those without a usable key.

    `order` holds the rows' indexes in plan order, `groups` the groups that the records lie in.
    """

    keys: Sequence[KeyRows]
    without_key: Sequence[ReadRow]
    order: Sequence[int]
    groups: frozenset[str]


def record_key(tenant: str, key: RowKey) -> RecordKey:
    """Where the record of a row lies."""
    return RecordKey(partition_of(tenant, key.group), row_of(key.reference))


def place_in(kind: ImportType, tenant: str) -> Callable[[Mapping[str, Any]], str | None]:
    """For planning: the place of a row whose names are in lower case."""
    identify = kind.rules.identify

    def place(row: Mapping[str, Any]) -> str | None:
        key = identify(row)
        return None if key is None else place_of(record_key(tenant, key))

    return place


Reading = Callable[[ImportType, int, Mapping[str, Any]], tuple[RowKey | None, ReadRow]]
"""How a line becomes a row; the key is None where it is unusable."""


def read_by_rules(
    kind: ImportType, index: int, row: Mapping[str, Any]
) -> tuple[RowKey | None, ReadRow]:
    """Every row by the rules of its type."""
    return kind.rules.identify(fold_names(row)), kind.record_rules.read(index, row)


def read_key_only(
    kind: ImportType, index: int, row: Mapping[str, Any]
) -> tuple[RowKey | None, ReadRow]:
    """No rule is run: a row has its key and nothing else."""
    folded = fold_names(row)
    return kind.rules.identify(folded), ReadRow(index, _sent_key(kind, folded), {}, ())


def read_slices(
    kind: ImportType, tenant: str, data: bytes, reading: Reading
) -> Iterator[ChunkRows]:
    """The rows of a chunk's lines, some hundreds at a time; rows of one record stay together.

    A read row takes several times the memory of its line, so a chunk is never read as a whole.
    """
    rows: list[tuple[RowKey | None, ReadRow]] = []
    for index, line in read_lines(data):
        key, row = _guarded(kind, reading, index, line)
        if len(rows) >= SLICE_ROWS and (key is None or key != rows[-1][0]):
            yield _gathered(tenant, rows)
            rows = []
        rows.append((key, row))
    if rows:
        yield _gathered(tenant, rows)


def _guarded(
    kind: ImportType, reading: Reading, index: int, line: Mapping[str, Any]
) -> tuple[RowKey | None, ReadRow]:
    """A fault that reading did not foresee is this row's alone."""
    try:
        return reading(kind, index, line)
    except Exception as error:
        log.failure("row.unreadable", error, type=kind.name)
        nothing = (None,) * len(kind.rules.key_fields)
        return None, ReadRow(index, nothing, {}, (Message(COULD_NOT_BE_PROCESSED),))


def _sent_key(kind: ImportType, folded: Mapping[str, Any]) -> tuple[str | None, ...]:
    values = [folded.get(name.lower()) for name in kind.rules.key_fields]
    return tuple(
        value.strip()[:_SHOWN] if isinstance(value, str) and value.strip() else None
        for value in values
    )


def _gathered(tenant: str, rows: Sequence[tuple[RowKey | None, ReadRow]]) -> ChunkRows:
    placed = sorted(
        ((record_key(tenant, key), row) for key, row in rows if key is not None),
        key=lambda pair: (pair[0].partition, pair[0].row, pair[1].index),
    )
    keys = [
        KeyRows(key, tuple(row for _, row in group))
        for key, group in groupby(placed, key=lambda pair: pair[0])
    ]
    without_key = [row for key, row in rows if key is None]
    groups = frozenset(key.group for key, _ in rows if key is not None)
    return ChunkRows(keys, without_key, [row.index for _, row in rows], groups)
