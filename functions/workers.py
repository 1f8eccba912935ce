"""Workers v1: the call, the rows, and what becomes of chunks that failed too often."""

from __future__ import annotations

import azure.functions as func

from functions.chunks import end_as_failed, process
from shared.bootstrap import gateway
from shared.imports.workers.definition import WORKERS
from shared.web.calls import answered
from shared.web.pay_and_bill import import_call

blueprint = func.Blueprint()


@blueprint.function_name("import_workers")
@blueprint.route("api/import/workers", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def import_workers(req: func.HttpRequest) -> func.HttpResponse:
    """Accept workers, wait for their rows, answer."""
    return await import_call(await gateway(), WORKERS, req)


@blueprint.function_name("workers_rows")
@blueprint.queue_trigger("msg", WORKERS.queue, "AzureWebJobsStorage")
async def workers_rows(msg: func.QueueMessage) -> None:
    """Work on a chunk of a small import."""
    await process(msg)


@blueprint.function_name("workers_rows_bulk")
@blueprint.queue_trigger("msg", WORKERS.bulk_queue, "AzureWebJobsStorage")
async def workers_rows_bulk(msg: func.QueueMessage) -> None:
    """Work on a chunk of a large import."""
    await process(msg)


@blueprint.function_name("workers_rows_poison")
@blueprint.queue_trigger("msg", f"{WORKERS.queue}-poison", "AzureWebJobsStorage")
async def workers_rows_poison(msg: func.QueueMessage) -> None:
    """End the rows of a small import's chunk that failed five times."""
    await end_as_failed(msg)


@blueprint.function_name("workers_rows_bulk_poison")
@blueprint.queue_trigger("msg", f"{WORKERS.bulk_queue}-poison", "AzureWebJobsStorage")
async def workers_rows_bulk_poison(msg: func.QueueMessage) -> None:
    """End the rows of a large import's chunk that failed five times."""
    await end_as_failed(msg)
