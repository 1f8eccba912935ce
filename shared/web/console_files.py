"""The files of the console: what the folder `console` has of pages, styles and scripts.

A name of a call is looked up in a table of the folder, which is made at the first call. So no name
leads out of the folder, and a start of the gateway reads nothing of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import azure.functions as func

from shared.errors import NotFoundError
from shared.web import query_names
from shared.web.static_files import MEDIA_TYPES, StaticFile

FOLDER: Final = Path(__file__).resolve().parents[2] / "console"
PAGE: Final = "index.html"
# What only the checks of the scripts need.
_LEFT_OUT: Final = "node_modules"


async def console_call(req: func.HttpRequest, name: str) -> func.HttpResponse:
    """The file of that name. Raises NotFoundError where there is none."""
    query_names.NONE.read(req)
    file = await asyncio.to_thread(console_file, name)
    if file is None:
        raise NotFoundError("The console has no file of this name: open /console.")
    return file.answer(req)


def console_file(name: str) -> StaticFile | None:
    """The file of that name, None where the console has none."""
    path = _files().get(name)
    return None if path is None else _read(path)


@cache
def _files() -> Mapping[str, Path]:
    return {
        path.relative_to(FOLDER).as_posix(): path
        for path in FOLDER.rglob("*")
        if path.suffix in MEDIA_TYPES and _LEFT_OUT not in path.parts and path.is_file()
    }


@cache
def _read(path: Path) -> StaticFile:
    return StaticFile.of(path.name, path.read_bytes())
