"""A submitted record: scrubbed, checked, and hashed, so that no value leaves this module.

Scrub (CONTRACTS 3): text is trimmed, blanks and missing fields are the same. Formats are checked
here because nothing later knows the values. Whatever JSON object comes, it ends with messages.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from shared.errors import ConflictError
from shared.imports.authdata.fingerprints import Hasher
from shared.imports.authdata.patterns import Matches, PatternError, compile_pattern
from shared.imports.authdata.records import (
    EMPLOYEE_ID,
    EMPLOYEE_STATUS,
    FIELDS,
    VALUE_FIELDS,
    AuthRecord,
)
from shared.imports.messages import Message
from shared.imports.payload import json_kind
from shared.imports.reference_text import escaped, trimmed, warn_of_reference

REQUIRED: Final = 1001
WRONG_TYPE: Final = 1002
WRONG_LENGTH: Final = 1003
WRONG_FORM: Final = 1004
UNKNOWN_FIELD: Final = 1007
NO_VALUE: Final = 5001

MOST_CHARACTERS: Final[Mapping[str, int]] = {
    EMPLOYEE_ID: 60,
    EMPLOYEE_STATUS: 60,
    **dict.fromkeys(VALUE_FIELDS, 200),
}
OTHER_FORMAT: Final = "it does not have the format that the tenant asks of this field; correct it"
_MAX_UNKNOWN: Final = 20
_MAX_SHOWN: Final = 100
_LONGEST_IN_NFC: Final = 4
"""NFC shrinks text to a quarter at most; normalising a longer one would only cost time."""


@dataclass(frozen=True, slots=True)
class Formats:
    """The tenant's regular expressions by field name; a value has to match as a whole."""

    patterns: Mapping[str, str] = field(default_factory=dict)

    def compiled(self) -> Mapping[str, Matches]:
        """Ready to match. Raises ConflictError for a pattern that cannot be run any more."""
        compiled: dict[str, Matches] = {}
        for name, text in self.patterns.items():
            try:
                compiled[name] = compile_pattern(text)
            except PatternError as error:
                raise ConflictError(
                    f"The tenant's format of {name} {error}: ask the operator of the gateway to "
                    "set it again, or send validate=false."
                ) from None
        return compiled


class RecordReader:
    """Reads the records of one call. `formats` is empty where the call does not validate."""

    def __init__(
        self, hasher: Hasher, formats: Mapping[str, Matches], *, allow_no_auth: bool
    ) -> None:
        self._hasher = hasher
        self._formats = formats
        self._allow_no_auth = allow_no_auth

    def read(self, position: int, row: Mapping[str, Any]) -> AuthRecord:
        """The record of a row whose names are in lower case."""
        faults: list[Message] = []
        values = {name: self._text(name, row.get(name.lower()), faults) for name in FIELDS}
        employee_id = values[EMPLOYEE_ID]
        odd = None if employee_id is None else warn_of_reference(EMPLOYEE_ID, employee_id)
        has_data = bool(faults) or any(values.values())
        if has_data:
            self._check_whole(values, faults)
        prints = self._hasher.fingerprints([values[name] for name in VALUE_FIELDS])
        return AuthRecord(
            position,
            values[EMPLOYEE_ID],
            values[EMPLOYEE_STATUS],
            prints,
            (*faults, *((odd,) if odd else ()), *_unknown_fields(row)),
        )

    def _text(self, name: str, value: Any, faults: list[Message]) -> str | None:
        """A field after scrub; None where it is blank, or has a fault that is told."""
        if value is None:
            return None
        if type(value) is not str:
            faults.append(
                Message(
                    WRONG_TYPE, name, detail=f"a string is expected, {json_kind(value)} was sent"
                )
            )
            return None
        text = trimmed(value) if name == EMPLOYEE_ID else value.strip()
        most = MOST_CHARACTERS[name]
        if len(text) <= most * _LONGEST_IN_NFC:
            text = unicodedata.normalize("NFC", text)
        if len(text) > most:
            faults.append(
                Message(WRONG_LENGTH, name, detail=f"at most {most} characters are allowed")
            )
            return None
        matches = self._formats.get(name)
        if text and matches is not None and not matches(text):
            faults.append(Message(WRONG_FORM, name, detail=OTHER_FORMAT))
        return text or None

    def _check_whole(self, values: Mapping[str, str | None], faults: list[Message]) -> None:
        named = {message.field for message in faults}
        if values[EMPLOYEE_ID] is None and EMPLOYEE_ID not in named:
            faults.append(Message(REQUIRED, EMPLOYEE_ID))
        has_value = any(values[name] is not None or name in named for name in VALUE_FIELDS)
        if not has_value and not self._allow_no_auth:
            faults.append(Message(NO_VALUE))


def _unknown_fields(row: Mapping[str, Any]) -> list[Message]:
    unknown = [name for name in row if name not in _FOLDED]
    return [Message(UNKNOWN_FIELD, escaped(name[:_MAX_SHOWN])) for name in unknown[:_MAX_UNKNOWN]]


_FOLDED: Final = frozenset(name.lower() for name in FIELDS)
