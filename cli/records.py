"""`manage.py records`: what is stored and cannot be read; mending and removing it."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.access import on_gateway
from cli.command_help import Overview, command
from cli.output import AsJson, columns, show
from cli.terminal import say
from shared.app import record_repair_of
from shared.errors import InvalidRequestError
from shared.gateway import Gateway
from shared.services.record_repair import AREAS, BrokenThing, Repair

record_commands = typer.Typer(
    cls=Overview, no_args_is_help=True, help="Stored records: find and repair what is broken."
)

RecordsTenant = Annotated[
    str,
    typer.Option("--tenant", metavar="TENANT", help="A tenant's id or exact name. Default: all."),
]
AreaNames = Annotated[
    list[str] | None,
    typer.Option(
        "--type", metavar="TYPE",
        help=f"One of {', '.join(AREAS)}; may be given several times. Default: all of them.",
    ),
]  # fmt: skip
ConfirmRepair = Annotated[
    bool, typer.Option("--yes", help="Repair them. Without it, only show what would be done.")
]
_REPAIR_DONE = {Repair.MEND: "mended", Repair.REMOVE: "removed", Repair.CLOSE: "closed"}
BrokenRecord = tuple[str, BrokenThing, str]
"""A tenant, a broken thing, and what was done to it."""


@command(record_commands, "check", example="records check --tenant acme")
def check_records(
    tenant: RecordsTenant = "", types: AreaNames = None, as_json: AsJson = False
) -> None:
    """Look for records that cannot be read; change nothing. Exit status 1 where there are some."""
    found = on_gateway(lambda gateway: _check_or_repair(gateway, tenant, types, repairs=False))
    _show_broken(found, as_json, "REPAIR")
    if found:
        raise typer.Exit(1)


@command(record_commands, "repair", example="records repair --tenant acme --yes")
def repair_records(
    tenant: RecordsTenant = "",
    types: AreaNames = None,
    yes: ConfirmRepair = False,
    as_json: AsJson = False,
) -> None:
    """Repair broken records whose content can be read, and remove the others; needs --yes.

    A removed record comes back with its next import. Exit status 1 where something stays broken.
    """
    found = on_gateway(lambda gateway: _check_or_repair(gateway, tenant, types, repairs=yes))
    _show_broken(found, as_json, "DONE" if yes else "WOULD BE DONE")
    if not yes and found and not as_json:
        say(["Nothing was changed: add --yes to carry this out."])
    if any(done not in _REPAIR_DONE.values() for _, _, done in found):
        raise typer.Exit(1)


async def _check_or_repair(
    gateway: Gateway, tenant: str, types: list[str] | None, *, repairs: bool
) -> list[BrokenRecord]:
    unknown = [name for name in types or () if name not in AREAS]
    if unknown:
        raise InvalidRequestError(f"--type must be one of {', '.join(AREAS)}.")
    one = [(await gateway.tenants.find(tenant)).id] if tenant else []
    found: list[BrokenRecord] = []
    records = record_repair_of(gateway)
    for tenant_id in one or await gateway.tenants.list_ids():
        things = [thing async for thing in records.find(tenant_id, types or AREAS)]
        for thing in things:
            done = thing.repair.value
            if repairs and await records.repair(thing):
                done = _REPAIR_DONE[thing.repair]
            found.append((tenant_id, thing, done))
    return found


def _show_broken(found: list[BrokenRecord], as_json: bool, head: str) -> None:
    rows = [(tenant, thing.area, thing.key, thing.fault, done) for tenant, thing, done in found]
    names = ("tenant", "type", "key", "fault", "repair")
    document = {"broken": [dict(zip(names, row, strict=True)) for row in rows]}
    show(as_json, document, columns(("TENANT", "TYPE", "KEY", "FAULT", head), rows))
