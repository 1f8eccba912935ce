"""From pydantic's errors to the catalogue: what a value has wrong, in the caller's terms.

The one place that knows pydantic's error names; a test walks the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from shared.imports.fields import (
    AMOUNT_RANGE,
    DATE_FORM,
    NOT_A_DATE,
    NOT_A_NUMBER,
    NOT_BASE64,
    NOT_IN_XML,
    NOT_UNICODE,
    REFERENCE_LENGTH,
    UsualDays,
)
from shared.imports.messages import Message
from shared.imports.payload import json_kind
from shared.imports.shapes import FieldShape, Shape

MAX_SHOWN: Final = 200
"""Characters of a value, or of an unknown name, that a message repeats."""

REQUIRED, WRONG_TYPE = 1001, 1002

_NO_TEXT = "the text is not valid Unicode"

FAULTS: Final[Mapping[str, tuple[int, str | None]]] = {
    "missing": (REQUIRED, None),
    "string_type": (WRONG_TYPE, "a string is expected"),
    "int_type": (WRONG_TYPE, "a whole number is expected"),
    "bool_type": (WRONG_TYPE, "true or false is expected"),
    "model_type": (WRONG_TYPE, "an object is expected"),
    "list_type": (WRONG_TYPE, "a list is expected"),
    NOT_A_NUMBER: (WRONG_TYPE, "a number is expected"),
    REFERENCE_LENGTH: (1003, "1 to {most} characters are allowed"),
    "string_too_long": (1003, "at most {max_length} characters are allowed"),
    "string_too_short": (1003, "at least {min_length} characters are needed"),
    "too_long": (1003, "at most {max_length} elements are allowed"),
    "too_short": (1003, "at least {min_length} elements are needed"),
    "string_pattern_mismatch": (1004, "the pattern is {pattern}"),
    "string_unicode": (1004, _NO_TEXT),
    NOT_UNICODE: (1004, _NO_TEXT),
    NOT_IN_XML: (1004, "the text has a control character that XML does not have; remove it"),
    "literal_error": (1005, "one of {expected} is expected"),
    NOT_A_DATE: (1006, "{advice}"),
    NOT_BASE64: (3002, None),
    "greater_than_equal": (1008, "at least {ge} is expected"),
    "less_than_equal": (1008, "at most {le} is expected"),
    AMOUNT_RANGE: (1008, "28 digits at most, before and after the decimal point together"),
}
"""pydantic's error type → catalogue id, and the detail, which may quote limits but no value."""


def message_of(error: Mapping[str, Any], shape: Shape) -> Message:
    """One of pydantic's error details as a message about a row of that shape."""
    path = error["loc"]
    value = error["input"]
    fault, detail = FAULTS.get(error["type"], (WRONG_TYPE, None))
    if value is None or fault == REQUIRED:
        return Message(REQUIRED, dotted(path))
    if detail is not None:
        detail = detail.format_map(error.get("ctx", {}))
    if fault == WRONG_TYPE:
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
