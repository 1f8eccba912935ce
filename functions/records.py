"""Stored records read back: `/api/records/{type}` (docs/contracts.md#7)."""

from __future__ import annotations

import azure.functions as func

from functions.loading import answered, gateway

blueprint = func.Blueprint()


@blueprint.function_name("records_list")
@blueprint.route("api/records/{type}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def records_list(req: func.HttpRequest) -> func.HttpResponse:
    """The tenant's records of a type that the filters find; JSON, NDJSON or CSV by `Accept`."""
    from shared.web.records import records_call

    return await records_call(await gateway(), req)
