"""`manage.py feature`: what a tenant has to enable before it can be used."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.access import on_gateway
from cli.command_help import Overview, command
from cli.integrations import TenantOption
from cli.output import AsJson, show
from shared.gateway import Gateway
from shared.services.documents.rounds import Feature

feature_commands = typer.Typer(
    cls=Overview, no_args_is_help=True, help="Features of a tenant: enable or disable documents."
)

FeatureName = Annotated[Feature, typer.Argument(metavar="FEATURE", help=", ".join(Feature))]


@command(feature_commands, "enable", example="feature enable documents --tenant acme")
def enable_feature(feature: FeatureName, tenant: TenantOption, as_json: AsJson = False) -> None:
    """Enable a feature for a tenant."""
    _switch_feature(feature, tenant, True, as_json)


@command(feature_commands, "disable", example="feature disable documents --tenant acme")
def disable_feature(feature: FeatureName, tenant: TenantOption, as_json: AsJson = False) -> None:
    """Disable a feature for a tenant; its documents stay."""
    _switch_feature(feature, tenant, False, as_json)


def _switch_feature(feature: Feature, tenant: str, is_on: bool, as_json: bool) -> None:
    async def write(gateway: Gateway) -> tuple[str, bool]:
        found = await gateway.tenants.find(tenant)
        was_on = await gateway.documents.features.is_enabled(found.id, feature)
        await gateway.documents.features.switch(found.id, feature, is_on)
        return found.id, was_on is not is_on

    tenant_id, is_new = on_gateway(write)
    word = "enabled" if is_on else "disabled"
    document = {"tenant": tenant_id, "feature": feature.value, "enabled": is_on}
    said = f"is {word} now" if is_new else f"was {word} already"
    show(as_json, document, [f"The feature {feature.value} {said} for tenant {tenant_id}."])
