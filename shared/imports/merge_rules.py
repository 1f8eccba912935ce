"""The shared rules of the import types whose rows each merge into one record: what changes, and
which values are implausible (Warning 2003).

A type (workers, assignments) adds its model, its key, its own review of a row, and the fields that
become columns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from shared.imports.files.notes import with_places
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
    RowKey,
    none_of,
)
from shared.imports.messages import Message, MessageId, bounded
from shared.imports.model import (
    MAX_TEXT,
    SHORTEST,
    UNDESCRIBED,
    Record,
    Shape,
    UsualFields,
    normal_reference,
    schema_of,
    shape_of,
)
from shared.imports.results import MAX_MESSAGES, Outcome, RowResult, failed
from shared.imports.row_reader import as_sent, dotted, is_sensitive, read_key, read_row
from shared.imports.text_checks import MASK

# Values that the rules allow but that are implausible: Warning 2003.
#
# See docs/contracts.md#1.
#
# The fields of a model declare what is usual (`UsualLength`, `UsualDays`, `UsualNumbers`), so this
# works for every type. Each value of a row is checked once.

FIRST_DAY: Final = "1900-01-01"
LAST_DAY: Final = "2199-12-31"
# Many systems write an open end date like this.
OPEN_END: Final = "9999-12-31"


def unusual_values(sent: Document, shape: Shape, accepted_on: str = "") -> Iterable[Message]:
    """A Warning for each value of a row, by contract names, that is not usual for its field.

    `accepted_on` is the day of the import as ISO text, to compare dates of birth with; "" where it
    is unknown.
    """
    if _are_usual(sent, shape, accepted_on):
        return ()
    return _find_unusual(sent, shape, accepted_on, "")


def _are_usual(sent: Document, shape: Shape, accepted_on: str) -> bool:
    """Whether it is certain that `_find_unusual` finds nothing, which is so for nearly all rows.

    This check takes half the time of `_find_unusual`.
    """
    usual = shape.usual
    for name, value in sent.items():
        if type(value) is str:
            if len(value) > SHORTEST and len(value) > _usual_length(name, usual):
                return False
        elif type(value) is dict:
            if name in shape.nested and not _are_usual(value, shape.nested[name], accepted_on):
                return False
        elif type(value) is list and name in shape.nested:
            if name in usual.items and len(value) > 1:
                return False
            for item in value:
                if not _are_usual(item, shape.nested[name], accepted_on):
                    return False
    if usual.days:
        for name, days in usual.days.items():
            value = sent.get(name)
            if value is None or (value == OPEN_END and not days.is_past):
                continue
            last_day = accepted_on if days.is_past and accepted_on else LAST_DAY
            # A time of day makes a text larger than its day alone.
            if not FIRST_DAY <= value <= last_day:
                return False
    if usual.numbers:
        for name, numbers in usual.numbers.items():
            value = sent.get(name)
            if value is not None and not numbers.least <= Decimal(value) <= numbers.most:
                return False
    return True


def _usual_length(name: str, usual: UsualFields) -> int:
    declared = usual.lengths.get(name)
    return MAX_TEXT if declared is None else declared.most


def _find_unusual(sent: Document, shape: Shape, accepted_on: str, path: str) -> Iterator[Message]:
    """`path` is the prefix of the names in the messages."""
    usual = shape.usual
    details: dict[str, str] = {}
    for name, value in sent.items():
        max_length = _usual_length(name, usual)
        if type(value) is str and len(value) > max_length:
            details[name] = f"it has {len(value)} characters, at most {max_length} are usual"
    for name, days in usual.days.items():
        value = sent.get(name)
        if value is None:
            continue
        day = value[: len(FIRST_DAY)]
        if day < FIRST_DAY:
            details[name] = f"it is before {FIRST_DAY}"
        elif days.is_past and accepted_on and day > accepted_on:
            details[name] = "it is in the future"
        elif day > LAST_DAY and day != OPEN_END:
            details[name] = f"it is after {LAST_DAY}"
    for name, numbers in usual.numbers.items():
        value = sent.get(name)
        if value is not None and not numbers.least <= Decimal(value) <= numbers.most:
            details[name] = f"{numbers.least} to {numbers.most} is usual"
    for name, listed in usual.items.items():
        values = [item[listed.unique] for item in sent.get(name) or () if listed.unique in item]
        if len(set(values)) < len(values):
            details[name] = f"two elements have the same {listed.unique}"
    for name, detail in details.items():
        shown = None if shape.fields[name].is_sensitive else as_sent(sent[name])
        yield Message(MessageId.IMPLAUSIBLE_VALUE, path + name, shown, f"{detail}; check it")
    for name, nested in shape.nested.items():
        value = sent.get(name)
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield from _find_unusual(item, nested, accepted_on, f"{path}{name}[{index}].")
        elif value is not None:
            yield from _find_unusual(value, nested, accepted_on, f"{path}{name}.")


# Merging a row into the stored record decides the row's outcome (docs/contracts.md#0).
#
# A missing property keeps the stored value, None clears it. A nested object that merges per
# property does the same one level down and is removed when it becomes empty; everything else
# (text, whole objects, lists) replaces the stored value. Records contain no None, dates are ISO
# text and equal amounts have equal texts, so equal records compare as equal.

# Messages from deciding; they fit beside those from reading (MAX_READ_MESSAGES).
MAX_REVIEW_MESSAGES: Final = 40

# The type's own checks of a row: review(values of the row, merged record) yields messages. Both
# lack the fields of the row that could not be read.
Review = Callable[[Document, Document], Iterable[Message]]


def merge(stored: Document | None, sent: Document, model: type[Record]) -> Document:
    """The record that results from a row's values and the stored record; changes neither."""
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
    exists: int,
    review: Review,
) -> Decision:
    """Decide the outcome of a row by merging it into the stored record.

    `exists` is the id of the message, on the last key field, where the integration treats a row for
    a stored record as an error. A row fails when its record would lack a required field (1001) or
    when its review has an Error. A row with an unreadable field fails too; its other fields are
    still checked, except where a check needs the unreadable one.
    """
    problems: list[Message] = []
    if stored is not None and options.on_existing is OnExisting.ERROR:
        problems.append(Message(exists, key_fields[-1], row.key[-1]))
    shape = shape_of(model)
    merged = _merge(_without_fields(stored or {}, row.unreadable), row.values, shape)
    if row.unreadable.isdisjoint(key_fields):
        problems += [
            Message(MessageId.REQUIRED_FIELD_MISSING, name)
            for name in shape.required_in_record
            if name not in merged and name not in row.unreadable
        ]
        problems += [
            Message(MessageId.REQUIRED_FIELD_MISSING, names[0])
            for names in model.needs_one_of
            if row.unreadable.isdisjoint(names) and merged.keys().isdisjoint(names)
        ]
    problems += review(row.values, merged)
    problems += unusual_values(row.values, shape, options.accepted_on)
    messages: tuple[Message, ...] = ()
    if problems:
        in_order = sorted(problems, key=lambda message: not message.is_error)
        messages = bounded(in_order, MAX_REVIEW_MESSAGES)
    if not row.is_readable or any(message.is_error for message in messages):
        return Decision(Outcome.FAILED, None, messages, merged)
    if merged == stored:
        return Decision(Outcome.UNCHANGED, None, (*messages, _NOTHING_TO_CHANGE))
    outcome = Outcome.NEW if stored is None else Outcome.UPDATED
    return Decision(outcome, merged, messages)


