"""The OpenAPI 3.1 document, put together from the descriptions of the areas and the models.

    document_text(limits)  -> the JSON text, made once per process and kept

Every operation may also end in 400 (a query parameter that it does not know), 500 and 503, and one
that asks for a credential in 429. That is said here and not by each of them, and so is the header
of dry runs. 501 is an answer of the contract: an unknown message type or version, a payload of
another kind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from shared.auth.clients import Scope
from shared.imports.import_type import ImportType
from shared.imports.import_type_module import OpenApiArea
from shared.imports.messages import CATALOGUE
from shared.imports.modules import IMPORT_MODULES
from shared.imports.registry import TYPE_CATALOGUE
from shared.web.openapi import (
    about,
    audit,
    changes,
    following,
    records,
    tokens,
)
from shared.web.openapi.meanings import with_meanings
from shared.web.openapi.operations import (
    CORRELATION_ID,
    DRY_RUN,
    HEADERS,
    JSON,
    OWN_CORRELATION_ID,
    TEXT,
    Answer,
    Limits,
    Operation,
    Parameter,
    headers,
    reference,
    shared_shapes,
)
from shared.web.openapi.row_schemas import row_schemas
from shared.web.query_names import DRY_RUN_HEADER

VERSION: Final = "0.1.0"
"""The gateway's; a test holds it to `pyproject.toml`."""
SAMPLES: Final = Path(__file__).resolve().parents[3] / "samples"
ABOUT: Final = (
    "Takes HR and payroll data in the vendors' own contracts, works on every row by itself, and "
    "answers for each row what became of it and why. The examples are the samples of the "
    "repository: they can be sent as they stand, and some of their rows are bad on purpose.\n\n"
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
    "| schemas, capabilities, messages, health | nothing | |\n\n"
    "**Authorize** on this page takes the key pair or the client's id and secret. On the local "
    "gateway you are the administrator: `python3 dev.py manage integration add` and `python3 "
    "dev.py manage client add` make both."
)
REASONS: Final = {
    400: "The call cannot be read, or has a wrong value.",
    401: "No credential, or one that the gateway does not know.",
    403: "The caller is known, but may not do this.",
    404: "Not found in this tenant.",
    406: "`Accept` names no media type that the call answers with.",
    409: "The present state of the import, batch or record does not allow the call.",
    410: "It has expired, or cannot be read any more.",
    413: "The call is over a limit; the message names it.",
    415: "The call does not take this media type or encoding.",
    422: "The Idempotency-Key was sent with another call before.",
    429: "Too many calls with wrong credentials or dry runs of authentication data, too many open "
    "imports of the tenant, or too many of its calls at a time: send "
    "the call again after Retry-After.",
    500: "The gateway failed unexpectedly.",
    501: "No such message type or version, or a payload of another kind.",
    503: "Storage does not answer just now: send the call again.",
}


def operations(limits: Limits) -> tuple[Operation, ...]:
    """Every operation of the gateway, area by area."""
    calls = [
        operation
        for area, names in _areas().items()
        for operation in area().operations(limits, names)
    ]
    return (
        *calls,
        *following.operations(calls),
        *records.operations(),
        *audit.operations(),
        *changes.operations(),
        *tokens.operations(),
        *about.operations(),
    )


def _areas() -> dict[Callable[[], OpenApiArea], list[str]]:
    """The area of every import type, and the names of the types that share it."""
    areas: dict[Callable[[], OpenApiArea], list[str]] = {}
    for name, module in IMPORT_MODULES.items():
        areas.setdefault(module.openapi_area, []).append(name)
    return areas


@cache
def document_text(limits: Limits) -> str:
    """The document as JSON."""
    return json.dumps(document(limits), ensure_ascii=False, separators=(",", ":"))


def document(limits: Limits) -> dict[str, Any]:
    """The document."""
    found = operations(limits)
    paths: dict[str, dict[str, Any]] = {}
    for operation in found:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Payroll Import Gateway", "version": VERSION, "description": ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(item.tag for item in found)],
        "paths": with_meanings(paths),
        "components": _components(),
    }


