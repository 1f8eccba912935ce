"""Health, schemas, the message catalogue, the OpenAPI document, and 501 for unknown types."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import azure.functions as func

from shared.auth.clients import Scope
from shared.auth.integrations import ANY, OPERATE
from shared.bootstrap import gateway
from shared.clock import to_iso
from shared.errors import NotFoundError, StorageUnavailableError, UnknownMessageTypeError
from shared.imports.registry import IMPORT_TYPES, TYPE_CATALOGUE
from shared.web import query_names
from shared.web.imports import json_answer
from shared.web.requests import JSON, check_accepts_json
from shared.web.responses import RETRY_AFTER, answered
from shared.web.static_files import REVALIDATED

if TYPE_CHECKING:
    from shared.web.openapi.operations import Limits

blueprint = func.Blueprint()

STORAGE_AWAY = (
    "Storage does not answer or takes no writes: tables, queues and blobs are all needed."
)


@blueprint.function_name("health")
@blueprint.route("api/health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def health(req: func.HttpRequest) -> func.HttpResponse:
    """200 if tables, queues and blobs accepted a write at most a second ago."""
    query_names.NONE.read(req)
    try:
        is_working = await (await gateway()).health.is_storage_working()
    except StorageUnavailableError:
        is_working = False
    if is_working:
        return json_answer({"status": "ok"})
    return json_answer({"message": STORAGE_AWAY}, 503, {"Retry-After": RETRY_AFTER})


@blueprint.function_name("health_queues")
@blueprint.route("api/health/queues", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def health_queues(req: func.HttpRequest) -> func.HttpResponse:
    """What waits in the queues of the gateway, and what failed too often, in numbers."""
    app = await gateway()
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


@blueprint.function_name("import_schema")
@blueprint.route("api/import/{schema}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def import_schema(req: func.HttpRequest) -> func.HttpResponse:
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


@blueprint.function_name("capabilities")
@blueprint.route("api/capabilities", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def capabilities(req: func.HttpRequest) -> func.HttpResponse:
    """The message types, the calls that take them, the limits in force."""
    query_names.NONE.read(req)
    from shared.web.openapi.document import capabilities as capabilities_view

    return json_answer(
        await asyncio.to_thread(capabilities_view, await _limits()), 200, REVALIDATED
    )


@blueprint.function_name("errors")
@blueprint.route("api/errors", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def errors(req: func.HttpRequest) -> func.HttpResponse:
    """The message catalogue."""
    query_names.NONE.read(req)
    from shared.web.openapi.document import catalogue_view

    return json_answer(catalogue_view(), 200, REVALIDATED)


@blueprint.function_name("openapi")
@blueprint.route("api/openapi.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def openapi(req: func.HttpRequest) -> func.HttpResponse:
    """The contract as an OpenAPI 3.1 document."""
    query_names.NONE.read(req)
    from shared.web.openapi.document import document_text

    text = await asyncio.to_thread(document_text, await _limits())
    return func.HttpResponse(text, headers=REVALIDATED, mimetype=JSON)


@blueprint.function_name("docs")
@blueprint.route("api/docs", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def docs(req: func.HttpRequest) -> func.HttpResponse:
    """The OpenAPI document as a page to read and try."""
    query_names.NONE.read(req)
    from shared.web.openapi.page import page

    return page().answer(req)


@blueprint.function_name("docs_file")
@blueprint.route("api/docs/{file}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def docs_file(req: func.HttpRequest) -> func.HttpResponse:
    """A file of that page, compressed if the browser accepts that."""
    query_names.NONE.read(req)
    from shared.web.openapi.page import page_file

    file = await asyncio.to_thread(page_file, req.route_params["file"])
    if file is None:
        raise NotFoundError("The page has no file of this name: open /api/docs.")
    return file.answer(req)


async def _limits() -> Limits:
    from shared.web.openapi.operations import Limits

    return Limits.of((await gateway()).settings)


@blueprint.function_name("import_zz_unknown_type")
@blueprint.route("api/import/{*type}", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def import_zz_unknown_type(req: func.HttpRequest) -> func.HttpResponse:
    """501 for an unknown message type.

    The host uses the first matching route in the order of function names (docs/platform.md#1.3), so
    this name sorts after those of all message types.
    """
    await (await gateway()).callers.authenticate(req.headers, ANY)
    names = ", ".join(IMPORT_TYPES)
    raise UnknownMessageTypeError(f"Message Type not found/implemented: there are {names}.")
