"""Commands for tenants and their credentials: `tenant`, `integration`, `key` and `client`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from cli.commands import Overview, command, on_gateway
from cli.output import AsJson, columns, show
from shared.app import tenant_erasure_of
from shared.auth.clients import Client, Scope
from shared.auth.integrations import (
    DEFAULT_DATABASE_VERSION,
    PERMISSIONS,
    Database,
    Integration,
    ReadPermission,
    read_permissions,
)
from shared.auth.stored_keys import StoredKey
from shared.errors import InvalidRequestError
from shared.gateway import Gateway
from shared.imports.import_type import OnExisting
from shared.services.admin.clients import IssuedClient, client_view
from shared.services.admin.tenants import IssuedKey, Tenant, integration_settings, key_view
from shared.web.audit import read_moment

# `manage.py tenant`: create, rename, disable and enable, list, show, erase.

tenant_commands = typer.Typer(
    cls=Overview,
    no_args_is_help=True,
    help="Tenants: create, rename, disable, enable and erase them.",
)

TenantName = Annotated[
    str, typer.Argument(metavar="NAME", help="The name of the tenant for people; any characters.")
]
TenantReference = Annotated[
    str, typer.Argument(metavar="TENANT", help="The tenant's id, or its exact name.")
]
EraseConfirmation = Annotated[
    str,
    typer.Option(
        "--confirm",
        metavar="TENANT",
        help="The id of the tenant once more, since nothing brings its data back.",
    ),
]
AllowSameName = Annotated[
    bool,
    typer.Option("--allow-same-name", help="Accept a name that another tenant already has."),
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
    change = "is named {name} now" if is_new else "was named {name} already: nothing changed"
    line = f"Tenant {renamed.id} {change.format(name=renamed.name)}."
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
    record = on_gateway(lambda gateway: gateway.tenants.find(tenant))
    lines = [
        f"Tenant   {record.id}",
        f"Name     {record.name}",
        f"Enabled  {'yes' if record.is_enabled else 'no'}",
        f"Created  {record.created_at}",
    ]
    show(as_json, tenant_document(record), lines)


@command(tenant_commands, "erase", example="tenant erase acme --confirm acme")
def erase_tenant(
    tenant: TenantReference, confirm: EraseConfirmation, as_json: AsJson = False
) -> None:
    """Delete everything of a tenant for good, its keys and its imports too.

    Its audit log stays, and its id is never given to another tenant. A command that was interrupted
    is completed by the same command. It takes some seconds longer than the deletions, because it
    waits until no gateway takes a call of the tenant any more.
    """

    async def erase(gateway: Gateway) -> Mapping[str, int]:
        return await tenant_erasure_of(gateway).erase(tenant, confirm)

    deleted = on_gateway(erase)
    lines = [f"{count:>8}  {name}" for name, count in sorted(deleted.items())]
    head = f"Erased tenant {confirm}; deleted:" if deleted else "Nothing is stored of this tenant."
    show(as_json, {"tenant": confirm, "deleted": deleted}, [head, *lines])


def _switch_tenant(reference: str, as_json: bool, *, is_enabled: bool) -> None:
    tenant, is_new = on_gateway(
        lambda gateway: gateway.tenants.switch(reference, is_enabled=is_enabled)
    )
    word = "enabled" if is_enabled else "disabled"
    effect = "is {} now; this is in force within five seconds" if is_new else "was {} already"
    show(as_json, tenant_document(tenant), [f"Tenant {tenant.id} {effect.format(word)}."])


def tenant_document(tenant: Tenant) -> dict[str, Any]:
    """A tenant for programs."""
    return {
        "tenant": tenant.id,
        "name": tenant.name,
        "enabled": tenant.is_enabled,
        "createdAt": tenant.created_at,
    }


# `manage.py integration` and `manage.py key`: who may send for a tenant, and with which key.

integration_commands = typer.Typer(
    cls=Overview,
    no_args_is_help=True,
    help="Integrations: which software sends data for a tenant, and how its rows are imported.",
)
key_commands = typer.Typer(
    cls=Overview,
    no_args_is_help=True,
    help="Function keys: add a second one, revoke the old one, replace one that leaked.",
)


Change = Callable[[Integration], Integration]


class Truth(StrEnum):
    """The values true and false of an option."""

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
    str | None,
    typer.Option("--name", metavar="NAME", help="The name of the integration for people."),
]
OnExistingOption = Annotated[
    OnExisting | None,
    typer.Option(
        "--on-existing",
        metavar="ACTION",
        case_sensitive=False,
        help="If the record of a row is stored already: update changes it, error makes the row "
        "fail, default leaves it to the type.",
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
ReadOption = Annotated[
    ReadPermission | None,
    typer.Option(
        "--read",
        metavar="PERMISSION",
        case_sensitive=False,
        help="What it may read of stored records: none, masked (without sensitive values; that of "
        "a new one) or full.",
    ),
]


_PERMISSIONS = ", ".join(PERMISSIONS)
PermissionsOption = Annotated[
    str | None,
    typer.Option(
        "--permissions",
        metavar="LIST",
        help=f"What it may do, with commas between: {_PERMISSIONS}. A new one may do everything "
        "but admin.",
    ),
]
ExpiresOption = Annotated[
    str | None,
    typer.Option(
        "--expires",
        metavar="TIME",
        help="When the key or the secret stops, as 2027-01-31 or 2027-01-31T08:30:00Z; in UTC "
        "where it has no offset. By default it does not expire.",
    ),
]


def expiry(text: str | None) -> datetime | None:
    """The value of --expires. Raises InvalidRequestError."""
    return read_moment("--expires", text)


@command(integration_commands, "add", example="integration add --tenant acme --software-key HR1")
def add_integration(
    tenant: TenantOption,
    software_key: SoftwareKey,
    name: NameOption = None,
    on_existing: OnExistingOption = None,
    database_active: ActiveOption = None,
    database_version: VersionOption = None,
    read: ReadOption = None,
    permissions: PermissionsOption = None,
    expires: ExpiresOption = None,
    as_json: AsJson = False,
) -> None:
    """Add an integration and print its function key, which is shown only once."""
    options = (name, on_existing, database_active, database_version, read, permissions)
    integration = _apply_options(Integration(tenant, software_key, ""), *options)
    moment = expiry(expires)
    issued_key = on_gateway(lambda gateway: gateway.tenants.add_integration(integration, moment))
    _show_issued(issued_key, as_json, "Added an integration with this software key.")


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
    read: ReadOption = None,
    permissions: PermissionsOption = None,
    as_json: AsJson = False,
) -> None:
    """Change settings of an integration; they take effect within five seconds."""
    options = (name, on_existing, database_active, database_version, read, permissions)
    if all(value is None for value in options):
        raise typer.BadParameter("name at least one setting to change; --help lists the options.")
    _change_integration(
        tenant, software_key, as_json, lambda stored: _apply_options(stored, *options)
    )


@command(integration_commands, "list", example="integration list --tenant acme")
def list_integrations(tenant: TenantOption, as_json: AsJson = False) -> None:
    """List the integrations of a tenant."""
    integrations = on_gateway(lambda gateway: gateway.tenants.list_integrations(tenant))
    head = (
        *("SOFTWARE KEY", "NAME", "ENABLED", "ON EXISTING", "DATABASE", "READS RECORDS"),
        "PERMISSIONS",
    )
    rows = [
        (
            item.software_key,
            item.name,
            _word(item.enabled),
            item.on_existing.value,
            _database(item),
            item.read.value,
            " ".join(sorted(item.permissions)),
        )
        for item in integrations
    ]
    show(
        as_json,
        {"integrations": [_integration_document(item) for item in integrations]},
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


KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", help="As `key list` shows it.")]


@command(key_commands, "add", example="key add --tenant acme --software-key HR1")
def add_key(
    tenant: TenantOption,
    software_key: SoftwareKey,
    expires: ExpiresOption = None,
    as_json: AsJson = False,
) -> None:
    """Make a second function key and print it once; the first one works as before.

    An integration has at most two keys that are valid. To rotate without an outage, add the second
    one, send it with every call, and revoke the first one when `key list` shows that it is not used
    any more.
    """
    moment = expiry(expires)
    issued_key = on_gateway(lambda gateway: gateway.tenants.add_key(tenant, software_key, moment))
    _show_issued(issued_key, as_json, "Made a function key; the one before works as well.")


@command(key_commands, "list", example="key list --tenant acme --software-key HR1")
def list_keys(tenant: TenantOption, software_key: SoftwareKey, as_json: AsJson = False) -> None:
    """List the function keys of an integration by their ids; the keys themselves are not stored.

    The last use is noted once an hour.
    """
    keys = on_gateway(lambda gateway: gateway.tenants.list_keys(tenant, software_key))
    show(as_json, {"keys": [key_view(key) for key in keys]}, _key_table(keys))


@command(key_commands, "revoke", example="key revoke 3f2a90c1d4e5 --tenant acme --software-key HR1")
def revoke_key(
    key_id: KeyId, tenant: TenantOption, software_key: SoftwareKey, as_json: AsJson = False
) -> None:
    """Revoke a function key; it is refused within five seconds.

    The last key that is valid cannot be revoked: add another one first, or disable the integration.
    """
    key = on_gateway(lambda gateway: gateway.tenants.revoke_key(tenant, software_key, key_id))
    show(as_json, key_view(key), [f"Key {key.id} is revoked: it is refused within five seconds."])


@command(key_commands, "rotate", example="key rotate --tenant acme --software-key HR1")
def rotate_key(
    tenant: TenantOption,
    software_key: SoftwareKey,
    expires: ExpiresOption = None,
    as_json: AsJson = False,
) -> None:
    """Make a new function key and print it once; all others are refused within five seconds."""
    moment = expiry(expires)
    issued_key = on_gateway(
        lambda gateway: gateway.tenants.rotate_key(tenant, software_key, moment)
    )
    _show_issued(
        issued_key, as_json, "Made a new function key; all others are refused within five seconds."
    )


def _key_table(keys: Sequence[StoredKey]) -> list[str]:
    rows = [
        (key.id, key.created_at or "-", key.expires_at or "-", key.used_at or "-") for key in keys
    ]
    return columns(("ID", "CREATED", "EXPIRES", "LAST USED"), rows)


def _change_integration(tenant: str, software_key: str, as_json: bool, change: Change) -> None:
    stored_before: list[Integration] = []

    def change_found(integration: Integration) -> Integration:
        stored_before.append(integration)
        return change(integration)

    changed = on_gateway(
        lambda gateway: gateway.tenants.change_integration(tenant, software_key, change_found)
    )
    if changed == stored_before[-1]:
        note = "The integration had these settings already: nothing changed."
    else:
        note = "Changed the integration; this is in force within five seconds."
    show(as_json, _integration_document(changed), [note, *_integration_lines(changed)])


def _apply_options(
    integration: Integration,
    name: str | None,
    on_existing: OnExisting | None,
    active: Truth | None,
    version: int | None,
    read: ReadPermission | None,
    permissions: str | None,
) -> Integration:
    """The integration with the given options; None leaves a value unchanged."""
    database = integration.database
    return replace(
        integration,
        name=integration.name if name is None else name,
        on_existing=on_existing or integration.on_existing,
        database=Database(
            active=database.active if active is None else active is Truth.TRUE,
            version=database.version if version is None else version,
        ),
        read=read or integration.read,
        permissions=integration.permissions
        if permissions is None
        else read_permissions(permissions.split(",")),
    )


def _show_issued(issued: IssuedKey, as_json: bool, note: str) -> None:
    document = {
        **_integration_document(issued.integration),
        "functionKey": issued.function_key,
        "key": key_view(issued.key),
    }
    lines = [
        note,
        *_integration_lines(issued.integration),
        f"Key id           {issued.key.id}",
        f"Key expires      {issued.key.expires_at or 'never'}",
        f"X-Functions-Key  {issued.function_key}",
        "Keep the function key now: it is shown only here.",
    ]
    show(as_json, document, lines)


def _integration_document(integration: Integration) -> dict[str, Any]:
    return {
        "tenant": integration.tenant,
        "softwareKey": integration.software_key,
        **integration_settings(integration),
    }


def _integration_lines(integration: Integration) -> list[str]:
    return [
        f"Tenant           {integration.tenant}",
        f"Integration      {integration.name}",
        f"Enabled          {_word(integration.enabled)}",
        f"On existing      {integration.on_existing.value}",
        f"Database         {_database(integration)}",
        f"Reads records    {integration.read.value}",
        f"Permissions      {' '.join(sorted(integration.permissions))}",
        f"X-Software-Key   {integration.software_key}",
    ]


def _word(value: bool) -> str:
    return "yes" if value else "no"


def _database(integration: Integration) -> str:
    active = "active" if integration.database.active else "not active"
    return f"version {integration.database.version}, {active}"


# `manage.py client`: the OAuth clients of a tenant.

client_commands = typer.Typer(
    cls=Overview, no_args_is_help=True, help="OAuth clients: which programs may ask for tokens."
)

_SCOPES = ", ".join(Scope)

ClientName = Annotated[
    str,
    typer.Option("--name", metavar="NAME", help="The client's id, for example its company's name."),
]
ApplicationId = Annotated[
    str,
    typer.Option(
        "--client-id", metavar="GUID", help="The id of an application of Entra to register."
    ),
]
Scopes = Annotated[
    list[Scope],
    typer.Option(
        "--scope",
        metavar="SCOPE",
        help=f"What its tokens may be used for: {_SCOPES}. May be given several times.",
    ),
]
OptionalTenant = Annotated[
    str, typer.Option("--tenant", metavar="TENANT", help="The tenant's id, or its exact name.")
]
ClientId = Annotated[str, typer.Argument(metavar="CLIENT_ID", help="As `client list` shows it.")]


@command(
    client_commands, "add", example="client add --tenant acme --name hr-system --scope import_inbox"
)
def add_client(
    tenant: TenantOption,
    scope: Scopes,
    name: ClientName = "",
    client_id: ApplicationId = "",
    expires: ExpiresOption = None,
    as_json: AsJson = False,
) -> None:
    """Add a client and print its id and its secret, which is shown only once.

    With --client-id the client is an application of Entra, which keeps the secret itself.
    """
    moment = expiry(expires)

    async def make(gateway: Gateway) -> IssuedClient:
        if client_id:
            if moment is not None:
                raise InvalidRequestError("Entra keeps this client's secret: set its expiry there.")
            return await gateway.clients.register(tenant, client_id, name, scope)
        return await gateway.clients.add(tenant, name, scope, moment)

    issued_client = on_gateway(make)
    document = _client_document(issued_client.client)
    word = "Registered an application of Entra" if client_id else "Added a client"
    lines = [
        f"{word}; there was none of this id.",
        f"Tenant         {issued_client.client.tenant}",
        f"Client id      {issued_client.client.client_id}",
        f"Scopes         {_scopes(issued_client.client)}",
    ]
    if issued_client.client_secret:
        document["clientSecret"] = issued_client.client_secret
        lines += [
            f"Client secret  {issued_client.client_secret}",
            "Keep the secret now: it is shown only here.",
        ]
    show(as_json, document, lines)


@command(
    client_commands,
    "set",
    example="client set hr-system --scope import_inbox --scope read_records",
)
def set_client(
    client_id: ClientId, scope: Scopes, tenant: OptionalTenant = "", as_json: AsJson = False
) -> None:
    """Replace the scopes of a client; its id and its secrets stay.

    A scope that is left out is refused within five seconds, also in tokens that were issued before.
    A new scope needs a new token.
    """
    client, is_changed = on_gateway(
        lambda gateway: gateway.clients.change_scopes(client_id, scope, tenant)
    )
    note = (
        "Changed the client; this is in force within five seconds."
        if is_changed
        else "The client had these scopes already: nothing changed."
    )
    lines = [
        note,
        f"Tenant         {client.tenant}",
        f"Client id      {client.client_id}",
        f"Scopes         {_scopes(client)}",
    ]
    show(as_json, _client_document(client), lines)


@command(client_commands, "list", example="client list --tenant acme")
def list_clients(tenant: OptionalTenant = "", as_json: AsJson = False) -> None:
    """List the clients of one tenant, or of all tenants.

    The last use is noted once an hour: a token that was issued, for a client of Entra a call.
    """
    clients = on_gateway(lambda gateway: gateway.clients.list_clients(tenant))
    rows = [
        (
            client.client_id,
            client.tenant,
            _scopes(client),
            "kept by Entra" if client.is_entra_client else "issued here",
            client.created_at,
            client.last_used_at or "-",
        )
        for client in clients
    ]
    head = ("CLIENT", "TENANT", "SCOPES", "SECRET", "CREATED", "LAST USED")
    show(
        as_json, {"clients": [_client_document(client) for client in clients]}, columns(head, rows)
    )


@command(client_commands, "revoke", example="client revoke hr-system")
def revoke_client(
    client_id: ClientId, tenant: OptionalTenant = "", as_json: AsJson = False
) -> None:
    """Remove a client; its tokens are refused within five seconds."""
    client = on_gateway(lambda gateway: gateway.clients.revoke(client_id, tenant))
    show(
        as_json,
        _client_document(client),
        [f"Client {client.client_id} of tenant {client.tenant} is revoked."],
    )


# `manage.py secret`: the secrets of a client.

secret_commands = typer.Typer(
    cls=Overview,
    no_args_is_help=True,
    help="Secrets of OAuth clients: add a second one, revoke the old one.",
)

SecretId = Annotated[
    str, typer.Option("--id", metavar="SECRET_ID", help="As `secret list` shows it.")
]


@command(secret_commands, "add", example="secret add hr-system")
def add_secret(
    client_id: ClientId,
    tenant: OptionalTenant = "",
    expires: ExpiresOption = None,
    as_json: AsJson = False,
) -> None:
    """Make a second secret and print it once; the first one works as before.

    A client has at most two secrets that are valid.
    """
    moment = expiry(expires)
    issued = on_gateway(lambda gateway: gateway.clients.add_secret(client_id, tenant, moment))
    secret = issued.client.secrets[0]
    document = {**key_view(secret), "clientSecret": issued.client_secret}
    lines = [
        "Made a secret; the one before works as well.",
        f"Secret id      {secret.id}",
        f"Expires        {secret.expires_at or 'never'}",
        f"Client secret  {issued.client_secret}",
        "Keep the secret now: it is shown only here.",
    ]
    show(as_json, document, lines)


@command(secret_commands, "list", example="secret list hr-system")
def list_secrets(client_id: ClientId, tenant: OptionalTenant = "", as_json: AsJson = False) -> None:
    """List the secrets of a client by their ids; the secrets themselves are not stored.

    The last use, for a token, is noted once an hour.
    """
    client = on_gateway(lambda gateway: gateway.clients.find(client_id, tenant))
    document = {"secrets": [key_view(secret) for secret in client.secrets]}
    show(as_json, document, _key_table(client.secrets))


@command(secret_commands, "revoke", example="secret revoke hr-system --id 3f2a90c1d4e5")
def revoke_secret(
    client_id: ClientId, secret_id: SecretId, tenant: OptionalTenant = "", as_json: AsJson = False
) -> None:
    """Revoke a secret; it and its tokens are refused within five seconds.

    The last secret that is valid cannot be revoked: add another one first, or revoke the client.
    """
    client = on_gateway(lambda gateway: gateway.clients.revoke_secret(client_id, secret_id, tenant))
    show(
        as_json,
        _client_document(client),
        [f"Secret {secret_id} is revoked: it and its tokens are refused within five seconds."],
    )


def _client_document(client: Client) -> dict[str, Any]:
    return {"tenant": client.tenant, **client_view(client)}


def _scopes(client: Client) -> str:
    return " ".join(sorted(client.scopes))
