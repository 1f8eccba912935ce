"""`manage.py drop`: a file of rows that a running gateway imports (docs/importing-files.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.commands import file_argument, on_gateway
from cli.output import AsJson, show
from cli.tenants import SoftwareKey, TenantOption
from shared.gateway import Gateway
from shared.imports.file_names import plain_name

_SECONDS_BETWEEN_LOOKS = 0.5

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

    Exit status 1 with --wait where a row fails, or where the file is refused.
    """

    async def put(gateway: Gateway) -> tuple[dict[str, Any], Mapping[str, Any]]:
        owner = await gateway.tenants.find(tenant)
        dropped = await gateway.row_drops.drop(owner.id, software_key, type_name, file)
        shown = {"container": "row-drop", "name": dropped.name, "importId": dropped.import_id}
        result: Mapping[str, Any] | None = None
        # Another process writes the result.
        while wait and (result := await gateway.row_drops.result_of(dropped)) is None:  # noqa: ASYNC110
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
        return shown, result or {}

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
    if rows.get("failed") or result.get("state") == "Rejected":
        raise typer.Exit(1)