_NOTHING_TO_CHANGE: Final = Message(MessageId.NOTHING_TO_CHANGE)


def _without_fields(stored: Document, paths: Iterable[str]) -> Document:
    """The stored record without the fields that the row would replace by unreadable values."""
    result = stored
    for path in paths:
        name, _, rest = path.partition(".")
        value = result.get(name)
        if rest and isinstance(value, dict):
            result = result | {name: _without_fields(value, (rest,))}
        elif name in result:
            result = {other: value for other, value in result.items() if other != name}
    return result


# The rows of one record within one import are applied in the order they were sent, and the record
# is written once.

NO_REFUSALS: Final[Mapping[int, Message]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class MergeResult:
    """The result of merging the rows of one record.

    `document` is the new record; None where no row took effect. It is set whenever a row took
    effect, even when the rows cancel each other out. The record must then carry the stamp, or a
    redelivery would evaluate the rows against their own result. `position` is the index of the last
    row that took effect (-1 without one).
    """

    document: Document | None
    position: int
    results: tuple[RowResult, ...]


# Errors for the references of a row that do not exist, Warnings for those that contradict it. Its
# arguments are the row, the record that results from it (the row's values where it fails), and the
# record before it.
FindMissing = Callable[[ReadRow, Document, Document | None], tuple[Message, ...]]


# Called for each row that takes effect, with its index, the record before it and the one after it.
ChangeListener = Callable[[int, Document | None, Document | None], None]


def no_missing_references(
    _row: ReadRow, _document: Document, _before: Document | None
) -> tuple[Message, ...]:
    """For types without references."""
    return ()


def merge_rows(
    rules: RecordRules,
    rows: Sequence[ReadRow],
    stored: Document | None,
    options: Options,
    find_missing: FindMissing = no_missing_references,
    on_change: ChangeListener | None = None,
    refusals: Mapping[int, Message] = NO_REFUSALS,
) -> MergeResult:
    """Apply the rows of one record in order, each to the result of the one before.

    A failing row changes nothing; its result names all its faults, as far as its fields could be
    read. A row that took effect and was overwritten by a later one keeps its outcome and gets 1102
    (docs/contracts.md#0, order). `on_change` is called for each row that takes effect. `refusals`
    are Errors by row index that come neither from the row nor from the record.
    """
    document: Document | None = None
    last_effective = -1
    results: list[RowResult] = []
    for row in rows:
        before = document if last_effective >= 0 else stored
        result, changed_document = _apply(
            rules, row, before, options, find_missing, refusals.get(row.index)
        )
        if changed_document is not None:
            if on_change is not None:
                on_change(row.index, before, changed_document)
            if last_effective >= 0:
                results[last_effective] = results[last_effective].with_message(
                    Message(MessageId.OVERWRITTEN_BY_LATER_ROW)
                )
            document, last_effective = changed_document, len(results)
        results.append(result)
    last_index = results[last_effective].index if last_effective >= 0 else -1
    return MergeResult(document, last_index, tuple(results))


def _apply(
    rules: RecordRules,
    row: ReadRow,
    stored: Document | None,
    options: Options,
    find_missing: FindMissing,
    refusal: Message | None,
) -> tuple[RowResult, Document | None]:
    decision = rules.decide(row, stored, options)
    messages = (*row.messages, *with_places(decision.messages, row.lists))
    missing_messages: tuple[Message, ...] = ()
    document = decision.document or decision.failed_document
    missing = () if document is None else find_missing(row, document, stored)
    if missing:
        missing = with_places(missing, row.lists)
        missing_messages = tuple(message for message in missing if message.is_error)
        messages = (*messages, *(message for message in missing if not message.is_error))
    if refusal is not None:
        missing_messages = (refusal, *missing_messages)
        messages = tuple(
            message for message in messages if message.id != MessageId.NOTHING_TO_CHANGE
        )
    if missing_messages:
        limit = max(1, MAX_MESSAGES - len(messages))
        return failed(row.index, row.key, *messages, *bounded(missing_messages, limit)), None
    result = RowResult(row.index, row.key, decision.outcome, messages)
    return result, decision.document if decision.outcome.took_effect else None


def evaluate_without_key(
    rules: RecordRules, row: ReadRow, options: Options, find_missing: FindMissing
) -> RowResult:
    """The result of a row whose key cannot be read: it fails with all faults of its fields.

    Its stored record is unknown, so no message depends on that.
    """
    keyless = replace(row, unreadable=row.unreadable.union(rules.key_fields))
    result, _ = _apply(rules, keyless, None, options, find_missing, None)
    return failed(row.index, row.key, *result.messages)


def fail_all_rows(rows: Sequence[ReadRow], message: Message) -> tuple[RowResult, ...]:
    """A failed result with this message for every row; the rules are not applied."""
    return tuple(failed(row.index, row.key, message) for row in rows)


# Some texts of a record are also columns of its entity, for searching.

# Characters of a column; the document has the whole value.
MAX_COLUMN: Final = 255


def text_columns(document: Document, names: Iterable[str]) -> dict[str, str]:
    """The record's texts of these names, if any; control characters become blanks."""
    return {name: column_text(document[name]) for name in names if name in document}


def column_text(text: str) -> str:
    """A text as a column has it."""
    text = text[:MAX_COLUMN]
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
    listed: Callable[[Document], Sequence[ListedValue]] = none_of,
) -> RecordRules:
    """Rules for rows of `model`.

    `key_fields` are the group's field and the reference's. `exists` is the id of the message, on
    the reference, where the integration treats a row for a stored record as an error. `columns` are
    the fields for searching; `meanings` describe the fields by model class.
    """
    group, reference = (name.lower() for name in key_fields)

    def identify(row: Mapping[str, Any]) -> RowKey | None:
        return read_key(row, group, reference)

    def read(index: int, row: Mapping[str, Any]) -> ReadRow:
        return read_row(index, row, model, key_fields)

    def decide(row: ReadRow, stored: Document | None, options: Options) -> Decision:
        return decide_merge(
            row,
            stored,
            options,
            model=model,
            key_fields=key_fields,
            exists=exists,
            review=review,
        )

    def alone(row: ReadRow) -> Document | None:
        return merge(None, row.values, model) if row.is_readable else None

    return RecordRules(
        key_fields=key_fields,
        record_id_fields=record_id_fields,
        identify=identify,
        read=read,
        alone=alone,
        decide=decide,
        columns=lambda document: text_columns(document, columns),
        lookups=lookups,
        found_by=found_by,
        json_schema=lambda: schema_of(model, title, meanings),
        listed=listed,
        is_sensitive=lambda path: is_sensitive(path, shape_of(model)),
    )


