"""The description of an operation: one value for each HTTP method of each address.

A test fails where a function has a route and no description (`tests/unit/house/test_published.py`),
so the published document is complete. Contract tests call the gateway as it says, so it is true.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from shared.imports.files.formats import XLSX_TYPE
from shared.imports.json_rows import MAX_NAME, MAX_NAMES, MAX_ROW_BYTES, MAX_VALUES
from shared.imports.results import MAX_MESSAGES
from shared.settings import Settings
from shared.web.openapi.schemas import REFERENCE, AnswerModel, Content, Count, Import, JudgedPage
from shared.web.query_names import DRY_RUN_HEADER, PROFILE_VERSION


class Access(Enum):
    """Who may call: everybody, or the holder of one of these credentials."""

    OPEN = ()
    KEY_PAIR = ("keyPair",)
    BEARER = ("bearer",)
    EITHER = ("keyPair", "bearer")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value in the address, the query or a header (`place` as OpenAPI names it)."""

    name: str
    place: str
    text: str
    schema: Mapping[str, Any]
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent: its content per media type; `sample` names a file of `samples/`."""

    media: Mapping[str, Content]
    sample: str = ""
    is_required: bool = True


# Rows in files, which every call that sends rows takes beside the formats of its vendor.
FILE_BODIES: Final[Mapping[str, Content]] = {
    "text/csv": str,
    "text/tab-separated-values": str,
    "application/x-ndjson": str,
    XLSX_TYPE: {"type": "string", "format": "binary"},
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back with one status: content per media type, and headers with their meaning."""

    text: str
    media: Mapping[str, Content] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one address.

    `function` is the function that answers; `refusals` are the statuses of its refusals, each
    with `{"message"}` unless `answers` says something else of the status. `message_type` names the
    import type whose rows the body carries.
    """

    function: str
    method: str
    path: str
    summary: str
    tag: str
    answers: Mapping[int, Answer]
    refusals: tuple[int, ...] = ()
    access: Access = Access.OPEN
    text: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    refusal_media: tuple[str, ...] = ()
    """Media types besides JSON that a refusal may come in."""
    scope: str = ""
    """The scope that a token must have; none where any of them will do."""
    permission: str = ""
    """What the integration of a key pair must be allowed; "" where nothing is asked for."""
    message_type: str = ""
    name: str = ""
    """The `operationId`, where the function has more than one operation; else the function's."""


JSON: Final = "application/json"
GUID: Final = {"type": "string", "format": "uuid"}
TEXT: Final = {"type": "string"}


def reference(name: str) -> dict[str, Any]:
    """A reference to the component of a row, by the name of its type."""
    return {"$ref": REFERENCE.format(model=name)}


# The parameters and headers that several operations share.

