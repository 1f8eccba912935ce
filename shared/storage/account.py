"""The clients of the storage account, with limited retries and counted requests.

The SDKs' own retries would wait for 80 seconds and more if storage is down, and for the time of
`Retry-After` if it is throttled. So requests to tables and queues are retried by `retried`. Blobs,
of which an upload is many requests, are retried by their SDK. `StorageTime` limits both.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.request import getproxies

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.utils import parse_connection_string
from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue import TextBase64EncodePolicy
from azure.storage.queue.aio import QueueServiceClient

from shared.clock import StoredTime, same_time
from shared.errors import PreconditionFailedError
from shared.imports.documents.blobs import DocumentBlobs
from shared.storage.azure_blobs import AzureBlobs, AzureRecordFiles
from shared.storage.azure_tables import (
    AzureTables,
    SharedKeyLitePolicy,
    TableRequests,
    token_policy,
)
from shared.storage.dropped_blobs import DroppedBlobs, PoisonQueue
from shared.storage.failures import check_answer, note_answer, remember_response, storage_call
from shared.storage.names import (
    CONTAINERS,
    DOCUMENT_BLOBS,
    DOCUMENT_DROP,
    IMPORT_PAYLOADS,
    IMPORTS,
    LICENSE_DOCUMENTS,
    ROW_DROP,
)
from shared.storage.ports import Entity, ReceivedMessage, StoredBlobs, StoredTables, Upsert
from shared.storage.sealed_storage import SealedFields, SealingBlobs, SealingTables
from shared.storage.sealing import DataKeys
from shared.storage_account import StorageAccount
from shared.storage_time import retried, storage_time_now

# `Queues` on Azure Queue storage, through the SDK.


class AzureQueues:
    """`Queues` on Azure Queue storage."""

    def __init__(self, service: QueueServiceClient) -> None:
        self._service = service

    async def send(self, queue: str, text: str, *, delay: int = 0, expires: int = -1) -> None:
        """See `Queues.send`."""
        client = self._service.get_queue_client(
            queue, message_encode_policy=TextBase64EncodePolicy()
        )

        async def attempt() -> None:
            async with storage_call(storage_time_now().longest_try):
                await client.send_message(text, visibility_timeout=delay, time_to_live=expires)

        await retried(attempt)

    async def receive(self, queue: str, most: int, hidden: int) -> list[ReceivedMessage]:
        """See `ReceivingQueues.receive`."""
        client = self._service.get_queue_client(queue)
        try:
            async with storage_call(storage_time_now().longest_try):
                pages = client.receive_messages(
                    max_messages=most, messages_per_page=most, visibility_timeout=hidden
                )
                return [ReceivedMessage(_text_of(each), each) async for each in pages]
        except PreconditionFailedError:
            return []

    async def delete(self, queue: str, message: ReceivedMessage) -> None:
        """See `ReceivingQueues.delete`."""
        with suppress(PreconditionFailedError):
            async with storage_call(storage_time_now().longest_try):
                await self._service.get_queue_client(queue).delete_message(message.handle)

    async def count(self, queue: str) -> int:
        """See `CountedQueues.count`."""
        client = self._service.get_queue_client(queue)
        with suppress(PreconditionFailedError):
            async with storage_call(storage_time_now().longest_try):
                properties = await client.get_queue_properties()
                return int(properties.approximate_message_count or 0)
        return 0

    async def oldest(self, queue: str) -> datetime | None:
        """See `CountedQueues.oldest`."""
        client = self._service.get_queue_client(queue)
        with suppress(PreconditionFailedError):
            async with storage_call(storage_time_now().longest_try):
                for message in await client.peek_messages(max_messages=1):
                    inserted_on: datetime | None = message.inserted_on
                    return inserted_on
        return None

    async def set_metadata(self, queue: str, metadata: Mapping[str, str]) -> None:
        """Write metadata of a queue. Raises StorageUnavailableError."""
        client = self._service.get_queue_client(queue)

        async def attempt() -> None:
            async with storage_call(storage_time_now().longest_try):
                await client.set_queue_metadata(dict(metadata))

        await retried(attempt)

    async def get_metadata(self, queue: str) -> dict[str, str]:
        """The metadata of a queue. Raises StorageUnavailableError."""
        client = self._service.get_queue_client(queue)

        async def attempt() -> dict[str, str]:
            async with storage_call(storage_time_now().longest_try):
                return dict((await client.get_queue_properties()).metadata or {})

        return await retried(attempt)


def _text_of(message: Any) -> str:
    """The text of a message; blank if it is not base64, as no message of the gateway is."""
    try:
        return base64.b64decode(message.content, validate=True).decode()
    except (binascii.Error, ValueError, TypeError):
        return ""


_BLOB_RETRIES = 2
# The size of one request of an upload or a download. A slow link transfers it within the limit for
# one answer. The SDK's defaults are 64 MiB for an upload and 32 MiB for a download.
_BLOCK_BYTES = 1024 * 1024
# The same for a download that no call waits for: the rows of a whole chunk come with one request.
_BACKGROUND_READ_BYTES = 9 * 512 * 1024
# Bytes of a download that are passed on at a time; azure-core's default is 4 KiB.
_STREAM_BYTES = 64 * 1024
_SERVICES = ("table", "queue", "blob")
# The key that the health check writes. No tenant has this id.
_HEALTH = "health"


class CountingTransport(AioHttpTransport):  # type: ignore[misc]  # it is loaded lazily, as Any
    """The connection pool of one service. Counts the requests and limits their time."""

    def __init__(self) -> None:
        # Else aiohttp looks up proxies and ~/.netrc before each request, in two threads. That takes
        # a third of the processor time of a small request, and waits while other threads are busy.
        super().__init__(
            use_env_settings=bool(getproxies()), connection_data_block_size=_STREAM_BYTES
        )
        self.requests = 0

    async def open(self) -> None:
        """Open the connection pool."""
        await super().open()
        # By default aiohttp repeats a PUT or DELETE if the connection ends, and returns only the
        # second answer, in which a write conflicts with its own effect. The writer must know this.
        self.session._retry_connection = False

    async def send(self, request: Any, **config: Any) -> Any:
        """Send one request; a retry counts as another one."""
        self.requests += 1
        seconds = max(0.1, min(storage_time_now().longest_try, storage_time_now().left))
        config |= {"connection_timeout": seconds, "read_timeout": seconds}
        response = await super().send(request, **config)
        remember_response(response)
        size = _length(request.headers) + _length(response.headers)
        check_answer(response.status_code, response.headers)
        note_answer(response.status_code, size)
        return response


def _length(headers: Mapping[str, str]) -> int:
    text = str(headers.get("Content-Length", ""))
    return int(text) if text.isdecimal() else 0


class Account:
    """Tables, queues and blobs of one storage account. Close it in the loop that opened it."""

    def __init__(self, account: StorageAccount, stored_time: StoredTime = same_time) -> None:
        self._transports = {name: CountingTransport() for name in _SERVICES}
        self._credential: AsyncTokenCredential | None = None
        (
            self._table_service,
            self._queue_service,
            self._blob_service,
            self._background_blob_service,
        ) = self._connect(account)
        parts = (
            parse_connection_string(account.connection_string) if account.connection_string else {}
        )
        # The tables as they are stored; what is sensitive in them may be sealed.
        self.unsealed_tables: StoredTables = AzureTables(
            self._table_service,
            TableRequests(
                self._table_service.url.partition("?")[0].rstrip("/"),
                self._authorization_policy(parts),
                self._transports["table"],
                parts.get("sharedaccesssignature", "").lstrip("?"),
            ),
        )
        self.tables: StoredTables = self.unsealed_tables
        self.queues = AzureQueues(self._queue_service)
        self.blobs: StoredBlobs = AzureBlobs(
            self._blob_service, stored_time, self._background_blob_service
        )
        self.document_drops = DroppedBlobs(self._blob_service, DOCUMENT_DROP, stored_time)
        self.row_drops = DroppedBlobs(self._blob_service, ROW_DROP, stored_time)
        self.documents = DocumentBlobs(self._blob_service, self.document_drops)
        self.document_files = AzureRecordFiles(self._blob_service, DOCUMENT_BLOBS, stored_time)
        self.license_files = AzureRecordFiles(self._blob_service, LICENSE_DOCUMENTS, stored_time)
        self.poison = PoisonQueue(self._queue_service)

    def seal(self, data_keys: DataKeys, fields_of: Callable[[str], SealedFields | None]) -> None:
        """From now on seal what is sensitive when it is written, and open it when it is read."""
        self.tables = SealingTables(self.unsealed_tables, data_keys, fields_of)
        self.blobs = SealingBlobs(self.blobs, data_keys)

    @property
    def requests(self) -> Counter[str]:
        """The number of requests so far for `table`, `queue` and `blob`, including retries."""
        return Counter({name: transport.requests for name, transport in self._transports.items()})

    async def ensure(self, tables: Iterable[str], queues: Iterable[str]) -> None:
        """Create the containers, these tables and these queues if they are missing."""
        await asyncio.gather(
            *(_create(self._table_service.create_table, name) for name in tables),
            *(_create(self._blob_service.create_container, name) for name in CONTAINERS),
            *(_create(self._queue_service.create_queue, name) for name in queues),
        )

    async def check(self, queue: str) -> None:
        """Write a value to each service and read it. Raises StorageUnavailableError.

        A read alone is not enough, since the gateway has to write. For the queue the check writes
        metadata, since a message would stay in it.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        await asyncio.gather(
            self.tables.write(IMPORTS, Upsert(Entity(_HEALTH, _HEALTH, {"At": now}))),
            self.tables.get(IMPORTS, _HEALTH, _HEALTH),
            self.queues.set_metadata(queue, {"healthcheckedat": now}),
            self.queues.get_metadata(queue),
            self.blobs.put(IMPORT_PAYLOADS, _HEALTH, [now.encode()]),
            self.blobs.read(IMPORT_PAYLOADS, _HEALTH),
        )

    async def close(self) -> None:
        """Close the clients and their connections."""
        for service in (
            self._table_service,
            self._queue_service,
            self._blob_service,
            self._background_blob_service,
        ):
            await service.close()
        for transport in self._transports.values():
            await transport.close()
        if self._credential is not None:
            await self._credential.close()

    def _connect(
        self, account: StorageAccount
    ) -> tuple[TableServiceClient, QueueServiceClient, BlobServiceClient, BlobServiceClient]:
        tables, queues, blobs = (self._client_options(name) for name in ("table", "queue", "blob"))
        background = {**blobs, "max_single_get_size": _BACKGROUND_READ_BYTES}
        if not account.uses_identity:
            text = account.connection_string
            return (
                TableServiceClient.from_connection_string(text, **tables),
                QueueServiceClient.from_connection_string(text, **queues),
                BlobServiceClient.from_connection_string(text, **blobs),
                BlobServiceClient.from_connection_string(text, **background),
            )
        self._credential = _credential(account)
        return (
            TableServiceClient(account.table_service_uri, credential=self._credential, **tables),
            QueueServiceClient(account.queue_service_uri, credential=self._credential, **queues),
            BlobServiceClient(account.blob_service_uri, credential=self._credential, **blobs),
            BlobServiceClient(account.blob_service_uri, credential=self._credential, **background),
        )

    def _authorization_policy(self, parts: Mapping[str, str]) -> Any:
        if self._credential is not None:
            return token_policy(self._credential)
        if "accountkey" in parts:
            return SharedKeyLitePolicy(parts["accountname"], parts["accountkey"])
        return None

    def _client_options(self, service: str) -> dict[str, Any]:
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
    """Create a table, a queue or a container, if it does not exist yet."""

    async def attempt() -> None:
        async with storage_call(storage_time_now().longest_try):
            await create(name)

    with suppress(PreconditionFailedError):
        await retried(attempt)
