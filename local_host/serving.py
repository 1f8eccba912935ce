"""Puts the parts together and runs them: HTTP, listeners, and the graceful stop.

Stopping goes in the host's order: the listeners receive no more, running handlers get
LOCAL_HOST_STOP_SECONDS (10) to finish, what is then left is cancelled and its messages come back.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import uvicorn

from local_host.app_settings import read_number, resolve_connection
from local_host.host_json import HostOptions
from local_host.http_trigger import HttpFrontEnd
from local_host.indexing import AppFunction
from local_host.invoking import Invoker
from local_host.queue_trigger import QueueListener, poison_name
from local_host.storage import StorageClients
from local_host.timer_trigger import TimerListener

_log = logging.getLogger(__name__)

_HOST_ID_SETTING = "AzureFunctionsWebHost__hostid"
_HOST_CONTAINER = "azure-webjobs-hosts"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Listener(Protocol):
    """What every trigger but HTTP has."""

    async def run(self) -> None:
        """Work until stopped and until what was started has ended."""

    def stop(self) -> None:
        """Start nothing new."""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers, which tells when it listens."""

    def __init__(self, app: HttpFrontEnd, stop_seconds: float) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=130,
                timeout_graceful_shutdown=max(1, round(stop_seconds)),
            )
        )
        self.is_listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1; port 0 takes a free one. Raises OSError when taken."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
        bound.listen(2048)
    except OSError:
        bound.close()
        raise
    return bound


async def serve(
    functions: Sequence[AppFunction],
    options: HostOptions,
    bound: socket.socket,
    directory: Path,
    on_ready: Callable[[], None],
) -> bool:
    """Run until SIGTERM or SIGINT; False where a sync handler would not end."""
    stop_seconds = read_number("LOCAL_HOST_STOP_SECONDS", 10.0)
    invoker = Invoker(options.function_timeout)
    clients = StorageClients()
    try:
        listeners = _queue_listeners(functions, options, clients, invoker)
        listeners += _timer_listeners(functions, clients, invoker, host_id(directory))
        server = _Server(HttpFrontEnd(functions, options.http, invoker), stop_seconds)
        stopping = _watch_signals()
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        await server.is_listening.wait()
        running = [asyncio.create_task(listener.run()) for listener in listeners]
        on_ready()
        await _wait_for_end(stopping, running)
        for listener in listeners:
            listener.stop()
        server.should_exit = True
        await _finish([*running, serving], stop_seconds)
    finally:
        await clients.close()
    return invoker.close()


def host_id(directory: Path) -> str:
    """The id under which receipts and timer states are kept (PLATFORM 6)."""
    digest = hashlib.sha256(str(directory).encode()).hexdigest()[:12]
    return os.environ.get(_HOST_ID_SETTING, f"local-{digest}").lower()


def _queue_listeners(
    functions: Sequence[AppFunction],
    options: HostOptions,
    clients: StorageClients,
    invoker: Invoker,
) -> list[Listener]:
    lease_seconds = read_number("LOCAL_HOST_LEASE_SECONDS", 30.0)
    by_queue: dict[tuple[str, str], list[QueueListener]] = {}
    for function in (f for f in functions if f.kind == "queueTrigger"):
        connection = str(function.trigger.get("connection") or "")
        service, name = clients.queues(connection), str(function.trigger["queueName"])
        poison = poison_name(name)
        listener = QueueListener(
            function,
            service.get_queue_client(name),
            service.get_queue_client(poison) if poison else None,
            options.queues,
            invoker,
            lease_seconds,
            lambda moved_to, c=connection: _wake(by_queue.get((c, moved_to), ())),  # type: ignore[misc]
        )
        by_queue.setdefault((connection, name), []).append(listener)
    return [listener for group in by_queue.values() for listener in group]


def _wake(listeners: Sequence[QueueListener]) -> None:
    for listener in listeners:
        listener.wake()


def _timer_listeners(
    functions: Sequence[AppFunction], clients: StorageClients, invoker: Invoker, host: str
) -> list[Listener]:
    listeners: list[Listener] = []
    for function in (f for f in functions if f.kind == "timerTrigger"):
        status = None
        if resolve_connection("") is not None:
            status = clients.blobs("").get_blob_client(
                _HOST_CONTAINER, f"timers/{host}/Host.Functions.{function.name}/status"
            )
        listeners.append(TimerListener(function, status, invoker))
    return listeners


def _watch_signals() -> asyncio.Event:
    """Set by the first signal; a second one ends the process at once."""
    stopping = asyncio.Event()

    def note() -> None:
        if stopping.is_set():
            os._exit(1)
        stopping.set()

    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, note)
    return stopping


async def _wait_for_end(stopping: asyncio.Event, running: Sequence[asyncio.Task[None]]) -> None:
    """Until the signal; a listener that breaks is told at once and ends the host."""
    signalled = asyncio.create_task(stopping.wait())
    pending: set[asyncio.Task[object]] = {signalled, *running}
    while signalled in pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {signalled}:
            if task.exception():
                signalled.cancel()
                task.result()


async def _finish(tasks: Sequence[asyncio.Task[None]], seconds: float) -> None:
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    left = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
    if late:
        _log.warning("handlers did not end in %.0f s and are stopped", seconds)
        for task in left:
            task.cancel()
    await asyncio.gather(*left, *tasks, return_exceptions=True)
