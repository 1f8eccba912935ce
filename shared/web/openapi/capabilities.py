"""What `/api/capabilities` and `/api/errors` tell: drawn from the catalogues, nothing by hand."""

from __future__ import annotations

from typing import Any

from shared.imports.catalogue import TYPE_CATALOGUE
from shared.imports.definition import ImportType
from shared.imports.messages import CATALOGUE
from shared.web.openapi.document import VERSION, operations
from shared.web.openapi.limits import Limits
from shared.web.openapi.operations import Operation

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
