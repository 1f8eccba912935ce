"""Storage clients for the triggers: one per connection and service, closed together at the end.

Retries are short, because the listeners retry themselves and the SDK's defaults wait 80 seconds.
"""

import contextlib
from typing import Any, TypeVar

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient, ContainerClient
from azure.storage.queue.aio import QueueServiceClient

from local_host.app_settings import Connection, resolve_connection
from local_host.errors import AppRefusedError

_T = TypeVar("_T")
_RETRY = {"initial_backoff": 0.4, "increment_base": 2, "retry_total": 2}


async def write_blob(container: ContainerClient, name: str, content: bytes) -> None:
    """Write a whole blob, and create its container if it is missing."""
    try:
        await container.upload_blob(name, content, overwrite=True)
    except ResourceNotFoundError:
        with contextlib.suppress(ResourceExistsError):
            await container.create_container()
        await container.upload_blob(name, content, overwrite=True)


class StorageClients:
    """Makes and keeps the service clients by the name of their connection setting."""

    def __init__(self) -> None:
        self._queues: dict[str, QueueServiceClient] = {}
        self._blobs: dict[str, BlobServiceClient] = {}
        self._credentials: list[Any] = []

    def queues(self, connection: str) -> QueueServiceClient:
        """The queue service of a connection; raises AppRefusedError where it has none."""
        return self._client(self._queues, QueueServiceClient, connection, "queue")

    def blobs(self, connection: str) -> BlobServiceClient:
        """The blob service of a connection; raises AppRefusedError where it has none."""
        return self._client(self._blobs, BlobServiceClient, connection, "blob")

    async def close(self) -> None:
        """Close every client and credential."""
        for client in (*self._queues.values(), *self._blobs.values(), *self._credentials):
            await client.close()

    def _client(self, clients: dict[str, _T], kind: Any, name: str, service: str) -> _T:
        if name not in clients:
            connection = resolve_connection(name)
            if connection is None:
                raise AppRefusedError([f"the connection setting {name} is not set"])
            clients[name] = self._open(kind, connection, service, name)
        return clients[name]

    def _open(self, kind: Any, connection: Connection, service: str, name: str) -> Any:
        if connection.connection_string:
            try:
                return kind.from_connection_string(connection.connection_string, **_RETRY)
            except ValueError as error:
                raise AppRefusedError([f"connection setting {name}: {error}"]) from None
        address = connection.address_of(service)
        if not address:
            raise AppRefusedError([f"connection setting {name} has no {service}ServiceUri"])
        from azure.identity.aio import DefaultAzureCredential

        options = {"managed_identity_client_id": connection.client_id}
        credential = DefaultAzureCredential(**(options if connection.client_id else {}))
        self._credentials.append(credential)
        return kind(address, credential=credential, **_RETRY)
