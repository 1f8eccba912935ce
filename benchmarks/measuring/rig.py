"""What is measured on: an emulator in memory and a gateway, each in a process of its own.

Between measurements the gateway's tables are emptied, because the emulator slows down as they
grow. While a floor runs the gateway stands still (SIGSTOP), for it asks its queues for messages
all the time.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from benchmarks.measuring.floors import TABLE, Entity
from benchmarks.measuring.gateway_calls import Connection
from benchmarks.measuring.meters import Meter
from benchmarks.measuring.waiting import BenchError, wait_until
from local_host.setup import processes
from local_host.setup.azurite import Azurite, Programs, running
from local_host.setup.host_process import HostProcess
from local_host.setup.paths import ROOT
from shared.auth.integrations import Integration, ReadPermission
from shared.bootstrap import open_gateway
from shared.imports.registry import MESSAGE_TYPES
from shared.settings import Settings
from shared.storage.names import IMPORT_PAYLOADS, IMPORT_RESULTS
from shared.storage_account import CONNECTION, StorageAccount

_EMPTIED = (*(kind.table for kind in MESSAGE_TYPES.values()), IMPORT_RESULTS, TABLE)
_SOFTWARE_KEY = "BENCH"
_HASH_KEYS = "bench:dGhlIGtleSBvZiBtZWFzdXJlbWVudHMsIG5vIHNlY3JldCE="


@dataclass(frozen=True, slots=True)
class Sender:
    """A new tenant, and the headers of its calls."""

    tenant: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Rig:
    """A running emulator and a gateway on it; `access_log` is the emulator's output."""

    storage: Azurite
    host: HostProcess
    access_log: Path

    @property
    def connection_string(self) -> str:
        """That of the storage account."""
        return self.storage.connection_string

    @property
    def emulator_meter(self) -> Meter:
        """What the emulator uses."""
        return Meter(self.storage.process.pid)

    @property
    def gateway_meter(self) -> Meter:
        """What the gateway uses."""
        return Meter(self.host.process.pid)

    def connect(self, sender: Sender) -> Connection:
        """A connection to the gateway, to be closed."""
        return Connection(self.host.url, sender.headers)

    def new_sender(self) -> Sender:
        """A tenant that has sent nothing yet."""
        return asyncio.run(_make_sender(self.connection_string))

    def empty(self) -> None:
        """Take out all records, results and payloads, and what a floor has written."""
        with TableServiceClient.from_connection_string(self.connection_string) as tables:
            for name in _EMPTIED:
                tables.delete_table(name)
                tables.create_table(name)
        with BlobServiceClient.from_connection_string(self.connection_string) as blobs:
            with suppress(ResourceNotFoundError):
                blobs.delete_container(IMPORT_PAYLOADS)
            blobs.create_container(IMPORT_PAYLOADS)

    def stored(self, table: str) -> list[Entity]:
        """All entities of a table, sorted by their keys."""
        with TableServiceClient.from_connection_string(self.connection_string) as tables:
            return [dict(entity) for entity in tables.get_table_client(table).list_entities()]

    def wait_until_idle(self) -> None:
        """Until no message is left: an answer may come before its last message is deleted."""
        with QueueServiceClient.from_connection_string(self.connection_string) as service:
            queues = [
                service.get_queue_client(name)
                for kind in MESSAGE_TYPES.values()
                for name in kind.queues
            ]

            def is_idle() -> bool:
                counts = (
                    queue.get_queue_properties().approximate_message_count for queue in queues
                )
                return not any(counts)

            wait_until(is_idle, "the queues to be empty")

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """The gateway does nothing for the time of the block."""
        self.wait_until_idle()
        with stopped(self.host):
            yield


