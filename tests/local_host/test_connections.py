"""Connections: limits and time-outs as Kestrel has them, TLS, clients that offer HTTP/2."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from local_host.certificate import make_certificate
from local_host.host_json import HttpOptions
from local_host.http_connection import ConnectionLimits
from local_host.http_trigger import HttpFrontEnd
from local_host.indexing import AppFunction, load_functions
from local_host.invoking import Invoker
from local_host.serving import HttpServer, bind
from tests.local_host.running_host import (
    ROOT,
    SAMPLE,
    RunningHost,
    command,
    host_environment,
    started,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.integration


# Limits and time-outs of connections, as Kestrel has them.

_LINE = 8_192
_HEADERS = 32_768


def _get(line: int = 0, *headers: bytes) -> bytes:
    """A request of that many bytes in its first line, with these headers."""
    start, end = b"GET /seen?", b" HTTP/1.1\r\n"
    query = b"q" * max(1, line - len(start) - len(end))
    return start + query + end + b"".join(h + b"\r\n" for h in headers) + b"\r\n"


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


CLOSE = b"Connection: close"
PAD = b"X-Pad: "


def test_kestrels_limits() -> None:
    defaults = {field.name: field.default for field in fields(ConnectionLimits)}
    assert defaults == {
        "request_line_bytes": 8_192,
        "header_bytes": 32_768,
        "header_count": 100,
        "head_seconds": 30.0,
        "keep_alive_seconds": 130.0,
        "body_bytes_per_second": 240.0,
        "body_grace_seconds": 5.0,
    }


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (_get(_LINE, CLOSE), 200),
        (_get(_LINE + 1, CLOSE), 414),
        (b"GET /" + b"x" * _LINE, 414),
        (_get(0, CLOSE, PAD + b"x" * (_HEADERS - len(CLOSE) - len(PAD) - 4)), 200),
        (_get(0, CLOSE, PAD + b"x" * (_HEADERS - len(CLOSE) - len(PAD) - 3)), 431),
        (_get(0, CLOSE, *[b"X-%d: 1" % n for n in range(99)]), 200),
        (_get(0, CLOSE, *[b"X-%d: 1" % n for n in range(100)]), 431),
    ],
    ids=["line", "long line", "endless line", "headers", "large headers", "100", "101"],
)
def test_head_over_a_limit_is_refused_and_the_connection_closed(
    host: RunningHost, request_bytes: bytes, status: int
) -> None:
    answer = host.send_raw(request_bytes)
    assert _status(answer) == status
    if status != 200:
        assert answer.endswith(b"content-length: 0\r\nconnection: close\r\n\r\n")


def test_endless_header_is_refused_before_it_ends(host: RunningHost) -> None:
    with socket.create_connection(("127.0.0.1", host.port), timeout=30) as connection:
        connection.sendall(b"GET /seen HTTP/1.1\r\nX-Endless: ")
        answer = b""
        connection.settimeout(0.05)
        for _ in range(10_000):
            try:
                answer = connection.recv(1_000)
                break
            except TimeoutError:
                connection.sendall(b"x" * 1_024)
    assert _status(answer) == 431


def test_refused_head_after_a_running_request_does_not_disturb_its_answer(
    host: RunningHost,
) -> None:
    with socket.create_connection(("127.0.0.1", host.port), timeout=30) as connection:
        connection.sendall(b"GET /held/first HTTP/1.1\r\nHost: h\r\n\r\n" + _get(_LINE + 1))
        host.wait_for("held", "first")
        host.release("first")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("offer", ["h2c", "websocket", "TLS/1.0"])
def test_offered_upgrade_is_ignored_and_the_body_arrives(host: RunningHost, offer: str) -> None:
    head = (
        "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings{}\r\n"
        f"Upgrade: {offer}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: 5\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", host.port), timeout=30) as connection:
        # Whole, in pieces, and two requests at once on one connection.
        connection.sendall(head.format("").encode() + b"hello")
        first = _read_answer(connection)
        connection.sendall(head.format("").encode())
        connection.sendall(b"hel")
        connection.sendall(b"lo" + head.format(", close").encode() + b"hello")
        rest = b"".join(iter(lambda: connection.recv(65536), b""))
    for answer in (first, *rest.split(b"HTTP/1.1 ")[1:]):
        assert b'"text": "hello"' in answer
        assert f'"upgrade": "{offer}"'.encode() in answer
    assert rest.count(b"HTTP/1.1 200") == 2


def _read_answer(connection: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(65536)
    head, _, body = head.partition(b"\r\n\r\n")
    size = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    while len(body) < size:
        body += connection.recv(65536)
    return head + body


@contextmanager
def _served(functions: list[AppFunction], limits: ConnectionLimits) -> Iterator[int]:
    """The sample app on a server with these limits, in a thread; its port."""
    bound = bind(0)
    stops: list[Callable[[], None]] = []

    async def serve() -> None:
        options = HttpOptions("", -1, -1, (("X-Own", "1"),))
        server = HttpServer(HttpFrontEnd(functions, options, Invoker(None), limits), limits, 1)

        def stop() -> None:
            server.should_exit = True

        stops.append(stop)
        await server.serve(sockets=[bound])

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    port: int = bound.getsockname()[1]
    thread.start()
    wait_until(lambda: stops, "the server runs")
    try:
        yield port
    finally:
        stops[0]()
        thread.join(20)
        bound.close()


@pytest.fixture(scope="module")
def sample(connection_string: str) -> Iterator[list[AppFunction]]:
    from local_host.host_json import read_host_json
    from local_host.indexing import index
    from tests.local_host.running_host import SAMPLE

    with pytest.MonkeyPatch.context() as environment:
        for name, value in host_environment(connection_string).items():
            environment.setenv(name, value)
        yield index(load_functions(SAMPLE), read_host_json(SAMPLE / "host.json"))


def _all_that_comes(port: int, *parts: bytes) -> bytes:
    """What a server answers that closes the connection by itself."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for part in parts:
            connection.sendall(part)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_head_that_does_not_end_is_408(sample: list[AppFunction]) -> None:
    with _served(sample, ConnectionLimits(head_seconds=0.2)) as port:
        for start in (b"G", b"GET /seen HTTP/1.1\r\n", b"GET /seen HTTP/1.1\r\nHost: h\r\n"):
            answer = _all_that_comes(port, start)
            assert _status(answer) == 408
            assert b"x-own" not in answer.lower()
        # The second head of a connection counts as the first does.
        first = b"GET /outcome/text HTTP/1.1\r\nHost: h\r\n\r\n"
        answer = _all_that_comes(port, first, b"GET /")
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"HTTP/1.1 408" in answer


