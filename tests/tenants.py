"""Tenants and integrations for tests, made through the service that `manage.py` calls."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

from shared.auth.callers import Caller
from shared.auth.integrations import Integration
from shared.bootstrap import open_gateway
from shared.gateway import Gateway
from tests.emulator import settings_for


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
    """The id of a tenant that nobody else has."""
    return (await gateway.tenants.create(f"Tenant {uuid.uuid4().hex}")).id


async def new_sender(gateway: Gateway, tenant: str = "", **wanted: object) -> Sender:
    """An integration of `tenant`, or of a new one; `wanted` are fields of `Integration`."""
    key = f"KEY-{uuid.uuid4().hex}"
    integration = Integration(tenant or await new_tenant(gateway), key, "")
    issued = await gateway.tenants.add_integration(replace(integration, **wanted))  # type: ignore[arg-type]
    return Sender(issued.integration, issued.function_key)


def a_sender(connection_string: str, tenant: str = "", **wanted: object) -> Sender:
    """`new_sender` for tests without an event loop."""

    async def made() -> Sender:
        async with open_gateway(settings_for(connection_string)) as gateway:
            return await new_sender(gateway, tenant, **wanted)

    return asyncio.run(made())
