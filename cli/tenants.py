"""`manage.py tenant`: create, rename, disable and enable, list, show."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.access import on_gateway
from cli.command_help import Overview, command
from cli.output import AsJson, columns, show
from shared.services.admin.tenants import Tenant

tenant_commands = typer.Typer(
    cls=Overview, no_args_is_help=True, help="Tenants: create, rename, disable and enable them."
)

TenantName = Annotated[
    str, typer.Argument(metavar="NAME", help="What people call the tenant; any characters.")
]
TenantReference = Annotated[
    str, typer.Argument(metavar="TENANT", help="The tenant's id, or its exact name.")
]
AllowSameName = Annotated[
    bool,
    typer.Option("--allow-same-name", help="Take the name although another tenant has it."),
]


@command(tenant_commands, "create", example='tenant create "Acme"')
def create_tenant(
    name: TenantName, allow_same_name: AllowSameName = False, as_json: AsJson = False
) -> None:
    """Create a tenant and print its id, which the other commands take."""
    tenant = on_gateway(
        lambda gateway: gateway.tenants.create(name, allows_same_name=allow_same_name)
    )
    lines = [f"Created tenant {tenant.id} ({tenant.name})."]
    if allow_same_name:
        lines.append("Use this id in other commands: another tenant may have the same name.")
    show(as_json, tenant_document(tenant), lines)


@command(tenant_commands, "rename", example='tenant rename acme "Acme Holding"')
def rename_tenant(
    tenant: TenantReference,
    name: TenantName,
    allow_same_name: AllowSameName = False,
    as_json: AsJson = False,
) -> None:
    """Give a tenant another name; its id, its data and its keys stay as they are."""
    renamed, is_new = on_gateway(
        lambda gateway: gateway.tenants.rename(tenant, name, allows_same_name=allow_same_name)
    )
    said = "is named {name} now" if is_new else "was named {name} already: nothing changed"
    line = f"Tenant {renamed.id} {said.format(name=renamed.name)}."
    show(as_json, tenant_document(renamed), [line])


@command(tenant_commands, "disable", example="tenant disable acme")
def disable_tenant(tenant: TenantReference, as_json: AsJson = False) -> None:
    """Refuse every call of a tenant with 403; its data stays, its open imports are completed."""
    _switch_tenant(tenant, as_json, is_enabled=False)


@command(tenant_commands, "enable", example="tenant enable acme")
def enable_tenant(tenant: TenantReference, as_json: AsJson = False) -> None:
    """Take calls of a disabled tenant again."""
    _switch_tenant(tenant, as_json, is_enabled=True)


@command(tenant_commands, "list", example="tenant list")
def list_tenants(as_json: AsJson = False) -> None:
    """List all tenants."""
    tenants = on_gateway(lambda gateway: gateway.tenants.list_tenants())
    rows = [
        (tenant.id, tenant.name, "yes" if tenant.is_enabled else "no", tenant.created_at)
        for tenant in tenants
    ]
    document = {"tenants": [tenant_document(tenant) for tenant in tenants]}
    show(as_json, document, columns(("TENANT", "NAME", "ENABLED", "CREATED"), rows))


@command(tenant_commands, "show", example="tenant show acme")
def show_tenant(tenant: TenantReference, as_json: AsJson = False) -> None:
    """Show one tenant."""
    found = on_gateway(lambda gateway: gateway.tenants.find(tenant))
    lines = [
        f"Tenant   {found.id}",
        f"Name     {found.name}",
        f"Enabled  {'yes' if found.is_enabled else 'no'}",
        f"Created  {found.created_at}",
    ]
    show(as_json, tenant_document(found), lines)


def _switch_tenant(reference: str, as_json: bool, *, is_enabled: bool) -> None:
    tenant, is_new = on_gateway(
        lambda gateway: gateway.tenants.switch(reference, is_enabled=is_enabled)
    )
    word = "enabled" if is_enabled else "disabled"
    when = "is {} now; this is in force within five seconds" if is_new else "was {} already"
    show(as_json, tenant_document(tenant), [f"Tenant {tenant.id} {when.format(word)}."])


def tenant_document(tenant: Tenant) -> dict[str, Any]:
    """A tenant for programs."""
    return {
        "tenant": tenant.id,
        "name": tenant.name,
        "enabled": tenant.is_enabled,
        "createdAt": tenant.created_at,
    }
