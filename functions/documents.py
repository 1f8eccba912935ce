"""Documents: the call, the drop, reading back (docs/contracts.md#4)."""

from __future__ import annotations

import azure.functions as func

from functions.loading import answered, gateway, gateway_in_background
from shared.early_settings import drops_come_as_events

blueprint = func.Blueprint()

CONNECTION = "AzureWebJobsStorage"
DROP = "document-drop"
DROP_SOURCE = (
    func.BlobSource.EVENT_GRID
    if drops_come_as_events()
    else func.BlobSource.LOGS_AND_CONTAINER_SCAN
)


class DropFailedError(Exception):
    """Lets the host retry the drop. The text is only the class of the error."""


@blueprint.function_name("import_documents")
@blueprint.route("api/import/documents", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def import_documents(req: func.HttpRequest) -> func.HttpResponse:
    """Import one document."""
    from shared.imports.documents.http import upload_call

    return await upload_call(await gateway(), req)


@blueprint.function_name("documents_drop")
@blueprint.blob_trigger(
    "blob", f"{DROP}/{{name}}", CONNECTION, source=DROP_SOURCE, data_type=func.DataType.BINARY
)
async def documents_drop(blob: func.InputStream) -> None:
    """Import a dropped file by its name. The content is read from storage."""
    name = dropped_name(blob)
    try:
        async with gateway_in_background() as app:
            await app.documents.drops.import_drop(name)
    except Exception as error:
        raise drop_failed("documents_drop", name, error) from None


def dropped_name(blob: func.InputStream) -> str:
    """The name of a dropped file in its container."""
    return (blob.name or "").partition("/")[2]


def drop_failed(function: str, name: str, error: Exception) -> DropFailedError:
    """Log why a drop was not imported. Returns what lets the host retry it."""
    from shared import log
    from shared.imports.file_names import plain_name

    log.failure("drop.failed", error, function=function, drop=plain_name(name))
    return DropFailedError(type(error).__name__)


@blueprint.function_name("documents_list")
@blueprint.route("api/documents", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def documents_list(req: func.HttpRequest) -> func.HttpResponse:
    """The tenant's documents: of a worker, of a round, of both, or all."""
    from shared.imports.documents.http import documents_call

    return await documents_call(await gateway(), req)


@blueprint.function_name("documents_content")
@blueprint.route(
    "api/documents/{documentId}/content", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS
)
@answered
async def documents_content(req: func.HttpRequest) -> func.HttpResponse:
    """The file of a document, as a download under its name."""
    from shared.imports.documents.http import content_call

    return await content_call(await gateway(), req)
