"""Reads a row: each of its faults as a message, its values under contract names.

This works for every import type that has a model (`shared.imports.model`). Reading returns messages
and never raises, whatever the JSON object contains, so that a fault of one row cannot affect others
(docs/design.md#1.4).

First, names get the contract's spelling and blanks become None; this is our own code, because an
unknown property must be reported with its path. Then pydantic validates the whole row. Last, its
errors and the unknown names become messages.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Final

from pydantic import TypeAdapter, ValidationError

from shared.imports.import_type import Document, ReadRow, RowKey
from shared.imports.json_rows import json_kind
from shared.imports.messages import Message, MessageId, bounded, without_repeats
from shared.imports.model import (
    DATE_FORM,
    FAULTS,
    MAX_LICENSE_REFERENCE,
    MAX_REFERENCE,
    FieldShape,
    MergeKind,
    Record,
    Shape,
    UsualDays,
    is_unicode,
    normal_reference,
    shape_of,
)
from shared.imports.results import MAX_MESSAGES
from shared.imports.text_checks import (
    MASK,
    MASK_SENT,
    escaped,
    is_blank,
    looks_masked,
    trimmed,
    warn_of_reference,
)
from shared.imports.valid_rows import read_valid_row

# Characters of a value, or of an unknown name, that a message repeats.
MAX_SHOWN: Final = 200


def message_from_error(error: Mapping[str, Any], shape: Shape) -> Message:
    """Translate an error detail of pydantic to a message about a row of this shape."""
    path = error["loc"]
    value = error["input"]
    fault, detail = FAULTS.get(error["type"], (MessageId.WRONG_TYPE, None))
    if value is None or fault == MessageId.REQUIRED_FIELD_MISSING:
        return Message(MessageId.REQUIRED_FIELD_MISSING, dotted(path))
    if detail is not None:
        detail = detail.format_map(error.get("ctx", {}))
    if fault == MessageId.VALUE_NOT_ALLOWED:
        field = field_at(path, shape)
        if field is not None and field.is_nullable:
            detail = f"{detail}, or null"
    if fault == MessageId.WRONG_TYPE:
        field = field_at(path, shape)
        if field is not None and isinstance(field.usual, UsualDays):
            detail = f"{DATE_FORM} as a string"
        actual = f"{json_kind(value)} was sent"
        detail = f"{detail}, {actual}" if detail else actual
    shown = None if is_sensitive(path, shape) else as_sent(value)
    # A list of wrong elements has the same detail a thousand times.
    return Message(fault, dotted(path), shown, None if detail is None else sys.intern(detail))


def dotted(path: Sequence[str | int]) -> str:
    """`("Rates", 1, "RateCode")` as `Rates[1].RateCode`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def as_sent(value: Any) -> str | None:
    """A value as the text of its JSON, without quotes; None for objects, lists and null."""
    match value:
        case str():
            return printable(value)
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)[:MAX_SHOWN] if abs(value) < 10**MAX_SHOWN else None
        case Decimal() | float():
            return str(value)[:MAX_SHOWN]
        case _:
            return None


def printable(text: str) -> str:
    """The text cut to a message's length, with a question mark for each lone surrogate."""
    return text[:MAX_SHOWN].encode("utf-8", "replace").decode("utf-8")


def is_sensitive(path: Sequence[str | int], shape: Shape) -> bool:
    """Whether the value at the path may be secret; then no message shows it."""
    field = field_at(path, shape)
    return field is None or field.is_sensitive


def field_at(path: Sequence[str | int], shape: Shape) -> FieldShape | None:
    """The field at a path; None where the shape has none."""
    current: Shape | None = shape
    field: FieldShape | None = None
    for step in path:
        if isinstance(step, str) and current is not None:
            field = current.fields.get(step)
            current = None if field is None else field.nested
    return field


# Unknown fields that get a message each, so that a payload full of them makes no huge answer.
MAX_UNKNOWN: Final = 20
# Messages from reading; the rest of MAX_MESSAGES is left for the rules.
MAX_READ_MESSAGES: Final = MAX_MESSAGES - 50


def read_key(row: Mapping[str, Any], group: str, reference: str) -> RowKey | None:
    """The key of a row with lower-case names, from these two fields; None where it is unusable.

    The key is unusable exactly where `read_row` reports a fault of one of the fields.
    """
    first, second = usable_reference(row.get(group)), usable_reference(row.get(reference))
    return None if first is None or second is None else RowKey(first, second)


