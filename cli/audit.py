"""`manage.py audit`: what administrators have done, on the whole gateway or to one tenant."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.commands import on_gateway
from cli.output import AsJson, columns, show
from shared.errors import NotFoundError
from shared.gateway import Gateway
from shared.services.admin.audit import Action
from shared.storage.audit_records import AuditEntry
from shared.web.audit import action_wanted, entry_view, read_moment

_ACTIONS = ", ".join(Action)
AuditTenant = Annotated[
    str,
    typer.Option(
        "--tenant",
        metavar="TENANT",
        help="Only acts on this tenant. Default: those on all tenants and on the gateway itself.",
    ),
]
ActionName = Annotated[
    str | None, typer.Option("--action", metavar="ACTION", help=f"Only acts of one of {_ACTIONS}.")
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Only acts from this time on, in UTC.")
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Only acts up to this time, in UTC.")
]
Most = Annotated[
    int, typer.Option("--most", metavar="N", min=1, max=1000, help="How many acts to list.")
]


def audit(
    tenant: AuditTenant = "",
    action: ActionName = None,
    since: Since = None,
    until: Until = None,
    most: Most = 20,
    as_json: AsJson = False,
) -> None:
    """List administrative acts, newest first: who did what to which tenant, and what it changed.

    No command changes or deletes an entry. One that says `begun` was interrupted, so that the act
    may have been carried out or not; `refused` acts changed nothing.
    """
    action_filter = action_wanted(action)
    first, last = read_moment("--since", since), read_moment("--until", until)

    async def read(gateway: Gateway) -> list[AuditEntry]:
        entries: list[AuditEntry] = []
        for each in await _tenants(gateway, tenant):
            page = await gateway.audit_reader.page(
                each, most, action=action_filter, since=first, until=last
            )
            entries += page.entries
        return sorted(entries, key=lambda entry: entry.row)[:most]

    entries = on_gateway(read)
    head = ("TIME", "TENANT", "CALLER", "ACTION", "STATE", "TARGET", "BEFORE", "AFTER")
    rows = [
        (
            entry.at,
            entry.tenant or "-",
            f"{entry.caller.kind} {entry.caller.name}" if entry.caller else "",
            entry.action,
            entry.state.value,
            *map(_text, (entry.target, entry.before, entry.after)),
        )
        for entry in entries
    ]
    items = [{"tenant": entry.tenant or None, **entry_view(entry)} for entry in entries]
    show(as_json, {"items": items}, columns(head, rows))


async def _tenants(gateway: Gateway, reference: str) -> list[str]:
    """The tenants whose logs are read; "" is the gateway. A deleted tenant still has its log."""
    if not reference:
        return ["", *await gateway.tenants.list_ids()]
    try:
        return [(await gateway.tenants.find(reference)).id]
    except NotFoundError:
        if not (await gateway.audit_reader.page(reference, 1)).entries:
            raise
        return [reference]


def _text(content: Mapping[str, Any] | None) -> str:
    if not content:
        return ""
    return " ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in content.items()
    )
