"""What is told of one operation: a value per HTTP method and address, kept by area.

A function without such a description does not pass `tests/unit/house/test_described.py`, so the
published document is complete; that it is true is shown by the tests that call the gateway with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, Final

from shared.imports.json_rows import MAX_NAME, MAX_NAMES, MAX_ROW_BYTES, MAX_VALUES
from shared.imports.messages import Severity
from shared.imports.results import MAX_MESSAGES, Outcome
from shared.imports.sender import CALLER_MEANINGS
from shared.services.status import ImportState
from shared.settings import Settings
from shared.web.query_names import DRY_RUN_HEADER

Schema = Mapping[str, Any]
"""A JSON Schema, or a reference to one of the document's components."""


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
    schema: Schema
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent: a schema per media type; `sample` names a file of `samples/`."""

    media: Mapping[str, Schema]
    sample: str = ""
    is_required: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back with one status: a schema per media type, and headers with their meaning."""

    text: str
    media: Mapping[str, Schema] = field(default_factory=dict)
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
    message_type: str = ""
    name: str = ""
    """The `operationId`, where the function has more than one operation; else the function's."""


# The shapes that several operations share, as components of the document.

JSON: Final = "application/json"
GUID: Final = {"type": "string", "format": "uuid"}
TEXT: Final = {"type": "string"}
COUNT: Final = {"type": "integer", "minimum": 0}
_ROW: Final = {"type": "object", "description": "A row as it is sent to its endpoint."}
MOMENT: Final = {"type": "string", "format": "date-time"}


def reference(name: str) -> dict[str, Any]:
    """A reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def listed(item: Mapping[str, Any]) -> dict[str, Any]:
    """An array of these."""
    return {"type": "array", "items": item}


def closed(properties: Mapping[str, Any], *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """An object with these properties and no others; all but the optional ones are always there."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def nullable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same, or null."""
    return {**schema, "type": [schema["type"], "null"]}


def page_of(item: str) -> dict[str, Any]:
    """A page of a list; `continuation` is null on the last one."""
    return closed({"items": listed(reference(item)), "continuation": nullable(TEXT)})


def shared_shapes() -> dict[str, dict[str, Any]]:
    """Every component that belongs to no single area, by name."""
    return {
        "Refusal": closed({"message": TEXT}),
        "Message": _message(),
        "Result": _result(),
        "ResultPage": page_of("Result"),
        "JudgedRow": _judged_row(),
        "JudgedPage": closed(
            {"dryRun": {"const": True}, **page_of("JudgedRow")["properties"]},
        ),
        "MessageGroup": _message_group(),
        "MessageGroups": closed(
            {
                "items": listed(reference("MessageGroup")),
                "leftOut": {**COUNT, "description": "Messages that are in none of the groups."},
                "continuation": {"type": "null"},
            }
        ),
        "FailedRow": _failed_row(),
        "CorrectedRow": _corrected_row(),
        "Import": _import(),
        "ImportPage": page_of("Import"),
        "CatalogueEntry": closed(
            {"errorID": COUNT, "messageType": _severity(), "message": TEXT, "advice": TEXT}
        ),
        "Catalogue": closed({"errors": listed(reference("CatalogueEntry"))}),
    }


def _severity() -> dict[str, Any]:
    return {"type": "string", "enum": [severity.value for severity in Severity]}


def _message() -> dict[str, Any]:
    properties = {
        "messageType": _severity(),
        "message": TEXT,
        "fieldName": {**TEXT, "description": "The path of the field."},
        "fieldValue": {**TEXT, "description": "What was sent; left out for secret fields."},
        "errorID": {**COUNT, "description": "One of /api/errors."},
    }
    return closed(properties, optional=("fieldName", "fieldValue"))


def _message_group() -> dict[str, Any]:
    indexes = {**listed(COUNT), "description": "The first rows, by their index in the payload."}
    return closed(
        {
            "messageType": _severity(),
            "errorID": {**COUNT, "description": "One of /api/errors."},
            "message": TEXT,
            "advice": TEXT,
            "fieldName": {**TEXT, "description": "The path of the field."},
            "count": {**COUNT, "description": "How many messages the group has."},
            "firstIndexes": indexes,
        },
        optional=("fieldName",),
    )


