"""Runs the host: HTTP, listeners, and the graceful stop.

A stop begins with SIGTERM, which the app may handle too. Ctrl-C is passed on to it as SIGTERM. The
host accepts no new connections, the listeners receive no more messages, and running invocations get
LOCAL_HOST_STOP_SECONDS (10) to finish. After that they are cancelled: calls are answered 503 and
messages become visible again.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
import os
import signal
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import uvicorn

from local_host.app_settings import AppRefusedError, StorageClients, read_number, resolve_connection
from local_host.blob_trigger import POISON_QUEUE, BlobListener
from local_host.host_json import HostOptions
from local_host.http_connection import ConnectionLimits, HttpConnection
from local_host.http_trigger import AsgiApp, HttpFrontEnd
from local_host.indexing import AppFunction
from local_host.invoking import Invoker
from local_host.queue_trigger import QueueListener, poison_name
from local_host.timer_trigger import Now, TimerListener, machine_time

_log = logging.getLogger(__name__)

_HOST_CONTAINER = "azure-webjobs-hosts"
_HOST_ID_SETTING = "AzureFunctionsWebHost__hostid"


class Listener(Protocol):
    """The listener of a trigger other than HTTP."""

    async def run(self) -> None:
        """Run until the listener is stopped and its invocations have ended."""

    def stop(self) -> None:
        """Start no more invocations."""


class Front(Protocol):
    """What stands before the app, and gives the timers their time."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""

    def wrap(self, app: AsgiApp, invoker: Invoker, timers: Sequence[TimerListener]) -> AsgiApp:
        """The ASGI app that answers in the place of `app`."""


class ListenerFactory:
    """Makes listeners that share clients, the invoker and the host's id."""

    def __init__(
        self,
        options: HostOptions,
        clients: StorageClients,
        invoker: Invoker,
        directory: Path,
        now: Now,
    ) -> None:
        """`directory` is the app's; receipts and timer states are kept under its digest."""
        digest = hashlib.sha256(str(directory).encode()).hexdigest()[:12]
        self._options = options
        self._clients = clients
        self._invoker = invoker
        self._now = now
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
        return TimerListener(function, hosts, self._host_id, self._invoker, self._now)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The PEM files of a host that serves over TLS."""

    certificate: Path
    key: Path

    def check(self) -> None:
        """Raises AppRefusedError if the files cannot be used."""
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key)
        except OSError as error:
            raise AppRefusedError(
                [f"TLS with {self.certificate} and {self.key} is not possible: {error}"]
            ) from None


class HttpServer(uvicorn.Server):
    """uvicorn without its own signal handlers, and with an event that is set when it listens."""

    def __init__(
        self,
        app: AsgiApp,
        limits: ConnectionLimits,
        stop_seconds: float,
        tls: TlsFiles | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=functools.partial(HttpConnection, limits=limits),  # type: ignore[arg-type]
                interface="asgi3",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=round(limits.keep_alive_seconds),
                timeout_graceful_shutdown=max(1, round(stop_seconds)),
                ssl_certfile=tls.certificate if tls else None,
                ssl_keyfile=tls.key if tls else None,
            )
        )
        self.is_listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_listening.set()

    def stop(self) -> None:
        """Accept no new connections, close idle ones, and send `close` on the others.

        uvicorn itself begins a tenth of a second later, when answers may have gone out.
        """
        self.should_exit = True
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1; port 0 takes a free one. Raises OSError when taken."""
    # The protocol is named because asyncio sets TCP_NODELAY only where it is; without it every
    # answer on a kept-alive connection is 40 ms late.
    sockets = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sockets.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sockets.bind(("127.0.0.1", port))
        sockets.listen(2048)
    except OSError:
        sockets.close()
        raise
    return sockets


async def serve(
    functions: Sequence[AppFunction],
    options: HostOptions,
    sockets: socket.socket,
    directory: Path,
    on_ready: Callable[[], None],
    tls: TlsFiles | None = None,
    front: Front | None = None,
) -> None:
    """Run until SIGTERM or SIGINT, with `front` before the app that answers HTTP."""
    stop_seconds = read_number("LOCAL_HOST_STOP_SECONDS", 10.0)
    invoker = Invoker(options.function_timeout)
    now = machine_time if front is None else front.now
    clients = StorageClients()
    try:
        listeners = ListenerFactory(options, clients, invoker, directory, now).build(functions)
        limits = ConnectionLimits()
        front_end = HttpFrontEnd(functions, options.http, invoker, limits)
        app: AsgiApp = front_end
        if front is not None:
            timers = [each for each in listeners if isinstance(each, TimerListener)]
            app = front.wrap(front_end, invoker, timers)
        server = HttpServer(app, limits, stop_seconds, tls)
        stopping = _watch_signals()
        serving = asyncio.create_task(server.serve(sockets=[sockets]))
        await server.is_listening.wait()
        running = [asyncio.create_task(listener.run()) for listener in listeners]
        on_ready()
        # Wait for the signal. The exception of a failed listener ends the host.
        signal_task = asyncio.create_task(stopping.wait())
        pending: set[asyncio.Task[object]] = {signal_task, *running}
        while signal_task in pending:
            finished, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in finished - {signal_task}:
                if task.exception():
                    signal_task.cancel()
                    task.result()
        _log.info("stopping")
        server.stop()
        for listener in listeners:
            listener.stop()
        await _finish([*running, serving], stop_seconds)
    finally:
        await clients.close()
        invoker.close()


def _watch_signals() -> asyncio.Event:
    """Set by the first signal; a second one ends the process at once."""
    stopping = asyncio.Event()

    def on_terminate() -> None:
        if stopping.is_set():
            os._exit(1)
        stopping.set()

    def on_interrupt() -> None:
        # The app knows SIGTERM only, since the platform sends nothing else.
        signal.raise_signal(signal.SIGTERM)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, on_terminate)
    loop.add_signal_handler(signal.SIGINT, on_interrupt)
    return stopping


async def _finish(tasks: Sequence[asyncio.Task[None]], seconds: float) -> None:
    _, slow_listeners = await asyncio.wait(tasks, timeout=seconds)
    for task in slow_listeners:
        task.cancel()
    unfinished_count = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
    if slow_listeners:
        _log.warning("handlers did not end in %.0f s and are stopped", seconds)
        for task in unfinished_count:
            task.cancel()
    await asyncio.gather(*unfinished_count, *tasks, return_exceptions=True)
