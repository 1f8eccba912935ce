"""Reading a row: every fault of it as a message, its values under contract names.

Works for every import type that is described by a model (`shared.imports.model`). Whatever JSON
object comes, reading ends with messages and never with an exception: a fault of one row must not
touch the others (docs/design.md#1.4).

The order is: names to the contract's spelling and blanks to None (own code, since an unknown
property must be reported with its path), then pydantic over the whole row, then its errors and
the unknown names as messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from shared.imports.import_type import Document, ReadRow, RowKey
from shared.imports.json_rows import json_kind
from shared.imports.messages import Message, MessageId, bounded, without_repeats
from shared.imports.model import (
    AMOUNT_RANGE,
    DATE_FORM,
    MAX_LICENSE_REFERENCE,
    MAX_REFERENCE,
    NOT_A_DATE,
    NOT_A_NUMBER,
    NOT_BASE64,
    NOT_IN_XML,
    NOT_UNICODE,
    REFERENCE_LENGTH,
    FieldShape,
    MergeKind,
    Record,
    Shape,
    UsualDays,
    is_unicode,
    normal_reference,
    shape_of,
)
from shared.imports.reference_text import escaped, is_blank, trimmed, warn_of_reference
from shared.imports.results import MAX_MESSAGES

# From pydantic's errors to the catalogue: what a value has wrong, in the caller's terms.
#
# The one place that knows pydantic's error names; a test walks the table.

# Characters of a value, or of an unknown name, that a message repeats.
MAX_SHOWN: Final = 200


_NO_TEXT = "the text is not valid Unicode"

# pydantic's error type → catalogue id, and the detail, which may quote limits but no value.
FAULTS: Final[Mapping[str, tuple[int, str | None]]] = {
    "missing": (MessageId.REQUIRED_FIELD_MISSING, None),
    "string_type": (MessageId.WRONG_TYPE, "a string is expected"),
    "int_type": (MessageId.WRONG_TYPE, "a whole number is expected"),
    "bool_type": (MessageId.WRONG_TYPE, "true or false is expected"),
    "model_type": (MessageId.WRONG_TYPE, "an object is expected"),
    "list_type": (MessageId.WRONG_TYPE, "a list is expected"),
    NOT_A_NUMBER: (MessageId.WRONG_TYPE, "a number is expected"),
    REFERENCE_LENGTH: (MessageId.WRONG_LENGTH, "1 to {most} characters are allowed"),
    "string_too_long": (MessageId.WRONG_LENGTH, "at most {max_length} characters are allowed"),
    "string_too_short": (MessageId.WRONG_LENGTH, "at least {min_length} characters are needed"),
    "too_long": (MessageId.WRONG_LENGTH, "at most {max_length} elements are allowed"),
    "too_short": (MessageId.WRONG_LENGTH, "at least {min_length} elements are needed"),
    "string_pattern_mismatch": (MessageId.WRONG_FORM, "the pattern is {pattern}"),
    "string_unicode": (MessageId.WRONG_FORM, _NO_TEXT),
    NOT_UNICODE: (MessageId.WRONG_FORM, _NO_TEXT),
    NOT_IN_XML: (
        MessageId.WRONG_FORM,
        "the text has a control character that XML does not have; remove it",
    ),
    "literal_error": (MessageId.VALUE_NOT_ALLOWED, "one of {expected} is expected"),
    NOT_A_DATE: (MessageId.NOT_A_DATE, "{advice}"),
    NOT_BASE64: (MessageId.CONTENT_NOT_BASE64, None),
    "greater_than_equal": (MessageId.OUT_OF_RANGE, "at least {ge} is expected"),
    "less_than_equal": (MessageId.OUT_OF_RANGE, "at most {le} is expected"),
    AMOUNT_RANGE: (
        MessageId.OUT_OF_RANGE,
        "28 digits at most, before and after the decimal point together",
    ),
}


def message_of(error: Mapping[str, Any], shape: Shape) -> Message:
    """One of pydantic's error details as a message about a row of that shape."""
    path = error["loc"]
    value = error["input"]
    fault, detail = FAULTS.get(error["type"], (MessageId.WRONG_TYPE, None))
    if value is None or fault == MessageId.REQUIRED_FIELD_MISSING:
        return Message(MessageId.REQUIRED_FIELD_MISSING, dotted(path))
    if detail is not None:
        detail = detail.format_map(error.get("ctx", {}))
    if fault == MessageId.WRONG_TYPE:
        field = field_at(path, shape)
        if field is not None and isinstance(field.usual, UsualDays):
            detail = f"{DATE_FORM} as a string"
        sent = f"{json_kind(value)} was sent"
        detail = f"{detail}, {sent}" if detail else sent
    shown = None if is_sensitive(path, shape) else as_sent(value)
    return Message(fault, dotted(path), shown, detail)


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
    """The text cut to what a message holds, a question mark for each lone surrogate."""
    return text[:MAX_SHOWN].encode("utf-8", "replace").decode("utf-8")