def usable_reference(value: Any, max_length: int = MAX_REFERENCE) -> str | None:
    """The stored form of a reference from any value of a row; None where it is unusable."""
    reference = normal_reference(value, max_length) if type(value) is str else None
    return reference if reference is not None and is_unicode(reference) else None


def read_row(
    index: int, row: Mapping[str, Any], model: type[Record], key_fields: tuple[str, ...]
) -> ReadRow:
    """Read a row to its values and messages; the row's names may be in any case.

    `values` has the contract's names, with None where the row clears a field. Nested objects that
    are replaced as a whole have no empty properties. For a row with an Error, `values` has the
    readable fields.
    """
    shape = shape_of(model)
    valid = read_valid_row(row, model)
    if valid is not None:
        key = tuple([valid[name] for name in key_fields])
        references = [(name, valid.get(name)) for name in shape.references]
        warnings = [warn_of_reference(name, each) for name, each in references if each is not None]
        return ReadRow(index, key, valid, tuple([each for each in warnings if each is not None]))
    return read_unusual_row(index, row, model, key_fields)


def read_unusual_row(
    index: int, row: Mapping[str, Any], model: type[Record], key_fields: tuple[str, ...]
) -> ReadRow:
    """The same as `read_row`, for any row; it is slower for one without messages."""
    shape = shape_of(model)
    unknown = _UnknownFields()
    sent = _rename_fields(row, shape, "", unknown)
    masked = [*_masked_values(sent, shape, ())] if _may_have_masks(sent, shape) else []
    details: Sequence[Mapping[str, Any]] = ()
    record: Record | None = None
    try:
        record = model.model_validate(sent)
    except ValidationError as error:
        details = error.errors(include_url=False)
    if record is None or masked:
        shown_key = _shown_key(sent, key_fields)
        faults = [message_from_error(each, shape) for each in details if each["loc"] not in masked]
        faults += [Message(MessageId.WRONG_FORM, dotted(path), None, MASK_SENT) for path in masked]
        messages = without_repeats(faults) + _warn_of_references(sent, shape)
        unreadable_paths = [*(detail["loc"] for detail in details), *masked]
        for path in unreadable_paths:
            _remove_value(sent, path)
        _convert_values(sent, shape)
        _reduce_nested(sent, shape)
        unreadable = frozenset(map(dotted, unreadable_paths))
        limited = _limit_messages(messages, unknown)
        return ReadRow(index, shown_key, sent, limited, unreadable)
    _convert(sent, record, shape)
    key = tuple([sent[name] for name in key_fields])
    warnings = _warn_of_references(sent, shape)
    _reduce_nested(sent, shape)
    return ReadRow(
        index, key, sent, _limit_messages(warnings, unknown) if warnings or unknown.count else ()
    )


def _may_have_masks(values: Mapping[str, Any], shape: Shape) -> bool:
    """Whether a sensitive value may be a mask; hardly any row has one, so this is quick."""
    for name in shape.sensitive:
        value = values.get(name)
        if type(value) is str:
            if MASK in value:
                return True
        elif type(value) is dict:
            nested = shape.fields[name].nested
            if nested is not None and _may_have_masks(value, nested):
                return True
        elif type(value) is list:
            return True
    return False


def _masked_values(
    values: Mapping[str, Any], shape: Shape, path: tuple[str | int, ...]
) -> Iterator[tuple[str | int, ...]]:
    """The paths of sensitive values that are the mask of a value; stored, they would destroy it."""
    for name in shape.sensitive:
        value = values.get(name)
        nested = shape.fields[name].nested
        if value is None:
            continue
        if nested is None:
            if looks_masked(value):
                yield (*path, name)
        elif type(value) is dict:
            yield from _masked_values(value, nested, (*path, name))
        elif type(value) is list:
            for position, item in enumerate(value):
                if type(item) is dict:
                    yield from _masked_values(item, nested, (*path, name, position))


@dataclass(slots=True)
class _UnknownFields:
    """The properties that the model does not have: the first paths, and the count of all."""

    paths: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, path: str) -> None:
        self.count += 1
        if self.count <= MAX_UNKNOWN:
            self.paths.append(escaped(path))


def _rename_fields(
    row: Mapping[str, Any], shape: Shape, prefix: str, unknown: _UnknownFields
) -> Document:
    """The row with the contract's names, None for blank text, and no unknown properties."""
    renamed: Document = {}
    fields, folded = shape.fields, shape.folded
    for name, value in row.items():
        field = fields.get(name) or folded.get(name.lower())
        if field is None:
            unknown.add(prefix + name[:MAX_SHOWN])
        elif type(value) is str:
            # Nearly every text begins with a visible character, which costs one comparison.
            is_text = "!" <= value[:1] <= "~" or not is_blank(value)
            renamed[field.name] = value if is_text else None
        elif field.nested is None:
            renamed[field.name] = value
        else:
            path = prefix + field.name
            renamed[field.name] = _rename_nested(value, field, field.nested, path, unknown)
    return renamed


