"""`manage.py round`: the communication rounds that documents are sent to."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.access import on_gateway
from cli.integrations import TenantOption
from cli.output import AsJson, columns, show
from shared.bootstrap import Gateway
from shared.services.documents.rounds import Round, RoundStatus

app = typer.Typer(no_args_is_help=True, help="Communication rounds: what documents are sent to.")

Code = Annotated[str, typer.Option("--code", help="What uploads name it by; case counts.")]
Status = Annotated[
    RoundStatus,
    typer.Option("--status", case_sensitive=False, help="Open and In Progress take documents."),
]


@app.command()
def add(
    tenant: TenantOption, code: Code, status: Status = RoundStatus.OPEN, as_json: AsJson = False
) -> None:
    """Add a round; it may lie in the past."""

    async def write(gateway: Gateway) -> Round:
        found = await gateway.tenants.find(tenant)
        return await gateway.documents.rounds.add(found.id, code, status)

    _show_one(tenant, on_gateway(write), as_json)


@app.command("set")
def change(tenant: TenantOption, code: Code, status: Status, as_json: AsJson = False) -> None:
    """Change the status of a round."""

    async def write(gateway: Gateway) -> Round:
        found = await gateway.tenants.find(tenant)
        return await gateway.documents.rounds.change(found.id, code, status)

    _show_one(tenant, on_gateway(write), as_json)


@app.command("list")
def list_all(tenant: TenantOption, as_json: AsJson = False) -> None:
    """List the rounds of a tenant."""

    async def read(gateway: Gateway) -> list[Round]:
        found = await gateway.tenants.find(tenant)
        return await gateway.documents.rounds.list_rounds(found.id)

    rounds = on_gateway(read)
    rows = [(each.code, each.status.value) for each in rounds]
    document = {"tenant": tenant, "rounds": [_document(each) for each in rounds]}
    show(as_json, document, columns(("ROUND", "STATUS"), rows))


def _show_one(tenant: str, round_: Round, as_json: bool) -> None:
    said = f"The round {round_.code} is {round_.status.value}."
    show(as_json, {"tenant": tenant, **_document(round_)}, [said])


def _document(round_: Round) -> dict[str, Any]:
    return {"code": round_.code, "status": round_.status.value}
