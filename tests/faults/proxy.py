"""An HTTP proxy between the gateway and storage that makes storage fail in chosen ways.

    with running_proxy(connection_string, seed=7) as proxy:
        rule = proxy.add(Rule(CutAnswer(at=40), Service.TABLE, "POST", r"/\\$batch$", times=1))
        async with open_gateway(settings_for(proxy.connection_string)) as gateway:
            ...
        assert rule.applied == 1

The proxy listens on a free loopback port per service and runs in a thread of its own, so it serves
tests with and without an event loop. It passes requests and answers on byte for byte: signatures
cover the path and not the port. A request meets the first rule that chooses it, and no other one.
Without rules the proxy is only a recorder: `exchanges` has what passed, with the length of each
answer, which is what a test needs that cuts at every byte.

Faults, each a dataclass below:

| fault | request is applied | the client sees |
|---|---|---|
| `Delay(seconds)` | after the delay | the real answer |
| `Answer(status, …, applied=False)` | as `applied` says | this answer in place of the real one |
| `ReplaceBody(body, content_type)` | yes | the real status with another body (`b""`: none) |
| `CutAnswer(at)` | yes | the first `at` bytes of the answer, head included, then the end |
| `CutConnection(applied=False)` | as `applied` says | a reset connection |
| `ApplyLate(seconds, status)` | after the answer | `status`, or a reset connection without one |
| `ApplyTwice(answers_first=False)` | twice | the second answer, or the first |
| `Hang(applied=False)` | as `applied` says | nothing, until it gives up |
| `Trickle(size, pause)` | yes | the real answer, `size` bytes at a time |
| `Act(action, applied, cuts)` | before or after the action | a reset, or the real answer |

`throttled(retry_after)` is an `Answer`. `proxy.refuse(service)` closes a listener, and `accept`
opens it on the same port again. `proxy.forward_to(connection_string)` follows an emulator that was
started again on other ports.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

_T = TypeVar("_T")
_HEAD_END = b"\r\n\r\n"
_MAX_HEAD = 1024 * 1024
_IDLE_SECONDS = 2.0
"""A connection to the emulator is not used again after this long: Node ends it after five."""
_CONTENT_HEADERS = ("content-length", "content-type", "transfer-encoding", "content-encoding")


class Service(StrEnum):
    """A storage service, as connection strings name it."""

    BLOB = "Blob"
    QUEUE = "Queue"
    TABLE = "Table"


@dataclass(frozen=True)
class Delay:
    seconds: float


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = b""
    content_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)
    applied: bool = False


@dataclass(frozen=True)
class ReplaceBody:
    """`content_type` "" keeps the real one."""

    body: bytes
    content_type: str = ""


@dataclass(frozen=True)
class CutAnswer:
    at: int


@dataclass(frozen=True)
class CutConnection:
    applied: bool = False


@dataclass(frozen=True)
class ApplyLate:
    """Like a request that a router or a busy server held: its sender has given up by then."""

    seconds: float
    status: int | None = None


@dataclass(frozen=True)
class ApplyTwice:
    answers_first: bool = False


@dataclass(frozen=True)
class Hang:
    applied: bool = False


@dataclass(frozen=True)
class Trickle:
    size: int = 1
    pause: float = 0.01


@dataclass(frozen=True)
class Act:
    """Do something at this very request, as killing the process that sent it.

    `action` runs in the proxy's thread, before the request is forwarded or after it was applied.
    With `cuts` a request that was not applied never is.
    """

    action: Callable[[], object]
    applied: bool = False
    cuts: bool = True


Fault = (
    Delay
    | Answer
    | ReplaceBody
    | CutAnswer
    | CutConnection
    | ApplyLate
    | ApplyTwice
    | Hang
    | Trickle
    | Act
)


def throttled(retry_after: int = 1, status: int = 503) -> Answer:
    """What storage answers above its limits; nothing is applied."""
    return Answer(status, headers={"Retry-After": str(retry_after)})


@dataclass(frozen=True)
class Request:
    """A request on the wire. `target` is path and query as sent, with the account's name."""

    service: Service
    method: str
    target: str
    raw: bytes
    body: bytes

    @property
    def is_poll(self) -> bool:
        """Whether it asks a queue for messages, which a host does all the time."""
        return self.service is Service.QUEUE and self.method == "GET" and "/messages" in self.target


