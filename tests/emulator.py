"""The storage emulator as the tests see it: accounts with the gateway's tables, and its access log.

A line of the log: `127.0.0.1 - - [time] "POST /account/$batch HTTP/1.1" 202 -`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from local_host.setup.azurite import Azurite
from shared.bootstrap import open_gateway
from shared.settings import Settings
from shared.storage_account import StorageAccount

_LINE = re.compile(r'"([A-Z]+) /([a-z0-9]+)(\S*) HTTP/1\.1" (\d{3})')


@dataclass(frozen=True)
class Request:
    """One request that reached the emulator; `path` is what follows the account's name."""

    method: str
    account: str
    path: str
    status: int

    @property
    def is_poll(self) -> bool:
        """Whether it asked a queue for messages, which the host does all the time."""
        return self.method == "GET" and "/messages" in self.path


class Emulator:
    """A running emulator with an access log."""

    def __init__(self, azurite: Azurite, log: Path) -> None:
        self._azurite = azurite
        self._log = log
        self._ready: set[str] = set()

    def account(self, name: str) -> str:
        """The connection string of an account, with the gateway's tables and queues in it."""
        text = self._azurite.connection_string_of(name)
        if name not in self._ready:
            asyncio.run(_make_ready(text))
            self._ready.add(name)
        return text

    def requests_during(self, account: str, work: Callable[[], None]) -> list[Request]:
        """The requests that reach an account while `work` runs."""
        before = self._log.stat().st_size
        work()
        with self._log.open("rb") as log:
            log.seek(before)
            text = log.read().decode("utf-8", "replace")
        found = [Request(m[1], m[2], m[3], int(m[4])) for m in _LINE.finditer(text)]
        return [request for request in found if request.account == account]


def settings_for(connection_string: str, **changes: int) -> Settings:
    """The default settings on that storage; `changes` by the names of `Settings`."""
    account = StorageAccount(connection_string=connection_string)
    return replace(Settings(storage=account), **changes)  # type: ignore[arg-type]


async def _make_ready(connection_string: str) -> None:
    async with open_gateway(settings_for(connection_string)):
        pass
