"""`manage.py import`: send a file to a running gateway and show what became of each row."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from cli.batch_import import (
    BatchOutcome,
    import_batch,
    limits_with_room,
    read_batch_file,
    try_out,
)
from cli.calls import CallFailedError, KeyPair
from cli.failures import failure_table, row_lines, write_failed_rows
from cli.file_import import FEW, FileImport, Tally
from cli.import_client import ImportClient, call_of, limits_of
from cli.output import AsJson, show
from cli.parts import Part, cut
from cli.progress import row_progress
from cli.row_files import read_rows
from cli.surroundings import local_gateway
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.catalogue import MESSAGE_TYPES

INTERRUPTED = 130
"""The exit status of a command that Ctrl-C ended."""
SENT_BEFORE = (
    "{count} of {parts} calls were sent before and not done again: what is shown is what became "
    "of them then. To send them anew, add --again WORD with a word of your own."
)

Type = Enum("Type", {name: name for name in MESSAGE_TYPES})  # type: ignore[misc]
TypeName = Annotated[Type, typer.Argument(metavar="TYPE", help=f"{', '.join(MESSAGE_TYPES)}.")]

File = Annotated[
    Path,
    typer.Argument(
        exists=True, dir_okay=False, readable=True, help="Rows as JSON array, NDJSON or CSV."
    ),
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
DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what would happen; store nothing.")]
FailedRows = Annotated[
    Path | None,
    typer.Option(
        "--failed-rows", metavar="OUT", dir_okay=False, writable=True,
        help="Write the rows that failed here, with their messages: .json, .ndjson or .csv.",
    ),
]  # fmt: skip
PartRows = Annotated[
    int,
    typer.Option("--part-rows", min=1, help="The most rows of one call; the gateway's limit else."),
]
Wishes = Annotated[
    list[str],
    typer.Option(
        "--with", metavar="NAME=VALUE", help="What else the call says: importAction=Merge."
    ),
]
BlankClears = Annotated[
    bool, typer.Option("--blank-clears", help="An empty cell of CSV clears the field.")
]
Again = Annotated[
    str,
    typer.Option(
        "--again", metavar="WORD", help="Send anew what was sent within a day, once per WORD."
    ),
]


def send(
    type_name: TypeName,
    file: File,
    function_key: FunctionKeyOption,
    software_key: SoftwareKeyOption,
    url: Url = "",
    dry_run: DryRun = False,
    failed_rows: FailedRows = None,
    part_rows: PartRows = 2**31,
    blank_clears: BlankClears = False,
    wishes: Wishes = [],  # noqa: B006 (typer reads the default, nobody changes it)
    again: Again = "",
    as_json: AsJson = False,
) -> None:
    """Send a file over HTTP and show what became of each row; status 1 where a row failed.

    A large file goes in several calls. Interrupted, or without an answer, the same command goes on
    where it stopped: no row is done twice.
    """
    kind = MESSAGE_TYPES[type_name.value]
    if kind is AUTHDATA:
        client = ImportClient(url or _local_url(), KeyPair(software_key, function_key))
        outcome = _send_batch(client, file, part_rows, failed_rows, again, blank_clears, dry_run)
        document = {"importId": outcome.import_id, **outcome.answer}
        show(as_json, document, outcome.lines())
        raise typer.Exit(0 if outcome.is_good else 1)
    rows = read_rows(file, kind.rules.json_schema(), blank_clears=blank_clears)
    client = ImportClient(url or _local_url(), KeyPair(software_key, function_key))
    told = client.capabilities()
    asked = dict(name.split("=", 1) for name in wishes if "=" in name)
    if len(asked) < len(wishes):
        raise typer.BadParameter("it is NAME=VALUE, each name once.", param_hint="--with")
    parts = cut(
        rows, limits_of(told, part_rows, dry_run=dry_run), json.dumps([kind.name, asked, again])
    )
    tally = Tally(len(rows))
    with row_progress(f"{kind.name}, {file.name}", len(rows)) as heard:
        work = FileImport(client, call_of(told, kind.name), asked, heard)
        try:
            (work.try_out if dry_run else work.send)(parts, tally)
        except KeyboardInterrupt:
            print(_how_far(tally), file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except CallFailedError:
            print(_how_far(tally), file=sys.stderr)
            raise
    if failed_rows is not None:
        write_failed_rows(failed_rows, rows, tally.failed)
    show(as_json, tally.document(), _lines(tally, parts, dry_run=dry_run))
    if tally.failed:
        raise typer.Exit(1)


def _send_batch(
    client: ImportClient,
    file: Path,
    part_rows: int,
    failed_rows: Path | None,
    again: str,
    blank_clears: bool,
    dry_run: bool,
) -> BatchOutcome:
    """Authentication data goes as one batch, whatever the number of calls."""
    batch = read_batch_file(file, AUTHDATA.rules.json_schema(), blank_clears=blank_clears)
    limits = limits_with_room(limits_of(client.capabilities(), part_rows, dry_run=dry_run))
    parts = cut(batch.rows, limits, json.dumps([AUTHDATA.name, dict(batch.options), again]))
    with row_progress(f"{AUTHDATA.name}, {file.name}", len(batch.rows)) as heard:
        if dry_run or not parts:
            return try_out(client, batch, parts or [Part(0, (), "")])
        outcome = import_batch(client, batch, parts, heard)
    if failed_rows is not None:
        write_failed_rows(failed_rows, batch.rows, outcome.failed)
    return outcome


def _lines(tally: Tally, parts: list[Part], *, dry_run: bool) -> Iterator[str]:
    """Every row of a small file, the failed ones of any, and the counts."""
    if tally.total <= FEW:
        yield from row_lines(tally.results)
    if tally.failed:
        yield from ("", *failure_table(tally.failed), "")
    counts = ", ".join(f"{tally.counts[name]} {name}" for name in ("new", "updated", "unchanged"))
    would = "would be " if dry_run else ""
    yield f"{tally.total} rows: {would}{counts}; {tally.counts['failed']} failed."
    if tally.import_ids:
        name = "Import" if len(tally.import_ids) == 1 else "Imports"
        yield f"{name} {' '.join(tally.import_ids)}"
    if tally.sent_before:
        yield SENT_BEFORE.format(count=tally.sent_before, parts=len(parts))
    if dry_run and len(parts) > 1:
        yield "Each of the calls was tried by itself, without the rows of those before it."


def _how_far(tally: Tally) -> str:
    known = sum(tally.counts.values())
    return (
        f"Stopped: {known} of {tally.total} rows are known to be done. What was accepted goes on; "
        "the same command goes on from there."
    )


def _local_url() -> str:
    gateway = local_gateway(os.environ)
    if gateway is None:
        raise CallFailedError("No local gateway is running: start one, or give its --url.")
    return gateway.url
