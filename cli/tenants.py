"""`manage.py tenant`: create, list, show."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.access import on_gateway
from cli.output import AsJson, columns, show
from shared.bootstrap import Gateway
from shared.services.tenants import Tenant

app = typer.Typer(no_args_is_help=True, help="Tenants: whose data it is.")

Name = Annotated[str, typer.Argument(help="What people call the tenant; any characters.")]
Reference = Annotated[str, typer.Argument(metavar="TENANT", help="Its id, or its exact name.")]


@app.command()
def create(name: Name, as_json: AsJson = False) -> None:
    """Create a tenant; prints the id that the other commands take."""

    async def make(gateway: Gateway) -> tuple[Tenant, list[str]]:
        made = await gateway.tenants.create(name)
        everyone = await gateway.tenants.list_tenants()
        return made, [each.id for each in everyone if each.name == made.name and each != made]

    tenant, others = on_gateway(make)
    lines = [f"Tenant {tenant.id} ({tenant.name}) is there."]
    if others:
        lines.append(f"The same name have: {', '.join(others)}. Use ids to tell them apart.")
    show(as_json, tenant_document(tenant), lines)


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List all tenants."""
    tenants = on_gateway(lambda gateway: gateway.tenants.list_tenants())
    rows = [(tenant.id, tenant.name, tenant.created_at) for tenant in tenants]
    document = {"tenants": [tenant_document(tenant) for tenant in tenants]}
    show(as_json, document, columns(("TENANT", "NAME", "CREATED"), rows))


@app.command("show")
def show_one(tenant: Reference, as_json: AsJson = False) -> None:
    """Show one tenant."""
    found = on_gateway(lambda gateway: gateway.tenants.find(tenant))
    lines = [f"Tenant   {found.id}", f"Name     {found.name}", f"Created  {found.created_at}"]
    show(as_json, tenant_document(found), lines)


def tenant_document(tenant: Tenant) -> dict[str, Any]:
    """A tenant for programs."""
    return {"tenant": tenant.id, "name": tenant.name, "createdAt": tenant.created_at}
