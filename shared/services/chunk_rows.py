"""From the lines of a chunk to rows that were read, gathered by the record they speak of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from shared.imports.definition import ImportType, ReadRow, RowKey
from shared.imports.messages import Message
from shared.imports.outcomes import RowResult, failed
from shared.imports.payload import fold_names, read_lines
from shared.services.settling import KeyRows
from shared.storage.stored_records import RecordKey, partition_of, place_of, row_of


@dataclass(frozen=True, slots=True)
class ChunkRows:
    """A chunk's rows: by record, sorted; those without a key already have their result.

    `order` holds the rows' indexes in plan order, `groups` the groups that the records lie in.
    """

    keys: Sequence[KeyRows]
    without_key: Sequence[RowResult]
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


def read_chunk_rows(kind: ImportType, tenant: str, data: bytes) -> ChunkRows:
    """Read every row of a chunk's lines by the rules of its type."""
    rules = kind.rules
    rows = [
        (rules.identify(fold_names(row)), rules.read(index, row)) for index, row in read_lines(data)
    ]
    return _gathered(tenant, rows, lambda row: failed(row.index, row.key, *row.messages))


def read_keys_only(message: Message) -> Callable[[ImportType, str, bytes], ChunkRows]:
    """A reader that runs no rule: rows have their keys and nothing else.

    Rows without a usable key end with `message`.
    """

    def read(kind: ImportType, tenant: str, data: bytes) -> ChunkRows:
        rows = []
        for index, row in read_lines(data):
            folded = fold_names(row)
            rows.append(
                (kind.rules.identify(folded), ReadRow(index, _sent_key(kind, folded), {}, ()))
            )
        return _gathered(tenant, rows, lambda row: failed(row.index, row.key, message))

    return read


def _sent_key(kind: ImportType, folded: Mapping[str, Any]) -> tuple[str | None, ...]:
    values = [folded.get(name.lower()) for name in kind.rules.key_fields]
    return tuple(
        value.strip() if isinstance(value, str) and value.strip() else None for value in values
    )


def _gathered(
    tenant: str,
    rows: Sequence[tuple[RowKey | None, ReadRow]],
    end: Callable[[ReadRow], RowResult],
) -> ChunkRows:
    placed = sorted(
        ((record_key(tenant, key), row) for key, row in rows if key is not None),
        key=lambda pair: (pair[0].partition, pair[0].row, pair[1].index),
    )
    keys = [
        KeyRows(key, tuple(row for _, row in group))
        for key, group in groupby(placed, key=lambda pair: pair[0])
    ]
    without_key = [end(row) for key, row in rows if key is None]
    groups = frozenset(key.group for key, _ in rows if key is not None)
    return ChunkRows(keys, without_key, [row.index for _, row in rows], groups)
