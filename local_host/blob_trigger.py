"""Blob triggers: scans of the container, receipts per (function, name, ETag), attempts, poison.

They work as docs/platform.md#3 describes, with two differences. The container is scanned every
LOCAL_HOST_BLOB_SCAN_SECONDS (10), and the host does not put blobs into a queue: the scan runs them,
and the receipt is written at the end.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import logging
from typing import Any
from urllib.parse import quote

from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.functions.meta import Datum
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import BlobServiceClient, ContainerClient
from azure.storage.queue.aio import QueueClient

from local_host.app_settings import InvocationFailedError, write_blob
from local_host.host_json import BlobOptions
from local_host.indexing import AppFunction, path_pattern
from local_host.invoking import Invoker, decode_trigger

_log = logging.getLogger(__name__)

POISON_QUEUE = "webjobs-blobtrigger-poison"
_LONGEST_NAME = 1_024
_MOST_SEGMENTS = 240
_SERVER_FAILS = 500


class BlobListener:
    """Scans one container for one function."""

    def __init__(
        self,
        function: AppFunction,
        service: BlobServiceClient,
        hosts: ContainerClient,
        poison: QueueClient,
        options: BlobOptions,
        invoker: Invoker,
        host_id: str,
        scan_seconds: float,
    ) -> None:
        """`hosts` stores the receipts. `poison` gets the blobs that failed too often."""
        path = str(function.trigger["path"]).strip("/")
        container = path.partition("/")[0]
        self._function = function
        self._pattern = path_pattern(path)
        self._container = service.get_container_client(container)
        self._hosts = hosts
        self._receipts = f"blobreceipts/{host_id}/Host.Functions.{function.name}"
        self._poison = poison
        self._options = options
        self._invoker = invoker
        self._scan_seconds = scan_seconds
        self._slots = asyncio.Semaphore(options.max_parallel)
        self._seen: dict[str, str] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Scan until the listener is stopped, then wait for the running handlers."""
        while not self._stopping.is_set():
            try:
                await self._scan()
            except ResourceNotFoundError:
                self._seen.clear()
            except Exception as error:
                # The SDK raises AttributeError and others if an answer is cut or empty.
                _log.warning("function %s: no scan: %s", self._function.name, type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._scan_seconds):
                    await self._stopping.wait()
        if self._running:
            await asyncio.wait(self._running)

    def stop(self) -> None:
        """Start no more invocations."""
        self._stopping.set()

    async def _scan(self) -> None:
        names: set[str] = set()
        async for blob in self._container.list_blobs():
            name, etag = str(blob.name), str(blob.etag)
            names.add(name)
            if self._stopping.is_set():
                return
            if self._seen.get(name) == etag or not self._pattern.fullmatch(name):
                continue
            await self._slots.acquire()
            task = asyncio.create_task(self._work_on(name, etag))
            self._running.add(task)
            task.add_done_callback(self._on_task_end)
        self._seen = {name: etag for name, etag in self._seen.items() if name in names}

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._slots.release()

    async def _work_on(self, name: str, etag: str) -> None:
        self._seen[name] = etag
        receipt = self._receipt_of(name, etag)
        try:
            if await self._hosts.get_blob_client(receipt).exists():
                return
            is_done = await self._attempts(name, etag)
            if self._stopping.is_set() and not is_done:
                return
            if not is_done:
                await self._send_to_poison(name, etag)
            await write_blob(self._hosts, receipt, b"")
        except Exception as error:
            # The other blobs are run all the same, and this one at the next scan.
            self._seen.pop(name, None)
            _log.warning(
                "function %s: the blob %s is tried again at the next scan: %s",
                self._function.name,
                quote(name),
                type(error).__name__,
            )

    def _receipt_of(self, name: str, etag: str) -> str:
        version = f"{etag.strip(chr(34))}/{self._container.container_name}"
        receipt = f"{self._receipts}/{version}/{name}"
        if len(receipt) <= _LONGEST_NAME and name.count("/") <= _MOST_SEGMENTS:
            return receipt
        return f"{self._receipts}/{version}/sha256-{hashlib.sha256(name.encode()).hexdigest()}"

    async def _attempts(self, name: str, etag: str) -> bool:
        """Whether the blob needs no more tries: done, gone, or changed since the scan."""
        for _ in range(self._options.max_attempts):
            try:
                # As it is stored: the platform's host does not decode by Content-Encoding either.
                stream = await self._container.get_blob_client(name).download_blob(decompress=False)
                content = await stream.readall()
            except ResourceNotFoundError:
                return True
            except HttpResponseError as error:
                if error.status_code is None or error.status_code >= _SERVER_FAILS:
                    raise
                continue  # it cannot be read, because it is archived: that is a failed try
            if str(stream.properties.etag).strip('"') != etag.strip('"'):
                return True
            argument = self._build_argument(name, stream.properties, content)
            with contextlib.suppress(InvocationFailedError):
                await self._invoker.run(self._function, argument)
                return True
            if self._stopping.is_set():
                return False
        return False

    def _build_argument(self, name: str, properties: BlobProperties, content: bytes) -> Any:
        container = self._container.container_name
        known = {
            "ContentLength": len(content),
            "ContentType": properties.content_settings.content_type,
            "ETag": properties.etag,
            "CreatedOn": _iso(properties.creation_time),
            "LastModified": _iso(properties.last_modified),
            "BlobType": 1,
        }
        metadata = {
            "BlobTrigger": Datum(f"{container}/{name}", "string"),
            "Uri": Datum(json.dumps(f"{self._container.url}/{quote(name)}"), "json"),
            "Properties": Datum(json.dumps(known), "json"),
            "Metadata": Datum(json.dumps(dict(properties.metadata)), "json"),
        }
        return decode_trigger(self._function, Datum(content, "bytes"), metadata)

    async def _send_to_poison(self, name: str, etag: str) -> None:
        message = {
            "Type": "BlobTrigger",
            "FunctionId": f"Host.Functions.{self._function.name}",
            "BlobType": "BlockBlob",
            "ContainerName": self._container.container_name,
            "BlobName": name,
            "ETag": f'"{etag.strip(chr(34))}"',
        }
        text = base64.b64encode(json.dumps(message).encode()).decode()
        with contextlib.suppress(ResourceExistsError):
            await self._poison.create_queue()
        await self._poison.send_message(text)
        _log.error(
            "function %s: the blob %s has failed too often: %s",
            self._function.name,
            quote(name),
            POISON_QUEUE,
        )


def _iso(time: Any) -> str | None:
    return time.isoformat() if time else None
