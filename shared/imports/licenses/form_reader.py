"""Licenses as a form: from an `application/x-www-form-urlencoded` body to its rows.

See docs/contracts.md#2.

A name is the row's index and the way to the property in it, in dots or in brackets:
`[0].documents[1].name` or `[0][documents][1][name]`. Names match in any case. Indexes run from 0
without gaps, so that the index of an answer is the one that was sent.
"""

from __future__ import annotations

import binascii
import re
from typing import Any, Final

from shared.errors import InvalidRequestError, TooLargeError, UnsupportedPayloadError
from shared.imports.import_type import Document
from shared.imports.json_rows import MAX_DEPTH
from shared.imports.licenses.model import License
from shared.imports.licenses.xml_reader import typed
from shared.imports.model import Shape, shape_of

# Fields of a form, 2,000 licenses of 20: more is a matter for JSON or XML.
MAX_FIELDS: Final = 40_000
# Bytes of a field's name, as it was sent.
MAX_NAME: Final = 1000

_STEP = re.compile(r"\[(?:([0-9]{1,10})|([^\[\]]+))\]|\.([^.\[\]]+)")
_LICENSE: Final = shape_of(License)

# Values and branches by index or name while the form is read.
_Branch = dict[int | str, Any]


def read_license_form(body: bytes, max_rows: int) -> list[Document]:
    """The rows of the form, by contract names, in the order of their indexes.

    Text is converted to its field's type; what cannot be converted stays text. Raises
    InvalidRequestError for what is no such form, UnsupportedPayloadError for a row that is no
    object, TooLargeError for too many rows; never quoting the body.
    """
    if not body:
        raise InvalidRequestError("The body is empty: send fields like [0].companyCode=C1.")
    if body.count(b"&") >= MAX_FIELDS:
        raise InvalidRequestError(
            f"The form has more than {MAX_FIELDS} fields: send it in several calls, or as JSON."
        )
    rows: _Branch = {}
    for place, pair in enumerate(body.split(b"&")):
        if pair:
            _take(rows, pair, place)
    read = _listed(rows)
    if not all(isinstance(row, dict) for row in read):
        raise UnsupportedPayloadError("Payload data not supported: send the properties of rows.")
    if len(read) > max_rows:
        raise TooLargeError(
            f"The payload has {len(read)} rows and the limit is {max_rows}: send it in several "
            "calls."
        )
    return read


def percent_decoded(data: bytes) -> bytes:
    """The bytes that a part of a form stands for. Raises ValueError.

    The standard library's own way makes an object of every escape. Quoted-printable is the same
    code with `=` for `%` and is read in C; a line break after `%` is what would be more than that.
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


def _take(rows: _Branch, pair: bytes, place: int) -> None:
    name, _, value = pair.partition(b"=")
    if len(name) > MAX_NAME:
        raise _refused(
            place, f"has a name of more than {MAX_NAME} bytes: send the fields of the contract only"
        )
    try:
        path, text = percent_decoded(name).decode(), percent_decoded(value).decode()
    except ValueError:
        raise _refused(place, "is not percent-encoded UTF-8: encode it in UTF-8") from None
    steps = _steps(path)
    if not steps or not isinstance(steps[0], int):
        raise _refused(place, "needs a name like [0].companyCode or [0][companyCode]")
    if len(steps) > MAX_DEPTH:
        raise _refused(
            place,
            f"is nested more than {MAX_DEPTH} levels deep: send the fields of the contract only",
        )
    if not _put(rows, steps, text):
        raise _refused(place, "is there twice, or contradicts another one: send it once")


def _steps(path: str) -> list[int | str]:
    """The indexes and names of a path, one too many at most; none where it is no path."""
    steps: list[int | str] = []
    position = 0
    while position < len(path) and len(steps) <= MAX_DEPTH:
        match = _STEP.match(path, position)
        if match is None:
            return []
        index, in_brackets, behind_dot = match.groups()
        steps.append(in_brackets or behind_dot if index is None else int(index))
        position = match.end()
    return steps


def _put(rows: _Branch, steps: list[int | str], text: str) -> bool:
    """Whether there was room for the value at the end of these steps."""
    branch: Any = rows
    shape: Shape | None = _LICENSE
    for place, step in enumerate(steps):
        field = shape.folded.get(step.lower()) if shape and isinstance(step, str) else None
        key = step if field is None else field.name
        if isinstance(step, str):
            shape = None if field is None else field.nested
        if place == len(steps) - 1:
            is_free = key not in branch
            branch[key] = text if field is None else typed(text, field.kind)
            return is_free
        branch = branch.setdefault(key, {})
        if not isinstance(branch, dict):
            return False
    return False


def _settled(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if any(isinstance(key, int) for key in value):
        return _listed(value)
    return {name: _settled(item) for name, item in value.items()}


def _listed(branch: _Branch) -> list[Any]:
    """The branch's values in the order of their indexes."""
    if branch.keys() != set(range(len(branch))):
        raise InvalidRequestError(
            "The indexes of a form must run from 0 without gaps, and a list has nothing else."
        )
    return [_settled(branch[index]) for index in range(len(branch))]


def _refused(place: int, reason: str) -> InvalidRequestError:
    return InvalidRequestError(f"Field {place} of the form (counted from 0) {reason}.")
