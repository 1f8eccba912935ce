"""Licenses v1: the import, the deletion under both its routes, and the export."""

from __future__ import annotations

from typing import TYPE_CHECKING

import azure.functions as func

from functions.chunks import add_queue_triggers
from functions.loading import answered_with, gateway

if TYPE_CHECKING:
    from shared.web.responses import FaultAnswers

blueprint = func.Blueprint()
add_queue_triggers(blueprint, "licenses")


def _fault_answers() -> FaultAnswers:
    from shared.imports.licenses.http import FAULT_ANSWERS

    return FAULT_ANSWERS


@blueprint.function_name("licenses_import")
@blueprint.route("v1/imports/licenses", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@answered_with(_fault_answers)
async def licenses_import(req: func.HttpRequest) -> func.HttpResponse:
    """Accept licenses, wait for their rows, answer."""
    from shared.imports.licenses.http import licenses_call

    return await licenses_call(await gateway(), req)


@blueprint.function_name("licenses_delete")
@blueprint.route("v1/imports/licenses", methods=["DELETE"], auth_level=func.AuthLevel.ANONYMOUS)
@answered_with(_fault_answers)
async def licenses_delete(req: func.HttpRequest) -> func.HttpResponse:
    """Delete licenses, answered like an import."""
    from shared.imports.licenses.http import licenses_call

    return await licenses_call(await gateway(), req, deletes=True)


@blueprint.function_name("licenses_delete_by_post")
@blueprint.route(
    "v1/imports/licenses/delete", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS
)
@answered_with(_fault_answers)
async def licenses_delete_by_post(req: func.HttpRequest) -> func.HttpResponse:
    """The same for clients that cannot send a body with DELETE."""
    from shared.imports.licenses.http import licenses_call

    return await licenses_call(await gateway(), req, deletes=True)


_OF_DIVISION = "v1/export/companies/{companyCode}/divisions/{divisionCode}"


@blueprint.function_name("licenses_export_division")
@blueprint.route(
    f"{_OF_DIVISION}/employee-licenses", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS
)
@answered_with(_fault_answers)
async def licenses_export_division(req: func.HttpRequest) -> func.HttpResponse:
    """The licenses of all employees of a division."""
    from shared.imports.licenses.http import licenses_export_call

    return await licenses_export_call(await gateway(), req)


@blueprint.function_name("licenses_export_employee")
@blueprint.route(
    f"{_OF_DIVISION}/employees/{{employeeNumber}}/licenses",
    methods=["GET"],
    auth_level=func.AuthLevel.ANONYMOUS,
)
@answered_with(_fault_answers)
async def licenses_export_employee(req: func.HttpRequest) -> func.HttpResponse:
    """The licenses of an employee."""
    from shared.imports.licenses.http import licenses_export_call

    return await licenses_export_call(await gateway(), req)
