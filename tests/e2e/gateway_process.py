"""A gateway as a process of its own, and a client that talks to it over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_host.setup import processes
from tests.builders import body_of
from tests.emulator import AUTHDATA_KEYS, DATA_KEYS
from tests.tenants import Sender
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
WORKERS = "/api/import/workers?version=1"
_READY = re.compile(r"^ready (https?)://127\.0\.0\.1:(\d+)\n", re.MULTILINE)
_CALL_SECONDS = 110.0


@dataclass(frozen=True)
class Answer:
    """What came back; `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def results(self) -> list[dict[str, Any]]:
        """The vendor's results of an import that was waited for."""
        assert self.status == 200, self.body[:500]
        rows: list[dict[str, Any]] = self.json["results"]
        return rows

    @property
    def import_id(self) -> str:
        return self.headers["x-import-id"]


class GatewayProcess:
    """A started gateway that has said `ready`. Not to be shared between forks."""

    def __init__(
        self, process: subprocess.Popen[bytes], port: int, log: Path, scheme: str = "http"
    ) -> None:
        self.process = process
        self.port = port
        self.scheme = scheme
        self._log = log

    @property
    def url(self) -> str:
        """Its address, which is also the issuer of its tokens."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def call(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One call on a connection of its own; an iterable body goes in chunks."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_CALL_SECONDS)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())
        finally:
            connection.close()

    def get(self, path: str, sender: Sender) -> Answer:
        return self.call("GET", path, None, sender.headers)

    def post(self, sender: Sender, rows: list[Any] | bytes, **headers: str) -> Answer:
        """Send workers; `Prefer="respond-async"` and the like are headers."""
        body = rows if isinstance(rows, bytes) else body_of(rows)
        sent = {"Content-Type": "application/json", **sender.headers, **headers}
        return self.call("POST", WORKERS, body, sent)

    def ended(self, sender: Sender, import_id: str, seconds: float = 60.0) -> dict[str, Any]:
        """The import object, once the import has ended."""

        def look() -> dict[str, Any] | None:
            shown: dict[str, Any] = self.get(f"/api/imports/{import_id}", sender).json
            return shown if shown["endedAt"] else None

        return wait_until(look, f"the end of import {import_id}", seconds)

    def log(self) -> str:
        """What it wrote to its standard error, where the host's log goes."""
        return self._log.read_text("utf-8", "replace")

    def kill(self) -> None:
        """SIGKILL: it ends in the middle of whatever it does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end, as an operator does; returns its exit status."""
        self.process.terminate()
        return self.process.wait(90)

    def peak_memory(self) -> int:
        """The most memory it has ever held, in bytes (VmHWM: what the kernel saw)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
        assert match is not None
        return int(match[1]) * 1024


@contextmanager
def started(storage: str, folder: Path, *words: str, **settings: str) -> Iterator[GatewayProcess]:
    """A gateway on that storage for the time of the block; ended there if it still runs.

    `words` are further words of its command line, `settings` environment variables. Leases are
    short, so that the messages of a killed process come back soon, and blobs are looked for often.
    """
    with _running(storage, folder, settings, *words) as process:
        yield process


@contextmanager
def started_over_tls(
    storage: str, folder: Path, certificate: Path, *words: str, **settings: str
) -> Iterator[GatewayProcess]:
    """The same with https; `call` does not speak it, the clients that are tested do."""
    tls = ["--tls-cert", str(certificate), "--tls-key", str(certificate.with_name("key.pem"))]
    address = ["--address-setting", "GATEWAY_BASE_URL"]
    with _running(storage, folder, settings, *tls, *address, *words) as process:
        yield process


@contextmanager
def started_as(
    module: str, storage: str, folder: Path, **settings: str
) -> Iterator[GatewayProcess]:
    """The same by another module than `local_host`, which hands over to it."""
    with _running(storage, folder, settings, module=module) as process:
        yield process


@contextmanager
def _running(
    storage: str,
    folder: Path,
    settings: Mapping[str, str],
    *words: str,
    module: str = "local_host",
) -> Iterator[GatewayProcess]:
    name = os.urandom(4).hex()
    output_file, log, file = (folder / f"{name}.{end}" for end in ("out", "log", "json"))
    file.write_text('{"Values": {}}')
    own = {
        "AzureWebJobsStorage": storage,
        "LOCAL_HOST_LEASE_SECONDS": "2",
        "LOCAL_HOST_BLOB_SCAN_SECONDS": "1",
        # Tests pause between their calls, and should not wait for the idle host to ask its queues.
        "AzureFunctionsJobHost__extensions__queues__maxPollingInterval": "00:00:00.250",
        "GATEWAY_AUTHDATA_KEYS": AUTHDATA_KEYS,
        "GATEWAY_DATA_KEYS": DATA_KEYS,
        **settings,
    }
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("GATEWAY_", "AzureWebJobs", "LOCAL_HOST_"))
    }
    command = [sys.executable, "-m", module, "--port", "0", "--settings", str(file)]
    command += words
    with output_file.open("wb") as output, log.open("wb") as errors:
        process = processes.start(
            command,
            death_signal=signal.SIGKILL,
            environ={**inherited, **own},
            folder=ROOT,
            output=output,
            errors=errors,
        )
    try:
        scheme, port = _address(process, output_file, log)
        yield GatewayProcess(process, port, log, scheme)
    finally:
        processes.stop(process, 20)


def _address(process: subprocess.Popen[bytes], output_file: Path, log: Path) -> tuple[str, int]:
    def look() -> tuple[str, int] | None:
        assert process.poll() is None, log.read_text("utf-8", "replace")
        match = _READY.search(output_file.read_text("utf-8"))
        return (match[1], int(match[2])) if match else None

    return wait_until(look, f"ready; see {log}")
