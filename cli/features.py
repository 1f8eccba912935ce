"""`manage.py feature`: what a tenant has to enable before it can be used."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.access import on_gateway
from cli.integrations import TenantOption
from cli.output import AsJson, show
from shared.bootstrap import Gateway
from shared.services.documents.features import Feature

app = typer.Typer(no_args_is_help=True, help="Features of a tenant: documents.")

Name = Annotated[Feature, typer.Argument(metavar="FEATURE", help=", ".join(Feature))]


@app.command()
def enable(feature: Name, tenant: TenantOption, as_json: AsJson = False) -> None:
    """Enable a feature for a tenant."""
    _switch(feature, tenant, True, as_json)


@app.command()
def disable(feature: Name, tenant: TenantOption, as_json: AsJson = False) -> None:
    """Disable a feature for a tenant; what was imported stays."""
    _switch(feature, tenant, False, as_json)


def _switch(feature: Feature, tenant: str, is_on: bool, as_json: bool) -> None:
    async def write(gateway: Gateway) -> str:
        found = await gateway.tenants.find(tenant)
        await gateway.documents.features.switch(found.id, feature, is_on)
        return found.id

    tenant_id = on_gateway(write)
    word = "enabled" if is_on else "disabled"
    document = {"tenant": tenant_id, "feature": feature.value, "enabled": is_on}
    show(as_json, document, [f"The feature {feature.value} is {word} for tenant {tenant_id}."])
