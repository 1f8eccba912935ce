"""Everything that lies in a storage account, to be compared: a dry run leaves no trace (I5)."""

from __future__ import annotations

from typing import Any

from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

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
