"""The parameters and headers that several operations share."""

from __future__ import annotations

from typing import Final

from shared.web.openapi.operations import Parameter
from shared.web.openapi.shapes import GUID
from shared.web.query_names import DRY_RUN_HEADER

PREFER: Final = Parameter(
    "Prefer",
    "header",
    "`wait=N` shortens the wait to N seconds, `respond-async` answers 202 at once (RFC 7240).",
    {"type": "string", "pattern": "^(respond-async|wait=[0-9]{1,3})$"},
)
IDEMPOTENCY_KEY: Final = Parameter(
    "Idempotency-Key",
    "header",
    "The same call again, with the same key, is not done again: it gets the first answer.",
    {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
)
DRY_RUN: Final = Parameter(
    "dryRun",
    "query",
    "`true`: answered as the import would be, and nothing is imported; every answer then has the "
    "header `Dry-Run: true`. A name or value that is nearly this one is refused.",
    {"type": "boolean", "default": False},
)
VIEW: Final = Parameter(
    "view",
    "query",
    "Of a dry run with `rows`: the results row by row, with what each would change.",
    {"type": "string", "enum": ["rows"]},
)
IMPORT_ID: Final = Parameter("importId", "path", "As `X-Import-Id` named it.", GUID, True)
PAGE_SIZE: Final = Parameter(
    "pageSize",
    "query",
    "The most items of the page.",
    {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
)
CONTINUATION: Final = Parameter(
    "continuation",
    "query",
    "The `continuation` of the page before; left out for the first one.",
    {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,400}$"},
)

CORRELATION_ID: Final = "X-Correlation-Id"
OWN_CORRELATION_ID: Final = Parameter(
    CORRELATION_ID,
    "header",
    "The caller's own name for this call; another than a plain one is replaced.",
    {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"},
)
HEADERS: Final = {
    CORRELATION_ID: "Names this call in the log: the caller's own, if it is a plain one.",
    "X-Import-Id": "The import that the call made or tells of.",
    "Location": "Where the import is followed.",
    "Retry-After": "Seconds until it is worth asking again.",
    "Preference-Applied": "What of `Prefer` was followed.",
    DRY_RUN_HEADER: "`true`: the call was a dry run, and nothing was done.",
    "Idempotent-Replayed": "`true`: the first answer to an earlier call with this key.",
    "Content-Disposition": "The name to save the file under.",
    "WWW-Authenticate": "How a token is asked for, and what was wrong with one.",
    "ETag": "Changes with the content; sent back as `If-None-Match`, it may be answered by 304.",
    "Cache-Control": "How long the answer may be kept.",
    "Content-Security-Policy": "What the page may load: its own files and nothing else.",
}
"""Every header that answers name, with its meaning."""


def headers(*names: str) -> dict[str, str]:
    """Some of them."""
    return {name: HEADERS[name] for name in names}
