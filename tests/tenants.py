"""Tenants, integrations and clients for tests, made through the service of `manage.py`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

from shared.auth.callers import Caller, TokenCaller
from shared.auth.clients import Client, Scope
from shared.auth.integrations import Integration
from shared.gateway import Gateway
from tests.emulator import open_ready_gateway, settings_for

# Tenants and integrations for tests, made through the service that `manage.py` calls.


@dataclass(frozen=True)
class Sender:
    """An integration with its key pair: who sends."""

    integration: Integration
    function_key: str

    @property
    def tenant(self) -> str:
        return self.integration.tenant

    @property
    def headers(self) -> Mapping[str, str]:
        """The key pair as headers of a call."""
        return {
            "X-Functions-Key": self.function_key,
            "X-Software-Key": self.integration.software_key,
        }

    @property
    def caller(self) -> Caller:
        """What the gateway makes of the key pair."""
        key = self.integration.software_key
        return Caller(self.tenant, key, key, self.integration)


async def new_tenant(gateway: Gateway) -> str:
    """The id of a new tenant."""
    # Without a search for the name, for which all tenants are read.
    name = f"Tenant {uuid.uuid4().hex}"
    return (await gateway.tenants.create(name, allows_same_name=True)).id


async def new_sender(gateway: Gateway, tenant: str = "", **fields: object) -> Sender:
    """An integration of `tenant`, or of a new one; `fields` are those of `Integration`."""
    key = f"KEY-{uuid.uuid4().hex}"
    integration = Integration(tenant or await new_tenant(gateway), key, "")
    issued = await gateway.tenants.add_integration(replace(integration, **fields))  # type: ignore[arg-type]
    return Sender(issued.integration, issued.function_key)


def a_sender(connection_string: str, tenant: str = "", **fields: object) -> Sender:
    """`new_sender` for tests without an event loop."""

    async def create() -> Sender:
        async with open_ready_gateway(settings_for(connection_string)) as gateway:
            return await new_sender(gateway, tenant, **fields)

    return asyncio.run(create())


# Clients with valid tokens for tests of endpoints that take them.


@dataclass(frozen=True)
class TokenClient:
    """A client and a token for all of its scopes: who sends."""

    client: Client
    token: str

    @property
    def tenant(self) -> str:
        return self.client.tenant

    @property
    def headers(self) -> Mapping[str, str]:
        """The token as the header of a call."""
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def caller(self) -> TokenCaller:
        """What the gateway makes of the token."""
        return TokenCaller(self.tenant, self.client.client_id, self.client.scopes)


async def new_token_client(
    gateway: Gateway, tenant: str = "", *scopes: Scope, issuer: str = "", lifetime: int = 3_600
) -> TokenClient:
    """A client of `tenant`, or of a new one, for these scopes, or for all.

    `issuer` is the address of the gateway that is to take the token, where it is another process;
    a negative `lifetime` in seconds makes a token that has expired.
    """
    owner = tenant or await new_tenant(gateway)
    issued = await gateway.clients.register(owner, str(uuid.uuid4()), "", scopes or Scope)
    tokens = gateway.identity.local_tokens
    tokens.terms = replace(tokens.terms, issuer=issuer or tokens.terms.issuer, lifetime=lifetime)
    client = issued.client
    return TokenClient(client, await tokens.issue(client, client.scopes))


def a_token_client(
    storage: str, issuer: str, tenant: str = "", *scopes: Scope, lifetime: int = 3_600
) -> TokenClient:
    """`new_token_client` for tests without an event loop; `issuer` is the gateway's `url`."""

    async def create() -> TokenClient:
        async with open_ready_gateway(settings_for(storage)) as gateway:
            return await new_token_client(
                gateway, tenant, *scopes, issuer=issuer, lifetime=lifetime
            )

    return asyncio.run(create())
