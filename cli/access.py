"""The way of a command to the services: open the gateway on the storage in force, use it, close."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from cli.surroundings import commands_settings
from shared.bootstrap import open_gateway
from shared.gateway import Gateway

Result = TypeVar("Result")


def on_gateway(use: Callable[[Gateway], Awaitable[Result]]) -> Result:
    """Run `use` on the gateway. Raises what it raises, and SettingsError."""

    async def used() -> Result:
        async with open_gateway(commands_settings()) as gateway:
            return await use(gateway)

    return asyncio.run(used())
