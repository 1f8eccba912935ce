"""The records of a batch and the stored employees, without authentication values."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from shared.clock import GUID_FORM, ZERO_GUID, parse_guid
from shared.errors import ConflictError, InvalidRequestError, TooLargeError
from shared.imports.authdata.hashing import (
    NO_FINGERPRINTS,
    NO_VALUES,
    Fingerprints,
    Hasher,
    Triple,
    triple_name,
)
from shared.imports.authdata.messages import AuthdataMessageId
from shared.imports.files.notes import Notes
from shared.imports.import_type import Document
from shared.imports.json_rows import (
    Reader,
    json_kind,
    read_document,
)
from shared.imports.messages import Message, MessageId
from shared.imports.text_checks import (
    MASK_SENT,
    escaped,
    is_like_dry_run,
    is_one_slip_away,
    looks_masked,
    trimmed,
    warn_of_reference,
)

# Regular expressions of administrators, which must not run for long.
#
# They run on Rust's `regex` engine, which is part of pydantic. It never backtracks, so the time is
# linear in the length of the value for every pattern. It supports neither look-around nor
# back-references. A pattern must match the whole value; character classes are ASCII.

# Characters of a pattern.
MAX_PATTERN: Final = 200
# Parts of a pattern after expanding its counts; each part costs time for each character.
MAX_EXPANDED: Final = 500

# Python's escapes with ASCII classes, in Rust's syntax.
_ASCII: Final = {
    "d": "[0-9]",
    "D": "[^0-9]",
    "w": "[A-Za-z0-9_]",
    "W": "[^A-Za-z0-9_]",
    "s": r"[ \t\n\r\f\v]",
    "S": r"[^ \t\n\r\f\v]",
    "b": r"(?-u:\b)",
    "B": r"(?-u:\B)",
    "Z": r"\z",
}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ATOM = re.compile(
    r"(?P<open>\((?:\?(?:P?<\w+>|[a-zA-Z-]*:?))?)|(?P<close>\))"
    r"|(?P<one>\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[^\\()])",
    re.DOTALL,
)
_COUNT = re.compile(r"\{([0-9]+)(?:(,)([0-9]*))?\}")

Matches = Callable[[str], bool]


class PatternError(ValueError):
    """The engine cannot run the pattern; the argument completes "The format of X …"."""


def compile_pattern(pattern: str) -> Matches:
    """A function that says whether a text matches the whole pattern. Raises PatternError."""
    # Imported late, because most gateways have no pattern.
    from pydantic_core import SchemaError, SchemaValidator, core_schema

    if len(pattern) > MAX_PATTERN:
        raise PatternError(f"has over {MAX_PATTERN} characters")
    if _expanded_size(pattern) > MAX_EXPANDED:
        raise PatternError(
            f"repeats too much: written out, its counts come to over {MAX_EXPANDED} parts"
        )
    text = _ESCAPE.sub(lambda match: _ASCII.get(match[1], match[0]), pattern)
    try:
        # First without parentheses, inside of which `a)|(b` would be valid.
        SchemaValidator(core_schema.str_schema(pattern=text))
        validator = SchemaValidator(core_schema.str_schema(pattern=f"^(?:{text})$", strict=True))
    except SchemaError as error:
        reason = str(error).strip().splitlines()[-1].strip().removeprefix("error: ")
        raise PatternError(
            f"cannot be run ({reason.rstrip('.')}): write it without look-around and "
            "back-references, in the syntax of Rust's regex"
        ) from None
    return validator.isinstance_python


def _expanded_size(pattern: str) -> int:
    """An upper bound of the parts of the pattern after expanding its counts."""
    sizes = [0]
    last_size = 0
    position = 0
    while position < len(pattern):
        count = _COUNT.match(pattern, position)
        if count is not None:
            times = int((count[3] if count[2] and count[3] else count[1])[:9])
            sizes[-1] += last_size * max(times - 1, 0)
            last_size *= max(times, 1)
            position = count.end()
            continue
        atom = _ATOM.match(pattern, position)
        if atom is None:
            position += 1
            continue
        position = atom.end()
        if atom["open"]:
            sizes.append(0)
        elif atom["close"]:
            last_size = sizes.pop() if len(sizes) > 1 else 0
            sizes[-1] += last_size
        else:
            last_size = 1
            sizes[-1] += 1
    return sum(sizes)


NO_FILE_LOG_ID: Final = ZERO_GUID
EMPLOYEE_ID: Final = "employeeId"
EMPLOYEE_STATUS: Final = "employeeStatus"
VALUE_FIELDS: Final = ("authValue1", "authValue2", "authValue3")
FIELDS: Final = (EMPLOYEE_ID, EMPLOYEE_STATUS, *VALUE_FIELDS)


@dataclass(frozen=True, slots=True)
class AuthRecord:
    """A submitted record; blanks are None, values are hashes.

    `position` counts from 0 over all calls of its batch, in the order in which they were appended.
    `messages` are those of reading; a record with an Error is not compared with others.
    """

    position: int
    employee_id: str | None = None
    status: str | None = None
    fingerprints: Fingerprints = NO_FINGERPRINTS
    messages: tuple[Message, ...] = ()

    @property
    def has_error(self) -> bool:
        """Whether the record has an error of its own."""
        return any(message.is_error for message in self.messages)

    @property
    def is_empty(self) -> bool:
        """Whether it has no data at all, so that it is ignored."""
        return (
            self.employee_id is None
            and self.status is None
            and not self.fingerprints.has_values
            and not self.has_error
        )

    @property
    def filled_count(self) -> int:
        """The number of its five fields that have a value."""
        count = (self.employee_id is not None) + (self.status is not None)
        return count + sum(self.fingerprints.present)

    def pack(self) -> dict[str, Any]:
        """The record as a JSON object without its position, for staging and payload."""
        packed = {
            EMPLOYEE_ID: self.employee_id,
            EMPLOYEE_STATUS: self.status,
            "prints": self.fingerprints.pack(),
            "messages": [message.pack() for message in self.messages],
        }
        return {name: value for name, value in packed.items() if value}

    @classmethod
    def unpack(cls, position: int, packed: Mapping[str, Any]) -> AuthRecord:
        """The inverse of `pack`."""
        fingerprints = packed.get("prints")
        return cls(
            position,
            packed.get(EMPLOYEE_ID),
            packed.get(EMPLOYEE_STATUS),
            Fingerprints.unpack(fingerprints) if fingerprints else NO_FINGERPRINTS,
            tuple(Message.unpack(message) for message in packed.get("messages", ())),
        )


@dataclass(frozen=True, slots=True)
class Employee:
    """A stored employee; all its hashes are under one key, `key`."""

    employee_id: str
    status: str | None = None
    key: str = ""
    values: Triple = NO_VALUES

    @property
    def has_values(self) -> bool:
        """Whether any value is stored."""
        return any(self.values)

    @property
    def triple(self) -> str | None:
        """The name of its triple; None without values."""
        return triple_name(self.key, self.values) if self.has_values else None

    def document(self) -> Document:
        """The stored document, without empty fields."""
        document = {EMPLOYEE_ID: self.employee_id, EMPLOYEE_STATUS: self.status}
        if self.has_values:
            document |= {"hashKey": self.key, **dict(zip(VALUE_FIELDS, self.values, strict=True))}
        return {name: value for name, value in document.items() if value is not None}

    @classmethod
    def from_document(cls, document: Document) -> Employee:
        """The inverse of `document`. Raises what another document makes it raise."""
        if not isinstance(document[EMPLOYEE_ID], str):
            raise ValueError("no employee")
        first, second, third = (document.get(name) for name in VALUE_FIELDS)
        return cls(
            document[EMPLOYEE_ID],
            document.get(EMPLOYEE_STATUS),
            document.get("hashKey", ""),
            (first, second, third),
        )


@dataclass(frozen=True, slots=True)
class StoredEmployees:
    """The stored employees that a batch concerns.

    `employees` are by id; `holders` are the ids of the employees that have a triple, by the
    triple's name. Both need only those of the batch. `count` is the number of all employees.
    `unreadable` are the ids of employees whose stored record is broken; holders may name them.
    """

    employees: Mapping[str, Employee] = field(default_factory=dict)
    holders: Mapping[str, str] = field(default_factory=dict)
    count: int = 0
    unreadable: frozenset[str] = frozenset()


# This module trims, checks and hashes a submitted record, so that no value leaves it.
#
# Blanks and missing fields are the same (docs/contracts.md#3). Formats are checked here because no
# later step has the values. Reading returns messages for every JSON object and never raises.


MAX_LENGTHS: Final[Mapping[str, int]] = {
    EMPLOYEE_ID: 60,
    EMPLOYEE_STATUS: 60,
    **dict.fromkeys(VALUE_FIELDS, 200),
}
OTHER_FORMAT: Final = "it does not have the format that the tenant asks of this field; correct it"
_MAX_UNKNOWN: Final = 20
_MAX_SHOWN: Final = 100
# NFC shrinks text to a quarter at most, so normalising a longer text is a waste of time.
_NFC_SHRINKS: Final = 4


@dataclass(frozen=True, slots=True)
class Formats:
    """The tenant's regular expressions by field name; each must match the whole value."""

    patterns: Mapping[str, str] = field(default_factory=dict)

    def compiled(self) -> Mapping[str, Matches]:
        """The compiled patterns. Raises ConflictError for a pattern that can no longer be run."""
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
        values = {name: self._read_text(name, row.get(name.lower()), faults) for name in FIELDS}
        employee_id = values[EMPLOYEE_ID]
        reference_warning = (
            None if employee_id is None else warn_of_reference(EMPLOYEE_ID, employee_id)
        )
        has_data = bool(faults) or any(values.values())
        if has_data:
            self._check_record(values, faults)
        fingerprints = self._hasher.fingerprints([values[name] for name in VALUE_FIELDS])
        return AuthRecord(
            position,
            values[EMPLOYEE_ID],
            values[EMPLOYEE_STATUS],
            fingerprints,
            (*faults, *((reference_warning,) if reference_warning else ()), *_unknown_fields(row)),
        )

    def _read_text(self, name: str, value: Any, faults: list[Message]) -> str | None:
        """The trimmed text of a field; None where it is blank or has a fault (see `faults`)."""
        if value is None:
            return None
        if type(value) is not str:
            faults.append(
                Message(
                    MessageId.WRONG_TYPE,
                    name,
                    detail=f"a string is expected, {json_kind(value)} was sent",
                )
            )
            return None
        text = trimmed(value) if name == EMPLOYEE_ID else value.strip()
        max_length = MAX_LENGTHS[name]
        if len(text) <= max_length * _NFC_SHRINKS:
            text = unicodedata.normalize("NFC", text)
        if len(text) > max_length:
            faults.append(
                Message(
                    MessageId.WRONG_LENGTH,
                    name,
                    detail=f"at most {max_length} characters are allowed",
                )
            )
            return None
        if name in VALUE_FIELDS and looks_masked(text):
            faults.append(Message(MessageId.WRONG_FORM, name, detail=MASK_SENT))
            return None
        matches = self._formats.get(name)
        if text and matches is not None and not matches(text):
            faults.append(Message(MessageId.WRONG_FORM, name, detail=OTHER_FORMAT))
        return text or None

    def _check_record(self, values: Mapping[str, str | None], faults: list[Message]) -> None:
        faulty_fields = {message.field for message in faults}
        if values[EMPLOYEE_ID] is None and EMPLOYEE_ID not in faulty_fields:
            faults.append(Message(MessageId.REQUIRED_FIELD_MISSING, EMPLOYEE_ID))
        has_value = any(values[name] is not None or name in faulty_fields for name in VALUE_FIELDS)
        if not has_value and not self._allow_no_auth:
            faults.append(Message(AuthdataMessageId.NO_AUTHENTICATION_VALUE))


