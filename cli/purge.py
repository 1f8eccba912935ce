"""`manage.py purge`: retention by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from cli.access import on_gateway
from cli.output import AsJson, show
from shared.bootstrap import Gateway
from shared.composition.retention import retention_of
from shared.services.retention import Purged

Tenant = Annotated[
    str,
    typer.Option("--tenant", metavar="T", help="Its id, or its exact name. Default: every tenant."),
]
Days = Annotated[
    int | None,
    typer.Option(
        "--days", metavar="N", min=0, max=3_650,
        help="Let go what ended more than N days ago, in place of the times of the settings.",
    ),
]  # fmt: skip


def purge(tenant: Tenant = "", days: Days = None, as_json: AsJson = False) -> None:
    """Let go what has been kept long enough: payloads, results, tombstones and the like.

    Only imports that have ended are touched, and a tenant's newest one stays in the list.
    A step that fails stops no other; the status is then 1.
    """
    keep = None if days is None else timedelta(days=days)

    async def run(gateway: Gateway) -> Purged:
        found = [(await gateway.tenants.find(tenant)).id] if tenant else []
        tenants = found or await gateway.tenants.list_ids()
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
        ["What went:", *lines],
    )
    if failed:
        raise typer.Exit(1)


def _as_member(name: str) -> str:
    """The name of a step as programs read it: `stray payloads` is `strayPayloads`."""
    first, *others = name.split()
    return "".join((first, *(word.capitalize() for word in others)))
