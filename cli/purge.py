"""`manage.py purge`: retention by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from cli.access import on_gateway
from cli.output import AsJson, show
from cli.terminal import confirm
from shared.app import retention_of
from shared.errors import ConflictError
from shared.gateway import Gateway
from shared.services.retention import Purged

PurgeTenant = Annotated[
    str,
    typer.Option(
        "--tenant", metavar="TENANT", help="The tenant's id, or its exact name. Default: all."
    ),
]
Days = Annotated[
    int | None,
    typer.Option(
        "--days", metavar="N", min=0, max=3_650,
        help="Delete what ended more than N days ago, in place of the times of the settings.",
    ),
]  # fmt: skip
ConfirmPurge = Annotated[bool, typer.Option("--yes", help="Delete without asking first.")]


def purge(
    tenant: PurgeTenant = "", days: Days = None, yes: ConfirmPurge = False, as_json: AsJson = False
) -> None:
    """Delete what has been kept long enough: payloads, results, tombstones and the like.

    The command asks first, unless --yes is given. Only imports that have ended are touched, and the
    newest import of a tenant stays in the list. When a step fails, the others run all the same, and
    the exit status is 1.
    """
    keep = None if days is None else timedelta(days=days)

    async def run(gateway: Gateway) -> Purged:
        found = [(await gateway.tenants.find(tenant)).id] if tenant else []
        tenants = found or await gateway.tenants.list_ids()
        if not yes:
            _confirm_purge(f"tenant {found[0]}" if found else f"all {len(tenants)} tenants", days)
        return await retention_of(gateway).purge(tenants, keep)

    purged = on_gateway(run)
    lines = [f"{count:>8}  {name}" for name, count in purged.went.items()]
    failed = [{"tenant": name, "step": _as_member(step)} for name, step in purged.failed]
    if failed:
        lines.append("Failed, see the log:")
        lines += [f"          {step} of {name}" for name, step in purged.failed]
    show(
        as_json,
        {
            "expired": {_as_member(name): count for name, count in purged.went.items()},
            "failed": failed,
        },
        ["Deleted:", *lines],
    )
    if failed:
        raise typer.Exit(1)


def _confirm_purge(whose: str, days: int | None) -> None:
    """Ask on standard error, so that what --json prints stays one object. Raises ConflictError."""
    age = "is older than the settings keep it" if days is None else f"ended over {days} days ago"
    question = f"Delete for good everything of {whose} that {age}? [y/N]: "
    if not confirm(question):
        raise ConflictError("Nothing was deleted: answer y, or add --yes to delete without asking.")


def _as_member(name: str) -> str:
    """The name of a step as programs read it: `stray payloads` is `strayPayloads`."""
    first, *others = name.split()
    return "".join((first, *(word.capitalize() for word in others)))
