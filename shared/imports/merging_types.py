"""The rules of an import type whose rows merge into one record each: what such types share.

A type brings its model, its key, what it says of a row beyond its fields, and what is promoted;
the rest is the same for all of them (workers, assignments).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.imports.columns import text_columns
from shared.imports.definition import (
    Decision,
    Document,
    FoundBy,
    ListedValue,
    Options,
    ReadRow,
    RecordRules,
    Reference,
    RowKey,
    none_of,
)
from shared.imports.faults import is_sensitive
from shared.imports.merging import Review, decide_merge
from shared.imports.messages import Message
from shared.imports.reading import read_key, read_row
from shared.imports.schema import UNDESCRIBED, schema_of
from shared.imports.shapes import Record, shape_of


def merging_rules(
    *,
    model: type[Record],
    title: str,
    key_fields: tuple[str, str],
    record_id_fields: tuple[str, ...],
    exists: int,
    review: Review,
    columns: tuple[str, ...],
    meanings: Mapping[str, Mapping[str, str]] = UNDESCRIBED,
    lookups: Callable[[Document], Sequence[str]] = none_of,
    found_by: Callable[[Document], Sequence[FoundBy]] = none_of,
    references: Callable[[Document], Sequence[Reference]] = none_of,
    listed: Callable[[Document], Sequence[ListedValue]] = none_of,
) -> RecordRules:
    """Rules for rows of `model`.

    `key_fields` are the group's field and the reference's. `exists` is the message, on the
    reference, where the integration takes a row for a stored record as an error. `columns` are the
    fields that people search by; `meanings` describe the fields by model class.
    """
    group, reference = (name.lower() for name in key_fields)

    def identify(row: Mapping[str, Any]) -> RowKey | None:
        return read_key(row, group, reference)

    def read(index: int, row: Mapping[str, Any]) -> ReadRow:
        return read_row(index, row, model, key_fields)

    def decide(row: ReadRow, stored: Document | None, options: Options) -> Decision:
        said = Message(exists, key_fields[1], row.key[1])
        return decide_merge(
            row,
            stored,
            options,
            model=model,
            key_fields=key_fields,
            exists=said,
            review=review,
        )

    return RecordRules(
        key_fields=key_fields,
        record_id_fields=record_id_fields,
        identify=identify,
        read=read,
        decide=decide,
        columns=lambda document: text_columns(document, columns),
        lookups=lookups,
        found_by=found_by,
        json_schema=lambda: schema_of(model, title, meanings),
        references=references,
        listed=listed,
        is_sensitive=lambda path: is_sensitive(path, shape_of(model)),
    )
