"""What imports changed, in order: `/api/changes` (docs/contracts.md#7)."""

from __future__ import annotations

import azure.functions as func

from functions.loading import answered, gateway

blueprint = func.Blueprint()


@blueprint.function_name("changes_list")
@blueprint.route("api/changes", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def changes_list(req: func.HttpRequest) -> func.HttpResponse:
    """The records that imports created, changed or removed after a place of the feed."""
    from shared.web.changes import changes_call

    return await changes_call(await gateway(), req)
