"""The console: a page for the people who run imports. It uses the published calls only."""

from __future__ import annotations

import azure.functions as func

from functions.loading import answered

blueprint = func.Blueprint()


@blueprint.function_name("console")
@blueprint.route("console", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def console(req: func.HttpRequest) -> func.HttpResponse:
    """The page; its script shows the rest."""
    from shared.web.console_files import PAGE, console_call

    return await console_call(req, PAGE)


@blueprint.function_name("console_file")
@blueprint.route("console/{*file}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def console_file(req: func.HttpRequest) -> func.HttpResponse:
    """A file of the page."""
    from shared.web.console_files import console_call

    return await console_call(req, req.route_params["file"])
