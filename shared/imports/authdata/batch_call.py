"""The body of a call: what it asks for, and its records, not yet looked into (CONTRACTS 3)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.errors import InvalidRequestError, TooLargeError
from shared.imports.authdata.records import NO_FILE_LOG_ID
from shared.imports.near_names import is_like_dry_run, is_one_slip_away
from shared.imports.payload import json_kind, read_document
from shared.imports.reference_text import escaped

_NAMES = ("fileLogId", "validate", "allowNoAuth", "commit", "employee")
_GUID = re.compile(
    r"(?P<open>[{(])?"
    r"([0-9a-f]{8})(?P<dash>-)?([0-9a-f]{4})(?(dash)-)([0-9a-f]{4})(?(dash)-)([0-9a-f]{4})"
    r"(?(dash)-)([0-9a-f]{12})"
    r"(?(open)[)}])"
)


@dataclass(frozen=True, slots=True)
class BatchCall:
    """`file_log_id` is in lower case with dashes, None where a new batch is wanted.

    The rows have their names in lower case; they hold values in the clear.
    """

    file_log_id: str | None
    validate: bool
    allow_no_auth: bool
    commit: bool
    rows: Sequence[Mapping[str, Any]] = field(repr=False)


def read_call(body: bytes, max_rows: int) -> BatchCall:
    """The call in a body. Raises InvalidRequestError, TooLargeError; neither quotes the body."""
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


def _check_names(document: Mapping[str, Any]) -> None:
    """Raises InvalidRequestError for a misspelt name: a trial (`commit`) must not be staged."""
    known = {name.lower() for name in _NAMES}
    for name in document:
        slips = [each for each in _NAMES if is_one_slip_away(name, each)]
        if name not in known and (slips or is_like_dry_run(name)):
            raise InvalidRequestError(
                f"The body has a property that is not known here: {escaped(name)}. Correct it or "
                f"leave it out: the call takes {', '.join(_NAMES)}, and dryRun=true in its query."
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
    match = _GUID.fullmatch(text)
    if match is None:
        raise InvalidRequestError(
            "fileLogId must be a guid: 8-4-4-4-12 hexadecimal digits; leave it out for a new batch."
        )
    guid = "-".join(match.group(2, 4, 5, 6, 7))
    return None if guid == NO_FILE_LOG_ID else guid


def _flag(document: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = document.get(name.lower())
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidRequestError(f"{name} must be true or false.")
    return value