def _unknown_fields(row: Mapping[str, Any]) -> list[Message]:
    unknown = [name for name in row if name not in _FOLDED]
    return [
        Message(MessageId.UNKNOWN_FIELD, escaped(name[:_MAX_SHOWN]))
        for name in unknown[:_MAX_UNKNOWN]
    ]


_FOLDED: Final = frozenset(name.lower() for name in FIELDS)


# The body of a call: its options and its records, not read yet (docs/contracts.md#3).

FILE_OPTIONS: Final = ("fileLogId", "validate", "allowNoAuth", "commit")
_NAMES: Final = (*FILE_OPTIONS, "employee")


@dataclass(frozen=True, slots=True)
class BatchCall:
    """A call's options and rows; `file_log_id` is None for a new batch.

    The rows have their names in lower case and contain authentication values in the clear. Rows of
    a file have the notes of its reader.
    """

    file_log_id: str | None
    validate: bool
    allow_no_auth: bool
    commit: bool
    rows: Sequence[Mapping[str, Any]] = field(repr=False)
    notes: Sequence[Notes] = field(default=(), repr=False)


def read_call(body: bytes, max_rows: int) -> BatchCall:
    """Read a call. Raises InvalidRequestError and TooLargeError, which never quote the body."""
    document = read_document(body)
    if not isinstance(document, dict):
        raise InvalidRequestError("The body must be a JSON object with an array `employee`.")
    _check_names(document)
    rows = document.get("employee")
    if not isinstance(rows, list):
        raise InvalidRequestError("employee must be an array of records.")
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InvalidRequestError(
                f"employee must hold objects only; index {index} is {json_kind(row)}."
            )
    if len(rows) > max_rows:
        raise TooLargeError(
            f"The call has {len(rows)} records and the limit is {max_rows}: send several batches."
        )
    return BatchCall(
        file_log_id=read_file_log_id(document.get("filelogid")),
        validate=_flag(document, "validate", default=True),
        allow_no_auth=_flag(document, "allowNoAuth", default=False),
        commit=_flag(document, "commit", default=True),
        rows=rows,
    )