@contextmanager
def stopped(host: HostProcess) -> Iterator[None]:
    """The process does nothing for the time of the block."""
    os.kill(host.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(host.process.pid, signal.SIGCONT)


@contextmanager
def shared_rigs() -> Iterator[None]:
    """Within the block a rig is used again by the benches that want one like it: for small runs,
    which would spend most of their time on starting rigs.
    """
    with ExitStack() as stack:
        token = _SHARED.set(_SharedRigs(stack))
        try:
            yield
        finally:
            _SHARED.reset(token)


@dataclass(frozen=True, slots=True)
class _SharedRigs:
    stack: ExitStack
    rigs: dict[bool, Rig] = field(default_factory=dict)


_SHARED: ContextVar[_SharedRigs | None] = ContextVar("shared rigs", default=None)


@contextmanager
def running_rig(folder: Path, *, has_access_log: bool = False, preload: str = "") -> Iterator[Rig]:
    """A fresh rig for the time of the block; logs go to `folder`. The gateway imports the module
    `preload` before its app.

    Raises SetupError or BenchError when a part does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shared = _SHARED.get()
    if shared is None or preload:
        with _new_rig(folder, has_access_log, preload) as rig:
            yield rig
        return
    kept = shared.rigs.get(has_access_log)
    if kept is None or kept.host.has_ended:
        own = folder / ("counting" if has_access_log else "timing")
        kept = shared.stack.enter_context(_new_rig(own, has_access_log, ""))
        shared.rigs[has_access_log] = kept
    kept.empty()
    yield kept


@contextmanager
def _new_rig(folder: Path, has_access_log: bool, preload: str) -> Iterator[Rig]:
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "emulator.log"
    with (
        running(Programs.from_environ(), log=log, has_access_log=has_access_log) as storage,
        running_host(storage.connection_string, folder, preload=preload) as host,
    ):
        rig = Rig(storage, host, log)
        rig.empty()
        yield rig


@contextmanager
def running_host(
    connection: str,
    folder: Path,
    *,
    app: Path = ROOT,
    preload: str = "",
    name: str = "gateway",
) -> Iterator[HostProcess]:
    """A local host with the app in the folder `app`; its log is `name`.log in `folder`."""
    file = folder / f"{name}-settings.json"
    file.write_text('{"Values": {}}', "utf-8")
    command = [sys.executable, "-m", "local_host", "--port", "0", "--settings", str(file)]
    command += ["--app", str(app), *(["--preload", preload] if preload else [])]
    with (folder / f"{name}.log").open("wb") as log:
        process = processes.start(
            command,
            death_signal=signal.SIGKILL,
            environ={
                **plain_environ(),
                CONNECTION: connection,
                "GATEWAY_AUTHDATA_KEYS": _HASH_KEYS,
                "GATEWAY_DATA_KEYS": _HASH_KEYS,
                "PYTHONUNBUFFERED": "1",
            },
            folder=ROOT,
            output=subprocess.PIPE,
            errors=log,
        )
    host = HostProcess(process)
    try:
        wait_until(lambda: bool(host.url) or host.has_ended, "the gateway to be ready")
        if host.has_ended:
            raise BenchError(f"{host.describe_end()} Its log: {folder / f'{name}.log'}")
        yield host
    finally:
        host.stop(lambda: False)
        if process.stdout is not None:
            process.stdout.close()


def plain_environ() -> dict[str, str]:
    """The environment without settings: what is measured is the defaults."""
    prefixes = ("GATEWAY_", "AzureWebJobs", "AzureFunctions", "LOCAL_HOST_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


async def _make_sender(connection: str) -> Sender:
    settings = Settings(storage=StorageAccount(connection_string=connection))
    async with open_gateway(settings) as gateway:
        tenant = await gateway.tenants.create(f"bench {uuid.uuid4().hex}")
        integration = Integration(tenant.id, _SOFTWARE_KEY, "", read=ReadPermission.FULL)
        issued_key = await gateway.tenants.add_integration(integration)
    headers = {"X-Software-Key": _SOFTWARE_KEY, "X-Functions-Key": issued_key.function_key}
    return Sender(tenant.id, headers)
