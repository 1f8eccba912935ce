"""`dev.py run`: the storage, the local host, the demo, and the orderly end of all three."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from local_host.setup import azurite, processes
from local_host.setup.data_folder import DataFolder
from local_host.setup.gateway_file import RunningGateway, remove_gateway, write_gateway
from local_host.setup.host_process import (
    HostProcess,
    make_certificate,
    refusal_of_health,
    refuse_taken_port,
    running_host,
)
from local_host.setup.messages import SetupError, note, say
from local_host.setup.places import CHECKOUT
from local_host.setup.preparing import is_prepared, prepare
from local_host.setup.private import files_are_private
from local_host.setup.run_options import (
    DATA,
    STORAGE,
    RunOptions,
    gateway_environ,
    given_storage,
    read_local_settings,
)
from local_host.setup.stopping import Stopped, StopRequests

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