def _result() -> dict[str, Any]:
    return closed(
        {
            "index": {**COUNT, "description": "The row's place in the payload, from 0."},
            "key": {"type": "object", "additionalProperties": TEXT},
            "outcome": {"type": "string", "enum": [outcome.value for outcome in Outcome]},
            "messages": listed(reference("Message")),
        }
    )


def _judged_row() -> dict[str, Any]:
    change = {
        "field": {**TEXT, "description": "The path of the field."},
        "before": {"description": "What is stored, null where nothing is; `***` if secret."},
        "after": {"description": "What would be stored."},
    }
    result: dict[str, Any] = _result()["properties"]
    return closed({**result, "changes": listed(closed(change))})


def _failed_row() -> dict[str, Any]:
    return closed(
        {
            "index": {**COUNT, "description": "The row's place in the payload, from 0."},
            "row": _ROW,
            "messages": listed(reference("Message")),
        }
    )


def _corrected_row() -> dict[str, Any]:
    """Other properties are read over, so that a failed row can be sent back as it is."""
    return {
        "type": "object",
        "properties": {"index": {**COUNT, "description": "That of the failed row."}, "row": _ROW},
        "required": ["index", "row"],
    }


def _import() -> dict[str, Any]:
    names = (
        *("total", "done", "new", "updated", "unchanged", "failed", "repaired"),
        *("warnings", "infos", "cancelled"),
    )
    counts = dict.fromkeys(names, COUNT) | {
        "repaired": {
            **COUNT,
            "description": "Failed rows that retries, or retries of those, have imported since.",
        },
    }
    return closed(
        {
            "importId": GUID,
            "type": TEXT,
            "state": {"type": "string", "enum": [state.value for state in ImportState]},
            "rows": closed(counts, optional=("cancelled",)),
            "rowsPerSecond": {"type": ["number", "null"], "minimum": 0},
            "secondsLeft": nullable(COUNT),
            "acceptedAt": MOMENT,
            "endedAt": nullable(MOMENT),
            "caller": caller_schema(),
            "source": nullable(TEXT),
            "bodySha256": {"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"},
            "parentId": nullable(GUID),
            "childIds": {**listed(GUID), "description": "Its retries, in order."},
            "links": {"type": "object", "additionalProperties": TEXT},
        }
    )


def caller_schema() -> dict[str, Any]:
    """One name under what the caller is; null for an import of an earlier version."""
    return {
        "type": ["object", "null"],
        "properties": {
            kind.value: {"type": "string", "description": meaning}
            for kind, meaning in CALLER_MEANINGS.items()
        },
        "additionalProperties": False,
        "maxProperties": 1,
    }


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
    "A repeated call with the same key is not carried out again: it gets the first answer.",
    {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
)
DRY_RUN: Final = Parameter(
    "dryRun",
    "query",
    "`true`: the call is answered as the import would be, and nothing is imported. Every answer to "
    "such a call has the header `Dry-Run: true`. A name that is nearly `dryRun`, and a value other "
    "than `true` and `false`, is refused.",
    {"type": "boolean", "default": False},
)
VIEW: Final = Parameter(
    "view",
    "query",
    "With `rows`, a dry run answers with a result for each row, and what the row would change.",
    {"type": "string", "enum": ["rows"]},
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
    "The `continuation` of the page before; left out for the first one.",
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
    "Location": "Where the import is followed.",
    "Link": 'The address of the next page (`rel="next"`), where there is one.',
    "Retry-After": "Seconds until it is worth asking again.",
    "Preference-Applied": "The preferences of `Prefer` that were followed.",
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


# The limits in force that callers have to know: in the document and in `/api/capabilities`.


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    body_bytes: int
    document_bytes: int
    rows: int
    dry_run_rows: int
    wait_seconds: int
    idempotency_seconds: int
    row_bytes: int = MAX_ROW_BYTES
    row_values: int = MAX_VALUES
    object_names: int = MAX_NAMES
    name_characters: int = MAX_NAME
    row_messages: int = MAX_MESSAGES

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
        )

    def view(self) -> dict[str, int]:
        """By the names that callers see."""
        return {_camel_case(name): value for name, value in asdict(self).items()}


def limit_names() -> list[str]:
    """The names that callers see."""
    return [_camel_case(name) for name in Limits.__dataclass_fields__]


def _camel_case(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
