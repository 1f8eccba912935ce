"""Log lines: an action name and ids, never values (I7).

    event("import.accepted", import_id=accepted.id, tenant=caller.tenant, rows=3)
    -> import.accepted import_id=0b1c… tenant=demo rows=3

`Fields` is the allow-list. The type checker refuses any other name, and at run time an unlisted
field is left out, so that a value cannot slip in by accident. Of an exception only its class and
where it was raised are written: messages of foreign errors quote what they choked on.
"""

from __future__ import annotations

import logging
import traceback
from pathlib import PurePath
from typing import TypedDict, Unpack

LOGGER = logging.getLogger("gateway")
# Characters of one value; an id is shorter, and a longer one is no id.
MAX_VALUE = 120
# Characters of a blob's name, percent-encoded; cut off it would name no blob.
MAX_NAME = 3_200

# They log addresses, which hold the keys of entities, at the level of information.
_TALKATIVE = ("azure", "aiohttp", "urllib3", "msal")


class Fields(TypedDict, total=False):
    """Every field that a log line may have."""

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
    requests: int


_LISTED = frozenset(Fields.__annotations__)


def event(action: str, **fields: Unpack[Fields]) -> None:
    """Say that something happened."""
    _write(logging.INFO, action, dict(fields))


def warning(action: str, **fields: Unpack[Fields]) -> None:
    """Say that something happened that somebody may have to look into."""
    _write(logging.WARNING, action, dict(fields))


def failure(action: str, error: BaseException, **fields: Unpack[Fields]) -> None:
    """Say that something failed: the error's class and place, not its message."""
    _write(logging.ERROR, action, dict(fields), _describe(error))


def configure(level: str) -> None:
    """Set the level of the gateway's lines (a word of GATEWAY_LOG_LEVEL) and calm the libraries.

    Handlers are the host's: on the platform they are there before the app is loaded.
    """
    LOGGER.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def _write(level: int, action: str, fields: dict[str, object], tail: str = "") -> None:
    if not LOGGER.isEnabledFor(level):
        return
    listed = {name: value for name, value in fields.items() if name in _LISTED}
    words = [action, *(f"{name}={_shown(name, value)}" for name, value in listed.items())]
    LOGGER.log(level, "%s", " ".join([*words, tail] if tail else words), extra=_attributes(listed))


def _attributes(fields: dict[str, object]) -> dict[str, object]:
    """The same fields for structured sinks, under names that no LogRecord has."""
    return {
        f"gateway_{name}": value if isinstance(value, int | float) else _shown(name, value)
        for name, value in fields.items()
    }


def _shown(name: str, value: object) -> str:
    """On one line and without spaces, so that a hostile id cannot forge a second field or line."""
    text = "".join(mark if mark.isprintable() and mark != " " else "_" for mark in str(value))
    most = MAX_NAME if name == "drop" else MAX_VALUE
    return text if len(text) <= most else f"{text[:most]}…"


def _describe(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    at = f" at={PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    cause = error.__cause__
    because = f" cause={type(cause).__name__}" if cause else ""
    return f"error={type(error).__name__}{at}{because}"