def _components() -> dict[str, Any]:
    answers = {
        **shared_shapes(),
        **{name: shape for area in _areas() for name, shape in area().shapes().items()},
        **records.shapes(),
        **audit.shapes(),
        **changes.shapes(),
        **about.shapes(),
        **tokens.shapes(),
    }
    return {
        "schemas": {
            **{name: with_meanings(shape, name) for name, shape in answers.items()},
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


def _operation(operation: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": operation.name or operation.function,
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": [_credential(name, operation) for name in operation.access.value],
        "parameters": [
            *(_parameter(item) for item in operation.parameters),
            {"$ref": f"#/components/parameters/{CORRELATION_ID}"},
        ],
        "responses": _responses(operation),
    }
    if operation.text:
        told["description"] = operation.text
    if operation.body is not None:
        told["requestBody"] = _body(operation)
    return told


def _credential(name: str, operation: Operation) -> dict[str, list[str]]:
    if name == "bearer":
        return {"token": [operation.scope] if operation.scope else []}
    return {"functionKey": [], "softwareKey": []}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.is_required,
        "description": parameter.text,
        "schema": dict(parameter.schema),
    }


def _body(operation: Operation) -> dict[str, Any]:
    assert operation.body is not None
    sample = operation.body.sample
    content: dict[str, Any] = {
        media: {"schema": dict(schema)} for media, schema in operation.body.media.items()
    }
    if sample:
        value = json.loads((SAMPLES / sample).read_text("utf-8"))
        content[JSON]["examples"] = {"sample": {"summary": f"samples/{sample}", "value": value}}
    return {"required": operation.body.is_required, "content": content}


def _responses(operation: Operation) -> dict[str, Any]:
    slowed = (429,) if 401 in operation.refusals else ()
    answers = {
        **{
            status: _refusal(status, operation)
            for status in (*operation.refusals, 400, *slowed, 500, 503)
        },
        **operation.answers,
    }
    of_all = headers(DRY_RUN_HEADER) if DRY_RUN in operation.parameters else {}
    return {str(status): _response(answers[status], of_all) for status in sorted(answers)}


def _refusal(status: int, operation: Operation) -> Answer:
    names = ["Retry-After"] if status in (429, 503) else []
    if status in (401, 403) and "bearer" in operation.access.value:
        names.append("WWW-Authenticate")
    media = {JSON: reference("Refusal"), **dict.fromkeys(operation.refusal_media, TEXT)}
    return Answer(REASONS[status], media, headers(*names))


def _response(answer: Answer, of_all: Mapping[str, str]) -> dict[str, Any]:
    names = (CORRELATION_ID, *answer.headers, *of_all)
    told: dict[str, Any] = {
        "description": answer.text,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
    }
    if answer.media:
        told["content"] = {
            media: {"schema": dict(schema)} for media, schema in answer.media.items()
        }
    return told


# What `/api/capabilities` and `/api/errors` tell: drawn from the catalogues, nothing by hand.

LINKS = {
    "openapi": "/api/openapi.json",
    "docs": "/api/docs",
    "errors": "/api/errors",
    "imports": "/api/imports",
    "health": "/api/health",
}


def capabilities(limits: Limits) -> dict[str, Any]:
    """The message types with the calls that take them, the limits, and where to read on."""
    found = operations(limits)
    return {
        "version": VERSION,
        "messageTypes": [_message_type(kind, found) for kind in TYPE_CATALOGUE.all],
        "limits": limits.view(),
        "links": LINKS,
    }


def catalogue_view() -> dict[str, Any]:
    """Every message of the catalogue, in order of its id."""
    return {
        "errors": [
            {
                "errorID": entry.id,
                "messageType": entry.severity.value,
                "message": entry.text,
                "advice": entry.advice,
            }
            for _, entry in sorted(CATALOGUE.items())
        ]
    }


def _message_type(kind: ImportType, found: tuple[Operation, ...]) -> dict[str, Any]:
    return {
        "type": kind.name,
        "version": kind.version,
        "schema": f"/api/import/{kind.schema_name}" if kind.has_schema else None,
        "keyFields": [*kind.rules.key_fields],
        "waitsFor": [*kind.waits_for],
        "calls": [_call(item) for item in found if item.message_type == kind.name],
    }


def _call(operation: Operation) -> dict[str, Any]:
    answer = operation.answers.get(200)
    return {
        "method": operation.method,
        "path": operation.path,
        "sends": [*operation.body.media] if operation.body else [],
        "answers": [*answer.media] if answer else [],
    }
