"""Workers v1: the call that imports them, and their queues."""

from __future__ import annotations

import azure.functions as func

from functions.chunks import add_queue_triggers
from functions.loading import answered, gateway

blueprint = func.Blueprint()
add_queue_triggers(blueprint, "workers")


@blueprint.function_name("import_workers")
@blueprint.route("api/import/workers", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def import_workers(req: func.HttpRequest) -> func.HttpResponse:
    """Accept workers, wait for their rows, answer."""
    from shared.imports.pay_and_bill.http import import_call
    from shared.imports.workers.definition import WORKERS

    return await import_call(await gateway(), WORKERS, req)
