"""`manage.py integration` and `manage.py key`: who may send for a tenant, and with which key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any

import typer

from cli.access import on_gateway
from cli.command_help import Overview, command
from cli.output import AsJson, columns, show
from shared.auth.integrations import DEFAULT_DATABASE_VERSION, Database, Integration
from shared.imports.import_type import OnExisting
from shared.services.admin.tenants import IssuedKey

integration_commands = typer.Typer(
    cls=Overview,
    no_args_is_help=True,
    help="Integrations: which software sends data for a tenant, and how its rows are imported.",
)
key_commands = typer.Typer(
    cls=Overview,
    no_args_is_help=True,
    help="Function keys: replace one that was lost or that others have seen.",
)


Change = Callable[[Integration], Integration]


class Truth(StrEnum):
    """A yes or no as the value of an option."""

    TRUE = "true"
    FALSE = "false"


TenantOption = Annotated[
    str, typer.Option("--tenant", metavar="TENANT", help="The tenant's id, or its exact name.")
]
SoftwareKey = Annotated[
    str,
    typer.Option(
        "--software-key", metavar="SOFTWARE_KEY", help="What callers send as X-Software-Key."
    ),
]
NameOption = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="What people call the integration.")
]
OnExistingOption = Annotated[
    OnExisting | None,
    typer.Option(
        "--on-existing",
        metavar="ACTION",
        case_sensitive=False,
        help="What a row does whose record is stored already: update changes it, error fails.",
    ),
]
ActiveOption = Annotated[
    Truth | None,
    typer.Option(
        "--database-active",
        metavar="TRUTH",
        case_sensitive=False,
        help="Whether its Pay & Bill database is active: true or false.",
    ),
]
VersionOption = Annotated[
    int | None,
    typer.Option(
        "--database-version", metavar="N", min=0,
        help=f"The version of its Pay & Bill database; a new one has {DEFAULT_DATABASE_VERSION}.",
    ),
]  # fmt: skip


@command(integration_commands, "add", example="integration add --tenant acme --software-key HR1")
def add_integration(
    tenant: TenantOption,
    software_key: SoftwareKey,
    name: NameOption = None,
    on_existing: OnExistingOption = None,
    database_active: ActiveOption = None,
    database_version: VersionOption = None,
    as_json: AsJson = False,
) -> None:
    """Add an integration and print its function key, which is shown only once."""
    wanted = _apply_options(
        Integration(tenant, software_key, ""), name, on_existing, database_active, database_version
    )
    issued = on_gateway(lambda gateway: gateway.tenants.add_integration(wanted))
    _show_issued(issued, as_json, "Added an integration with this software key.")


@command(
    integration_commands,
    "set",
    example="integration set --tenant acme --software-key HR1 --on-existing error",
)
def change_integration(
    tenant: TenantOption,
    software_key: SoftwareKey,
    name: NameOption = None,
    on_existing: OnExistingOption = None,
    database_active: ActiveOption = None,
    database_version: VersionOption = None,
    as_json: AsJson = False,
) -> None:
    """Change the settings that the options name; they are in force within five seconds."""
    given = (name, on_existing, database_active, database_version)
    if all(value is None for value in given):
        raise typer.BadParameter("name at least one setting to change; --help lists the options.")
    _change_integration(
        tenant, software_key, as_json, lambda stored: _apply_options(stored, *given)
    )


@command(integration_commands, "list", example="integration list --tenant acme")
def list_integrations(tenant: TenantOption, as_json: AsJson = False) -> None:
    """List the integrations of a tenant."""
    found = on_gateway(lambda gateway: gateway.tenants.list_integrations(tenant))
    head = ("SOFTWARE KEY", "NAME", "ENABLED", "ON EXISTING", "DATABASE")
    rows = [
        (item.software_key, item.name, _word(item.enabled), item.on_existing.value, _database(item))
        for item in found
    ]
    show(
        as_json,
        {"integrations": [_integration_document(item) for item in found]},
        columns(head, rows),
    )


@command(
    integration_commands, "enable", example="integration enable --tenant acme --software-key HR1"
)
def enable_integration(
    tenant: TenantOption, software_key: SoftwareKey, as_json: AsJson = False
) -> None:
    """Take calls of a disabled integration again."""
    _change_integration(tenant, software_key, as_json, lambda stored: replace(stored, enabled=True))


@command(
    integration_commands, "disable", example="integration disable --tenant acme --software-key HR1"
)
def disable_integration(
    tenant: TenantOption, software_key: SoftwareKey, as_json: AsJson = False
) -> None:
    """Refuse every call of an integration; its function key is kept."""
    _change_integration(
        tenant, software_key, as_json, lambda stored: replace(stored, enabled=False)
    )


@command(key_commands, "rotate", example="key rotate --tenant acme --software-key HR1")
def rotate_key(tenant: TenantOption, software_key: SoftwareKey, as_json: AsJson = False) -> None:
    """Make a new function key and print it once; the old key is refused within five seconds."""
    issued = on_gateway(lambda gateway: gateway.tenants.rotate_key(tenant, software_key))
    _show_issued(
        issued, as_json, "Made a new function key; the old key is refused within five seconds."
    )


def _change_integration(tenant: str, software_key: str, as_json: bool, change: Change) -> None:
    found: list[Integration] = []

    def change_found(stored: Integration) -> Integration:
        found.append(stored)
        return change(stored)

    changed = on_gateway(
        lambda gateway: gateway.tenants.change_integration(tenant, software_key, change_found)
    )
    if changed == found[-1]:
        said = "The integration had these settings already: nothing changed."
    else:
        said = "Changed the integration; this is in force within five seconds."
    show(as_json, _integration_document(changed), [said, *_integration_lines(changed)])


def _apply_options(
    integration: Integration,
    name: str | None,
    on_existing: OnExisting | None,
    active: Truth | None,
    version: int | None,
) -> Integration:
    """The integration with what is given; None leaves a value alone."""
    database = integration.database
    return replace(
        integration,
        name=integration.name if name is None else name,
        on_existing=on_existing or integration.on_existing,
        database=Database(
            active=database.active if active is None else active is Truth.TRUE,
            version=database.version if version is None else version,
        ),
    )


def _show_issued(issued: IssuedKey, as_json: bool, said: str) -> None:
    document = {**_integration_document(issued.integration), "functionKey": issued.function_key}
    lines = [
        said,
        *_integration_lines(issued.integration),
        f"X-Functions-Key  {issued.function_key}",
        "Keep the function key now: it is shown only here.",
    ]
    show(as_json, document, lines)


def _integration_document(integration: Integration) -> dict[str, Any]:
    return {
        "tenant": integration.tenant,
        "softwareKey": integration.software_key,
        "name": integration.name,
        "enabled": integration.enabled,
        "onExisting": integration.on_existing.value,
        "database": {
            "active": integration.database.active,
            "version": integration.database.version,
        },
    }


def _integration_lines(integration: Integration) -> list[str]:
    return [
        f"Tenant           {integration.tenant}",
        f"Integration      {integration.name}",
        f"Enabled          {_word(integration.enabled)}",
        f"On existing      {integration.on_existing.value}",
        f"Database         {_database(integration)}",
        f"X-Software-Key   {integration.software_key}",
    ]


def _word(truth: bool) -> str:
    return "yes" if truth else "no"


def _database(integration: Integration) -> str:
    active = "active" if integration.database.active else "not active"
    return f"version {integration.database.version}, {active}"
