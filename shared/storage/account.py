"""The clients of the storage account: bounded retries, everything counted.

The SDKs' own retries would wait for 80 seconds and more where storage is away (LIBRARIES 11/12); a
call must know sooner, and a message comes back anyway.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.utils import parse_connection_string
from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from shared.errors import PreconditionFailedError
from shared.storage.azure_blobs import AzureBlobs
from shared.storage.azure_queues import AzureQueues
from shared.storage.azure_tables import AzureTables
from shared.storage.document_blobs import DocumentBlobs
from shared.storage.failures import translated
from shared.storage.names import CONTAINERS, IMPORTS
from shared.storage.poison_queue import PoisonQueue
from shared.storage.table_batches import SharedKeyLitePolicy, TableBatches, token_policy
from shared.storage_account import StorageAccount

_RETRIES = 2
_FIRST_BACKOFF = 0.5
_BLOCK_BYTES = 4 * 1024 * 1024
"""What an upload or a download holds in memory; the SDK would gather 64 MiB, or read 32 at once."""
_CONNECT_SECONDS = 5
_READ_SECONDS = {"table": 15, "queue": 15, "blob": 60}


class CountingTransport(AioHttpTransport):  # type: ignore[misc]  # it is loaded lazily, as Any
    """The connection pool of one service; counts its requests."""

    def __init__(self, service: str) -> None:
        super().__init__(connection_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS[service])
        self.requests = 0

    async def send(self, request: Any, **config: Any) -> Any:
        """Send one request, a retry included."""
        self.requests += 1
        return await super().send(request, **config)


class Account:
    """Tables, queues and blobs of one storage account. Close it in the loop that opened it."""

    def __init__(self, account: StorageAccount) -> None:
        self._transports = {name: CountingTransport(name) for name in _READ_SECONDS}
        self._credential: AsyncTokenCredential | None = None
        self._table_service, self._queue_service, self._blob_service = self._connect(account)
        self.tables = AzureTables(self._table_service, self._batches(account))
        self.queues = AzureQueues(self._queue_service)
        self.blobs = AzureBlobs(self._blob_service)
        self.documents = DocumentBlobs(self._blob_service)
        self.poison = PoisonQueue(self._queue_service)

    @property
    def requests(self) -> Counter[str]:
        """Requests sent so far by `table`, `queue` and `blob`, retries included."""
        return Counter({name: sent.requests for name, sent in self._transports.items()})

    async def ensure(self, tables: Iterable[str], queues: Iterable[str]) -> None:
        """Create the containers, these tables and these queues where they are missing."""
        await asyncio.gather(
            *(_unless_there(self._table_service.create_table(name)) for name in tables),
            *(_unless_there(self._blob_service.create_container(name)) for name in CONTAINERS),
            *(_unless_there(self._queue_service.create_queue(name)) for name in queues),
        )

    async def check(self) -> None:
        """One small read of each service; raises StorageUnavailableError."""
        with translated():
            await asyncio.gather(
                self.tables.get(IMPORTS, "health", "health"),
                self._queue_service.get_service_properties(),
                self._blob_service.get_service_properties(),
            )

    async def close(self) -> None:
        """Give the connections back."""
        for service in (self._table_service, self._queue_service, self._blob_service):
            await service.close()
        for transport in self._transports.values():
            await transport.close()
        if self._credential is not None:
            await self._credential.close()

    def _connect(
        self, account: StorageAccount
    ) -> tuple[TableServiceClient, QueueServiceClient, BlobServiceClient]:
        tables, queues, blobs = (self._options(name) for name in ("table", "queue", "blob"))
        if not account.uses_identity:
            text = account.connection_string
            return (
                TableServiceClient.from_connection_string(text, **tables),
                QueueServiceClient.from_connection_string(text, **queues),
                BlobServiceClient.from_connection_string(text, **blobs),
            )
        self._credential = _credential(account)
        return (
            TableServiceClient(account.table_service_uri, credential=self._credential, **tables),
            QueueServiceClient(account.queue_service_uri, credential=self._credential, **queues),
            BlobServiceClient(account.blob_service_uri, credential=self._credential, **blobs),
        )

    def _batches(self, account: StorageAccount) -> TableBatches:
        parts = (
            parse_connection_string(account.connection_string) if account.connection_string else {}
        )
        return TableBatches(
            self._table_service.url.partition("?")[0].rstrip("/"),
            self._authorize(parts),
            self._transports["table"],
            _RETRIES,
            parts.get("sharedaccesssignature", "").lstrip("?"),
        )

    def _authorize(self, parts: Mapping[str, str]) -> Any:
        if self._credential is not None:
            return token_policy(self._credential)
        if "accountkey" in parts:
            return SharedKeyLitePolicy(parts["accountname"], parts["accountkey"])
        return None

    def _options(self, service: str) -> dict[str, Any]:
        options: dict[str, Any] = {"transport": self._transports[service], "retry_total": _RETRIES}
        if service == "table":
            return options | {"retry_backoff_factor": _FIRST_BACKOFF}
        options |= {"initial_backoff": _FIRST_BACKOFF, "increment_base": 2}
        if service == "blob":
            options |= {"max_single_put_size": _BLOCK_BYTES, "max_block_size": _BLOCK_BYTES}
            options |= {"max_single_get_size": _BLOCK_BYTES, "max_chunk_get_size": _BLOCK_BYTES}
        return options


def _credential(account: StorageAccount) -> AsyncTokenCredential:
    from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

    if account.credential == "managedidentity":
        return ManagedIdentityCredential(client_id=account.client_id or None)
    return DefaultAzureCredential()


async def _unless_there(creation: Awaitable[Any]) -> None:
    try:
        with translated():
            await creation
    except PreconditionFailedError:
        return
