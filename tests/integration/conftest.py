"""One storage emulator for all integration tests; each test makes tenants of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from local_host.setup.azurite import Programs, running
from shared.storage.account import Account
from shared.storage_account import StorageAccount


@pytest.fixture(scope="session")
def connection_string() -> Iterator[str]:
    """The emulator's connection string; the gateway's tables are there."""

    async def ensure(account: StorageAccount) -> None:
        opened = Account(account)
        try:
            await opened.ensure(())
        finally:
            await opened.close()

    with running(Programs.found()) as azurite:
        asyncio.run(ensure(StorageAccount(connection_string=azurite.connection_string)))
        yield azurite.connection_string
