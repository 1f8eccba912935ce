"""Log lines: an action name and ids, never values (I7).

    event("import.accepted", import_id=accepted.id, tenant=caller.tenant, rows=3)
    -> import.accepted import_id=0b1c… tenant=demo rows=3

`Fields` is the allow-list. The type checker refuses any other name, and at run time an unlisted
field is left out, so that no value is logged by accident. Of an exception only the class and the
source line are logged, because messages of foreign errors may quote values.
"""

from __future__ import annotations

import logging
import traceback
from pathlib import PurePath
from typing import TypedDict, Unpack

LOGGER = logging.getLogger("gateway")
# The most characters of one value. Every id is shorter.
MAX_VALUE = 120
# The most characters of a blob's name, percent-encoded. A shortened name would be useless.
MAX_NAME = 3_200

# Libraries that log addresses, which contain the keys of entities, at the level INFO.
_TALKATIVE = ("azure", "aiohttp", "urllib3", "msal")


class Fields(TypedDict, total=False):
    """The fields that a log line may have."""

    import_id: str
    parent_id: str
    correlation_id: str
    tenant: str
    drop: str
    type: str
    queue: str
    function: str
    chunk: int
    chunks: int
    number: int
    rows: int
    done: int
    new: int
    updated: int
    unchanged: int
    failed: int
    bytes: int
    tries: int
    attempt: int
    status: int
    message_id: int
    state: str
    reason: str
    step: str
    delay: float
    seconds: float
    outcome: str
    requests: int


_LISTED = frozenset(Fields.__annotations__)


def event(action: str, **fields: Unpack[Fields]) -> None:
    """Log an event at the level INFO."""
    _write(logging.INFO, action, dict(fields))


def warning(action: str, **fields: Unpack[Fields]) -> None:
    """Log an event that an operator may have to look into."""
    _write(logging.WARNING, action, dict(fields))


def failure(action: str, error: BaseException, **fields: Unpack[Fields]) -> None:
    """Log a failure with the error's class and source line, but not its message."""
    frames = traceback.extract_tb(error.__traceback__)
    at = f" at={PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    cause = error.__cause__
    origin = f" cause={type(cause).__name__}" if cause else ""
    _write(logging.ERROR, action, dict(fields), f"error={type(error).__name__}{at}{origin}")


def configure(level: str) -> None:
    """Set the gateway's log level (a word of GATEWAY_LOG_LEVEL), and WARNING for the libraries.

    The host installs the handlers; on the platform it does so before the app is loaded.
    """
    LOGGER.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def _write(level: int, action: str, fields: dict[str, object], tail: str = "") -> None:
    if not LOGGER.isEnabledFor(level):
        return
    allowed = {name: value for name, value in fields.items() if name in _LISTED}
    words = [action, *(f"{name}={_field_text(name, value)}" for name, value in allowed.items())]
    # The same fields for structured sinks, under names that no LogRecord has.
    attributes = {f"gateway_{name}": attribute(name, value) for name, value in allowed.items()}
    LOGGER.log(level, "%s", " ".join([*words, tail] if tail else words), extra=attributes)


def attribute(name: str, value: object) -> int | float | str:
    """The value of a field for structured sinks: a number as it is, anything else as shown."""
    return value if isinstance(value, int | float) else _field_text(name, value)


def _field_text(name: str, value: object) -> str:
    """The value on one line without spaces, so that a hostile id cannot forge a field or line."""
    text = "".join(mark if mark.isprintable() and mark != " " else "_" for mark in str(value))
    most = MAX_NAME if name == "drop" else MAX_VALUE
    return text if len(text) <= most else f"{text[:most]}…"
