"""Merging a row into the stored record, and deciding by that what the row does (CONTRACTS 0).

A missing property keeps the stored value, None clears it. A nested object that merges per
property does the same one level down, and disappears when it holds nothing any more; everything
else (text, whole objects, lists) replaces what was there. Records hold nothing that is None, so
two records are equal exactly where they say the same: dates are ISO text and equal amounts have
equal texts by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from shared.imports.definition import Decision, Document, OnExisting, Options, ReadRow
from shared.imports.messages import Message, bounded
from shared.imports.outcomes import Outcome
from shared.imports.shapes import Record, Shape, shape_of
from shared.imports.usual_values import unusual_values

REQUIRED: Final = 1001
NO_CHANGE: Final = 1103
MAX_REVIEW_MESSAGES: Final = 40
"""Messages kept from deciding: they fit beside those that reading keeps."""

Review = Callable[[Document, Document], Iterable[Message]]
"""What a type says of a row beyond its fields: review(what the row sent, the merged record). Both
are without the fields of the row that could not be read."""


def merge(stored: Document | None, sent: Document, model: type[Record]) -> Document:
    """The record that is left when a row's values are put over the stored one; both stay as is."""
    return _merge(stored or {}, sent, shape_of(model))


def _merge(stored: Document, sent: Document, shape: Shape) -> Document:
    merged = stored | sent
    for name, nested in shape.merging.items():
        if sent.get(name) is not None:
            merged[name] = _merge(stored.get(name) or {}, sent[name], nested) or None
    if None in merged.values():
        return {name: value for name, value in merged.items() if value is not None}
    return merged


def decide_merge(
    row: ReadRow,
    stored: Document | None,
    options: Options,
    *,
    model: type[Record],
    key_fields: tuple[str, ...],
    exists: Message,
    review: Review,
) -> Decision:
    """What a row of a merging import type does to the stored record.

    `exists` is said where the integration takes a row for a stored record as an error. A row whose
    record would lack a field that every record has (1001), or whose review has an Error, fails. So
    does a row with a field that could not be read: its other fields are judged all the same, but
    for what needs the unreadable one.
    """
    is_taken = stored is not None and options.on_existing is OnExisting.ERROR
    found = [exists] if is_taken else []
    merged = merge(_without_paths(stored or {}, row.unreadable), row.values, model)
    if row.unreadable.isdisjoint(key_fields):
        found += [
            Message(REQUIRED, name)
            for name in shape_of(model).required_in_record
            if name not in merged and name not in row.unreadable
        ]
    found += review(row.values, merged)
    found += unusual_values(row.values, shape_of(model), options.accepted_on)
    messages = bounded(sorted(found, key=lambda message: not message.is_error), MAX_REVIEW_MESSAGES)
    if not row.is_readable or any(message.is_error for message in messages):
        return Decision(Outcome.FAILED, None, messages, merged)
    if merged == stored:
        return Decision(Outcome.UNCHANGED, None, (*messages, Message(NO_CHANGE)))
    outcome = Outcome.NEW if stored is None else Outcome.UPDATED
    return Decision(outcome, merged, messages)


def _without_paths(stored: Document, paths: Iterable[str]) -> Document:
    """The stored record without the fields that the row would replace by what cannot be read."""
    kept = stored
    for path in paths:
        name, _, rest = path.partition(".")
        value = kept.get(name)
        if rest and isinstance(value, dict):
            kept = kept | {name: _without_paths(value, (rest,))}
        elif name in kept:
            kept = {other: value for other, value in kept.items() if other != name}
    return kept
