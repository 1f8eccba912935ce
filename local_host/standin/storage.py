"""What a reset and a snapshot do in the storage emulator, by its own clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables.aio import TableClient, TableServiceClient
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from local_host.app_settings import resolve_connection
from shared.imports.registry import IMPORT_TYPES
from shared.storage.entities import encode
from shared.storage.import_records import OPEN_OF_ALL_TYPES
from shared.storage.names import (
    AUDIT,
    CLIENTS,
    COMMUNICATION_ROUNDS,
    CONTAINERS,
    DATA_KEYS,
    FUNCTION_KEYS,
    IMPORT_RESULT_BLOBS,
    IMPORT_RESULTS,
    IMPORTS,
    INTEGRATIONS,
    PROFILES,
    SIGNING_KEYS,
    TABLES,
    TENANTS,
)

TABLE_NAMES = tuple(dict.fromkeys((*TABLES, *(kind.table for kind in IMPORT_TYPES.values()))))
# A request whose sender has gone may still be on its way to the emulator, which takes requests in
# turn and carries out each without a pause.
_REQUEST_IN_FLIGHT_SECONDS = 0.05
_MOST_REQUESTS_AT_ONCE = 16
# Tables of which a reset of a tenant deletes nothing.
_TABLES_THAT_A_RESET_KEEPS = frozenset(
    (
        TENANTS,
        INTEGRATIONS,
        FUNCTION_KEYS,
        CLIENTS,
        SIGNING_KEYS,
        DATA_KEYS,
        COMMUNICATION_ROUNDS,
        PROFILES,
        AUDIT,
        IMPORT_RESULTS,
    )
)
# What `local_host/azurite/partition_delete.cjs` takes for all rows.
_WHOLE_TABLE = "*"
_WHOLE_PARTITION = "standin: the whole partition"


class EmulatorStorage:
    """The tables, containers and queues of the gateway in the emulator."""

    def __init__(
        self, tables: TableServiceClient, blobs: BlobServiceClient, queues: QueueServiceClient
    ) -> None:
        self.tables = tables
        self.blobs = blobs
        self._queues = queues

    async def empty(self) -> None:
        """Empty every table, container and queue."""
        await asyncio.sleep(_REQUEST_IN_FLIGHT_SECONDS)
        names = [name for kind in IMPORT_TYPES.values() for name in kind.queues]
        queues = [name for each in names for name in (each, f"{each}-poison")]
        await _all(self._queues.get_queue_client(name).clear_messages() for name in queues)
        await asyncio.gather(
            *(self._empty_table(name) for name in TABLE_NAMES),
            *(self._empty_container(name) for name in CONTAINERS),
        )

    async def _empty_table(self, name: str) -> None:
        try:
            await self.tables.get_table_client(name).delete_entity(_WHOLE_TABLE, _WHOLE_PARTITION)
        except ResourceNotFoundError:
            with suppress(ResourceNotFoundError):
                await self.tables.delete_table(name)
            await self.tables.create_table(name)

    async def _empty_container(self, name: str) -> None:
        with suppress(ResourceNotFoundError):
            async for _ in self.blobs.get_container_client(name).list_blob_names():
                await self.blobs.delete_container(name)
                await self.blobs.create_container(name)
                return

    async def open_imports(self) -> list[str]:
        """The ids of the imports of all tenants that have not ended."""
        first, last = OPEN_OF_ALL_TYPES
        entities = self.tables.get_table_client(IMPORTS).query_entities(
            "RowKey ge @first and RowKey lt @last",
            select=["ImportId"],
            parameters={"first": first, "last": last},
        )
        return [str(entity.get("ImportId", "")) async for entity in entities]

    async def empty_tenant(self, tenant: str) -> None:
        """Delete what is stored of a tenant, but for its keys, client, rounds and audit log."""
        await asyncio.sleep(_REQUEST_IN_FLIGHT_SECONDS)
        partition = encode(tenant)
        imports = self.tables.get_table_client(IMPORTS)
        own_imports = imports.query_entities(
            "PartitionKey eq @own", select=["ImportId"], parameters={"own": partition}
        )
        ids = [str(entity["ImportId"]) async for entity in own_imports if entity.get("ImportId")]
        tables = [name for name in TABLE_NAMES if name not in _TABLES_THAT_A_RESET_KEEPS]
        await asyncio.gather(
            *(self._delete_partitions(name, partition) for name in tables),
            *(self._delete_partitions(IMPORT_RESULTS, each) for each in ids),
            *(self._delete_blobs(IMPORT_RESULT_BLOBS, f"{each}/") for each in ids),
            *(self._delete_blobs(name, f"{tenant}/") for name in CONTAINERS),
        )

    async def _delete_partitions(self, table: str, partition: str) -> None:
        """Delete a partition and those of its groups, at once where the emulator can do that."""
        client = self.tables.get_table_client(table)
        try:
            await client.delete_entity(partition, _WHOLE_PARTITION)
        except ResourceNotFoundError:
            await self._delete_one_by_one(client, partition)

    async def _delete_one_by_one(self, client: TableClient, partition: str) -> None:
        keys = {"own": partition, "first": f"{partition}|", "last": f"{partition}|~"}
        query_filter = "PartitionKey eq @own or (PartitionKey ge @first and PartitionKey le @last)"
        keys_only = ["PartitionKey", "RowKey"]
        stored = client.query_entities(query_filter, select=keys_only, parameters=keys)
        entities = [entity async for entity in stored]
        for at in range(0, len(entities), _MOST_REQUESTS_AT_ONCE):
            group = entities[at : at + _MOST_REQUESTS_AT_ONCE]
            await _all(client.delete_entity(entity) for entity in group)

    async def _delete_blobs(self, container: str, prefix: str) -> None:
        client = self.blobs.get_container_client(container)
        names = [blob.name async for blob in client.list_blobs(prefix)]
        for at in range(0, len(names), _MOST_REQUESTS_AT_ONCE):
            group = names[at : at + _MOST_REQUESTS_AT_ONCE]
            await _all(client.delete_blob(name) for name in group)


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
