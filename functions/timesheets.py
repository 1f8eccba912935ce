"""Timesheets v1 and v2: the call that imports them."""

from __future__ import annotations

import azure.functions as func

from shared.bootstrap import gateway
from shared.imports.pay_and_bill.http import import_call
from shared.imports.timesheets.definition import TIMESHEETS
from shared.web.responses import answered

blueprint = func.Blueprint()


@blueprint.function_name("import_timesheets")
@blueprint.route("api/import/timesheets", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def import_timesheets(req: func.HttpRequest) -> func.HttpResponse:
    """Accept timesheets, wait for their rows, answer."""
    return await import_call(await gateway(), TIMESHEETS, req)