@dataclass(frozen=True)
class Exchange:
    """A request that was dealt with.

    `status` and `answer_bytes` are the real answer's, 0 where nothing was forwarded;
    `head_bytes` is the part of it before the body. `fault` is what was done to it.
    """

    service: Service
    method: str
    target: str
    status: int = 0
    answer_bytes: int = 0
    head_bytes: int = 0
    fault: Fault | None = None


@dataclass
class Rule:
    """Which requests meet a fault.

    `path` is a regular expression that is searched in the target, `body` one for the request's
    body (a transaction names its table only there), `when` any other condition. The first `after`
    requests that match pass; `times` is how often the fault is applied at most, `probability` how
    likely each time. `matched` and `applied` count.
    """

    fault: Fault
    service: Service | None = None
    method: str = ""
    path: str = ""
    body: str = ""
    when: Callable[[Request], bool] | None = None
    after: int = 0
    times: int | None = None
    probability: float = 1.0
    matched: int = 0
    applied: int = 0

    def chooses(self, request: Request, luck: random.Random) -> bool:
        """Whether this request meets the fault; counts it."""
        if self.times is not None and self.applied >= self.times:
            return False
        if not self._matches(request):
            return False
        self.matched += 1
        if self.matched <= self.after or luck.random() >= self.probability:
            return False
        self.applied += 1
        return True

    def _matches(self, request: Request) -> bool:
        return (
            self.service in (None, request.service)
            and self.method in ("", request.method)
            and re.search(self.path, request.target) is not None
            and (not self.body or re.search(self.body.encode(), request.body) is not None)
            and (self.when is None or self.when(request))
        )


