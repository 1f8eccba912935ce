"""`manage.py round`: the communication rounds that documents are sent to."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.access import on_gateway
from cli.command_help import Overview, command
from cli.integrations import TenantOption
from cli.output import AsJson, columns, show
from shared.gateway import Gateway
from shared.services.documents.rounds import Round, RoundStatus

round_commands = typer.Typer(
    cls=Overview, no_args_is_help=True, help="Communication rounds: what documents are sent to."
)

_STATUSES = ", ".join(RoundStatus)

CodeOption = Annotated[
    str, typer.Option("--code", metavar="CODE", help="The code in uploads, in the same case.")
]
StatusOption = Annotated[
    RoundStatus,
    typer.Option(
        "--status",
        metavar="STATUS",
        case_sensitive=False,
        help=f"One of {_STATUSES}. A round takes documents while it is Open or In Progress.",
    ),
]


@command(round_commands, "add", example="round add --tenant acme --code 2026-01")
def add_round(
    tenant: TenantOption,
    code: CodeOption,
    status: StatusOption = RoundStatus.OPEN,
    as_json: AsJson = False,
) -> None:
    """Add a round; rounds of past periods can be added too."""

    async def write(gateway: Gateway) -> Round:
        found = await gateway.tenants.find(tenant)
        return await gateway.documents.rounds.add(found.id, code, status)

    made = on_gateway(write)
    said = f"Added the round {made.code}, which is {made.status.value}."
    show(as_json, {"tenant": tenant, **_round_document(made)}, [said])


@command(round_commands, "set", example="round set --tenant acme --code 2026-01 --status Closed")
def change_round(
    tenant: TenantOption, code: CodeOption, status: StatusOption, as_json: AsJson = False
) -> None:
    """Change the status of a round."""

    async def write(gateway: Gateway) -> tuple[Round, bool]:
        rounds = gateway.documents.rounds
        found = await gateway.tenants.find(tenant)
        before = await rounds.list_rounds(found.id)
        changed = await rounds.change(found.id, code, status)
        return changed, changed not in before

    changed, is_new = on_gateway(write)
    said = "is {} now" if is_new else "was {} already: nothing changed"
    line = f"The round {changed.code} {said.format(changed.status.value)}."
    show(as_json, {"tenant": tenant, **_round_document(changed)}, [line])


@command(round_commands, "list", example="round list --tenant acme")
def list_rounds(tenant: TenantOption, as_json: AsJson = False) -> None:
    """List the rounds of a tenant."""

    async def read(gateway: Gateway) -> list[Round]:
        found = await gateway.tenants.find(tenant)
        return await gateway.documents.rounds.list_rounds(found.id)

    rounds = on_gateway(read)
    rows = [(each.code, each.status.value) for each in rounds]
    document = {"tenant": tenant, "rounds": [_round_document(each) for each in rounds]}
    show(as_json, document, columns(("ROUND", "STATUS"), rows))


def _round_document(round_: Round) -> dict[str, Any]:
    return {"code": round_.code, "status": round_.status.value}
