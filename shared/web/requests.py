"""What a call says besides its rows: query, media types, size, preferences (CONTRACTS 0)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

import azure.functions as func
from werkzeug.http import parse_options_header

from shared.errors import (
    InvalidRequestError,
    NotAcceptableError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from shared.services.offload import to_thread_if_large
from shared.web.accept import preferred_type
from shared.web.charsets import charset_of, utf8_body
from shared.web.query_names import DRY_RUN

JSON = "application/json"
CSV = "text/csv"
_UTF8 = ("", "utf-8", "utf8", "us-ascii")
_WAIT = re.compile(r"""wait\s*=\s*"?([0-9]{1,9})"?""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Preferences:
    """How long the caller wants to wait, in seconds, and what of its `Prefer` was followed."""

    seconds: float
    applied: str


class DryRun(Enum):
    """Whether a call is a dry run, and how it wants to be answered."""

    NO = auto()
    ANSWER = auto()
    ROWS = auto()


def whole_number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A query value from 1 to `most`. Raises InvalidRequestError."""
    text = query.get(name.lower())
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= most:
        raise InvalidRequestError(f"{name} must be a whole number from 1 to {most}.")
    return int(text)


def check_size(req: func.HttpRequest, most: int) -> None:
    """Raises TooLargeError where the body is over `most` bytes."""
    size = len(req.get_body())
    if size > most:
        raise TooLargeError(
            f"The body has {size} bytes and the limit is {most}: send it in several calls."
        )


def check_accepts_json(req: func.HttpRequest) -> None:
    """Raises NotAcceptableError where `Accept` excludes JSON."""
    accepted_type(req, JSON)


def accepted_type(req: func.HttpRequest, *offered: str) -> str:
    """The media type that `Accept` prefers among those offered; the first one where it is silent.

    Raises NotAcceptableError where it excludes them all.
    """
    best = preferred_type(req.headers.get("Accept", ""), offered)
    if best is None:
        names = " or ".join(offered)
        raise NotAcceptableError(f"This endpoint answers {names}: accept that.")
    return best


def check_encoding(req: func.HttpRequest) -> None:
    """Raises UnsupportedMediaTypeError where the body is compressed."""
    encoding = req.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMediaTypeError(
            "The body must come as it is: send it without Content-Encoding."
        )


def is_utf8(options: Mapping[str, str]) -> bool:
    """Whether the parameters of a content type say UTF-8, or say nothing of an alphabet."""
    return options.get("charset", "").lower() in _UTF8


def check_sends_json(req: func.HttpRequest) -> None:
    """Raises UnsupportedMediaTypeError for an encoding, or a media type other than JSON.

    A missing content type counts as JSON; `text/json` and `+json` are JSON too. An empty body has
    no type, so that whatever the client sets for it is passed over.
    """
    if not req.get_body():
        return
    check_encoding(req)
    media_type, options = parse_options_header(req.headers.get("Content-Type", ""))
    media_type = media_type.lower()
    is_json = media_type in ("", JSON, "text/json") or media_type.endswith("+json")
    if not is_json or not is_utf8(options):
        raise UnsupportedMediaTypeError("Send the body as application/json in UTF-8.")


async def text_body(req: func.HttpRequest) -> bytes:
    """The body in UTF-8, by its bytes and the charset of its Content-Type, whatever that is else.

    Raises InvalidRequestError where it cannot be decoded.
    """
    body, charset = req.get_body(), charset_of(req.headers.get("Content-Type", ""))
    return await to_thread_if_large(len(body), utf8_body, body, charset)


def boolean(query: Mapping[str, str], name: str, *, default: bool) -> bool:
    """A query value that is true or false, in any case. Raises InvalidRequestError.

    A name without a value is refused: `?dryRun` must not import.
    """
    text = query.get(name.lower())
    if text is None:
        return default
    if text.lower() not in ("true", "false"):
        raise InvalidRequestError(
            f"{name} in the query must be true or false, and once: nothing was done."
        )
    return text.lower() == "true"


def dry_run(query: Mapping[str, str]) -> DryRun:
    """What the call says of `dryRun` and `view`. Raises InvalidRequestError."""
    is_dry, view = boolean(query, DRY_RUN, default=False), query.get("view", "").lower()
    if view and not is_dry:
        raise InvalidRequestError("view belongs to a dry run: send dryRun=true with it.")
    if view not in ("", "rows"):
        raise InvalidRequestError("view must be rows, or left out for the vendor's answer.")
    if not is_dry:
        return DryRun.NO
    return DryRun.ROWS if view else DryRun.ANSWER


def preferences(req: func.HttpRequest, longest: float) -> Preferences:
    """`Prefer: wait=N` shortens the wait, `respond-async` alone ends it at once (RFC 7240)."""
    sent = [part.strip() for part in req.headers.get("Prefer", "").split(",")]
    waits = [float(match[1]) for part in sent if (match := _WAIT.fullmatch(part))]
    wants_async = any(part.lower() == "respond-async" for part in sent)
    applied = ["respond-async"] if wants_async else []
    seconds = 0.0 if wants_async else math.inf
    if waits:
        seconds = min(waits[0], longest)
        applied.append(f"wait={seconds:.0f}")
    return Preferences(min(seconds, longest), ", ".join(applied))
