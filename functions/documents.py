"""Documents: the call, the drop, reading back (docs/contracts.md#4)."""

from __future__ import annotations

import azure.functions as func

from shared import log
from shared.auth.clients import Scope
from shared.auth.integrations import READ
from shared.bootstrap import gateway
from shared.settings import drops_come_as_events
from shared.storage_time import BACKGROUND_SECONDS, storage_time
from shared.web import imports as views
from shared.web import query_names
from shared.web.requests import to_opaque, whole_number
from shared.web.responses import answered

blueprint = func.Blueprint()

CONNECTION = "AzureWebJobsStorage"
DROP = "document-drop"
DROP_SOURCE = (
    func.BlobSource.EVENT_GRID
    if drops_come_as_events()
    else func.BlobSource.LOGS_AND_CONTAINER_SCAN
)
_PAGE = 100
_LARGEST_PAGE = 1000


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
    from shared.imports.file_names import plain_name

    name = (blob.name or "").partition("/")[2]
    try:
        with storage_time(BACKGROUND_SECONDS):
            await (await gateway()).documents.drops.import_drop(name)
    except Exception as error:
        log.failure("drop.failed", error, function="documents_drop", drop=plain_name(name))
        raise DropFailedError(type(error).__name__) from None


@blueprint.function_name("documents_list")
@blueprint.route("api/documents", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def documents_list(req: func.HttpRequest) -> func.HttpResponse:
    """The tenant's documents: of a worker, of a round, of both, or all."""
    from shared.imports.documents.http import document_view, row_from_text

    app = await gateway()
    caller = await app.callers.authenticate_for(req.headers, READ, Scope.IMPORT_INBOX)
    query = query_names.DOCUMENTS_LIST.read(req)
    size = whole_number(query, "pageSize", _PAGE, _LARGEST_PAGE)
    page = await app.documents.reading.page(
        caller.tenant,
        query.get("workerexternalid", ""),
        query.get("communicationroundcode", ""),
        row_from_text(query),
        size,
    )
    return views.json_answer(
        {
            "items": [document_view(document) for document in page.documents],
            "continuation": None if page.next_row is None else to_opaque(page.next_row),
        }
    )


@blueprint.function_name("documents_content")
@blueprint.route(
    "api/documents/{documentId}/content", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS
)
@answered
async def documents_content(req: func.HttpRequest) -> func.HttpResponse:
    """The file of a document, as a download under its name."""
    from shared.imports.documents.http import content_answer

    app = await gateway()
    caller = await app.callers.authenticate_for(req.headers, READ, Scope.IMPORT_INBOX)
    query_names.NONE.read(req)
    document = await app.documents.reading.find(caller.tenant, req.route_params["documentId"])
    return content_answer(document, await app.documents.reading.content(caller.tenant, document))
