"""Administration of a tenant: `/api/admin/…` (docs/contracts.md#8)."""

from __future__ import annotations

import azure.functions as func

from functions.loading import answered, gateway

blueprint = func.Blueprint()

# Beside these, `api/admin/authdata` is the address of a vendor (`functions.authdata`).
_HERE = "api/admin"
_AREAS = {
    "tenant": ("tenant", ["GET"]),
    "integrations": ("integrations", ["GET", "POST", "PATCH"]),
    "keys": ("keys", ["GET", "POST", "DELETE"]),
    "clients": ("clients", ["GET", "POST", "PATCH", "DELETE"]),
    "secrets": ("secrets", ["POST", "DELETE"]),
    "profiles": ("profiles", ["GET"]),
    "profile": ("profiles/{name}", ["GET", "PUT", "DELETE"]),
    "references": ("references/{kind}", ["PUT"]),
    "thresholds": ("thresholds", ["GET", "PATCH"]),
    "formats": ("formats", ["GET", "PATCH"]),
    "rounds": ("rounds", ["GET", "POST", "PATCH"]),
    "audit": ("audit", ["GET"]),
}


def _add_function(area: str, route: str, methods: list[str]) -> None:
    async def handle(req: func.HttpRequest) -> func.HttpResponse:
        from shared.web.admin import admin_call

        return await admin_call(await gateway(), area, req)

    name = f"admin_{area}"
    # The log names a call by its function.
    handle.__name__ = name
    route_of = blueprint.route(
        f"{_HERE}/{route}", methods=methods, auth_level=func.AuthLevel.ANONYMOUS
    )
    blueprint.function_name(name)(route_of(answered(handle)))


for _area, (_route, _methods) in _AREAS.items():
    _add_function(_area, _route, _methods)