class FaultProxy:
    """Made by `running_proxy`. Every method may be called from any thread."""

    def __init__(self, storage: str, seed: int) -> None:
        self.exchanges: deque[Exchange] = deque(maxlen=100_000)
        self.observers: list[Callable[[Request], object]] = []
        self.rules: list[Rule] = []
        self._luck = random.Random(seed)
        self._storage = storage
        self._behind = _addresses_of(storage)
        self._ports: dict[Service, int] = {}
        self._servers: dict[Service, asyncio.Server] = {}
        self._writers: dict[Service, set[asyncio.StreamWriter]] = {each: set() for each in Service}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()

    @property
    def connection_string(self) -> str:
        """That of the same account, through the proxy."""
        text = self._storage
        for service, (host, port) in _addresses_of(text).items():
            here = f"{service}Endpoint=http://127.0.0.1:{self._ports[service]}"
            text = text.replace(f"{service}Endpoint=http://{host}:{port}", here)
        return text

    def add(self, rule: Rule) -> Rule:
        """Put a rule behind those that are there."""
        self.rules = [*self.rules, rule]
        return rule

    def clear(self) -> None:
        """Remove all rules; requests that meet a fault already are not released."""
        self.rules = []

    def refuse(self, *services: Service) -> None:
        """End the connections of these services (of all without a name) and refuse new ones."""
        self._run(self._refuse(services or tuple(Service)))

    def accept(self, *services: Service) -> None:
        """Listen again, on the ports of before."""
        self._run(self._listen(services or tuple(Service)))

    def release(self) -> None:
        """End all connections, those that hang too; new ones are taken."""
        self._run(self._drop(tuple(Service)))

    def forward_to(self, storage: str) -> None:
        """Send what comes from now on to the emulator of that connection string."""
        self._behind = _addresses_of(storage)

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self, services: tuple[Service, ...]) -> None:
        for service in services:
            if service in self._servers:
                continue

            async def serve(
                reader: asyncio.StreamReader,
                writer: asyncio.StreamWriter,
                service: Service = service,
            ) -> None:
                await self._serve(service, reader, writer)

            self._servers[service] = await asyncio.start_server(
                serve,
                "127.0.0.1",
                self._ports.get(service, 0),
                family=socket.AF_INET,
                limit=_MAX_HEAD,
                backlog=256,
            )
            self._ports[service] = self._servers[service].sockets[0].getsockname()[1]

    async def _refuse(self, services: tuple[Service, ...]) -> None:
        for service in services:
            if server := self._servers.pop(service, None):
                server.close()
        await self._drop(services)

    async def _drop(self, services: tuple[Service, ...]) -> None:
        for service in services:
            for writer in tuple(self._writers[service]):
                writer.transport.abort()

    async def _close(self) -> None:
        await self._refuse(tuple(Service))
        while True:
            # A connection that was just taken gets a task of its own in one of the next turns of
            # the loop. A task that is cancelled before it has begun would not close its connection.
            for _ in range(3):
                await asyncio.sleep(0)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            if not others:
                return
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    async def _serve(
        self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One connection of a client, request after request."""
        # The event loop itself holds its tasks only weakly.
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers[service].add(writer)
        backend = _Backend()
        try:
            while (request := await _read_request(service, reader)) is not None:
                await _Handling(self, request, reader, writer, backend).run()
        except (OSError, EOFError, _CutError, asyncio.LimitOverrunError, ValueError):
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._writers[service].discard(writer)
            backend.close()
            writer.close()

    def choose(self, request: Request) -> Fault | None:
        """The fault of the first rule that chooses this request."""
        for observer in self.observers:
            observer(request)
        for rule in self.rules:
            if rule.chooses(request, self._luck):
                return rule.fault
        return None

    def address_of(self, service: Service) -> tuple[str, int]:
        """Where the emulator listens."""
        return self._behind[service]

    def do_later(self, work: Coroutine[Any, Any, None]) -> None:
        """Run in the background; called in the proxy's thread."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@contextmanager
def running_proxy(storage: str, seed: int = 0) -> Iterator[FaultProxy]:
    """A proxy in front of that account for the time of the block; `seed` is for probabilities."""
    proxy = FaultProxy(storage, seed)
    loop = proxy._loop
    thread = threading.Thread(target=loop.run_forever, name="fault proxy", daemon=True)
    thread.start()
    try:
        proxy.accept()
        yield proxy
    finally:
        proxy._run(proxy._close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


@dataclass(frozen=True)
class _RealAnswer:
    """An answer of the emulator, byte for byte."""

    status: int
    head: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        return self.head + self.body


class _CutError(Exception):
    """The client's connection is to be reset."""


class _Backend:
    """A connection to the emulator, opened when it is needed and kept while it is fresh."""

    def __init__(self) -> None:
        self._address: tuple[str, int] | None = None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._used = 0.0

    async def send(self, address: tuple[str, int], request: Request) -> _RealAnswer:
        now = asyncio.get_running_loop().time()
        if self._streams is not None and (
            address != self._address
            or now - self._used > _IDLE_SECONDS
            or self._streams[0].at_eof()
        ):
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection(*address, limit=_MAX_HEAD)
            self._address = address
        reader, writer = self._streams
        writer.write(request.raw)
        await writer.drain()
        answer = await _read_answer(reader, request.method)
        self._used = asyncio.get_running_loop().time()
        return answer

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@dataclass
class _Handling:
    """One request on its way; `run` raises _CutError to have the connection reset."""

    proxy: FaultProxy
    request: Request
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    backend: _Backend
    fault: Fault | None = None
    answer: _RealAnswer | None = None
    is_recorded: bool = False

    async def run(self) -> None:
        self.fault = self.proxy.choose(self.request)
        try:
            await self._meet(self.fault)
        finally:
            self._record()

    async def _meet(self, fault: Fault | None) -> None:
        match fault:
            case None:
                await self._write((await self._apply()).raw)
            case Delay(seconds):
                await asyncio.sleep(seconds)
                await self._write((await self._apply()).raw)
            case Answer():
                if fault.applied:
                    await self._apply()
                await self._write(_rendered(fault))
            case ReplaceBody(body, content_type):
                await self._write(_with_body(await self._apply(), body, content_type))
            case CutAnswer(at):
                await self._write((await self._apply()).raw[:at])
                # Closed and not reset, so that these bytes do arrive.
                self.writer.close()
            case CutConnection(applied):
                if applied:
                    await self._apply()
                raise _CutError
            case ApplyLate(seconds, status):
                self.proxy.do_later(self._apply_late(seconds))
                if status is None:
                    raise _CutError
                await self._write(_rendered(Answer(status)))
            case ApplyTwice(answers_first):
                first = await self._apply()
                second = await self._apply()
                await self._write((first if answers_first else second).raw)
            case Hang(applied):
                if applied:
                    await self._apply()
                # Whatever the client sends on this connection is not listened to.
                while await self.reader.read(65_536):
                    pass
                raise _CutError
            case Trickle(size, pause):
                raw = (await self._apply()).raw
                for start in range(0, len(raw), size):
                    await self._write(raw[start : start + size])
                    await asyncio.sleep(pause)
            case Act(action, applied, cuts):
                await self._act(action, applied, cuts)

    async def _act(self, action: Callable[[], object], applied: bool, cuts: bool) -> None:
        if applied:
            await self._apply()
        action()
        if cuts:
            raise _CutError
        await self._write((self.answer or await self._apply()).raw)

    async def _apply(self) -> _RealAnswer:
        address = self.proxy.address_of(self.request.service)
        self.answer = await self.backend.send(address, self.request)
        return self.answer

    async def _apply_late(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        backend = _Backend()
        # Where the emulator is away by then, the request has come too late for good.
        try:
            with suppress(OSError, EOFError):
                await backend.send(self.proxy.address_of(self.request.service), self.request)
        finally:
            # The proxy may end while the request is on its way.
            backend.close()

    async def _write(self, data: bytes) -> None:
        # Before the client can go on and look.
        self._record()
        self.writer.write(data)
        await self.writer.drain()

    def _record(self) -> None:
        if self.is_recorded:
            return
        self.is_recorded = True
        request, answer = self.request, self.answer
        self.proxy.exchanges.append(
            Exchange(
                request.service,
                request.method,
                request.target,
                answer.status if answer else 0,
                len(answer.raw) if answer else 0,
                len(answer.head) if answer else 0,
                self.fault,
            )
        )


async def _read_request(service: Service, reader: asyncio.StreamReader) -> Request | None:
    """The next request; None where the client has ended the connection."""
    try:
        head = await reader.readuntil(_HEAD_END)
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    body = await _read_body(reader, _headers_of(head))
    return Request(service, method, target, head + body, body)


async def _read_answer(reader: asyncio.StreamReader, method: str) -> _RealAnswer:
    head = await reader.readuntil(_HEAD_END)
    status = int(head.split(b" ", 2)[1])
    has_body = method != "HEAD" and status not in (204, 304)
    body = await _read_body(reader, _headers_of(head)) if has_body else b""
    return _RealAnswer(status, head, body)


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    """The body as it is on the wire, with the frames of its chunks."""
    if "chunked" not in headers.get("transfer-encoding", ""):
        return await reader.readexactly(int(headers.get("content-length", "0")))
    parts: list[bytes] = []
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        parts += [line, await reader.readexactly(size + 2)]
        if size == 0:
            return b"".join(parts)


def _headers_of(head: bytes) -> dict[str, str]:
    """By lower-case name."""
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {name.strip().lower(): value.strip().lower() for name, value in pairs}


def _rendered(answer: Answer) -> bytes:
    headers = {
        "Content-Type": answer.content_type,
        "Content-Length": str(len(answer.body)),
        **answer.headers,
    }
    lines = [f"HTTP/1.1 {answer.status} Fault", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + _HEAD_END + answer.body


def _with_body(real: _RealAnswer, body: bytes, content_type: str) -> bytes:
    first, *lines = real.head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    other_lines = [line for line in lines if line.split(":")[0].lower() not in _CONTENT_HEADERS]
    named = content_type or _headers_of(real.head).get("content-type", "")
    if named:
        other_lines.append(f"Content-Type: {named}")
    head = [first, *other_lines, f"Content-Length: {len(body)}"]
    return "\r\n".join(head).encode("latin-1") + _HEAD_END + body


def _addresses_of(storage: str) -> dict[Service, tuple[str, int]]:
    addresses: dict[Service, tuple[str, int]] = {}
    for service in Service:
        match = re.search(rf"{service}Endpoint=http://([0-9.]+):([0-9]+)", storage)
        if match is None:
            raise ValueError(
                f"the connection string has no {service}Endpoint with address and port"
            )
        addresses[service] = (match[1], int(match[2]))
    return addresses
