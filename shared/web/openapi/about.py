"""What the gateway tells of itself, as operations: open to everybody."""

from __future__ import annotations

from typing import Any

from shared.imports.import_type import ImportType
from shared.imports.registry import TYPE_CATALOGUE
from shared.web.openapi.operations import (
    COUNT,
    JSON,
    TEXT,
    Access,
    Answer,
    Operation,
    Parameter,
    closed,
    headers,
    limit_names,
    listed,
    nullable,
    reference,
)
from shared.web.openapi.row_schemas import component_name

TAG = "The gateway"
ANY_OBJECT = {"type": "object"}
_CACHED = headers("Cache-Control")


def operations() -> tuple[Operation, ...]:
    """Health, schemas, capabilities, errors, this document and its page."""
    return (
        _health(),
        *(_schema(kind) for kind in TYPE_CATALOGUE.all if kind.has_schema),
        _told(
            "capabilities", "/api/capabilities", "What can be sent and asked for", "Capabilities"
        ),
        _told("errors", "/api/errors", "Every message a row can have", "Catalogue"),
        _told("openapi", "/api/openapi.json", "This document", ""),
        _page(),
        _file(),
    )


def shapes() -> dict[str, dict[str, Any]]:
    """The answers of this area."""
    call = closed({"method": TEXT, "path": TEXT, "sends": listed(TEXT), "answers": listed(TEXT)})
    message_type = closed(
        {
            "type": TEXT,
            "version": COUNT,
            "schema": nullable(TEXT),
            "keyFields": listed(TEXT),
            "waitsFor": listed(TEXT),
            "calls": listed(call),
        }
    )
    limits = closed(dict.fromkeys(limit_names(), COUNT))
    return {
        "MessageType": message_type,
        "Capabilities": closed(
            {
                "version": TEXT,
                "messageTypes": listed(reference("MessageType")),
                "limits": limits,
                "links": {"type": "object", "additionalProperties": TEXT},
            }
        ),
    }


def _health() -> Operation:
    return Operation(
        function="health",
        method="GET",
        path="/api/health",
        summary="Whether tables, queues and blobs answer",
        tag=TAG,
        answers={200: Answer("They do.", {JSON: closed({"status": {"const": "ok"}})})},
    )


def _schema(kind: ImportType) -> Operation:
    return Operation(
        function="import_schema",
        name=f"{component_name(kind).replace('.', '_')}_schema",
        method="GET",
        path=f"/api/import/{kind.schema_name}",
        summary=f"The JSON Schema of a row of {kind.name}",
        tag=TAG,
        answers={200: Answer("The schema, in the dialect of 2020-12.", {JSON: ANY_OBJECT})},
    )


def _told(function: str, path: str, summary: str, shape: str) -> Operation:
    media = {JSON: reference(shape) if shape else ANY_OBJECT}
    answer = Answer(f"{summary}.", media, _CACHED)
    return Operation(
        function=function, method="GET", path=path, summary=summary, tag=TAG, answers={200: answer}
    )


def _page() -> Operation:
    answer = Answer(
        "The page; it asks no other address.",
        {"text/html": TEXT},
        headers("Cache-Control", "Content-Security-Policy"),
    )
    return Operation(
        function="docs",
        method="GET",
        path="/api/docs",
        summary="This document as a page to read and try",
        tag=TAG,
        answers={200: answer},
    )


def _file() -> Operation:
    name = Parameter(
        "file",
        "path",
        "Its name.",
        {"type": "string", "enum": ["start.js", "swagger-ui-bundle.js", "swagger-ui.css"]},
        True,
    )
    known = Parameter("If-None-Match", "header", "The ETag of the copy that the browser has.", TEXT)
    media = {"text/javascript": TEXT, "text/css": TEXT}
    return Operation(
        function="docs_file",
        method="GET",
        path="/api/docs/{file}",
        summary="A file of that page",
        tag=TAG,
        access=Access.OPEN,
        parameters=(name, known),
        answers={
            200: Answer("The file.", media, headers("Cache-Control", "ETag")),
            304: Answer("The browser has it already.", {}, headers("Cache-Control", "ETag")),
        },
        refusals=(404,),
    )
