"""The log of administrative acts: `/api/audit` (docs/contracts.md#8)."""

from __future__ import annotations

import azure.functions as func

from functions.loading import answered, gateway

blueprint = func.Blueprint()


@blueprint.function_name("audit_list")
@blueprint.route("api/audit", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def audit_list(req: func.HttpRequest) -> func.HttpResponse:
    """What administrators have done to the caller's tenant, newest first."""
    from shared.web.audit import audit_call

    return await audit_call(await gateway(), req)
