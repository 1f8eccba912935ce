"""Builds the listeners of an app's queue, blob and timer triggers."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from local_host.app_settings import read_number, resolve_connection
from local_host.blob_trigger import POISON_QUEUE, BlobListener
from local_host.host_json import HostOptions
from local_host.indexing import AppFunction
from local_host.invoking import Invoker
from local_host.queue_message import poison_name
from local_host.queue_trigger import QueueListener
from local_host.storage import StorageClients
from local_host.timer_trigger import TimerListener

_HOST_CONTAINER = "azure-webjobs-hosts"
_HOST_ID_SETTING = "AzureFunctionsWebHost__hostid"


class Listener(Protocol):
    """What every trigger but HTTP has."""

    async def run(self) -> None:
        """Work until stopped and until what was started has ended."""

    def stop(self) -> None:
        """Start nothing new."""


class ListenerFactory:
    """Makes listeners that share clients, the invoker and the host's id."""

    def __init__(
        self, options: HostOptions, clients: StorageClients, invoker: Invoker, directory: Path
    ) -> None:
        """`directory` is the app's; receipts and timer states are kept under its digest."""
        digest = hashlib.sha256(str(directory).encode()).hexdigest()[:12]
        self._options = options
        self._clients = clients
        self._invoker = invoker
        self._host_id = os.environ.get(_HOST_ID_SETTING, f"local-{digest}").lower()
        self._lease_seconds = read_number("LOCAL_HOST_LEASE_SECONDS", 30.0)
        self._scan_seconds = read_number("LOCAL_HOST_BLOB_SCAN_SECONDS", 10.0)
        self._by_queue: dict[tuple[str, str], list[QueueListener]] = {}

    def build(self, functions: Sequence[AppFunction]) -> list[Listener]:
        """One listener per function that is not an HTTP function."""
        kinds = {
            "queueTrigger": self._queue,
            "blobTrigger": self._blob,
            "timerTrigger": self._timer,
        }
        return [kinds[f.kind](f) for f in functions if f.kind in kinds]

    def _queue(self, function: AppFunction) -> Listener:
        connection = str(function.trigger.get("connection") or "")
        service, name = self._clients.queues(connection), str(function.trigger["queueName"])
        poison = poison_name(name)
        listener = QueueListener(
            function,
            service.get_queue_client(name),
            service.get_queue_client(poison) if poison else None,
            self._options.queues,
            self._invoker,
            self._lease_seconds,
            lambda moved_to: self._wake(connection, moved_to),
        )
        self._by_queue.setdefault((connection, name), []).append(listener)
        return listener

    def _wake(self, connection: str, queue_name: str) -> None:
        """The host wakes only the listeners of a queue that it has itself written to."""
        for listener in self._by_queue.get((connection, queue_name), ()):
            listener.wake()

    def _blob(self, function: AppFunction) -> Listener:
        connection = str(function.trigger.get("connection") or "")
        return BlobListener(
            function,
            self._clients.blobs(connection),
            self._clients.blobs("").get_container_client(_HOST_CONTAINER),
            self._clients.queues(connection).get_queue_client(POISON_QUEUE),
            self._options.blobs,
            self._invoker,
            self._host_id,
            self._scan_seconds,
        )

    def _timer(self, function: AppFunction) -> Listener:
        hosts = None
        if resolve_connection("") is not None:
            hosts = self._clients.blobs("").get_container_client(_HOST_CONTAINER)
        return TimerListener(function, hosts, self._host_id, self._invoker)