def _rename_nested(
    value: Any, field: FieldShape, shape: Shape, path: str, unknown: _UnknownFields
) -> Any:
    """The same for the value of a field that should be an object or a list of objects.

    A list that is too long keeps one element too many, so that validation refuses it.
    """
    if type(value) is dict:
        return _rename_fields(value, shape, f"{path}.", unknown)
    if type(value) is list:
        items = value if field.max_items is None else value[: field.max_items + 1]
        return [
            _rename_fields(item, shape, f"{path}[{position}].", unknown)
            if type(item) is dict
            else item
            for position, item in enumerate(items)
        ]
    return value


def _convert(values: Document, record: Record, shape: Shape) -> None:
    """Replace the values that the model converts (references, dates, amounts) by its own."""
    model_values = record.__dict__
    for name in shape.converted:
        value = values.get(name)
        if value is None:
            continue
        nested = shape.fields[name].nested
        if nested is None:
            values[name] = model_values[name]
        elif isinstance(value, list):
            for item, model in zip(value, model_values[name], strict=True):
                _convert(item, model, nested)
        else:
            _convert(value, model_values[name], nested)


def _remove_value(values: Document, path: Sequence[str | int]) -> None:
    """Remove the value at the path; an element of a list is replaced by an empty object."""
    holder: Any = values
    for step in path[:-1]:
        holder = holder.get(step) if isinstance(step, str) else holder[step]
        if holder is None:
            return
    final_step = path[-1]
    if isinstance(final_step, str):
        holder.pop(final_step, None)
    else:
        holder[final_step] = {}


def _convert_values(values: Document, shape: Shape) -> None:
    """Convert values field by field, for a row that failed validation and so has no model."""
    for name in shape.converted:
        value = values.get(name)
        if value is None:
            continue
        nested = shape.fields[name].nested
        if nested is None:
            values[name] = _converter(shape.model, name)(value)
            continue
        for item in value if isinstance(value, list) else (value,):
            _convert_values(item, nested)


@cache
def _converter(model: type[Record], name: str) -> Callable[[Any], Any]:
    info = model.model_fields[name]
    # Annotated needs metadata, which a field may lack; pydantic ignores the text.
    annotated: Any = Annotated[info.annotation, "as in its model", *info.metadata]
    return TypeAdapter(annotated).validate_python


def _reduce_nested(values: Document, shape: Shape) -> None:
    """Drop the empty properties of nested objects that merge as a whole; an empty one clears."""
    for name, nested in shape.nested.items():
        value = values.get(name)
        if value is None:
            continue
        if isinstance(value, list):
            values[name] = [_without_blanks(item, nested) for item in value] or None
        elif nested.merge_kind is MergeKind.WHOLE:
            values[name] = _without_blanks(value, nested) or None


def _without_blanks(value: Document, shape: Shape) -> Document:
    _reduce_nested(value, shape)
    return {name: item for name, item in value.items() if item is not None}


def _warn_of_references(sent: Document, shape: Shape) -> list[Message]:
    """Warnings about the references of a row, whether or not it passed validation."""
    warnings = []
    for name in shape.references:
        value = sent.get(name)
        reference = usable_reference(value, MAX_LICENSE_REFERENCE)
        warning = None if reference is None else warn_of_reference(name, reference)
        if warning is not None:
            warnings.append(warning)
    return warnings


def _limit_messages(messages: list[Message], unknown: _UnknownFields) -> tuple[Message, ...]:
    """Errors, then unknown fields; where there are too many, the last message counts the rest."""
    unknown_fields = [Message(MessageId.UNKNOWN_FIELD, path) for path in unknown.paths]
    dropped = unknown.count - len(unknown_fields)
    return (
        *bounded(messages, MAX_READ_MESSAGES - MAX_UNKNOWN),
        *bounded(unknown_fields, MAX_UNKNOWN, dropped),
    )


def _shown_key(sent: Document, key_fields: tuple[str, ...]) -> tuple[str | None, ...]:
    """The key fields of a failed row as sent, for messages; a key may be too long to be one."""
    values = [sent.get(name) for name in key_fields]
    return tuple(
        printable(usable_reference(value) or trimmed(value)) if isinstance(value, str) else None
        for value in values
    )
