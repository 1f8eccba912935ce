"""`manage.py drop`: a file of rows that a running gateway imports (docs/importing-files.md)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.commands import file_argument, on_gateway
from cli.output import AsJson, show
from cli.tenants import SoftwareKey, TenantOption
from shared.gateway import Gateway
from shared.imports.file_names import plain_name

if TYPE_CHECKING:
    from shared.services.row_drops import DroppedFile, DropProgress

_SECONDS_BETWEEN_LOOKS = 0.5
# How long --wait waits for something to happen to the file.
_PATIENCE_SECONDS = 600.0
GONE = (
    "The file was overwritten or deleted before it was imported, so nothing of it was imported: "
    "drop it again under a name of its own."
)
NOT_IMPORTED = (
    "No gateway has imported the file in the last {minutes:.0f} minutes. It stays in row-drop, and "
    "is imported once a gateway can: check that one is running, that the tenant does not have too "
    "many open imports, and `manage.py poison list`."
)
NOT_ENDED = (
    "The import of the file has not gone on for {minutes:.0f} minutes: check that a gateway is "
    "running, and follow it with `manage.py imports show`."
)

DroppedPath = Annotated[
    Path,
    file_argument("The file with the rows; its ending says its format."),
]
TypeOption = Annotated[
    str,
    typer.Option(
        "--type", metavar="TYPE", help="The type of the rows, as workers or workers@PROFILE."
    ),
]
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Wait for the results, and show how many rows failed.")
]


def drop(
    file: DroppedPath,
    tenant: TenantOption,
    software_key: SoftwareKey,
    type_name: TypeOption,
    wait: WaitOption = False,
    as_json: AsJson = False,
) -> None:
    """Drop a file of rows, which a running gateway imports.

    Exit status 1 with --wait where a row fails, where the file is refused, and where it is not
    imported: it waits for the operator, was overwritten, or nothing has happened for ten minutes.
    """

    async def put(gateway: Gateway) -> tuple[dict[str, Any], Mapping[str, Any]]:
        owner = await gateway.tenants.find(tenant)
        dropped = await gateway.row_drops.drop(owner.id, software_key, type_name, file)
        shown = {"container": "row-drop", "name": dropped.name, "importId": dropped.import_id}
        return shown, await wait_for_result(gateway, dropped) if wait else {}

    dropped, result = on_gateway(put)
    lines = [
        f"Dropped {plain_name(dropped['name'])} into {dropped['container']}.",
        f"Import: {dropped['importId']}",
    ]
    rows = result.get("rows", {})
    if result:
        lines.append(f"State: {result['state']}")
        lines += [result["message"]] if "message" in result else []
        skipped = f", skipped by the profile: {rows['skipped']}" if rows.get("skipped") else ""
        if rows:
            lines.append(f"Rows: {rows['total']}, failed: {rows.get('failed', 0)}{skipped}")
    show(as_json, dropped | {"result": dict(result) or None}, lines)
    if rows.get("failed") or (result and "rows" not in result):
        raise typer.Exit(1)


async def wait_for_result(
    gateway: Gateway, dropped: DroppedFile, patience: float = _PATIENCE_SECONDS
) -> Mapping[str, Any]:
    """The result of a file that another process imports.

    Where none comes, it has a state and a message alone.
    """
    before: DropProgress | None = None
    changed_at = time.monotonic()
    while True:
        progress = await gateway.row_drops.progress_of(dropped)
        if progress.result is not None:
            return progress.result
        is_accepted = progress.rows_done is not None
        if not is_accepted and not progress.is_there:
            return {"state": "Gone", "message": GONE}
        if progress != before:
            before, changed_at = progress, time.monotonic()
        elif time.monotonic() - changed_at >= patience:
            text = NOT_ENDED if is_accepted else NOT_IMPORTED
            return {"state": "NoResult", "message": text.format(minutes=patience / 60)}
        await asyncio.sleep(min(_SECONDS_BETWEEN_LOOKS, patience))
