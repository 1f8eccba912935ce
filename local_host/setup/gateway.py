"""`dev.py run`: starts and stops the storage, the local host and the demo."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from local_host.setup import azurite, processes
from local_host.setup.data_folder import (
    DataFolder,
    RunningGateway,
    remove_gateway,
    temporary_folder,
    write_gateway,
)
from local_host.setup.environment import is_prepared, prepare
from local_host.setup.environment_file import (
    environment_file,
    prepare_environment_file,
    variables_of,
)
from local_host.setup.host_process import (
    HostProcess,
    check_port,
    find_health_problem,
    make_certificate,
    running_host,
)
from local_host.setup.messages import SetupError, note, say
from local_host.setup.paths import DATA, LOCAL, PYTHON, ROOT, private_umask

STORAGE = "AzureWebJobsStorage"
DATA_KEYS = "GATEWAY_DATA_KEYS"
_SNAPSHOTS = "snapshots"
_DEVELOPMENT = "UseDevelopmentStorage=true"
_MAX_PORT = 65_535
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PAUSE = 0.02
_READY_SECONDS = 60.0
_DEMO_SECONDS = 120.0
_INTERRUPTED = 130
# How much of the log is shown where the gateway did not start.
_LAST_LINES = 20


@dataclass(frozen=True)
class RunOptions:
    """The arguments of `run`. Port 0 means a free one.

    `data` is None for a temporary folder. `env` is the file for the variables of a test. The
    gateway ends when no process holds a lock on `while_locked` any more. `snapshots` is the folder
    of the stand-in's snapshots, None for one in the data folder.
    """

    port: int
    data: Path | None
    fresh: bool
    demo: bool
    exit: bool
    tls: bool
    memory: bool
    env: Path | None
    while_locked: Path | None
    snapshots: Path | None


def read_run_options(arguments: Sequence[str], environ: Mapping[str, str]) -> RunOptions:
    """Parse the arguments; a mistake ends the program with status 2 and the usage."""
    folder = Path(environ.get(DATA) or LOCAL)
    parser = argparse.ArgumentParser(
        prog="dev.py run",
        description="Set up, start the storage emulator and the gateway, show a demo, serve.",
    )
    parser.add_argument(
        "--port", type=_read_port, default=7071, help="0 takes a free one (default 7071)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help=f"the data folder (default {folder}; with --memory a temporary one)",
    )
    parser.add_argument("--fresh", action="store_true", help="empty the stored data first")
    parser.add_argument("--no-demo", dest="demo", action="store_false", help="only serve")
    parser.add_argument(
        "--exit", action="store_true", help="stop after the demo; status 0 if it went as expected"
    )
    parser.add_argument(
        "--tls", action="store_true", help="serve https, with a certificate made for this machine"
    )
    parser.add_argument(
        "--memory",
        action="store_true",
        help="keep the stored data in memory, beside any other running gateway",
    )
    parser.add_argument(
        "--env",
        type=Path,
        metavar="FILE",
        help="make a tenant for tests, and write its keys and the addresses to FILE",
    )
    parser.add_argument(
        "--while-locked",
        type=Path,
        metavar="FILE",
        help="stop when no process holds a lock (flock) on FILE",
    )
    parser.add_argument(
        "--snapshots",
        type=Path,
        metavar="DIR",
        help=f"the folder of the stand-in's snapshots (default DATA/{_SNAPSHOTS})",
    )
    options = RunOptions(**vars(parser.parse_args(arguments)))
    if options.data is None and not options.memory:
        return replace(options, data=folder)
    return options


def _read_port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= _MAX_PORT:
        raise argparse.ArgumentTypeError(f"{port} is no port")
    return port


def read_local_settings(root: Path) -> dict[str, str]:
    """`Values` of local.settings.json in `root`, or of the example if there is none.

    Raises SetupError for a file that Core Tools would not take.
    """
    for name in ("local.settings.json", "local.settings.example.json"):
        try:
            values = json.loads((root / name).read_text("utf-8-sig"))["Values"]
            return {str(key): value for key, value in values.items() if isinstance(value, str)}
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SetupError(
                f'{name} is no settings file: it needs an object "Values" of strings.'
            ) from error
    return {}


def gateway_environ(environ: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """The environment variables of the gateway: those of `environ` win over the settings file."""
    # The drop container is scanned every second, since a developer waits.
    return {"LOCAL_HOST_BLOB_SCAN_SECONDS": "1", **settings, **environ}


def find_storage_account(environ: Mapping[str, str]) -> str:
    """The connection string of a real account in `environ`; "" where the emulator is meant."""
    storage = environ.get(STORAGE, "").strip()
    return "" if storage.rstrip(";") == _DEVELOPMENT else storage


class StopRequested(Exception):  # noqa: N818 -- it is a wish of the user, no error
    """The user asked to stop while `StopSignals.wait_until` was waiting."""


class StopSignals:
    """Counts Ctrl-C, SIGTERM and a closed terminal: once is an orderly stop, twice is at once.

    The signals interrupt nothing; the code that waits looks at the count. A hang-up that `nohup`
    has switched off stays off.
    """

    def __init__(self) -> None:
        self.count = 0
        for number in _STOP_SIGNALS:
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._count_signal)

    def _count_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1

    def is_urgent(self) -> bool:
        """Whether the user asked more than once."""
        return self.count > 1

    def wait_until(self, condition: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait for `condition`; False when it did not come true within `seconds`.

        Raises StopRequested when the user asks to stop.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while not condition():
            if self.count:
                raise StopRequested
            if deadline is not None and time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE)
        return True


def run(options: RunOptions) -> int:
    """Everything from the set-up to the end; returns the exit status. Raises SetupError."""
    if not is_prepared():
        # A taken port is refused before the minute that a set-up takes. Where nothing has to be
        # installed it is refused later, since an earlier gateway may be just stopping.
        check_port(options.port)
        prepare()
    environ = gateway_environ(os.environ, read_local_settings(ROOT))
    if options.memory:
        environ[STORAGE] = _DEVELOPMENT
    if options.env is not None:
        if find_storage_account(environ):
            raise SetupError(
                f"--env makes a tenant for tests, and {STORAGE} names a real account. Unset it, "
                "or add --memory."
            )
        prepare_environment_file(options.env)
    stops = StopSignals()
    try:
        with private_umask(), _data_folder(options) as data, data.lock():
            if options.fresh:
                data.delete_storage()
            check_port(options.port)
            certificate = make_certificate(data.tls) if options.tls else None
            # The host loads the app while the emulator starts.
            with (
                _launched_storage(options, data, environ) as launch,
                running_host(
                    options.port,
                    environ,
                    data.host_log,
                    stops.is_urgent,
                    certificate,
                    # A reset deletes everything, so a real account has no stand-in.
                    snapshots=None if launch is None else _find_snapshots(options),
                ) as host,
            ):
                emulator = launch.wait() if launch is not None else None
                if emulator is not None:
                    environ[STORAGE] = emulator.connection_string
                    if not environ.get(DATA_KEYS, "").strip():
                        environ[DATA_KEYS] = data.read_data_keys()
                late = (STORAGE, DATA_KEYS)
                host.give_settings({name: environ[name] for name in late if name in environ})
                return _run_gateway(options, data, environ, host, emulator, stops, certificate)
    except StopRequested:
        return _INTERRUPTED


@contextmanager
def _data_folder(options: RunOptions) -> Iterator[DataFolder]:
    if options.data is not None:
        yield DataFolder(options.data)
        return
    with temporary_folder() as folder:
        yield DataFolder(folder)


def _find_snapshots(options: RunOptions) -> Path:
    # Those of a temporary data folder would go with it.
    return (options.snapshots or (options.data or LOCAL) / _SNAPSHOTS).resolve()


@contextmanager
def _launched_storage(
    options: RunOptions, data: DataFolder, environ: Mapping[str, str]
) -> Iterator[azurite.Launch | None]:
    """The emulator, or None where `environ` names a real account."""
    if find_storage_account(environ):
        note(f"Using the storage account of {STORAGE}.")
        yield None
        return
    location = None if options.memory else data.storage
    try:
        with azurite.launched(azurite.SETUP_PROGRAMS, location, data.emulator_log) as launch:
            data.record_emulator(launch.process.pid)
            yield launch
    finally:
        data.forget_emulator()


def _run_gateway(
    options: RunOptions,
    data: DataFolder,
    environ: Mapping[str, str],
    host: HostProcess,
    emulator: azurite.Azurite | None,
    stops: StopSignals,
    certificate: Path | None,
) -> int:
    _wait_until_ready(host, data.host_log, stops, certificate)
    note(f"What the gateway logs goes to {data.host_log}")
    if certificate is not None:
        note(f"Callers must trust {certificate}, as `curl --cacert` does")
    gateway = RunningGateway(
        host.url,
        environ[STORAGE],
        host.process.pid,
        str(certificate or ""),
        environ.get(DATA_KEYS, ""),
    )
    write_gateway(data.folder, gateway)
    try:
        with _environment_file(options.env, gateway):
            status = 0
            if options.demo:
                status = _show_demo(host.url, {**environ, DATA: str(data.folder)}, stops)
            say(f"ready {host.url}")
            return status if options.exit else _serve(host, emulator, stops, options.while_locked)
    finally:
        remove_gateway(data.folder)


def _environment_file(file: Path | None, gateway: RunningGateway) -> AbstractContextManager[None]:
    return nullcontext() if file is None else environment_file(file, variables_of(gateway))


def _wait_until_ready(
    host: HostProcess, log: Path, stops: StopSignals, certificate: Path | None
) -> None:
    if not stops.wait_until(lambda: bool(host.url) or host.has_ended, _READY_SECONDS):
        raise SetupError(f"The gateway did not answer within {_READY_SECONDS:.0f} s.")
    if host.has_ended:
        problem = f"{host.describe_end()} Its log:"
    else:
        problem = find_health_problem(host.url, certificate)
    if problem:
        lines = log.read_text("utf-8", "replace").splitlines()[-_LAST_LINES:]
        raise SetupError("\n".join([problem, *(line for line in lines if " INFO " not in line)]))


def _show_demo(url: str, environ: Mapping[str, str], stops: StopSignals) -> int:
    demo = processes.start(
        [str(PYTHON), "-m", "cli.demo", "--url", url],
        death_signal=signal.SIGKILL,
        environ=environ,
        folder=ROOT,
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


def _serve(
    host: HostProcess,
    emulator: azurite.Azurite | None,
    stops: StopSignals,
    while_locked: Path | None,
) -> int:
    """Until the user asks to stop or `while_locked` is unlocked (0), or until a part ends (1)."""
    if sys.stdout.isatty():
        note("Stop it with Ctrl-C.")

    def has_failed() -> bool:
        return host.has_ended or (emulator is not None and emulator.process.poll() is not None)

    take_lock = processes.lock_taker(while_locked) if while_locked else None
    try:
        stops.wait_until(lambda: has_failed() or (take_lock is not None and take_lock()))
    except StopRequested:
        note("Stopping ...")
        return 0
    if not has_failed():
        note(f"Stopping, since no process uses the gateway: {while_locked} is not locked.")
        return 0
    note(host.describe_end() if host.has_ended else "The storage emulator ended by itself.")
    return 1
