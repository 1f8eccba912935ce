"""The calls that say what the gateway is: health, schemas, messages, the OpenAPI document."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import azure.functions as func

from shared.auth.clients import Scope
from shared.auth.integrations import ANY, OPERATE
from shared.clock import to_iso
from shared.errors import NotFoundError, StorageUnavailableError, UnknownMessageTypeError
from shared.imports.registry import IMPORT_TYPES, TYPE_CATALOGUE
from shared.web import query_names
from shared.web.imports import json_answer
from shared.web.requests import JSON, check_accepts_json
from shared.web.responses import RETRY_AFTER
from shared.web.static_files import REVALIDATED

if TYPE_CHECKING:
    from shared.gateway import Gateway

STORAGE_AWAY = (
    "Storage does not answer or takes no writes: tables, queues and blobs are all needed."
)


async def health_call(
    gateway: Callable[[], Awaitable[Gateway]], req: func.HttpRequest
) -> func.HttpResponse:
    """200 if tables, queues and blobs accepted a write at most a second ago."""
    query_names.NONE.read(req)
    try:
        is_working = await (await gateway()).health.is_storage_working()
    except StorageUnavailableError:
        is_working = False
    if is_working:
        return json_answer({"status": "ok"})
    return json_answer({"message": STORAGE_AWAY}, 503, {"Retry-After": RETRY_AFTER})


async def health_queues_call(app: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """What waits in the queues of the gateway, and what failed too often, in numbers."""
    await app.callers.authenticate_for(req.headers, OPERATE, Scope.ADMIN)
    query_names.NONE.read(req)
    check_accepts_json(req)
    states = await app.queue_health.read()
    return json_answer(
        {
            "checkedAt": to_iso(states.checked_at),
            "queues": [
                {
                    "queue": state.queue,
                    "messages": state.messages,
                    "oldestAt": None if state.oldest_at is None else to_iso(state.oldest_at),
                    "poisoned": state.poisoned,
                }
                for state in states.queues
            ],
            "poisonedDrops": states.poisoned_drops,
        }
    )


async def import_schema_call(req: func.HttpRequest) -> func.HttpResponse:
    """The JSON Schema of a message type, or a template: `workers.v1.schema`, `.csv`, `.xlsx`."""
    query_names.VENDORS_NONE.read(req)
    name = req.route_params["schema"].lower()
    kinds = {kind.schema_name: kind for kind in TYPE_CATALOGUE.all if kind.has_schema}
    if name in kinds:
        return json_answer(kinds[name].rules.json_schema(), 200, REVALIDATED)
    if name.endswith((".csv", ".xlsx")):
        from shared.imports.files.templates import find_template

        template = await asyncio.to_thread(find_template, name)
        if template is not None:
            disposition = f'attachment; filename="{template.name}"'
            return func.HttpResponse(
                template.content,
                headers={**REVALIDATED, "Content-Disposition": disposition},
                mimetype=template.media_type,
            )
    raise NotFoundError(
        f"There is no schema of this name; there are: {', '.join(kinds)}. Templates have the same "
        "names with .csv or .xlsx in place of .schema. Rows are sent with POST."
    )


async def capabilities_call(app: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """The message types, the calls that take them, the limits in force."""
    from shared.web.openapi.document import capabilities
    from shared.web.openapi.operations import Limits

    query_names.NONE.read(req)
    return json_answer(
        await asyncio.to_thread(capabilities, Limits.of(app.settings)), 200, REVALIDATED
    )


async def errors_call(req: func.HttpRequest) -> func.HttpResponse:
    """The message catalogue."""
    from shared.web.openapi.document import catalogue_view

    query_names.NONE.read(req)
    return json_answer(catalogue_view(), 200, REVALIDATED)


async def openapi_call(app: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """The contract as an OpenAPI 3.1 document."""
    from shared.web.openapi.document import document_text
    from shared.web.openapi.operations import Limits

    query_names.NONE.read(req)
    text = await asyncio.to_thread(document_text, Limits.of(app.settings))
    return func.HttpResponse(text, headers=REVALIDATED, mimetype=JSON)


async def docs_call(req: func.HttpRequest) -> func.HttpResponse:
    """The OpenAPI document as a page to read and try."""
    from shared.web.openapi.page import page

    query_names.NONE.read(req)
    return page().answer(req)


async def docs_file_call(req: func.HttpRequest) -> func.HttpResponse:
    """A file of that page, compressed if the browser accepts that."""
    from shared.web.openapi.page import page_file

    query_names.NONE.read(req)
    file = await asyncio.to_thread(page_file, req.route_params["file"])
    if file is None:
        raise NotFoundError("The page has no file of this name: open /api/docs.")
    return file.answer(req)


async def unknown_type_call(app: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """501 for an unknown message type."""
    await app.callers.authenticate(req.headers, ANY)
    names = ", ".join(IMPORT_TYPES)
    raise UnknownMessageTypeError(f"Message Type not found/implemented: there are {names}.")
