"""Timesheets v1 and v2: the call that imports them, and their queues."""

from __future__ import annotations

import azure.functions as func

from functions.chunks import add_queue_triggers
from functions.loading import answered, gateway

blueprint = func.Blueprint()
add_queue_triggers(blueprint, "timesheets")


@blueprint.function_name("import_timesheets")
@blueprint.route("api/import/timesheets", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def import_timesheets(req: func.HttpRequest) -> func.HttpResponse:
    """Accept timesheets, wait for their rows, answer."""
    from shared.imports.pay_and_bill.http import import_call
    from shared.imports.timesheets.definition import TIMESHEETS

    return await import_call(await gateway(), TIMESHEETS, req)
