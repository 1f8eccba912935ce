"""Licenses as a form: from an `application/x-www-form-urlencoded` body to its rows.

See docs/contracts.md#2.

A name is the row's index and the path of the property, with dots or brackets:
`[0].documents[1].name` or `[0][documents][1][name]`. Names match in any case. Indexes must run from
0 without gaps, so that an answer has the index that the caller sent.
"""

from __future__ import annotations

import binascii
import re
from typing import Any, Final

from shared.errors import InvalidRequestError, TooLargeError, UnsupportedPayloadError
from shared.imports.import_type import Document
from shared.imports.json_rows import MAX_DEPTH
from shared.imports.licenses.model import License
from shared.imports.licenses.xml_reader import convert_text
from shared.imports.model import Shape, shape_of

# Fields of a form: 2,000 licenses of 20 fields; callers send more as JSON or XML.
MAX_FIELDS: Final = 40_000
# Bytes of a field's name as sent.
MAX_NAME_BYTES: Final = 1000

_PATH_STEP = re.compile(r"\[(?:([0-9]{1,10})|([^\[\]]+))\]|\.([^.\[\]]+)")
_LICENSE: Final = shape_of(License)

# Values and branches by index or name while the form is read.
_Branch = dict[int | str, Any]


def read_license_form(body: bytes, max_rows: int) -> list[Document]:
    """The rows of the form, by contract names, in the order of their indexes.

    Text is converted to its field's type if possible. Raises InvalidRequestError for an invalid
    form, UnsupportedPayloadError for a row that is not an object, TooLargeError for too many rows;
    the messages never quote the body.
    """
    if not body:
        raise InvalidRequestError("The body is empty: send fields like [0].companyCode=C1.")
    if body.count(b"&") >= MAX_FIELDS:
        raise InvalidRequestError(
            f"The form has more than {MAX_FIELDS} fields: send it in several calls, or as JSON."
        )
    rows: _Branch = {}
    for position, pair in enumerate(body.split(b"&")):
        if pair:
            _read_field(rows, pair, position)
    result = _to_list(rows)
    if not all(isinstance(row, dict) for row in result):
        raise UnsupportedPayloadError("Payload data not supported: send the properties of rows.")
    if len(result) > max_rows:
        raise TooLargeError(
            f"The payload has {len(result)} rows and the limit is {max_rows}: send it in several "
            "calls."
        )
    return result


def percent_decoded(data: bytes) -> bytes:
    """Decode a percent-encoded part of a form. Raises ValueError.

    The standard library's own function makes an object of every escape. Quoted-printable is the
    same code with `=` for `%` and is decoded in C; only a line break after `%` differs, so it is
    refused.
    """
    data = data.replace(b"+", b" ")
    escapes = data.count(b"%")
    if not escapes:
        return data
    if b"%\n" in data or b"%\r" in data:
        raise ValueError
    quoted = data.replace(b"=", b"%3D")
    decoded = binascii.a2b_qp(quoted.replace(b"%", b"="))
    if len(decoded) != len(data) - 2 * escapes:
        raise ValueError
    return decoded


def _read_field(rows: _Branch, pair: bytes, position: int) -> None:
    name, _, value = pair.partition(b"=")
    if len(name) > MAX_NAME_BYTES:
        raise _field_error(
            position,
            f"has a name of more than {MAX_NAME_BYTES} bytes: send the fields of the contract only",
        )
    try:
        path, text = percent_decoded(name).decode(), percent_decoded(value).decode()
    except ValueError:
        raise _field_error(position, "is not percent-encoded UTF-8: encode it in UTF-8") from None
    steps = _parse_path(path)
    if not steps or not isinstance(steps[0], int):
        raise _field_error(position, "needs a name like [0].companyCode or [0][companyCode]")
    if len(steps) > MAX_DEPTH:
        raise _field_error(
            position,
            f"is nested more than {MAX_DEPTH} levels deep: send the fields of the contract only",
        )
    if not _set_value(rows, steps, text):
        raise _field_error(position, "is there twice, or contradicts another one: send it once")


def _parse_path(path: str) -> list[int | str]:
    """The indexes and names of a path, at most one too many; empty for an invalid path."""
    steps: list[int | str] = []
    position = 0
    while position < len(path) and len(steps) <= MAX_DEPTH:
        match = _PATH_STEP.match(path, position)
        if match is None:
            return []
        index, in_brackets, after_dot = match.groups()
        steps.append(in_brackets or after_dot if index is None else int(index))
        position = match.end()
    return steps


def _set_value(rows: _Branch, steps: list[int | str], text: str) -> bool:
    """Set the value at a path; False where it is set already or contradicts another field."""
    branch: Any = rows
    shape: Shape | None = _LICENSE
    for depth, step in enumerate(steps):
        field = shape.folded.get(step.lower()) if shape and isinstance(step, str) else None
        key = step if field is None else field.name
        if isinstance(step, str):
            shape = None if field is None else field.nested
        if depth == len(steps) - 1:
            is_new = key not in branch
            branch[key] = text if field is None else convert_text(text, field.kind)
            return is_new
        branch = branch.setdefault(key, {})
        if not isinstance(branch, dict):
            return False
    return False


def _to_lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if any(isinstance(key, int) for key in value):
        return _to_list(value)
    return {name: _to_lists(item) for name, item in value.items()}


def _to_list(branch: _Branch) -> list[Any]:
    """The values of a branch as a list, in order of their indexes."""
    if branch.keys() != set(range(len(branch))):
        raise InvalidRequestError(
            "The indexes of a list must start at 0 and have no gaps; a list has no other keys."
        )
    return [_to_lists(branch[index]) for index in range(len(branch))]


def _field_error(position: int, reason: str) -> InvalidRequestError:
    return InvalidRequestError(f"Field {position} of the form (counted from 0) {reason}.")
