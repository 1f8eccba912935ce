"""Authentication data: stage, review, process; the upkeep of batches.

All routes are absolute: the host refuses function routes that start with `admin`
(docs/platform.md#1.1).
"""

from __future__ import annotations

import azure.functions as func

from functions.chunks import add_queue_triggers
from functions.loading import answered, gateway, gateway_in_background

blueprint = func.Blueprint()
add_queue_triggers(blueprint, "authdata")

_HERE = "api/admin/authdata"
_BATCH = f"{_HERE}/{{fileLogId:guid}}"


@blueprint.function_name("authdata_stage")
@blueprint.route(f"{_HERE}/stage", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def authdata_stage(req: func.HttpRequest) -> func.HttpResponse:
    """Stage records into a new batch or an open one, and answer with their expected effect."""
    from shared.imports.authdata.http import stage_call

    return await stage_call(await gateway(), req)


@blueprint.function_name("authdata_list")
@blueprint.route(_HERE, methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def authdata_list(req: func.HttpRequest) -> func.HttpResponse:
    """List the batches of the tenant: those that wait first, then those that have ended."""
    from shared.imports.authdata.http import list_call

    return await list_call(await gateway(), req)


@blueprint.function_name("authdata_review")
@blueprint.route(_BATCH, methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def authdata_review(req: func.HttpRequest) -> func.HttpResponse:
    """Answer with the expected effect of a whole batch, or with its results."""
    from shared.imports.authdata.http import review_call

    return await review_call(await gateway(), req)


@blueprint.function_name("authdata_process")
@blueprint.route(_BATCH, methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def authdata_process(req: func.HttpRequest) -> func.HttpResponse:
    """Process a staged batch, once."""
    from shared.imports.authdata.http import process_call

    return await process_call(await gateway(), req)


@blueprint.function_name("authdata_stage_and_process")
@blueprint.route(_HERE, methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def authdata_stage_and_process(req: func.HttpRequest) -> func.HttpResponse:
    """Stage records and process them in one call."""
    from shared.imports.authdata.http import stage_and_process_call

    return await stage_and_process_call(await gateway(), req)


@blueprint.function_name("authdata_upkeep")
@blueprint.timer_trigger("timer", "15 */5 * * * *", run_on_startup=False, use_monitor=False)
async def authdata_upkeep(timer: func.TimerRequest) -> None:  # noqa: ARG001 (the host passes it)
    """Expire unprocessed batches, continue batches whose call crashed, remove old records."""
    async with gateway_in_background() as app:
        await app.authdata.processing.tidy_all()
