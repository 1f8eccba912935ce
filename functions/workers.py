"""Workers v1: the call that imports them."""

from __future__ import annotations

import azure.functions as func

from shared.bootstrap import gateway
from shared.imports.pay_and_bill.http import import_call
from shared.imports.workers.definition import WORKERS
from shared.web.responses import answered

blueprint = func.Blueprint()


@blueprint.function_name("import_workers")
@blueprint.route("api/import/workers", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def import_workers(req: func.HttpRequest) -> func.HttpResponse:
    """Accept workers, wait for their rows, answer."""
    return await import_call(await gateway(), WORKERS, req)
