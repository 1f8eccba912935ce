"""The console: a page for the people who run imports. It uses the published calls only."""

from __future__ import annotations

import asyncio

import azure.functions as func

from shared.errors import NotFoundError
from shared.web import query_names
from shared.web.responses import answered

blueprint = func.Blueprint()


@blueprint.function_name("console")
@blueprint.route("console", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def console(req: func.HttpRequest) -> func.HttpResponse:
    """The page; its script shows the rest."""
    from shared.web.console_files import PAGE

    return await _answer(req, PAGE)


@blueprint.function_name("console_file")
@blueprint.route("console/{*file}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def console_file(req: func.HttpRequest) -> func.HttpResponse:
    """A file of the page."""
    return await _answer(req, req.route_params["file"])


async def _answer(req: func.HttpRequest, name: str) -> func.HttpResponse:
    from shared.web.console_files import console_file

    query_names.NONE.read(req)
    file = await asyncio.to_thread(console_file, name)
    if file is None:
        raise NotFoundError("The console has no file of this name: open /console.")
    return file.answer(req)