def test_idle_connection_is_closed_without_a_word(sample: list[AppFunction]) -> None:
    with _served(sample, ConnectionLimits(keep_alive_seconds=0.2)) as port:
        assert _all_that_comes(port) == b""
        assert _all_that_comes(port, b"\r\n") == b""
        answer = _all_that_comes(port, b"GET /outcome/text HTTP/1.1\r\nHost: h\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")


def test_slow_body_is_refused_and_the_connection_closed(sample: list[AppFunction]) -> None:
    limits = ConnectionLimits(body_grace_seconds=0.2, body_bytes_per_second=1e9)
    head = b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"
    with _served(sample, limits) as port:
        for sent in (head, head + bytes(999)):
            answer = _all_that_comes(port, sent)
            assert _status(answer) == 500
            assert b"connection: close" in answer
        quick = _all_that_comes(port, head.replace(b"Host", CLOSE + b"\r\nHost") + bytes(1000))
        assert _status(quick) == 200


# The local host over TLS, as Core Tools are with `--useHttps`.

NAME = "SAMPLE_ADDRESS"


def test_over_tls_the_app_sees_https_and_its_address(
    connection_string: str, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path)
    tls = ("--tls-cert", str(certificate), "--tls-key", str(tmp_path / "key.pem"))
    environment = host_environment(connection_string)
    with started(environment, tmp_path, SAMPLE, *tls, "--address-setting", NAME) as host:
        trust = ssl.create_default_context(cafile=certificate)
        for name in ("127.0.0.1", "localhost"):
            address = f"https://{name}:{host.port}/echo?setting={NAME}"
            with urlopen(address, context=trust, timeout=10) as answer:
                document = json.load(answer)
                assert document["url"] == address
                assert document["setting"] == f"https://127.0.0.1:{host.port}"


def test_over_https_answers_ask_for_https(connection_string: str, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    tls = ("--tls-cert", str(certificate), "--tls-key", str(tmp_path / "key.pem"))
    environment = host_environment(connection_string)
    with started(environment, tmp_path, SAMPLE, *tls) as host:
        trust = ssl.create_default_context(cafile=certificate)
        for name, path, expected in (
            ("127.0.0.1", "/echo", "max-age=864000; preload"),
            ("127.0.0.1", "/nowhere", "max-age=864000; preload"),
            ("localhost", "/echo", None),
        ):
            try:
                answer = urlopen(f"https://{name}:{host.port}{path}", context=trust, timeout=10)
            except HTTPError as error:
                answer = error
            with answer:
                assert answer.headers["strict-transport-security"] == expected
    (tmp_path / "http").mkdir()
    with started(environment, tmp_path / "http", SAMPLE) as host:
        assert host.call("GET", "/echo").header("strict-transport-security") is None


def test_tls_files_that_cannot_be_used_are_refused(connection_string: str, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("no certificate")
    words = ("--tls-cert", str(tmp_path / "cert.pem"))
    environment = host_environment(connection_string)
    for more, status, message in (
        (("--tls-key", str(tmp_path / "none")), 1, "refused: TLS with"),
        ((), 2, "go together"),
    ):
        ended = subprocess.run(
            command(SAMPLE, *words, *more), cwd=ROOT, env=environment, capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (ended.returncode, ended.stdout) == (status, "")
        assert message in ended.stderr


# Clients that offer HTTP/2 with a POST: Java's own, and curl.

_CLIENT = Path(__file__).parent / "Client.java"


@pytest.mark.skipif(shutil.which("java") is None, reason="no java on this machine")
def test_java_http_client_gets_its_body_through(host: RunningHost) -> None:
    """HTTP/2 is what java.net.http.HttpClient prefers unless it is told otherwise."""
    command = ["java", str(_CLIENT), f"http://127.0.0.1:{host.port}/echo", "a row of text"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["text"] for answer in answers] == ["a row of text"] * 2
    assert answers[0]["headers"]["upgrade"] == "h2c"


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_curl_with_http2_gets_its_body_through(host: RunningHost) -> None:
    curl = ["curl", "-sS", "--max-time", "60", "--http2", "--noproxy", "*", "-d", "a row of text"]
    address = f"http://127.0.0.1:{host.port}/echo"
    done = subprocess.run([*curl, address], capture_output=True, check=False, timeout=90)
    if b"HTTP2" in done.stderr and b"support" in done.stderr:
        pytest.skip("this curl has no HTTP/2")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["text"] == "a row of text"
