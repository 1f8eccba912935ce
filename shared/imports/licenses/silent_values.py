"""Removes values that clients send for unset properties (docs/licenses.md).

A .NET object cannot omit a property. For an unset one it sends 0 (the personal id of an employee),
a date of zeros, or null (`i:nil`). 0 and the date count as absent under every action, null only
under Update and Merge, where an empty text clears.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from shared.imports.import_type import Document
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.model import License
from shared.imports.model import Shape, shape_of

_ZERO_DATE = re.compile(r"\s*(?:0{1,4}/0{1,2}/0{1,4}|0{1,4}-0{1,2}-0{1,2}(?:T[0:.]{1,20}Z?)?)\s*")
_NUMBER: Final = "employeePersonalId"
_DATES: Final = frozenset(("issuedDate", "expirationDate"))
_LICENSE: Final = shape_of(License)


def without_silent_values(row: Mapping[str, Any], action: LicenseAction) -> Document:
    """The row without known properties that count as absent; names may be in any case."""
    return _without_silent(row, _LICENSE, is_null_silent=action.keeps_what_is_absent)


def _without_silent(row: Mapping[str, Any], shape: Shape, *, is_null_silent: bool) -> Document:
    result: Document = {}
    for name, value in row.items():
        field = shape.fields.get(name) or shape.folded.get(name.lower())
        if field is not None:
            if (value is None and is_null_silent) or _is_unset(field.name, value):
                continue
            if field.nested is not None and field.name in shape.merging and isinstance(value, dict):
                result[name] = _without_silent(value, field.nested, is_null_silent=is_null_silent)
                continue
        result[name] = value
    return result


def _is_unset(name: str, value: Any) -> bool:
    if name == _NUMBER:
        return type(value) is int and value == 0
    return name in _DATES and type(value) is str and bool(_ZERO_DATE.fullmatch(value))
