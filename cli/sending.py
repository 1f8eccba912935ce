"""`manage.py import`: send a file to a running gateway and show what became of each row."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from cli.calls import CallFailedError, KeyPair
from cli.failures import write_failed_rows
from cli.file_sending import ImportJob, import_file
from cli.import_client import ImportClient
from cli.output import AsJson, show
from cli.row_files import FAR_MORE_THAN_ANY
from cli.surroundings import local_gateway
from shared.imports.registry import MESSAGE_TYPES

ImportTypeName = Enum("Type", {name: name for name in MESSAGE_TYPES})  # type: ignore[misc]
TypeName = Annotated[
    ImportTypeName, typer.Argument(metavar="TYPE", help=f"{', '.join(MESSAGE_TYPES)}.")
]

RowsFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        help="Rows as JSON array, NDJSON or CSV.",
    ),
]
Url = Annotated[
    str,
    typer.Option(
        "--url",
        metavar="URL",
        envvar="GATEWAY_URL",
        help="The address of the gateway. Default: the running local one.",
    ),
]
FunctionKeyOption = Annotated[
    str,
    typer.Option(
        "--function-key",
        metavar="FUNCTION_KEY",
        envvar="GATEWAY_FUNCTION_KEY",
        help="The function key; safer in the environment than on the command line.",
    ),
]
SoftwareKeyOption = Annotated[
    str,
    typer.Option(
        "--software-key",
        metavar="SOFTWARE_KEY",
        envvar="GATEWAY_SOFTWARE_KEY",
        help="What the calls send as X-Software-Key.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would happen; store nothing.")]
FailedRows = Annotated[
    Path | None,
    typer.Option(
        "--failed-rows", metavar="FILE", dir_okay=False, writable=True,
        help="Write the rows that failed here, with their messages: .json, .ndjson or .csv.",
    ),
]  # fmt: skip
PartRows = Annotated[
    int | None,
    typer.Option(
        "--part-rows",
        metavar="N",
        min=1,
        help="How many rows a call has at most. Default: the limit of the gateway.",
    ),
]
Wishes = Annotated[
    list[str],
    typer.Option(
        "--with",
        metavar="NAME=VALUE",
        help="A further option of the call, for example importAction=Merge.",
    ),
]
BlankClears = Annotated[
    bool, typer.Option("--blank-clears", help="An empty cell of CSV clears the field.")
]
Again = Annotated[
    str,
    typer.Option(
        "--again", metavar="WORD", help="Import a file again; each new WORD imports it once more."
    ),
]


def import_command(
    type_name: TypeName,
    file: RowsFile,
    function_key: FunctionKeyOption,
    software_key: SoftwareKeyOption,
    url: Url = "",
    dry_run: DryRun = False,
    failed_rows: FailedRows = None,
    part_rows: PartRows = None,
    blank_clears: BlankClears = False,
    wishes: Wishes = [],  # noqa: B006 (typer reads the default, nobody changes it)
    again: Again = "",
    as_json: AsJson = False,
) -> None:
    """Send a file over HTTP and show what became of each row. Exit status 1 where a row failed.

    A large file is sent in several calls. If the command was interrupted, run it again: it
    continues where it stopped, and imports no row twice.
    """
    if failed_rows is not None and not failed_rows.absolute().parent.is_dir():
        raise typer.BadParameter(
            "its folder does not exist; make it first.", param_hint="--failed-rows"
        )
    job = ImportJob(
        kind=MESSAGE_TYPES[type_name.value],
        file=file,
        asked=_read_wishes(wishes),
        again=again,
        part_rows=part_rows or FAR_MORE_THAN_ANY,
        blank_clears=blank_clears,
        dry_run=dry_run,
        secret=function_key,
    )
    client = ImportClient(url or local_url(), KeyPair(software_key, function_key))
    report = import_file(job, client)
    if failed_rows is not None:
        write_failed_rows(failed_rows, report.rows, report.failed)
    show(as_json, report.document, report.lines)
    if not report.is_good:
        raise typer.Exit(1)


def _read_wishes(wishes: list[str]) -> dict[str, str]:
    asked = dict(name.split("=", 1) for name in wishes if "=" in name)
    if len(asked) < len(wishes):
        raise typer.BadParameter("it is NAME=VALUE, each name once.", param_hint="--with")
    return asked


def local_url() -> str:
    """The address of the running local gateway. Raises CallFailedError."""
    gateway = local_gateway(os.environ)
    if gateway is None:
        raise CallFailedError("No local gateway is running: start one, or give its --url.")
    return gateway.url
