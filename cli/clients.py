"""`manage.py client`: the OAuth clients of a tenant."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.access import on_gateway
from cli.command_help import Overview, command
from cli.integrations import TenantOption
from cli.output import AsJson, columns, show
from shared.auth.clients import Client, Scope
from shared.gateway import Gateway
from shared.services.admin.clients import IssuedClient

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
        help=f"What its tokens may be used for: {_SCOPES}. May be given twice.",
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
    as_json: AsJson = False,
) -> None:
    """Add a client and print its id and its secret, which is shown only once.

    With --client-id the client is an application of Entra, which keeps the secret itself.
    """

    async def make(gateway: Gateway) -> IssuedClient:
        if client_id:
            return await gateway.clients.register(tenant, client_id, name, scope)
        return await gateway.clients.add(tenant, name, scope)

    issued = on_gateway(make)
    document = _client_document(issued.client)
    word = "Registered an application of Entra" if client_id else "Added a client"
    lines = [f"{word}; there was none of this id.", *_client_lines(issued.client)]
    if issued.client_secret:
        document["clientSecret"] = issued.client_secret
        lines += [
            f"Client secret  {issued.client_secret}",
            "Keep the secret now: it is shown only here.",
        ]
    show(as_json, document, lines)


@command(client_commands, "list", example="client list --tenant acme")
def list_clients(tenant: OptionalTenant = "", as_json: AsJson = False) -> None:
    """List the clients of a tenant, or of all."""
    found = on_gateway(lambda gateway: gateway.clients.list_clients(tenant))
    rows = [
        (one.client_id, one.tenant, _scopes(one), _secret_kind(one), one.created_at)
        for one in found
    ]
    head = ("CLIENT", "TENANT", "SCOPES", "SECRET", "CREATED")
    show(as_json, {"clients": [_client_document(one) for one in found]}, columns(head, rows))


@command(client_commands, "revoke", example="client revoke hr-system")
def revoke_client(
    client_id: ClientId, tenant: OptionalTenant = "", as_json: AsJson = False
) -> None:
    """Remove a client; its tokens are refused within five seconds."""
    gone = on_gateway(lambda gateway: gateway.clients.revoke(client_id, tenant))
    show(
        as_json,
        _client_document(gone),
        [f"Client {gone.client_id} of tenant {gone.tenant} is revoked."],
    )


def _client_document(client: Client) -> dict[str, Any]:
    return {
        "clientId": client.client_id,
        "tenant": client.tenant,
        "name": client.name,
        "scopes": sorted(client.scopes),
        "identityProvider": "entra" if client.is_of_entra else "local",
        "createdAt": client.created_at,
    }


def _client_lines(client: Client) -> list[str]:
    return [
        f"Tenant         {client.tenant}",
        f"Client id      {client.client_id}",
        f"Scopes         {_scopes(client)}",
    ]


def _scopes(client: Client) -> str:
    return " ".join(sorted(client.scopes))


def _secret_kind(client: Client) -> str:
    return "kept by Entra" if client.is_of_entra else "issued here"
