"""`dev.py run`: the storage, the local host, the demo, and the orderly end of all three."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from local_host.setup import azurite, processes
from local_host.setup.data_folder import DataFolder, RunningGateway, remove_gateway, write_gateway
from local_host.setup.environment import is_prepared, prepare
from local_host.setup.host_process import (
    HostProcess,
    make_certificate,
    refusal_of_health,
    refuse_taken_port,
    running_host,
)
from local_host.setup.messages import SetupError, note, say
from local_host.setup.paths import CHECKOUT, Checkout, files_are_private

# Being asked to stop: Ctrl-C, SIGTERM, a closed terminal. Once means in order, twice at once.

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PAUSE = 0.02


class Stopped(Exception):  # noqa: N818 -- it is a wish, no error
    """Somebody asked to stop while something was being waited for."""


class StopRequests:
    """Counts the signals from its making on; nothing is interrupted, everything that waits asks.

    A hang-up that `nohup` has switched off stays off.
    """

    def __init__(self) -> None:
        self.count = 0
        for number in _SIGNALS:
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._note)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1

    def is_urgent(self) -> bool:
        """Whether somebody has asked again."""
        return self.count > 1

    def wait_until(self, condition: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait for `condition`; False when it did not come true within `seconds`.

        Raises Stopped when asked to stop.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while not condition():
            if self.count:
                raise Stopped
            if deadline is not None and time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE)
        return True


# What `dev.py run` was asked for, and the environment variables that it gives to the gateway.

STORAGE = "AzureWebJobsStorage"
DATA = "GATEWAY_DATA"
_DEVELOPMENT = "UseDevelopmentStorage=true"
_MAX_PORT = 65_535


@dataclass(frozen=True)
class RunOptions:
    """The arguments of `run`. Port 0 means a free one."""

    port: int
    data: Path
    fresh: bool
    demo: bool
    exit: bool
    tls: bool


def read_run_options(
    words: Sequence[str], environ: Mapping[str, str], checkout: Checkout
) -> RunOptions:
    """Parse the arguments; a mistake ends the program with status 2 and the usage."""
    parser = argparse.ArgumentParser(
        prog="dev.py run",
        description="Set up, start the storage emulator and the gateway, show a demo, serve.",
    )
    parser.add_argument(
        "--port", type=_port, default=7071, help="0 takes a free one (default 7071)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=default_data(environ, checkout),
        metavar="DIR",
        help="the data folder (default %(default)s)",
    )
    parser.add_argument("--fresh", action="store_true", help="empty the stored data first")
    parser.add_argument("--no-demo", dest="demo", action="store_false", help="only serve")
    parser.add_argument(
        "--exit", action="store_true", help="stop after the demo; status 0 if it went as expected"
    )
    parser.add_argument(
        "--tls", action="store_true", help="serve https, with a certificate made for this machine"
    )
    return RunOptions(**vars(parser.parse_args(words)))


def default_data(environ: Mapping[str, str], checkout: Checkout) -> Path:
    """The data folder where none is named."""
    return Path(environ.get(DATA) or checkout.local)


def read_local_settings(checkout: Checkout) -> dict[str, str]:
    """`Values` of local.settings.json, or of the example where there is none.

    Raises SetupError for a file that is not what Core Tools would take.
    """
    for name in ("local.settings.json", "local.settings.example.json"):
        file = checkout.root / name
        if file.exists():
            return _values(file)
    return {}


def gateway_environ(environ: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """The variables of the gateway's process: the settings file gives defaults, ours win.

    Dropped files are looked for every second: somebody waits for them.
    """
    own = {"LOCAL_HOST_BLOB_SCAN_SECONDS": "1"}
    return {**own, **settings, **environ}


def given_storage(environ: Mapping[str, str]) -> str:
    """The connection string of a real account in `environ`; "" where the emulator is meant."""
    storage = environ.get(STORAGE, "").strip()
    return "" if storage.rstrip(";") == _DEVELOPMENT else storage


def _values(file: Path) -> dict[str, str]:
    try:
        values = json.loads(file.read_text("utf-8-sig"))["Values"]
        return {str(name): value for name, value in values.items() if isinstance(value, str)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SetupError(
            f'{file.name} is no settings file: it needs an object "Values" of strings.'
        ) from error


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= _MAX_PORT:
        raise argparse.ArgumentTypeError(f"{port} is no port")
    return port


_READY_SECONDS = 60.0
_DEMO_SECONDS = 120.0
_INTERRUPTED = 130
_LAST_LINES = 20
"""Of the log, where the gateway did not start."""


def run(options: RunOptions) -> int:
    """Everything from the set-up to the end; returns the exit status. Raises SetupError."""
    if not is_prepared():
        # Said before the minute that a set-up takes; otherwise a predecessor may be just stopping.
        refuse_taken_port(options.port)
        prepare()
    environ = gateway_environ(os.environ, read_local_settings(CHECKOUT))
    data = DataFolder(options.data)
    stops = StopRequests()
    try:
        with files_are_private(), data.held():
            if options.fresh:
                data.empty()
            with _storage(data, environ) as (connection, emulator):
                return _run_on(options, data, {**environ, STORAGE: connection}, emulator, stops)
    except Stopped:
        return _INTERRUPTED


def _run_on(
    options: RunOptions,
    data: DataFolder,
    environ: Mapping[str, str],
    emulator: azurite.Azurite | None,
    stops: StopRequests,
) -> int:
    refuse_taken_port(options.port)
    certificate = make_certificate(CHECKOUT, data.tls) if options.tls else None
    with running_host(
        CHECKOUT, options.port, environ, data.host_log, stops.is_urgent, certificate
    ) as host:
        _wait_until_ready(host, data, stops, certificate)
        note(f"What the gateway logs goes to {data.host_log}")
        if certificate is not None:
            note(f"Callers must trust {certificate}, as `curl --cacert` does")
        trusted = str(certificate or "")
        gateway = RunningGateway(host.url, environ[STORAGE], host.process.pid, trusted)
        with _announced(data, gateway):
            status = _show_demo(gateway, data, environ, stops) if options.demo else 0
            say(f"ready {host.url}")
            return status if options.exit else _serve(host, emulator, stops)


@contextmanager
def _storage(
    data: DataFolder, environ: Mapping[str, str]
) -> Iterator[tuple[str, azurite.Azurite | None]]:
    """The connection string, and the emulator where the account is not somebody's own."""
    given = given_storage(environ)
    if given:
        note(f"Using the storage account of {STORAGE}.")
        yield given, None
        return
    programs = azurite.Programs.of(CHECKOUT)
    try:
        with azurite.running(programs, location=data.storage, log=data.emulator_log) as emulator:
            data.note_emulator(emulator.process.pid)
            yield emulator.connection_string, emulator
    finally:
        data.forget_emulator()


