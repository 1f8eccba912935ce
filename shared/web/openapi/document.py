"""The OpenAPI 3.1 document, put together from the descriptions of the areas and the models.

    document_text(limits)  -> the JSON text, made at the first call and kept by the process

Each operation may also answer 400 (an unknown query parameter), 500 and 503, and each one that asks
for a credential 429. This module adds those answers to all of them, and the header of dry runs. 501
is an answer of the contract: an unknown message type or version, or a payload of another kind.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from shared.auth.clients import Scope
from shared.auth.integrations import ANY, OPERATE
from shared.imports.files.formats import XLSX_TYPE, FileFormat
from shared.imports.files.templates import SAMPLES, TEMPLATE_FORMATS, template_name
from shared.imports.import_type import ImportType
from shared.imports.modules import IMPORT_MODULES
from shared.imports.registry import MESSAGE_CATALOGUE, TYPE_CATALOGUE
from shared.web.openapi import admin, audit, changes, following, records, tokens
from shared.web.openapi.operations import (
    CORRELATION_ID,
    DRY_RUN,
    HEADERS,
    JSON,
    OWN_CORRELATION_ID,
    TEXT,
    Access,
    Answer,
    Body,
    Limits,
    Operation,
    Parameter,
    headers,
)
from shared.web.openapi.schemas import (
    AnswerModel,
    Catalogue,
    CatalogueEntry,
    Content,
    Count,
    Refusal,
    Schema,
    component_name,
    make_schemas,
    row_schemas,
)
from shared.web.query_names import DRY_RUN_HEADER

if TYPE_CHECKING:
    from shared.imports.import_type_module import DescribeCalls


# What the gateway publishes about itself, as operations that need no credential.

TAG = "The gateway"
_CACHED = headers("Cache-Control")
_CACHED_BY_TAG = headers("Cache-Control", "ETag")


class Health(AnswerModel):
    status: Literal["ok"] = Field(description="`ok`: tables, queues and blobs answer.")


class QueueEntry(AnswerModel):
    queue: str = Field(description="The name of the queue; `-bulk` has chunks of large imports.")
    messages: Count = Field(
        description="About how many messages it has, with those that are being processed."
    )
    oldestAt: AwareDatetime | None = Field(
        description="When the first message that waits was sent; null where none waits."
    )
    poisoned: Count = Field(
        description="Messages that failed too often. The gateway ends their rows within minutes."
    )


class QueuesAnswer(AnswerModel):
    checkedAt: AwareDatetime = Field(description="When the gateway looked, at most 5 seconds ago.")
    queues: list[QueueEntry] = Field(description="The queues of all types, for all tenants.")
    poisonedDrops: Count = Field(
        description="Dropped files that failed too often (`manage.py poison list`)."
    )


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
    templates: list[str] = Field(
        description="The addresses of files with the columns of the type and a sample row."
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


def _page(function: str, path: str, summary: str) -> Operation:
    return Operation(
        function=function,
        method="GET",
        path=path,
        summary=summary,
        tag=TAG,
        parameters=(_IF_NONE_MATCH,),
        answers={
            200: Answer(
                "The page. It loads nothing from other addresses.",
                {"text/html": str},
                headers("Cache-Control", "Content-Security-Policy", "ETag"),
            ),
            304: _CURRENT,
        },
    )


def _page_file(function: str, path: str, files: list[str]) -> Operation:
    return Operation(
        function=function,
        method="GET",
        path=path,
        summary="A file of that page",
        tag=TAG,
        parameters=(
            Parameter("file", "path", "Its name.", {"type": "string", "enum": files}, True),
            _IF_NONE_MATCH,
        ),
        answers={
            200: Answer("The file.", {"text/javascript": str, "text/css": str}, _CACHED_BY_TAG),
            304: _CURRENT,
        },
        refusals=(404,),
    )


_IF_NONE_MATCH: Final = Parameter(
    "If-None-Match", "header", "The ETag of the copy that the browser has.", TEXT
)
_CURRENT: Final = Answer("The copy that the browser has is current.", {}, _CACHED_BY_TAG)
_FILES_OF_DOCS: Final = ["start.js", "swagger-ui-bundle.js", "swagger-ui.css"]
_TEMPLATE_TYPES: Final = {FileFormat.CSV: "text/csv", FileFormat.XLSX: XLSX_TYPE}
_FILE: Final[Schema] = {"type": "string", "contentMediaType": "application/octet-stream"}
OPERATIONS: Final = (
    Operation(
        function="health",
        method="GET",
        path="/api/health",
        summary="Check whether tables, queues and blobs answer",
        tag=TAG,
        answers={200: Answer("They answer.", {JSON: Health})},
    ),
    Operation(
        function="health_queues",
        method="GET",
        path="/api/health/queues",
        summary="What waits in the queues, and what failed too often",
        text="The queues are those of the whole gateway: the numbers count for all tenants.",
        tag=TAG,
        access=Access.EITHER,
        scope=Scope.ADMIN,
        permission=OPERATE,
        answers={200: Answer("The queues in numbers.", {JSON: QueuesAnswer})},
        refusals=(400, 401, 403, 406),
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
    *(
        Operation(
            function="import_schema",
            name=f"{component_name(kind).replace('.', '_')}_template_{file_format.value}",
            method="GET",
            path=f"/api/import/{template_name(kind, file_format)}",
            summary=f"A template of rows of {kind.name} as {file_format.value.upper()}",
            tag=TAG,
            answers={
                200: Answer(
                    "The columns in the order of the contract, and a row of the sample. It can be "
                    "imported as it is.",
                    {_TEMPLATE_TYPES[file_format]: _FILE},
                    headers("Cache-Control", "Content-Disposition"),
                )
            },
        )
        for kind in TYPE_CATALOGUE.all
        if kind.has_schema
        for file_format in TEMPLATE_FORMATS
    ),
    _public("capabilities", "/api/capabilities", "What can be sent and asked for", Capabilities),
    _public("errors", "/api/errors", "Every message a row can have", Catalogue),
    _public("openapi", "/api/openapi.json", "This document", dict[str, Any]),
    _page("docs", "/api/docs", "This document as a page to read and try"),
    _page_file("docs_file", "/api/docs/{file}", _FILES_OF_DOCS),
    _page("console", "/console", "The console: imports, records and documents as pages"),
    _page_file("console_file", "/console/{file}", ["gateway.js", "main.js", "style.css"]),
)


# The version of the gateway; a test compares it with `pyproject.toml`.
VERSION: Final = "0.1.0"
ABOUT: Final = (
    "The gateway takes HR and payroll data in the vendors' own contracts. It imports each row "
    "separately, and answers what became of each row and why. The examples are the samples of the "
    "repository. They can be sent as they are; some of their rows are wrong on purpose.\n\n"
    "### Which key goes where\n\n"
    "| calls | send | how to get it |\n"
    "| --- | --- | --- |\n"
    "| workers, assignments, licenses | `X-Functions-Key` and `X-Software-Key` | The gateway's "
    "administrator makes an integration for you and hands out both. The function key is shown "
    "once. |\n"
    "| documents, authentication data | `Authorization: Bearer` with a token, or the key pair | "
    "The administrator makes a client for you and hands out its id and secret. `POST "
    "/connect/token` gives a token for them. |\n"
    "| following imports | either of them | A key pair sees the tenant's imports, a token those "
    "of its scopes. |\n"
    "| reading records | either of them | The administrator decides what an integration may read; "
    "a client needs the scope `read_records`. |\n"
    "| the log of administrative acts | `X-Functions-Key` and `X-Software-Key` | As for workers. "
    "|\n"
    "| administration of the tenant | either of them | The administrator gives an integration the "
    "permission `admin`, or a client the scope `admin`. |\n"
    "| schemas, capabilities, messages, health | nothing | |\n\n"
    "**Authorize** on this page takes the key pair or the client's id and secret. On the local "
    "gateway you are the administrator: `python3 dev.py manage integration add` and `python3 "
    "dev.py manage client add` make both."
)
REASONS: Final = {
    400: "The call is malformed or has a wrong value.",
    401: "No credential, or one that the gateway does not know.",
    403: "The caller is known, but may not do this.",
    404: "Not found in this tenant.",
    406: "`Accept` names no media type that the call answers with.",
    409: "The current state of the import, batch or record does not allow the call.",
    410: "What the call asks for has expired, or can no longer be read.",
    413: "The call exceeds a limit; the message names it.",
    415: "The call does not take this media type or encoding.",
    422: "The Idempotency-Key was sent with a different call before.",
    429: "Too many calls with wrong credentials, dry runs of authentication data, open imports of "
    "the tenant, or calls of the tenant at a time. Send the call again after `Retry-After`.",
    500: "The gateway failed unexpectedly.",
    501: "The message type or version does not exist, or the payload is of another kind.",
    503: "Storage does not answer at the moment. Send the call again.",
}


def operations(limits: Limits) -> tuple[Operation, ...]:
    """Every operation of the gateway, area by area."""
    # Types that share a contract also share the function that describes its calls.
    names_by_area: dict[DescribeCalls, list[str]] = {}
    for name, module in IMPORT_MODULES.items():
        names_by_area.setdefault(module.describe_calls, []).append(name)
    calls = [
        operation
        for describe_calls, names in names_by_area.items()
        for operation in describe_calls(limits, names)
    ]
    return (
        *calls,
        *following.operations(calls),
        *records.OPERATIONS,
        *audit.OPERATIONS,
        *admin.OPERATIONS,
        *changes.OPERATIONS,
        *tokens.OPERATIONS,
        *OPERATIONS,
    )


@cache
def document_text(limits: Limits) -> str:
    """The document as JSON."""
    return json.dumps(document(limits), ensure_ascii=False, separators=(",", ":"))


def document(limits: Limits) -> dict[str, Any]:
    """The document."""
    described = operations(limits)
    contents = [
        content
        for operation in described
        for part in (*all_answers(operation).values(), operation.body)
        if part is not None
        for content in part.media.values()
        if not isinstance(content, Mapping)
    ]
    schemas, components = make_schemas(contents)
    paths: dict[str, dict[str, Any]] = {}
    for operation in described:
        methods = paths.setdefault(operation.path, {})
        methods[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Payroll Import Gateway", "version": VERSION, "description": ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(item.tag for item in described)],
        "paths": paths,
        "components": _components(components),
    }


def _components(answers: Mapping[str, Schema]) -> dict[str, Any]:
    return {
        "schemas": {
            **answers,
            **row_schemas(kind for kind in TYPE_CATALOGUE.all if kind.has_schema),
        },
        "parameters": {CORRELATION_ID: _parameter(OWN_CORRELATION_ID)},
        "headers": {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in HEADERS.items()
        },
        "securitySchemes": {
            "functionKey": {
                "type": "apiKey",
                "in": "header",
                "name": "X-Functions-Key",
                "description": "The secret of an integration, shown once when it is made.",
            },
            "softwareKey": {
                "type": "apiKey",
                "in": "header",
                "name": "X-Software-Key",
                "description": "The name of the integration; sent together with its function key.",
            },
            "token": {
                "type": "oauth2",
                "description": "For documents, authentication data and stored records: the id and "
                "the secret of a client.",
                "flows": {"clientCredentials": _TOKENS},
            },
        },
    }


_TOKENS: Final = {
    "tokenUrl": "/connect/token",
    "scopes": {scope.value: scope.meaning for scope in Scope},
}


def _operation(operation: Operation, schemas: Mapping[Content, Schema]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name or operation.function,
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": [_credential(name, operation) for name in operation.access.value],
        "parameters": [
            *(_parameter(item) for item in operation.parameters),
            {"$ref": f"#/components/parameters/{CORRELATION_ID}"},
        ],
        "responses": {
            str(status): _response(answer, schemas)
            for status, answer in sorted(all_answers(operation).items())
        },
    }
    texts = [operation.text, _permission_text(operation.permission)]
    if any(texts):
        described["description"] = " ".join(filter(None, texts))
    if operation.body is not None:
        described["requestBody"] = _body(operation.body, schemas)
    return described


def _credential(name: str, operation: Operation) -> dict[str, list[str]]:
    if name == "bearer":
        return {"token": [operation.scope] if operation.scope else []}
    return {"functionKey": [], "softwareKey": []}


def _permission_text(permission: str) -> str:
    if permission in ("", ANY):
        return ""
    return f"The integration of a key pair needs the permission `{permission}`."


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.is_required,
        "description": parameter.text,
        "schema": dict(parameter.schema),
    }


def _body(body: Body, schemas: Mapping[Content, Schema]) -> dict[str, Any]:
    content = _content(body.media, schemas)
    if body.sample:
        value = json.loads((SAMPLES / body.sample).read_text("utf-8"))
        sample = {"summary": f"samples/{body.sample}", "value": value}
        content[JSON]["examples"] = {"sample": sample}
    return {"required": body.is_required, "content": content}


def all_answers(operation: Operation) -> dict[int, Answer]:
    """The answers of the operation by status, with those that every operation has."""
    slowed = (429,) if 401 in operation.refusals else ()
    refusals = (*operation.refusals, 400, *slowed, 500, 503)
    answers = {
        **{status: _refusal(status, operation) for status in refusals},
        **operation.answers,
    }
    if DRY_RUN not in operation.parameters:
        return answers
    of_dry_runs = headers(DRY_RUN_HEADER)
    return {
        status: replace(answer, headers={**answer.headers, **of_dry_runs})
        for status, answer in answers.items()
    }


def _refusal(status: int, operation: Operation) -> Answer:
    names = ["Retry-After"] if status in (429, 503) else []
    if status in (401, 403) and "bearer" in operation.access.value:
        names.append("WWW-Authenticate")
    media = {JSON: Refusal, **dict.fromkeys(operation.refusal_media, str)}
    return Answer(REASONS[status], media, headers(*names))


def _response(answer: Answer, schemas: Mapping[Content, Schema]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": answer.text,
        "headers": {
            name: {"$ref": f"#/components/headers/{name}"}
            for name in (CORRELATION_ID, *answer.headers)
        },
    }
    if answer.media:
        described["content"] = _content(answer.media, schemas)
    return described


def _content(
    media: Mapping[str, Content], schemas: Mapping[Content, Schema]
) -> dict[str, dict[str, Any]]:
    """Content by media type; a content that is a JSON Schema already is its own schema."""
    return {
        media_type: {"schema": content if isinstance(content, Mapping) else schemas[content]}
        for media_type, content in media.items()
    }


# What `/api/capabilities` and `/api/errors` tell: drawn from the catalogues, nothing by hand.

LINKS = {
    "openapi": "/api/openapi.json",
    "docs": "/api/docs",
    "console": "/console",
    "errors": "/api/errors",
    "imports": "/api/imports",
    "health": "/api/health",
}


def capabilities(limits: Limits) -> dict[str, Any]:
    """The message types with the calls that take them, the limits, and where to read on."""
    described = operations(limits)
    return Capabilities(
        version=VERSION,
        messageTypes=[_message_type(kind, described) for kind in TYPE_CATALOGUE.all],
        limits=limits,
        links=LINKS,
    ).model_dump(mode="json", by_alias=True)


def catalogue_view() -> dict[str, Any]:
    """Every message of the catalogue, in order of its id."""
    return Catalogue(
        errors=[
            CatalogueEntry(
                errorID=entry.id,
                messageType=entry.severity,
                message=entry.text,
                advice=entry.advice,
            )
            for _, entry in sorted(MESSAGE_CATALOGUE.items())
        ]
    ).model_dump(mode="json")


def _message_type(kind: ImportType, described: Iterable[Operation]) -> MessageType:
    return MessageType(
        type=kind.name,
        version=kind.version,
        row_schema=f"/api/import/{kind.schema_name}" if kind.has_schema else None,
        templates=[
            f"/api/import/{template_name(kind, file_format)}"
            for file_format in TEMPLATE_FORMATS
            if kind.has_schema
        ],
        keyFields=[*kind.rules.key_fields],
        waitsFor=[*kind.waits_for],
        calls=[_call(item) for item in described if item.message_type == kind.name],
    )


def _call(operation: Operation) -> ImportCall:
    answer = operation.answers.get(200)
    return ImportCall(
        method=operation.method,
        path=operation.path,
        sends=[*operation.body.media] if operation.body else [],
        answers=[*answer.media] if answer else [],
    )