def is_sensitive(path: Sequence[str | int], shape: Shape) -> bool:
    """Whether the value at the path may hold what no message shows."""
    field = field_at(path, shape)
    return field is None or field.is_sensitive


def field_at(path: Sequence[str | int], shape: Shape) -> FieldShape | None:
    """The field that a path leads to; None where the shape has none."""
    current: Shape | None = shape
    field: FieldShape | None = None
    for step in path:
        if isinstance(step, str) and current is not None:
            field = current.fields.get(step)
            current = None if field is None else field.nested
    return field


# Unknown fields that are named one by one: a payload full of them must not make a huge answer.
MAX_UNKNOWN: Final = 20
# Messages kept from reading, so that what the rules say about the row still fits.
MAX_READ_MESSAGES: Final = MAX_MESSAGES - 50


def read_key(row: Mapping[str, Any], group: str, reference: str) -> RowKey | None:
    """The key of a row whose names are lower-cased, from these two fields; None: unusable.

    Agrees with `read_row`: the key is unusable exactly where that reports one of its fields.
    """
    first, second = usable_reference(row.get(group)), usable_reference(row.get(reference))
    return None if first is None or second is None else RowKey(first, second)


def usable_reference(value: Any, most: int = MAX_REFERENCE) -> str | None:
    """A reference as it is stored, from whatever a row sends; None: unusable."""
    normal = normal_reference(value, most) if type(value) is str else None
    return normal if normal is not None and is_unicode(normal) else None


def read_row(
    index: int, row: Mapping[str, Any], model: type[Record], key_fields: tuple[str, ...]
) -> ReadRow:
    """A row of any spelling as its values and messages; names of the row may be in any case.

    `values` has the contract's names, None where the row clears a field; nested objects that are
    replaced whole come without their empty properties. Of a row with an Error it holds the fields
    that could be read.
    """
    shape = shape_of(model)
    unknown = _Unknown()
    sent = _spell(row, shape, "", unknown)
    try:
        read = model.model_validate(sent)
    except ValidationError as error:
        details = error.errors(include_url=False)
        shown = _shown_key(sent, key_fields)
        messages = _faults(details, shape, sent, unknown)
        for detail in details:
            _take_out(sent, detail["loc"])
        _convert_each(sent, shape)
        _settle(sent, shape)
        unreadable = frozenset(dotted(detail["loc"]) for detail in details)
        return ReadRow(index, shown, sent, messages, unreadable)
    _convert(sent, read, shape)
    key = tuple([sent[name] for name in key_fields])
    odd = _odd_references(sent, shape)
    _settle(sent, shape)
    return ReadRow(index, key, sent, _bounded(odd, unknown) if odd or unknown.count else ())


@dataclass(slots=True)
class _Unknown:
    """The paths of properties that the model does not have; a few of them, and how many."""

    paths: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, path: str) -> None:
        self.count += 1
        if self.count <= MAX_UNKNOWN:
            self.paths.append(escaped(path))


def _spell(row: Mapping[str, Any], shape: Shape, prefix: str, unknown: _Unknown) -> Document:
    """The row in the contract's spelling, blank text as None, without unknown properties."""
    spelled: Document = {}
    fields, folded = shape.fields, shape.folded
    for name, value in row.items():
        found = fields.get(name) or folded.get(name.lower())
        if found is None:
            unknown.add(prefix + name[:MAX_SHOWN])
        elif type(value) is str:
            spelled[found.name] = None if is_blank(value) else value
        elif found.nested is None:
            spelled[found.name] = value
        else:
            path = prefix + found.name
            spelled[found.name] = _spell_nested(value, found, found.nested, path, unknown)
    return spelled


