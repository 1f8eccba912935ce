"""Viventium's export of licenses in JSON and XML (docs/contracts.md#2)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import azure.functions as func

from shared.imports.model import MAX_LICENSE_REFERENCE
from shared.services.licenses.export import Holder
from shared.services.records.sources import reference_filter
from shared.web import query_names
from shared.web.records import check_read_permission
from shared.web.viventium import accepted_media_type

if TYPE_CHECKING:
    from shared.gateway import Gateway
    from shared.imports.import_type import Document


async def export_call(gateway: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """The licenses of the division or the employee in the address, as `Accept` asks."""
    caller = await gateway.callers.authenticate(req.headers)
    check_read_permission(caller)
    query_names.VENDORS_NONE.read(req)
    media_type = accepted_media_type(req)
    has_employee = "employeeNumber" in req.route_params
    holder = Holder(
        _reference(req, "companyCode"),
        _reference(req, "divisionCode"),
        _reference(req, "employeeNumber") if has_employee else None,
    )
    async with gateway.shares.exports.place(caller.tenant):
        licenses = await gateway.license_export.licenses(caller.tenant, holder)
        body = await asyncio.to_thread(_rendered, licenses, media_type)
    return func.HttpResponse(body, mimetype=media_type)


def _reference(req: func.HttpRequest, name: str) -> str:
    return reference_filter(name, req.route_params[name], MAX_LICENSE_REFERENCE)


def _rendered(licenses: Sequence[Document], media_type: str) -> bytes:
    if media_type.endswith("json"):
        return json.dumps(licenses, ensure_ascii=False, separators=(",", ":")).encode()
    # lxml is slow to import, and most callers read JSON.
    from shared.imports.licenses.answer import licenses_xml

    return licenses_xml(licenses)
