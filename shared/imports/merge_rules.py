"""The rules of an import type whose rows merge into one record each: what such types share.

A type brings its model, its key, what it says of a row beyond its fields, and what is promoted;
the rest is the same for all of them (workers, assignments).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from shared.imports.import_type import (
    KIND_OF_FIELD,
    Decision,
    Document,
    FoundBy,
    ListedValue,
    OnExisting,
    Options,
    ReadRow,
    RecordRules,
    Reference,
    RowKey,
    none_of,
)
from shared.imports.messages import Message, MessageId, bounded
from shared.imports.model import UNDESCRIBED, Record, Shape, normal_reference, schema_of, shape_of
from shared.imports.results import MAX_MESSAGES, Outcome, RowResult, failed
from shared.imports.row_reader import is_sensitive, read_key, read_row
from shared.imports.usual_values import unusual_values

# Merging a row into the stored record, and deciding by that what the row does
# (docs/contracts.md#0).
#
# A missing property keeps the stored value, None clears it. A nested object that merges per
# property does the same one level down, and disappears when it holds nothing any more; everything
# else (text, whole objects, lists) replaces what was there. Records hold nothing that is None, so
# two records are equal exactly where they say the same: dates are ISO text and equal amounts have
# equal texts by then.

# Messages kept from deciding: they fit beside those that reading keeps.
MAX_REVIEW_MESSAGES: Final = 40

# What a type says of a row beyond its fields: review(what the row sent, the merged record). Both
# are without the fields of the row that could not be read.
Review = Callable[[Document, Document], Iterable[Message]]


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
            Message(MessageId.REQUIRED_FIELD_MISSING, name)
            for name in shape_of(model).required_in_record
            if name not in merged and name not in row.unreadable
        ]
    found += review(row.values, merged)
    found += unusual_values(row.values, shape_of(model), options.accepted_on)
    messages = bounded(sorted(found, key=lambda message: not message.is_error), MAX_REVIEW_MESSAGES)
    if not row.is_readable or any(message.is_error for message in messages):
        return Decision(Outcome.FAILED, None, messages, merged)
    if merged == stored:
        return Decision(Outcome.UNCHANGED, None, (*messages, Message(MessageId.NOTHING_TO_CHANGE)))
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


# Rows of one record within one import: applied in the order they were sent, written once.

NO_REFUSALS: Final[Mapping[int, Message]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Folded:
    """What the rows of one record come to.

    `document` is the record they leave behind; None where it stays as it is. It is there whenever
    a row took effect, also where the rows cancel each other out: the record must then carry the
    stamp, or a redelivery would judge them by what they themselves left behind.
    `position` is the index of the row that had the last word (-1 without one).
    """

    document: Document | None
    position: int
    results: tuple[RowResult, ...]


# Messages for what a row refers to and what is not there. Asked with the row, the record that it
# would leave (what it sent, where it leaves none), and the record before it.
Missing = Callable[[ReadRow, Document, Document | None], tuple[Message, ...]]


# Told of each row that takes effect: its index, the record before it, the record after it.
ChangeListener = Callable[[int, Document | None, Document | None], None]


def nothing_missing(
    _row: ReadRow, _document: Document, _before: Document | None
) -> tuple[Message, ...]:
    """For types without references."""
    return ()


def fold(
    rules: RecordRules,
    rows: Sequence[ReadRow],
    stored: Document | None,
    options: Options,
    missing: Missing = nothing_missing,
    on_change: ChangeListener | None = None,
    refusals: Mapping[int, Message] = NO_REFUSALS,
) -> Folded:
    """Apply the rows of one record in order, each to what the one before left behind.

    A failing row changes nothing; its result names everything that is wrong with it, as far as its
    fields could be read. A row that took effect and was overwritten by a later one keeps its
    outcome and says 1102 (docs/contracts.md#0, order). `on_change` is called with what each row
    changed. `refusals` are Errors of rows, by index, that do not come from the row or the record.
    """
    document: Document | None = None
    last = -1
    results: list[RowResult] = []
    for row in rows:
        before = document if last >= 0 else stored
        result, left = _apply(rules, row, before, options, missing, refusals.get(row.index))
        if left is not None:
            if on_change is not None:
                on_change(row.index, before, left)
            if last >= 0:
                results[last] = results[last].with_message(
                    Message(MessageId.OVERWRITTEN_BY_LATER_ROW)
                )
            document, last = left, len(results)
        results.append(result)
    position = results[last].index if last >= 0 else -1
    return Folded(document, position, tuple(results))


def _apply(
    rules: RecordRules,
    row: ReadRow,
    stored: Document | None,
    options: Options,
    missing: Missing,
    refusal: Message | None,
) -> tuple[RowResult, Document | None]:
    decision = rules.decide(row, stored, options)
    messages = (*row.messages, *decision.messages)
    unknown: tuple[Message, ...] = ()
    document = decision.document or decision.failed_document
    if document is not None:
        unknown = missing(row, document, stored)
    if refusal is not None:
        unknown = (refusal, *unknown)
        messages = tuple(
            message for message in messages if message.id != MessageId.NOTHING_TO_CHANGE
        )
    if unknown:
        room = max(1, MAX_MESSAGES - len(messages))
        return failed(row.index, row.key, *messages, *bounded(unknown, room)), None
    result = RowResult(row.index, row.key, decision.outcome, messages)
    return result, decision.document if decision.outcome.took_effect else None


def judge_without_key(
    rules: RecordRules, row: ReadRow, options: Options, missing: Missing
) -> RowResult:
    """The result of a row whose key cannot be read: it fails, with all that its fields have wrong.

    What is stored of its record cannot be known, so nothing is said that depends on it.
    """
    keyless = replace(row, unreadable=row.unreadable.union(rules.key_fields))
    result, _ = _apply(rules, keyless, None, options, missing, None)
    return failed(row.index, row.key, *result.messages)


def all_failed(rows: Sequence[ReadRow], message: Message) -> tuple[RowResult, ...]:
    """The same end for every row, whatever the rules would have said of it."""
    return tuple(failed(row.index, row.key, message) for row in rows)


# Text of a record as a column of its entity, to be searched by.

# Characters of a column: it is there to be searched, the document has the whole value.
MAX_COLUMN: Final = 255


def text_columns(document: Document, names: Iterable[str]) -> dict[str, str]:
    """These texts of the record, where it has them; control characters become blanks."""
    return {name: _searchable(document[name][:MAX_COLUMN]) for name in names if name in document}


def _searchable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)


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


# Which values of a record belong into reference lists (`shared.imports.import_type`).
#
# Entries and values are compared in the form of a reference: trimmed, in Unicode NFC, case and
# zeros as they are.


def listed_form(text: str) -> str:
    """An entry of a list, or a value, in the form that both are compared in.

    What is too long for a reference is only trimmed: no list has it.
    """
    return normal_reference(text) or text.strip()


def listed_values(
    document: Document, names: Iterable[str], path: str = "", *, is_sensitive: bool = False
) -> Iterator[ListedValue]:
    """The values of these fields, where the object has them; `path` stands before their names."""
    for name in names:
        value = document.get(name)
        if value is not None:
            kind = KIND_OF_FIELD[name]
            yield ListedValue(path + name, kind, listed_form(value), is_sensitive)