def _spell_nested(value: Any, field: FieldShape, shape: Shape, path: str, unknown: _Unknown) -> Any:
    """The same for what stands in an object's or a list's place, whatever it is.

    A list that is too long keeps one element too many: enough to be refused.
    """
    if type(value) is dict:
        return _spell(value, shape, f"{path}.", unknown)
    if type(value) is list:
        kept = value if field.max_items is None else value[: field.max_items + 1]
        return [
            _spell(item, shape, f"{path}[{place}].", unknown) if type(item) is dict else item
            for place, item in enumerate(kept)
        ]
    return value


def _convert(sent: Document, read: Record, shape: Shape) -> None:
    """Put the model's values in place of those that it changes (references, dates, amounts)."""
    values = read.__dict__
    for name in shape.converted:
        value = sent.get(name)
        if value is None:
            continue
        nested = shape.fields[name].nested
        if nested is None:
            sent[name] = values[name]
        elif isinstance(value, list):
            for item, model in zip(value, values[name], strict=True):
                _convert(item, model, nested)
        else:
            _convert(value, values[name], nested)


def _take_out(values: Document, path: Sequence[str | int]) -> None:
    """Remove the value at the path; an element of a list leaves an empty object in its place."""
    holder: Any = values
    for step in path[:-1]:
        holder = holder.get(step) if isinstance(step, str) else holder[step]
        if holder is None:
            return
    last = path[-1]
    if isinstance(last, str):
        holder.pop(last, None)
    else:
        holder[last] = {}


def _convert_each(values: Document, shape: Shape) -> None:
    """What `_convert` does, field by field, of a row for which there is no model."""
    for name in shape.converted:
        value = values.get(name)
        if value is None:
            continue
        nested = shape.fields[name].nested
        if nested is None:
            values[name] = _converter(shape.model, name)(value)
            continue
        for each in value if isinstance(value, list) else (value,):
            _convert_each(each, nested)


@cache
def _converter(model: type[Record], name: str) -> Callable[[Any], Any]:
    info = model.model_fields[name]
    # Annotated wants something beside the type, which a field may be without; pydantic ignores it.
    annotated: Any = Annotated[info.annotation, "as in its model", *info.metadata]
    return TypeAdapter(annotated).validate_python


def _settle(values: Document, shape: Shape) -> None:
    """Reduce nested objects that are one value to what they hold; one that holds nothing clears."""
    for name, nested in shape.nested.items():
        value = values.get(name)
        if value is None:
            continue
        if isinstance(value, list):
            values[name] = [_without_blanks(item, nested) for item in value] or None
        elif nested.merge_kind is MergeKind.WHOLE:
            values[name] = _without_blanks(value, nested) or None


def _without_blanks(value: Document, shape: Shape) -> Document:
    _settle(value, shape)
    return {name: item for name, item in value.items() if item is not None}


def _faults(
    details: Sequence[ErrorDetails], shape: Shape, sent: Document, unknown: _Unknown
) -> tuple[Message, ...]:
    found = without_repeats([message_of(each, shape) for each in details])
    return _bounded([*found, *_odd_references(sent, shape)], unknown)


def _odd_references(sent: Document, shape: Shape) -> list[Message]:
    """Warnings of the references of a row, which may have been read or not."""
    odd = []
    for name in shape.references:
        value = sent.get(name)
        reference = usable_reference(value, MAX_LICENSE_REFERENCE)
        warning = None if reference is None else warn_of_reference(name, reference)
        if warning is not None:
            odd.append(warning)
    return odd


def _bounded(messages: list[Message], unknown: _Unknown) -> tuple[Message, ...]:
    """Errors first, then unknown fields; the last of too many says how many more there were."""
    told = [Message(MessageId.UNKNOWN_FIELD, path) for path in unknown.paths]
    more = unknown.count - len(told)
    return (
        *bounded(messages, MAX_READ_MESSAGES - MAX_UNKNOWN),
        *bounded(told, MAX_UNKNOWN, more),
    )


def _shown_key(sent: Document, key_fields: tuple[str, ...]) -> tuple[str | None, ...]:
    """The key of a row that failed: what is there, also where it is too long to be one."""
    values = [sent.get(name) for name in key_fields]
    return tuple(
        printable(usable_reference(value) or trimmed(value)) if isinstance(value, str) else None
        for value in values
    )
