"""The machines of the bench: an emulator with its data on disk, two gateways, a proxy before each.

A gateway that has died is started again by `Rig.keep_running`. Everything that a fault does to a
process or to the emulator is a method here.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import resource
import signal
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, suppress
from html import unescape
from pathlib import Path
from typing import TypeVar

from local_host.setup import azurite
from local_host.setup.azurite import Azurite, Programs
from shared.bootstrap import open_gateway
from shared.imports.placements.definition import PLACEMENTS
from shared.imports.timesheets.definition import TIMESHEETS
from shared.services.chunk_messages import ChunkMessage, UnreadableMessageError
from shared.storage.names import IMPORT_PAYLOADS, IMPORTS
from shared.storage.ports import Entity, Upsert
from tests.e2e.gateway_process import GatewayProcess, started_as
from tests.emulator import settings_for
from tests.faults.proxy import FaultProxy, Request, Service, running_proxy
from tests.faults.skewed_host import CLOCK_FILE

_T = TypeVar("_T")
GATEWAYS = 2
LEASE_SECONDS = 2
_SETTINGS = {
    "GATEWAY_CHUNK_ROWS": "15",
    "GATEWAY_SWEEP_AFTER_SECONDS": "3",
    "GATEWAY_TAKE_OVER_SECONDS": "3",
    "GATEWAY_DOCUMENT_SWEEP_SECONDS": "3",
    "GATEWAY_ROW_DROP_SECONDS": "1",
    "GATEWAY_LOG_LEVEL": "warning",
    "LOCAL_HOST_LEASE_SECONDS": str(LEASE_SECONDS),
    "LOCAL_HOST_STOP_SECONDS": "2",
    "LOCAL_HOST_BLOB_SCAN_SECONDS": "1",
    "AzureFunctionsJobHost__extensions__queues__visibilityTimeout": "00:00:01",
    "AzureFunctionsJobHost__extensions__queues__maxPollingInterval": "00:00:00.250",
    "AzureFunctionsJobHost__logging__logLevel__default": "Warning",
    # Nobody sends rows of these types here.
    **{
        f"AzureWebJobs.{name}_{queue}.Disabled": "true"
        for name in (TIMESHEETS.name, PLACEMENTS.name)
        for queue in ("rows", "rows_bulk")
    },
}
"""Small chunks, and short times where the gateway waits before it takes something up again."""
_MESSAGE_TEXT = re.compile(rb"<MessageText>(.*?)</MessageText>", re.DOTALL)


class Host:
    """One gateway with its proxy. `process` is None while it is not running."""

    def __init__(self, name: str, proxy: FaultProxy, folder: Path) -> None:
        self.name = name
        self.proxy = proxy
        self.process: GatewayProcess | None = None
        self.is_stopped = False
        self.starts = 0
        self._folder = folder
        self._clock = folder / f"{name}.clock"
        self._stack = ExitStack()
        self.set_clock(0.0)

    def start(self) -> None:
        """Start it and wait until it answers. Called in the thread that all are started in."""
        own = {**_SETTINGS, CLOCK_FILE: str(self._clock)}
        started = started_as(
            "tests.faults.skewed_host", self.proxy.connection_string, self._folder, **own
        )
        self.starts += 1
        self.process = self._stack.enter_context(started)

    def end(self) -> None:
        """Forget a process that has died, or end one that runs."""
        self.resume()
        self.process = None
        self._stack.close()

    @property
    def has_died(self) -> bool:
        return self.process is not None and self.process.process.poll() is not None

    def send_signal(self, number: signal.Signals) -> bool:
        """Whether there was a process to send it to."""
        process = self.process
        if process is None or process.process.poll() is not None:
            return False
        with suppress(ProcessLookupError):
            os.kill(process.process.pid, number)
        return True

    def pause(self) -> bool:
        """SIGSTOP: it stands still, and its leases run out."""
        self.is_stopped = self.send_signal(signal.SIGSTOP)
        return self.is_stopped

    def resume(self) -> None:
        """SIGCONT."""
        if self.is_stopped:
            self.send_signal(signal.SIGCONT)
        self.is_stopped = False

    def set_clock(self, seconds: float) -> None:
        """Let its clock be ahead by so much."""
        self._clock.write_text(str(seconds))


class Rig:
    """Made by `running_rig`."""

    def __init__(
        self,
        folder: Path,
        proxies: list[FaultProxy],
        emulator: Azurite,
        starter: ThreadPoolExecutor,
    ) -> None:
        self.hosts = [
            Host(f"gateway{number}", proxy, folder) for number, proxy in enumerate(proxies)
        ]
        self.poisoned: set[tuple[str, int]] = set()
        self.messages: deque[tuple[str, str]] = deque(maxlen=200)
        """Queue and text of the latest messages of chunks."""
        self.points: Counter[str] = Counter()
        """Every kind of storage request that a gateway has made: the points to kill it at."""
        self._folder = folder
        self._emulator = emulator
        self._starter = starter
        for proxy in proxies:
            proxy.observers.append(self._observe)

    @property
    def storage(self) -> str:
        """The connection string past the proxies."""
        return self._emulator.connection_string

    @property
    def urls(self) -> list[str]:
        """The gateways that answer, as far as is known."""
        return [host.process.url for host in self.hosts if host.process and not host.has_died]

    async def in_starter(self, work: Callable[[], _T]) -> _T:
        """Run in the thread whose end would end the processes."""
        return await asyncio.get_running_loop().run_in_executor(self._starter, work)

    async def keep_running(self) -> None:
        """Start again what has died, until cancelled."""
        while True:
            for host in self.hosts:
                if host.has_died:
                    await self.in_starter(host.end)
                if host.process is None:
                    with suppress(AssertionError):
                        # It may be killed, or find no storage, before it is ready.
                        await self.in_starter(host.start)
            await asyncio.sleep(0.1)

    async def restart_emulator(self, pause: float) -> None:
        """Stop the emulator as an operator does, and start it again on its data."""
        self.resume_emulator()
        await self.touch()
        await self.in_starter(self._emulator.stop)
        await asyncio.sleep(pause)
        self._emulator = await self.in_starter(lambda: start_emulator(self._folder))
        for host in self.hosts:
            host.proxy.forward_to(self.storage)

    def pause_emulator(self) -> None:
        """SIGSTOP: connections are taken and nothing is answered."""
        self._emulator.process.send_signal(signal.SIGSTOP)

    def resume_emulator(self) -> None:
        self._emulator.process.send_signal(signal.SIGCONT)

    def fill_disk(self, is_full: bool) -> None:
        """Let every write of the emulator to a file fail with "file too large", or end that."""
        most = 0 if is_full else resource.RLIM_INFINITY
        limit = (most, resource.RLIM_INFINITY)
        resource.prlimit(self._emulator.process.pid, resource.RLIMIT_FSIZE, limit)

    async def touch(self) -> None:
        """Change something in each service.

        The emulator takes tables for written that it could not write while its disk was full, and
        writes them again only after their next change.
        """
        async with open_gateway(settings_for(self.storage)) as gateway:
            account, name = gateway.account, f"touch-{time.monotonic_ns()}"
            await account.tables.write(IMPORTS, Upsert(Entity("touch", name, {})))
            await account.blobs.put(IMPORT_PAYLOADS, name, [b"touch"])
            await account.blobs.delete(IMPORT_PAYLOADS, name)
            await account.queues.send("import-workers", "{}")

    async def sweep(self) -> None:
        """What the timers of the gateways do twice a minute."""
        settings = settings_for(
            self.storage, sweep_after_seconds=1, document_sweep_seconds=1, row_drop_seconds=1
        )
        async with open_gateway(settings) as gateway:
            await gateway.poisoned_chunks.run()
            await gateway.sweep.run()
            await gateway.documents.drop_sweep.run()
            await gateway.row_drop_sweep.run()
            for tenant in await gateway.tenants.list_ids():
                await gateway.authdata.processing.clean_up(tenant)

    async def close(self) -> None:
        for host in self.hosts:
            await self.in_starter(host.end)
        self.resume_emulator()
        await self.in_starter(self._emulator.stop)
        self._starter.shutdown()

    def _observe(self, request: Request) -> None:
        """Called in the threads of the proxies."""
        if not request.is_poll:
            self.points[point_of(request)] += 1
        if request.service is not Service.QUEUE or request.method != "POST":
            return
        match = _MESSAGE_TEXT.search(request.body)
        if match is None:
            return
        queue, text = request.target.split("/")[2], unescape(match[1].decode())
        if not queue.endswith("-poison"):
            self.messages.append((queue, text))
            return
        self.note_poisoned(text)

    def note_poisoned(self, text: str) -> None:
        """The chunk of a message in a poison queue may end as 9001."""
        with suppress(UnreadableMessageError, ValueError):
            message = ChunkMessage.from_text(base64.b64decode(text))
            self.poisoned.add((message.import_id, message.chunk))


def point_of(request: Request) -> str:
    """The kind of a storage request: service, method, and table, queue or container."""
    path = request.target.split("?")[0].split("/")
    name = re.sub(r"\(.*", "", path[2]) if len(path) > 2 else ""
    if name == "$batch":
        match = re.search(rb"https?://[^/]+/[^/]+/([A-Za-z0-9]+)", request.body)
        name = f"$batch {match[1].decode()}" if match else name
    return f"{request.service} {request.method} {name}"


def start_emulator(folder: Path) -> Azurite:
    """Start it on the data of this folder."""
    return azurite.start(Programs.from_environ(), folder / "storage", folder / "azurite.log")


@asynccontextmanager
async def running_rig(folder: Path, seed: int) -> AsyncIterator[Rig]:
    """Emulator, proxies and gateways for the time of the block."""
    with ExitStack() as stack:
        starter = ThreadPoolExecutor(1, "starter")
        loop = asyncio.get_running_loop()
        emulator = await loop.run_in_executor(starter, start_emulator, folder)
        storage = emulator.connection_string
        proxies = [
            stack.enter_context(running_proxy(storage, seed + number)) for number in range(GATEWAYS)
        ]
        rig = Rig(folder, proxies, emulator, starter)
        try:
            async with open_gateway(settings_for(storage)):
                pass
            for host in rig.hosts:
                await rig.in_starter(host.start)
            yield rig
        finally:
            await rig.close()
