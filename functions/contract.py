"""What the gateway tells of itself: health, schemas, and a clear word about unknown types."""

from __future__ import annotations

import asyncio

import azure.functions as func

from shared.bootstrap import gateway
from shared.errors import NotFoundError, StorageUnavailableError, UnknownMessageTypeError
from shared.imports.catalogue import IMPORT_TYPES, MESSAGE_TYPES
from shared.web.calls import answered
from shared.web.import_views import json_answer
from shared.web.refusals import RETRY_AFTER

blueprint = func.Blueprint()

STORAGE_AWAY = "Storage does not answer: tables, queues and blobs are all needed."
_HEALTH_SECONDS = 10.0


@blueprint.function_name("health")
@blueprint.route("api/health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def health(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 (the host passes it)
    """200 only when tables, queues and blobs answer, within ten seconds."""
    try:
        async with asyncio.timeout(_HEALTH_SECONDS):
            await (await gateway()).account.check()
    except (StorageUnavailableError, TimeoutError):
        return json_answer({"message": STORAGE_AWAY}, 503, {"Retry-After": RETRY_AFTER})
    return json_answer({"status": "ok"})


@blueprint.function_name("import_schema")
@blueprint.route("api/import/{schema}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def import_schema(req: func.HttpRequest) -> func.HttpResponse:
    """The JSON Schema of a message type: `workers.v1.schema`."""
    wanted = req.route_params["schema"].lower()
    for kind in MESSAGE_TYPES.values():
        if kind.schema_name == wanted:
            return json_answer(kind.rules.json_schema())
    names = ", ".join(kind.schema_name for kind in MESSAGE_TYPES.values())
    raise NotFoundError(
        f"There is no schema of this name; there are: {names}. Rows are sent with POST."
    )


@blueprint.function_name("import_zz_unknown_type")
@blueprint.route("api/import/{*type}", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def import_zz_unknown_type(req: func.HttpRequest) -> func.HttpResponse:
    """501 for a message type that there is not.

    The host takes the first route that matches in order of function name (PLATFORM 1.3), so the
    name sorts behind those of all message types.
    """
    await (await gateway()).callers.authenticate(req.headers)
    names = ", ".join(IMPORT_TYPES)
    raise UnknownMessageTypeError(f"Message Type not found/implemented: there are {names}.")
