"""Placements v1: the call that imports them."""

from __future__ import annotations

import azure.functions as func

from shared.bootstrap import gateway
from shared.imports.pay_and_bill.http import import_call
from shared.imports.placements.definition import PLACEMENTS
from shared.web.responses import answered

blueprint = func.Blueprint()


@blueprint.function_name("import_placements")
@blueprint.route("api/import/placements", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def import_placements(req: func.HttpRequest) -> func.HttpResponse:
    """Accept placements, wait for their rows, answer."""
    return await import_call(await gateway(), PLACEMENTS, req)
