"""`manage.py import`: send a file to a running gateway and show what became of each row."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from cli.calls import CallFailedError, KeyPair, send_import
from cli.output import AsJson, show
from cli.rows import failed_rows, row_lines
from cli.surroundings import local_gateway
from shared.imports.catalogue import MESSAGE_TYPES

Type = Enum("Type", {name: name for name in MESSAGE_TYPES})  # type: ignore[misc]
TypeName = Annotated[Type, typer.Argument(metavar="TYPE", help=f"{', '.join(MESSAGE_TYPES)}.")]

File = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="A JSON array of rows.")
]
Url = Annotated[
    str,
    typer.Option("--url", envvar="GATEWAY_URL", help="Default: the running local gateway."),
]
FunctionKeyOption = Annotated[
    str,
    typer.Option("--function-key", envvar="GATEWAY_FUNCTION_KEY", help="Better set than typed."),
]
SoftwareKeyOption = Annotated[
    str, typer.Option("--software-key", envvar="GATEWAY_SOFTWARE_KEY", help="X-Software-Key.")
]


def send(
    type_name: TypeName,
    file: File,
    function_key: FunctionKeyOption,
    software_key: SoftwareKeyOption,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Send a file over HTTP and show per-row results; status 1 where a row failed."""
    keys = KeyPair(software_key, function_key)
    answer = send_import(url or _local_url(), type_name.value, file.read_bytes(), keys)
    if answer.status != 200:
        raise CallFailedError(answer.refusal)
    results = answer.document["results"]
    failed = failed_rows(results)
    count = f"{len(results)} rows, {len(failed)} failed."
    import_id = answer.headers.get("x-import-id", "")
    show(
        as_json,
        {"importId": import_id, **answer.document},
        [*row_lines(results), f"{count} Import {import_id}" if import_id else count],
    )
    if failed:
        raise typer.Exit(1)


def _local_url() -> str:
    gateway = local_gateway(os.environ)
    if gateway is None:
        raise CallFailedError("No local gateway is running: start one, or give its --url.")
    return gateway.url
