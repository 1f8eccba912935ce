"""Health, schemas, the message catalogue, the OpenAPI document, and 501 for unknown types."""

from __future__ import annotations

import azure.functions as func

from functions.loading import answered, gateway

blueprint = func.Blueprint()


@blueprint.function_name("health")
@blueprint.route("api/health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def health(req: func.HttpRequest) -> func.HttpResponse:
    """200 if tables, queues and blobs accepted a write at most a second ago."""
    from shared.web.contract import health_call

    return await health_call(gateway, req)


@blueprint.function_name("health_queues")
@blueprint.route("api/health/queues", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def health_queues(req: func.HttpRequest) -> func.HttpResponse:
    """What waits in the queues of the gateway, and what failed too often, in numbers."""
    from shared.web.contract import health_queues_call

    return await health_queues_call(await gateway(), req)


@blueprint.function_name("import_schema")
@blueprint.route("api/import/{schema}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def import_schema(req: func.HttpRequest) -> func.HttpResponse:
    """The JSON Schema of a message type, or a template: `workers.v1.schema`, `.csv`, `.xlsx`."""
    from shared.web.contract import import_schema_call

    return await import_schema_call(req)


@blueprint.function_name("capabilities")
@blueprint.route("api/capabilities", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def capabilities(req: func.HttpRequest) -> func.HttpResponse:
    """The message types, the calls that take them, the limits in force."""
    from shared.web.contract import capabilities_call

    return await capabilities_call(await gateway(), req)


@blueprint.function_name("errors")
@blueprint.route("api/errors", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def errors(req: func.HttpRequest) -> func.HttpResponse:
    """The message catalogue."""
    from shared.web.contract import errors_call

    return await errors_call(req)


@blueprint.function_name("openapi")
@blueprint.route("api/openapi.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def openapi(req: func.HttpRequest) -> func.HttpResponse:
    """The contract as an OpenAPI 3.1 document."""
    from shared.web.contract import openapi_call

    return await openapi_call(await gateway(), req)


@blueprint.function_name("docs")
@blueprint.route("api/docs", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def docs(req: func.HttpRequest) -> func.HttpResponse:
    """The OpenAPI document as a page to read and try."""
    from shared.web.contract import docs_call

    return await docs_call(req)


@blueprint.function_name("docs_file")
@blueprint.route("api/docs/{file}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def docs_file(req: func.HttpRequest) -> func.HttpResponse:
    """A file of that page, compressed if the browser accepts that."""
    from shared.web.contract import docs_file_call

    return await docs_file_call(req)


@blueprint.function_name("import_zz_unknown_type")
@blueprint.route("api/import/{*type}", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def import_zz_unknown_type(req: func.HttpRequest) -> func.HttpResponse:
    """501 for an unknown message type.

    The host uses the first matching route in the order of function names (docs/platform.md#1.3), so
    this name sorts after those of all message types.
    """
    from shared.web.contract import unknown_type_call

    return await unknown_type_call(await gateway(), req)