# The values of a record that must be in reference lists (`shared.imports.import_type`).
#
# Entries and values are compared in the form of a reference: trimmed, in Unicode NFC, with case and
# zeros unchanged.


def listed_form(text: str) -> str:
    """An entry of a list, or a value, in the form in which both are compared.

    A text that is too long for a reference is only trimmed, since no list can contain it.
    """
    return normal_reference(text) or text.strip()


def listed_values(
    document: Document, names: Iterable[str], path: str = "", *, is_sensitive: bool = False
) -> Iterator[ListedValue]:
    """The values of these fields, where the object has them; `path` is a prefix of their names."""
    for name in names:
        value = document.get(name)
        if value is not None:
            kind = KIND_OF_FIELD[name]
            yield ListedValue(path + name, kind, listed_form(value), is_sensitive)


# The changes of a row to a record, field by field (docs/contracts.md#0, dryRun).

Path = tuple[str | int, ...]
IsSensitive = Callable[[Sequence[str | int]], bool]


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field's value before and after a row; None where it has none. `field` is its path."""

    field: str
    before: Any
    after: Any


def changed_fields(
    before: Document | None, after: Document | None, is_sensitive: IsSensitive
) -> tuple[FieldChange, ...]:
    """The single values that differ, in the order of the fields; a record may be None."""
    old, new = dict(leaves((), before)), dict(leaves((), after))
    return tuple(
        FieldChange(dotted(path), *_masked_pair(path, old.get(path), new.get(path), is_sensitive))
        for path in dict.fromkeys((*old, *new))
        if old.get(path) != new.get(path)
    )


def changes_text(changes: Sequence[FieldChange]) -> str:
    """The changes as the JSON of the answer; as objects they would take ten times the memory."""
    shown = [{"field": item.field, "before": item.before, "after": item.after} for item in changes]
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))


def leaves(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    """The path of each single value in a value, and that value."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves((*path, name), item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves((*path, index), item)
    elif value is not None:
        yield path, value


def _masked_pair(path: Path, before: Any, after: Any, is_sensitive: IsSensitive) -> tuple[Any, Any]:
    if not is_sensitive(path):
        return before, after
    return (None if before is None else MASK), (None if after is None else MASK)
