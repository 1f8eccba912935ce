"""One storage emulator for a whole run of the tests, with an account for each kind of them.

Queues belong to an account, and every gateway process takes from them: tests that run a gateway of
their own, or deliver messages themselves, use an account that no other gateway works on. Within an
account each test makes a tenant of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local_host.setup.azurite import ACCOUNT, Programs, running
from tests.emulator import Emulator

ACCOUNTS = (
    ACCOUNT,
    "contract",
    "clients",
    "keys",
    "tls",
    "changes",
    "killed",
    "counted",
    "ordered",
    "delivered",
    "native",
    "documents",
    "dropped",
    "proxied",
    "slow",
)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """The running emulator; it writes a line for each request to its access log."""
    log = tmp_path_factory.mktemp("emulator") / "access.log"
    with running(
        Programs.from_environ(), log=log, accounts=ACCOUNTS, has_access_log=True
    ) as azurite:
        yield Emulator(azurite, log)


@pytest.fixture(scope="session")
def connection_string(emulator: Emulator) -> str:
    """The usual account, with the gateway's tables in it; no gateway process works on it."""
    return emulator.account(ACCOUNT)
