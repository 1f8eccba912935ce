"""A local host as a child process, talked to over HTTP and through the storage emulator."""

from __future__ import annotations

import base64
import http.client
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Path(__file__).parent / "apps" / "sample"


@dataclass(frozen=True)
class Reply:
    """An answer: status, headers in order, body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((v for k, v in self.headers if k.lower() == name.lower()), None)

    def json(self) -> Any:
        return json.loads(self.body)


class RunningHost:
    """A started host that has said `ready`."""

    def __init__(
        self, process: subprocess.Popen[str], log: Path, port: int, releases: Path
    ) -> None:
        self.process = process
        self.port = port
        self._log = log
        self._releases = releases

    def release(self, name: str) -> None:
        """Let what the sample app holds until `name` go on."""
        (self._releases / name).touch()

    def log(self) -> str:
        return self._log.read_text("utf-8")

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return Reply(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    def send_raw(self, request: bytes) -> bytes:
        """All that comes back on a connection that the request itself asks to close."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def seen(self, key: str, value: object = None) -> list[dict[str, Any]]:
        """What the sample app has noted under `key`, only with that value if one is given."""
        noted = self.call("GET", "/seen").json()["seen"]
        return [n for n in noted if key in n and value in (None, n[key])]

    def wait_for(self, key: str, value: object = None, count: int = 1) -> list[dict[str, Any]]:
        """What was noted, once it is there so many times."""
        return wait_until(
            lambda: lines if len(lines := self.seen(key, value)) >= count else None,
            f"{count} x {key} {value}",
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(90)


def host_environment(connection_string: str, **settings: str) -> dict[str, str]:
    """The environment of a host with names of its own in the storage account."""
    name = f"t{os.urandom(6).hex()}"
    inherited = {k: v for k, v in os.environ.items() if "AzureWebJobs" not in k and "__" not in k}
    return {
        **inherited,
        "AzureWebJobsStorage": connection_string,
        "AzureFunctionsWebHost__hostid": name,
        "JOBS_QUEUE": f"{name}-jobs",
        "DROP": f"{name}-drop",
        "TICK_SCHEDULE": "0 0 0 1 1 *",
        "LOCAL_HOST_BLOB_SCAN_SECONDS": "0.2",
        **settings,
    }


@contextmanager
def started(
    environment: Mapping[str, str], folder: Path, app: Path = SAMPLE, *more: str
) -> Iterator[RunningHost]:
    """A host on a free port for the time of the block; killed if it is still there at its end.

    `more` are further words of its command line.
    """
    name = os.urandom(4).hex()
    log, releases = folder / f"host-{name}.log", folder / f"releases-{name}"
    releases.mkdir()
    with log.open("w") as errors:
        process = subprocess.Popen(
            command(app, *more),
            cwd=ROOT,
            env={**environment, "RELEASES": str(releases)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield RunningHost(process, log, _wait_for_port(process, log), releases)
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def command(app: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "local_host", "--app", str(app), "--port", "0", *more]


def _wait_for_port(process: subprocess.Popen[str], log: Path) -> int:
    lines: queue.Queue[str] = queue.Queue()
    assert process.stdout is not None
    threading.Thread(target=lambda: lines.put(process.stdout.readline()), daemon=True).start()  # type: ignore[union-attr]
    try:
        line = lines.get(timeout=30)
    except queue.Empty:
        line = ""
    is_ready = line.startswith(("ready http://127.0.0.1:", "ready https://127.0.0.1:"))
    assert is_ready, f"no ready line; {log.read_text()}"
    return int(line.rsplit(":", 1)[1])


def encode(document: object) -> str:
    """A JSON message as a sender writes it for `messageEncoding` base64."""
    return base64.b64encode(json.dumps(document).encode()).decode()
