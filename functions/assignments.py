"""Assignments v1: the call that imports them, and their queues."""

from __future__ import annotations

import azure.functions as func

from functions.chunks import add_queue_triggers
from functions.loading import answered, gateway

blueprint = func.Blueprint()
add_queue_triggers(blueprint, "assignments")


@blueprint.function_name("import_assignments")
@blueprint.route("api/import/assignments", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def import_assignments(req: func.HttpRequest) -> func.HttpResponse:
    """Accept assignments, wait for their rows, answer."""
    from shared.imports.assignments.definition import ASSIGNMENTS
    from shared.imports.pay_and_bill.http import import_call

    return await import_call(await gateway(), ASSIGNMENTS, req)
