"""The gateway's process, which all processes of one test run share.

Whoever uses the gateway holds a shared lock on `users.lock`, which the system takes away when a
process dies, however it dies. `dev.py run --while-locked` ends as soon as it can lock that file
itself: so the last user ends the gateway, and no process is left behind by a test run that is
killed. Whoever starts the gateway holds `start.lock`.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit
from weakref import WeakSet

from payroll_gateway_standin.calls import StandinError, call

_DISTRIBUTION = "payroll-gateway-standin"
# The first start of a checkout installs what it needs, which takes minutes.
_START_SECONDS = 900.0
_ANSWER_SECONDS = 60.0
_PAUSE = 0.02
_LAST_LINES = 15
# Of the environment, what changes the gateway or its Python does not reach it.
_HIDDEN = ("GATEWAY_", "AzureWebJobs", "LOCAL_HOST", "AZURITE_", "PYTHON", "PYTEST_")


class Lock:
    """An open file whose lock ends with this process at the latest."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _OPEN.add(self)

    def take(self, *, is_shared: bool) -> None:
        """Wait for the lock."""
        fcntl.flock(self._file, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)

    def close(self) -> None:
        """Give the lock up for good."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


_OPEN: WeakSet[Lock] = WeakSet()


def _close_in_child() -> None:
    for lock in list(_OPEN):
        lock.close()


# A forked child shares the locks, and would keep them when this process has died.
os.register_at_fork(after_in_child=_close_in_child)


@contextmanager
def locked(path: Path, *, is_shared: bool = False) -> Iterator[None]:
    """Hold a lock on the file for the time of the block."""
    lock = Lock(path)
    try:
        lock.take(is_shared=is_shared)
        yield
    finally:
        lock.close()


@dataclass(frozen=True)
class RunningGateway:
    """The shared gateway: the variables of `dev.py run --env`, and the folder of this test run."""

    variables: Mapping[str, str]
    folder: Path


@contextmanager
def shared_gateway(
    repository: Path,
    folder: Path,
    settings: Sequence[str] = (),
    snapshots: Path | None = None,
) -> Iterator[RunningGateway]:
    """The gateway of the test run that shares `folder`; the first user starts it.

    `settings` are lines `NAME=value` for it, `snapshots` is the folder of its snapshots. Raises
    StandinError where it does not start.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    users = Lock(folder / "users.lock")
    try:
        with locked(folder / "start.lock"):
            # This waits for a gateway that is just ending, since it has locked the file.
            users.take(is_shared=True)
            variables: Mapping[str, str] = read_variables(folder / "gateway.env")
            if not _answers(variables):
                variables = _start(repository, folder, settings, snapshots)
        yield RunningGateway(variables, folder)
    finally:
        users.close()


def _start(
    repository: Path, folder: Path, settings: Sequence[str], snapshots: Path | None
) -> Mapping[str, str]:
    script = repository / "dev.py"
    if not script.is_file():
        raise StandinError(
            f"{repository} is no checkout of the gateway: it has no dev.py. Set payroll_gateway in "
            "the configuration of pytest, or the environment variable PAYROLL_GATEWAY, to the "
            "folder of the checkout."
        )
    # The checkout's own Python if there is one, since another version would install all anew.
    own_python = repository / ".venv" / "bin" / "python"
    python = str(own_python) if os.access(own_python, os.X_OK) else sys.executable
    file, log = folder / "gateway.env", folder / "gateway.log"
    command = [python, str(script), "run", "--no-demo", "--port", "0", "--memory"]
    command += ["--data", str(folder / "data"), "--env", str(file)]
    command += ["--while-locked", str(folder / "users.lock")]
    command += ["--snapshots", str(snapshots)] if snapshots is not None else []
    file.unlink(missing_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=repository,
            env=_environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_SECONDS
    while not file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            lines = log.read_text("utf-8", "replace").splitlines()[-_LAST_LINES:]
            raise StandinError("\n".join(["The gateway did not start. Its output:", *lines]))
        time.sleep(_PAUSE)
    # The gateway outlives this process if others still use it, so nothing waits for its end, and
    # Python need not warn of that.
    process.returncode = 0
    return read_variables(file)


def _environment(settings: Sequence[str]) -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_HIDDEN)}
    for line in settings:
        name, separator, value = line.partition("=")
        if not separator:
            raise StandinError(f"payroll_gateway_settings: {line!r} is not of the form NAME=value.")
        environ[name.strip()] = value.strip()
    return environ


def read_variables(file: Path) -> dict[str, str]:
    """The variables of a file of `dev.py run --env`; none where there is no such file."""
    try:
        lines = file.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in lines)
    return {name: "".join(shlex.split(value)) for name, _, value in pairs}


def _answers(variables: Mapping[str, str]) -> bool:
    if not variables:
        return False
    # A gateway that was killed has left its file behind. No reset and no move of the clock makes
    # this call wait.
    with suppress(OSError, http.client.HTTPException, ValueError, TypeError):
        answer = call("GET", f"{variables['GATEWAY_STANDIN_URL']}/clock", seconds=_ANSWER_SECONDS)
        return answer.status == 200 and "ahead" in answer.json()
    return False


def installed_from() -> Path | None:
    """The checkout that this package was installed from with `pip install ./standin`."""
    beside = Path(__file__).resolve().parents[2]
    if (beside / "dev.py").is_file():
        return beside
    try:
        text = distribution(_DISTRIBUTION).read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    url = urlsplit(json.loads(text).get("url", "")) if text else urlsplit("")
    return Path(unquote(url.path)).parent if url.scheme == "file" else None
