"""The clients of the storage account: limited in time, everything counted.

The SDKs' own retries would wait for 80 seconds and more where storage is away, and as long as a
`Retry-After` says where it is throttled. Tables and queues are tried again by `retried`; blobs, of
which an upload is many requests, by their SDK. `StorageTime` limits both.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.utils import parse_connection_string
from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from shared.errors import PreconditionFailedError
from shared.imports.documents.blobs import DocumentBlobs, PoisonQueue
from shared.storage.azure_blobs import AzureBlobs
from shared.storage.azure_queues import AzureQueues
from shared.storage.azure_tables import AzureTables
from shared.storage.failures import check_answer, keep_answer, note_answer, storage_call
from shared.storage.names import CONTAINERS, IMPORT_PAYLOADS, IMPORTS
from shared.storage.ports import Entity, Upsert
from shared.storage.table_batches import SharedKeyLitePolicy, TableBatches, token_policy
from shared.storage_account import StorageAccount
from shared.storage_time import retried, storage_time_now

_BLOB_RETRIES = 2
# One request of an upload or a download. Each is to be answered in time, so none is larger than a
# slow link takes in that time; the SDK would gather 64 MiB, or read 32 at once.
_BLOCK_BYTES = 1024 * 1024
_SERVICES = ("table", "queue", "blob")
# What the check of the services writes: no tenant has an id like it.
_HEALTH = "health"


class CountingTransport(AioHttpTransport):  # type: ignore[misc]  # it is loaded lazily, as Any
    """The connection pool of one service; counts its requests and limits their time."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0

    async def open(self) -> None:
        """Open the connection pool."""
        await super().open()
        # aiohttp would send a PUT or DELETE again by itself where a connection ends, and show only
        # the second answer: that a write met its own effect. Who writes must know.
        self.session._retry_connection = False

    async def send(self, request: Any, **config: Any) -> Any:
        """Send one request, a retry included."""
        self.requests += 1
        seconds = max(0.1, min(storage_time_now().longest_try, storage_time_now().left))
        config |= {"connection_timeout": seconds, "read_timeout": seconds}
        response = await super().send(request, **config)
        keep_answer(response)
        size = _length(request.headers) + _length(response.headers)
        check_answer(response.status_code, response.headers)
        note_answer(response.status_code, size)
        return response


def _length(headers: Mapping[str, str]) -> int:
    text = str(headers.get("Content-Length", ""))
    return int(text) if text.isdecimal() else 0


class Account:
    """Tables, queues and blobs of one storage account. Close it in the loop that opened it."""

    def __init__(self, account: StorageAccount) -> None:
        self._transports = {name: CountingTransport() for name in _SERVICES}
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
            *(_create(self._table_service.create_table, name) for name in tables),
            *(_create(self._blob_service.create_container, name) for name in CONTAINERS),
            *(_create(self._queue_service.create_queue, name) for name in queues),
        )

    async def check(self, queue: str) -> None:
        """Write a little to each service and read it; raises StorageUnavailableError.

        Storage that is read but not written to takes no import. A queue's metadata are written, as
        a message would be there to stay.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        await asyncio.gather(
            self.tables.write(IMPORTS, Upsert(Entity(_HEALTH, _HEALTH, {"At": now}))),
            self.tables.get(IMPORTS, _HEALTH, _HEALTH),
            self.queues.note(queue, {"healthcheckedat": now}),
            self.queues.notes_of(queue),
            self.blobs.put(IMPORT_PAYLOADS, _HEALTH, [now.encode()]),
            self.blobs.read(IMPORT_PAYLOADS, _HEALTH),
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
            parts.get("sharedaccesssignature", "").lstrip("?"),
        )

    def _authorize(self, parts: Mapping[str, str]) -> Any:
        if self._credential is not None:
            return token_policy(self._credential)
        if "accountkey" in parts:
            return SharedKeyLitePolicy(parts["accountname"], parts["accountkey"])
        return None

    def _options(self, service: str) -> dict[str, Any]:
        options: dict[str, Any] = {"transport": self._transports[service], "retry_total": 0}
        if service == "blob":
            options["retry_total"] = _BLOB_RETRIES
            # Pauses of 0.75 and 0.5 seconds: the n-th one is initial_backoff + base ** n.
            options |= {"initial_backoff": 0.25, "increment_base": 0.5, "random_jitter_range": 0}
            options |= {"max_single_put_size": _BLOCK_BYTES, "max_block_size": _BLOCK_BYTES}
            options |= {"max_single_get_size": _BLOCK_BYTES, "max_chunk_get_size": _BLOCK_BYTES}
        return options


def _credential(account: StorageAccount) -> AsyncTokenCredential:
    from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

    if account.credential == "managedidentity":
        return ManagedIdentityCredential(client_id=account.client_id or None)
    return DefaultAzureCredential()


async def _create(create: Callable[[str], Awaitable[Any]], name: str) -> None:
    """Create a table, a queue or a container; one that is there is as good."""

    async def attempt() -> None:
        async with storage_call(storage_time_now().longest_try):
            await create(name)

    with suppress(PreconditionFailedError):
        await retried(attempt)
