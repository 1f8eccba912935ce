"""Assignments v1: the call that imports them."""

from __future__ import annotations

import azure.functions as func

from shared.bootstrap import gateway
from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.pay_and_bill.http import import_call
from shared.web.responses import answered

blueprint = func.Blueprint()


@blueprint.function_name("import_assignments")
@blueprint.route("api/import/assignments", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def import_assignments(req: func.HttpRequest) -> func.HttpResponse:
    """Accept assignments, wait for their rows, answer."""
    return await import_call(await gateway(), ASSIGNMENTS, req)
