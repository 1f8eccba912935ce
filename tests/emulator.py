"""The storage emulator as the tests see it: accounts, its access log, all that it stores."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from local_host.setup.azurite import Azurite
from shared.app import compose
from shared.bootstrap import open_gateway
from shared.gateway import Gateway
from shared.imports.sender import NamedCaller
from shared.settings import Settings, read_hash_keys
from shared.storage_account import StorageAccount

# The storage emulator as the tests see it: accounts with the gateway's tables, and its access
# log.

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


class Watch:
    """The requests that have reached one account since the watch began."""

    def __init__(self, account: str, log: Path) -> None:
        self._account = account
        self._log = log
        self._begun = log.stat().st_size

    def requests(self) -> list[Request]:
        """All of them, in order of their answers."""
        with self._log.open("rb") as log:
            log.seek(self._begun)
            text = log.read().decode("utf-8", "replace")
        requests = [Request(m[1], m[2], m[3], int(m[4])) for m in _LINE.finditer(text)]
        return [request for request in requests if request.account == self._account]

    def has_seen(self, method: str, path: str) -> bool:
        """Whether a request of that method went to an address that begins with `path`."""
        return any(
            request.method == method and request.path.startswith(path)
            for request in self.requests()
        )


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

    def watch(self, account: str) -> Watch:
        """Look at the requests that reach an account from now on."""
        return Watch(account, self._log)


AUTHDATA_KEYS = "tests:dGhlIHRlc3RzJyBrZXksIHdoaWNoIG5vYm9keSBlbHNlIGhhcw=="
"""Under which the tests hash authentication values."""


DATA_KEYS = "tests:dGhlIHRlc3RzJyBvdGhlciBrZXksIHVuZGVyIHdoaWNoIGRhdGEga2V5cyBsaWU="
"""Under which the tests seal data keys."""


def settings_for(connection_string: str, **changes: Any) -> Settings:
    """The default settings on that storage, with keys; `changes` by names of `Settings`."""
    account = StorageAccount(connection_string=connection_string)
    keys = read_hash_keys("tests", AUTHDATA_KEYS, [])
    data_keys = read_hash_keys("tests", DATA_KEYS, [])
    settings = Settings(storage=account, authdata_keys=keys, data_keys=data_keys)
    return replace(settings, **changes)


@asynccontextmanager
async def open_ready_gateway(
    settings: Settings, caller: NamedCaller | None = None
) -> AsyncIterator[Gateway]:
    """`open_gateway` on an account whose tables and queues exist, which saves fifty requests."""
    gateway = compose(settings, caller=caller)
    try:
        yield gateway
    finally:
        await gateway.account.close()


async def _make_ready(connection_string: str) -> None:
    async with open_gateway(settings_for(connection_string)):
        pass


# Everything that lies in a storage account, to be compared: a dry run leaves no trace (I5).

Snapshot = dict[str, Any]


def snapshot(storage: str) -> Snapshot:
    """Tables with their entities, queues with their messages, containers with their blobs."""
    return {**_tables(storage), **_queues(storage), **_blobs(storage)}


def _tables(storage: str) -> Snapshot:
    with TableServiceClient.from_connection_string(storage) as service:
        return {
            f"table {table.name}": {
                (item["PartitionKey"], item["RowKey"]): (item.metadata["etag"], dict(item))
                for item in service.get_table_client(table.name).list_entities()
            }
            for table in service.list_tables()
        }


def _queues(storage: str) -> Snapshot:
    with QueueServiceClient.from_connection_string(storage) as service:
        return {
            f"queue {queue.name}": [
                message.id
                for message in service.get_queue_client(queue.name).peek_messages(max_messages=32)
            ]
            for queue in service.list_queues()
        }


def _blobs(storage: str) -> Snapshot:
    with BlobServiceClient.from_connection_string(storage) as service:
        return {
            f"container {container.name}": {
                blob.name: blob.etag
                for blob in service.get_container_client(container.name).list_blobs()
            }
            for container in service.list_containers()
        }