def read_file_call(
    body: bytes, reader: Reader, query: Mapping[str, str], max_rows: int
) -> BatchCall:
    """Read a call whose records are a file, and whose options are in the query, in lower case.

    Raises InvalidRequestError and TooLargeError.
    """
    rows: list[Mapping[str, Any]] = []
    payload = reader(body, rows.append, max_rows)
    return BatchCall(
        file_log_id=read_file_log_id(query.get("filelogid")),
        validate=_query_flag(query, "validate", default=True),
        allow_no_auth=_query_flag(query, "allowNoAuth", default=False),
        commit=_query_flag(query, "commit", default=True),
        rows=rows,
        notes=[Notes.from_text(payload.row_text(row).notes) for row in payload.rows],
    )


def _query_flag(query: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = query.get(name.lower())
    if text is None:
        return default
    if text.lower() not in ("true", "false"):
        raise InvalidRequestError(f"{name} in the query must be true or false, and sent once.")
    return text.lower() == "true"


def check_no_options(query: Mapping[str, str]) -> None:
    """Raises InvalidRequestError for options in the query of a call whose body has options."""
    for name in FILE_OPTIONS:
        if name.lower() in query:
            raise InvalidRequestError(
                f"{name} is in the query, where only a file of records has its options: send it in "
                "the body."
            )


def _check_names(document: Mapping[str, Any]) -> None:
    """Raises InvalidRequestError for a misspelt name, since `commit=false` must not be missed."""
    known = {name.lower() for name in _NAMES}
    for name in document:
        is_misspelled = [expected for expected in _NAMES if is_one_slip_away(name, expected)]
        if name not in known and (is_misspelled or is_like_dry_run(name)):
            raise InvalidRequestError(
                f"The body has a property that the call does not take: {escaped(name)}. Correct it "
                f"or leave it out: the call takes {', '.join(_NAMES)}, and dryRun=true in the "
                "query."
            )


def read_file_log_id(value: Any) -> str | None:
    """A guid in lower case with dashes; None for none, blank and all zeros.

    Raises InvalidRequestError.
    """
    if value is None:
        return None
    text = value.strip().lower() if isinstance(value, str) else "?"
    if not text:
        return None
    guid = parse_guid(text)
    if guid is None:
        raise InvalidRequestError(
            f"fileLogId must be a guid: {GUID_FORM}; leave it out for a new batch."
        )
    return None if guid == NO_FILE_LOG_ID else guid


def _flag(document: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = document.get(name.lower())
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidRequestError(f"{name} must be true or false.")
    return value
