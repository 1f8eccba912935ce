"""What a reset and a snapshot do in the storage emulator, by its own clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from local_host.app_settings import resolve_connection
from shared.imports.registry import IMPORT_TYPES
from shared.storage.names import CONTAINERS, TABLES

TABLE_NAMES = tuple(dict.fromkeys((*TABLES, *(kind.table for kind in IMPORT_TYPES.values()))))
# A request whose sender has gone may still be on its way to the emulator, which takes requests in
# turn and carries out each without a pause.
_ON_ITS_WAY = 0.05


class EmulatorStorage:
    """The tables, containers and queues of the gateway in the emulator."""

    def __init__(
        self, tables: TableServiceClient, blobs: BlobServiceClient, queues: QueueServiceClient
    ) -> None:
        self.tables = tables
        self.blobs = blobs
        self._queues = queues

    async def empty(self) -> None:
        """Delete every table and container, and empty every queue."""
        await asyncio.sleep(_ON_ITS_WAY)
        names = [name for kind in IMPORT_TYPES.values() for name in kind.queues]
        queues = [name for each in names for name in (each, f"{each}-poison")]
        await _all(self._queues.get_queue_client(name).clear_messages() for name in queues)
        await _all(self.tables.delete_table(name) for name in TABLE_NAMES)
        await _all(self.blobs.delete_container(name) for name in CONTAINERS)


async def _all(requests: Iterable[Awaitable[Any]]) -> None:
    """All of them; what is not there need not be deleted."""

    async def carry_out(request: Awaitable[Any]) -> None:
        with suppress(ResourceNotFoundError):
            await request

    await asyncio.gather(*(carry_out(request) for request in requests))


@asynccontextmanager
async def open_storage() -> AsyncIterator[EmulatorStorage]:
    """The storage that the app uses, which is an emulator: the host has looked."""
    connection = resolve_connection("")
    assert connection is not None
    text = connection.connection_string
    async with (
        TableServiceClient.from_connection_string(text) as tables,
        BlobServiceClient.from_connection_string(text) as blobs,
        QueueServiceClient.from_connection_string(text) as queues,
    ):
        yield EmulatorStorage(tables, blobs, queues)
