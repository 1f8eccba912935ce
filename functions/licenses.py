"""Licenses v1: the import, the deletion under both its routes, and the export."""

from __future__ import annotations

import azure.functions as func

from shared.bootstrap import gateway
from shared.imports.licenses.http import (
    licenses_accepted,
    licenses_call,
    licenses_export_call,
    licenses_refusal,
)
from shared.web.responses import answered_with

blueprint = func.Blueprint()


@blueprint.function_name("licenses_import")
@blueprint.route("v1/imports/licenses", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@answered_with(licenses_refusal, licenses_accepted)
async def licenses_import(req: func.HttpRequest) -> func.HttpResponse:
    """Accept licenses, wait for their rows, answer."""
    return await licenses_call(await gateway(), req)


@blueprint.function_name("licenses_delete")
@blueprint.route("v1/imports/licenses", methods=["DELETE"], auth_level=func.AuthLevel.ANONYMOUS)
@answered_with(licenses_refusal, licenses_accepted)
async def licenses_delete(req: func.HttpRequest) -> func.HttpResponse:
    """Delete licenses, answered like an import."""
    return await licenses_call(await gateway(), req, deletes=True)


@blueprint.function_name("licenses_delete_by_post")
@blueprint.route(
    "v1/imports/licenses/delete", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS
)
@answered_with(licenses_refusal, licenses_accepted)
async def licenses_delete_by_post(req: func.HttpRequest) -> func.HttpResponse:
    """The same for clients that cannot send a body with DELETE."""
    return await licenses_call(await gateway(), req, deletes=True)


_OF_DIVISION = "v1/export/companies/{companyCode}/divisions/{divisionCode}"


@blueprint.function_name("licenses_export_division")
@blueprint.route(
    f"{_OF_DIVISION}/employee-licenses", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS
)
@answered_with(licenses_refusal, licenses_accepted)
async def licenses_export_division(req: func.HttpRequest) -> func.HttpResponse:
    """The licenses of all employees of a division."""
    return await licenses_export_call(await gateway(), req)


@blueprint.function_name("licenses_export_employee")
@blueprint.route(
    f"{_OF_DIVISION}/employees/{{employeeNumber}}/licenses",
    methods=["GET"],
    auth_level=func.AuthLevel.ANONYMOUS,
)
@answered_with(licenses_refusal, licenses_accepted)
async def licenses_export_employee(req: func.HttpRequest) -> func.HttpResponse:
    """The licenses of an employee."""
    return await licenses_export_call(await gateway(), req)