@contextmanager
def _announced(data: DataFolder, gateway: RunningGateway) -> Iterator[None]:
    write_gateway(data.folder, gateway)
    try:
        yield
    finally:
        remove_gateway(data.folder)


def _wait_until_ready(
    host: HostProcess, data: DataFolder, stops: StopRequests, certificate: Path | None
) -> None:
    came = stops.wait_until(lambda: bool(host.url) or host.has_ended, _READY_SECONDS)
    if not came:
        raise SetupError(f"The gateway did not answer within {_READY_SECONDS:.0f} s.")
    if host.has_ended:
        raise SetupError(f"{host.describe_end()} It said:\n{_end_of(data.host_log)}")
    refusal = refusal_of_health(host.url, certificate)
    if refusal:
        raise SetupError(f"{refusal}\n{_end_of(data.host_log)}")


def _end_of(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()[-_LAST_LINES:]
    return "\n".join(line for line in lines if " INFO " not in line)


def _show_demo(
    gateway: RunningGateway, data: DataFolder, environ: Mapping[str, str], stops: StopRequests
) -> int:
    demo = processes.start(
        [str(CHECKOUT.python), "-m", "cli.demo", "--url", gateway.url],
        death_signal=signal.SIGKILL,
        environ={**environ, DATA: str(data.folder)},
        folder=CHECKOUT.root,
    )
    try:
        if not stops.wait_until(lambda: demo.poll() is not None, _DEMO_SECONDS):
            note(f"The demo did not end within {_DEMO_SECONDS:.0f} s.")
            return 1
    finally:
        processes.stop(demo, 2.0)
    if demo.returncode:
        note(f"The demo did not go as expected (status {demo.returncode}).")
    return 1 if demo.returncode else 0


def _serve(host: HostProcess, emulator: azurite.Azurite | None, stops: StopRequests) -> int:
    """Until asked to stop (0), or until a part of the gateway ends by itself (1)."""
    if sys.stdout.isatty():
        note("Stop it with Ctrl-C.")
    try:
        stops.wait_until(lambda: host.has_ended or _is_gone(emulator))
    except Stopped:
        note("Stopping ...")
        return 0
    said = host.describe_end() if host.has_ended else "The storage emulator ended by itself."
    note(said)
    return 1


def _is_gone(emulator: azurite.Azurite | None) -> bool:
    return emulator is not None and emulator.process.poll() is not None