PREFER: Final = Parameter(
    "Prefer",
    "header",
    "`wait=N` shortens the wait to N seconds, `respond-async` answers 202 at once (RFC 7240).",
    {"type": "string", "pattern": "^(respond-async|wait=[0-9]{1,3})$"},
)
IDEMPOTENCY_KEY: Final = Parameter(
    "Idempotency-Key",
    "header",
    "The gateway does not run a repeated call with the same key again, and returns the first "
    "answer.",
    {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
)
DRY_RUN: Final = Parameter(
    "dryRun",
    "query",
    "`true`: the gateway answers as the import would, and imports nothing. Every answer to such a "
    "call has the header `Dry-Run: true`. The gateway refuses misspelt names of this parameter, "
    "and values other than `true` and `false`.",
    {"type": "boolean", "default": False},
)
VIEW: Final = Parameter(
    "view",
    "query",
    "`rows`: a dry run answers with the result of each row, and what the row would change.",
    {"type": "string", "enum": ["rows"]},
)
SHEET: Final = Parameter(
    "sheet",
    "query",
    "The sheet of a spreadsheet that has the rows; by default the first visible one.",
    TEXT,
)
PROFILE: Final = Parameter(
    "profile",
    "query",
    "The name of a mapping profile of the tenant: the rows are in the layout of their sender "
    "(docs/mapping-profiles.md). An import keeps the version of the profile that it used.",
    {"type": "string", "pattern": "^[A-Za-z0-9]([A-Za-z0-9_-]{0,38}[A-Za-z0-9])?$"},
)
IMPORT_ID: Final = Parameter(
    "importId", "path", "The id of the import, from `X-Import-Id`.", GUID, True
)
PAGE_SIZE: Final = Parameter(
    "pageSize",
    "query",
    "How many items a page has at most.",
    {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
)
CONTINUATION: Final = Parameter(
    "continuation",
    "query",
    "The `continuation` of the previous page. Leave it out for the first page.",
    {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,4000}$"},
)

CORRELATION_ID: Final = "X-Correlation-Id"
OWN_CORRELATION_ID: Final = Parameter(
    CORRELATION_ID,
    "header",
    "The caller's own id of this call. The gateway replaces one that does not match the pattern.",
    {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"},
)
HEADERS: Final = {
    CORRELATION_ID: "The id of this call in the log: the caller's own, if it matches the pattern.",
    "X-Import-Id": "The id of the import that the call made or is about.",
    "Location": "The address at which to follow the import.",
    "Link": 'The address of the next page (`rel="next"`), if there is one.',
    "Retry-After": "Seconds to wait before calling again.",
    "Preference-Applied": "The preferences of `Prefer` that were followed.",
    DRY_RUN_HEADER: "`true`: the call was a dry run, and nothing was done.",
    "Idempotent-Replayed": "`true`: the first answer to an earlier call with this key.",
    PROFILE_VERSION: "Of a repeated answer: the version of the mapping profile that would read the "
    "rows now. The import says by which version they were read.",
    "Content-Disposition": "The name to save the file under.",
    "WWW-Authenticate": "How to ask for a token, and what is wrong with the one that was sent.",
    "ETag": "Changes with the content. Sent back as `If-None-Match`, it may be answered 304.",
    "Cache-Control": "How long the answer may be kept.",
    "Content-Security-Policy": "What the page may load: its own files and nothing else.",
}
"""Every header that answers name, with its meaning."""


def headers(*names: str) -> dict[str, str]:
    """Some of them."""
    return {name: HEADERS[name] for name in names}


# The answers that several operations share.

PREFERRED: Final = ("Preference-Applied", "Idempotent-Replayed", PROFILE_VERSION)


def import_answers(text: str, content: Content) -> dict[int, Answer]:
    """The answers to a call that imports rows: 200 once the import has ended, 202 before."""
    return {
        200: Answer(text, {JSON: content | JudgedPage}, headers("X-Import-Id", *PREFERRED)),
        202: still_running(*PREFERRED),
    }


def still_running(*more: str) -> Answer:
    """202: the import goes on; `more` headers by their names."""
    return Answer(
        "The import has not ended yet: follow it at `Location`.",
        {JSON: Import},
        headers("Location", "Retry-After", "X-Import-Id", *more),
    )


# The limits in force that callers have to know: in the document and in `/api/capabilities`.


class Limits(AnswerModel):
    """The limits in force. What is over one is refused before any row runs.

    Sizes are in bytes, times in seconds.
    """

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, validate_by_name=True)

    body_bytes: Count = Field(description="Bytes of a body.")
    document_bytes: Count = Field(description="Bytes of a document's file.")
    rows: Count = Field(description="Rows of an import.")
    dry_run_rows: Count = Field(description="Rows of a dry run.")
    wait_seconds: Count = Field(
        description="Seconds that a call waits for the result before it answers 202."
    )
    idempotency_seconds: Count = Field(description="Seconds that an Idempotency-Key is remembered.")
    row_bytes: Count = Field(description="Bytes of a row.")
    row_values: Count = Field(description="Values in a row.")
    object_names: Count = Field(description="Property names in an object.")
    name_characters: Count = Field(description="Characters of a property name.")
    row_messages: Count = Field(description="Messages of a row that are kept.")

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Those of the settings."""
        return cls(
            body_bytes=settings.max_body_bytes,
            document_bytes=settings.max_document_bytes,
            rows=settings.max_rows,
            dry_run_rows=settings.dry_run_rows,
            wait_seconds=settings.wait_seconds,
            idempotency_seconds=settings.idempotency_seconds,
            row_bytes=MAX_ROW_BYTES,
            row_values=MAX_VALUES,
            object_names=MAX_NAMES,
            name_characters=MAX_NAME,
            row_messages=MAX_MESSAGES,
        )
