"""What the gateway publishes about itself, as operations that need no credential."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from shared.imports.registry import TYPE_CATALOGUE
from shared.web.openapi.operations import (
    JSON,
    TEXT,
    Answer,
    Limits,
    Operation,
    Parameter,
    headers,
)
from shared.web.openapi.row_schemas import component_name
from shared.web.openapi.schemas import AnswerModel, Catalogue, Content, Count

TAG = "The gateway"
_CACHED = headers("Cache-Control")
_CACHED_BY_TAG = headers("Cache-Control", "ETag")


class Health(AnswerModel):
    status: Literal["ok"] = Field(description="`ok`: tables, queues and blobs answer.")


class ImportCall(AnswerModel):
    method: str = Field(description="The HTTP method.")
    path: str = Field(description="The address.")
    sends: list[str] = Field(description="The media types that the call takes.")
    answers: list[str] = Field(description="The media types that the call answers with.")


class MessageType(AnswerModel):
    model_config = ConfigDict(validate_by_name=True)

    type: str = Field(description="The import type.")
    version: Count = Field(description="A version of the import type.")
    row_schema: str | None = Field(
        alias="schema",
        description="The address of the schema of a row; null where the type has none.",
    )
    keyFields: list[str] = Field(description="The fields that name a record.")
    waitsFor: list[str] = Field(
        description="The types whose earlier imports an import of this type waits for."
    )
    calls: list[ImportCall] = Field(description="The calls that take rows of this type.")


class Capabilities(AnswerModel):
    version: str = Field(description="The version of the gateway.")
    messageTypes: list[MessageType] = Field(description="The import types that the gateway takes.")
    limits: Limits = Field(
        description="The limits in force. What is over one is refused before any row runs."
    )
    links: dict[str, str] = Field(description="The addresses that can be used now, by name.")


def _public(function: str, path: str, summary: str, content: Content) -> Operation:
    return Operation(
        function=function,
        method="GET",
        path=path,
        summary=summary,
        tag=TAG,
        answers={200: Answer(f"{summary}.", {JSON: content}, _CACHED)},
    )


OPERATIONS: Final = (
    Operation(
        function="health",
        method="GET",
        path="/api/health",
        summary="Check whether tables, queues and blobs answer",
        tag=TAG,
        answers={200: Answer("They answer.", {JSON: Health})},
    ),
    *(
        Operation(
            function="import_schema",
            name=f"{component_name(kind).replace('.', '_')}_schema",
            method="GET",
            path=f"/api/import/{kind.schema_name}",
            summary=f"The JSON Schema of a row of {kind.name}",
            tag=TAG,
            answers={200: Answer("The schema, in the dialect 2020-12.", {JSON: dict[str, Any]})},
        )
        for kind in TYPE_CATALOGUE.all
        if kind.has_schema
    ),
    _public("capabilities", "/api/capabilities", "What can be sent and asked for", Capabilities),
    _public("errors", "/api/errors", "Every message a row can have", Catalogue),
    _public("openapi", "/api/openapi.json", "This document", dict[str, Any]),
    Operation(
        function="docs",
        method="GET",
        path="/api/docs",
        summary="This document as a page to read and try",
        tag=TAG,
        answers={
            200: Answer(
                "The page. It loads nothing from other addresses.",
                {"text/html": str},
                headers("Cache-Control", "Content-Security-Policy"),
            )
        },
    ),
    Operation(
        function="docs_file",
        method="GET",
        path="/api/docs/{file}",
        summary="A file of that page",
        tag=TAG,
        parameters=(
            Parameter(
                "file",
                "path",
                "Its name.",
                {"type": "string", "enum": ["start.js", "swagger-ui-bundle.js", "swagger-ui.css"]},
                True,
            ),
            Parameter(
                "If-None-Match", "header", "The ETag of the copy that the browser has.", TEXT
            ),
        ),
        answers={
            200: Answer("The file.", {"text/javascript": str, "text/css": str}, _CACHED_BY_TAG),
            304: Answer("The copy that the browser has is current.", {}, _CACHED_BY_TAG),
        },
        refusals=(404,),
    ),
)
