"""Following, retrying, undoing and cancelling imports: `/api/imports…` (docs/contracts.md#5)."""

from __future__ import annotations

import azure.functions as func

from functions.loading import answered, gateway

blueprint = func.Blueprint()


@blueprint.function_name("imports_list")
@blueprint.route("api/imports", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def imports_list(req: func.HttpRequest) -> func.HttpResponse:
    """The tenant's imports that the caller sees, newest first, optionally of one type or state."""
    from shared.web.following import imports_list_call

    return await imports_list_call(await gateway(), req)


@blueprint.function_name("imports_show")
@blueprint.route("api/imports/{importId}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def imports_show(req: func.HttpRequest) -> func.HttpResponse:
    """One import."""
    from shared.web.following import imports_show_call

    return await imports_show_call(await gateway(), req)


@blueprint.function_name("imports_results")
@blueprint.route(
    "api/imports/{importId}/results", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS
)
@answered
async def imports_results(req: func.HttpRequest) -> func.HttpResponse:
    """The results of an import's rows, in plan order, page by page."""
    from shared.web.following import imports_results_call

    return await imports_results_call(await gateway(), req)


@blueprint.function_name("imports_answer")
@blueprint.route(
    "api/imports/{importId}/answer", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS
)
@answered
async def imports_answer(req: func.HttpRequest) -> func.HttpResponse:
    """The vendor's exact answer, as the call itself would have returned it; 202 while running."""
    from shared.web.following import imports_answer_call

    return await imports_answer_call(await gateway(), req)


@blueprint.function_name("imports_failures")
@blueprint.route(
    "api/imports/{importId}/failures", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS
)
@answered
async def imports_failures(req: func.HttpRequest) -> func.HttpResponse:
    """The messages of an import's rows in groups, each with its count and the first indexes."""
    from shared.web.following import imports_failures_call

    return await imports_failures_call(await gateway(), req)


@blueprint.function_name("imports_failed_rows")
@blueprint.route(
    "api/imports/{importId}/failed-rows", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS
)
@answered
async def imports_failed_rows(req: func.HttpRequest) -> func.HttpResponse:
    """The failed rows as they were sent, with their messages, in JSON, or in CSV by `Accept`.

    All of them, or a page where the query has one of its names.
    """
    from shared.web.following import imports_failed_rows_call

    return await imports_failed_rows_call(await gateway(), req)


@blueprint.function_name("imports_unmapped")
@blueprint.route(
    "api/imports/{importId}/unmapped", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS
)
@answered
async def imports_unmapped(req: func.HttpRequest) -> func.HttpResponse:
    """The distinct values that the mapping profile of an import has no entry for, with counts."""
    from shared.web.following import imports_unmapped_call

    return await imports_unmapped_call(await gateway(), req)


@blueprint.function_name("imports_retry")
@blueprint.route(
    "api/imports/{importId}/retry", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS
)
@answered
async def imports_retry(req: func.HttpRequest) -> func.HttpResponse:
    """Retry the failed rows as a child import. The body may contain corrected rows."""
    from shared.web.following import imports_retry_call

    return await imports_retry_call(await gateway(), req)


@blueprint.function_name("imports_undo")
@blueprint.route(
    "api/imports/{importId}/undo", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS
)
@answered
async def imports_undo(req: func.HttpRequest) -> func.HttpResponse:
    """Undo an import by a child import, or judge that in a dry run."""
    from shared.web.following import imports_undo_call

    return await imports_undo_call(await gateway(), req)


@blueprint.function_name("imports_cancel")
@blueprint.route(
    "api/imports/{importId}/cancel", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS
)
@answered
async def imports_cancel(req: func.HttpRequest) -> func.HttpResponse:
    """Cancel an import. Committed rows stay."""
    from shared.web.following import imports_cancel_call

    return await imports_cancel_call(await gateway(), req)
