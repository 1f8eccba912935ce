"""Placements v1: the call that imports them, and their queues."""

from __future__ import annotations

import azure.functions as func

from functions.chunks import add_queue_triggers
from functions.loading import answered, gateway

blueprint = func.Blueprint()
add_queue_triggers(blueprint, "placements")


@blueprint.function_name("import_placements")
@blueprint.route("api/import/placements", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def import_placements(req: func.HttpRequest) -> func.HttpResponse:
    """Accept placements, wait for their rows, answer."""
    from shared.imports.pay_and_bill.http import import_call
    from shared.imports.placements.definition import PLACEMENTS

    return await import_call(await gateway(), PLACEMENTS, req)
