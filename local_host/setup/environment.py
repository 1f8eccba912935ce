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
from dataclasses import dataclass
from pathlib import Path

from local_host.setup import stamps
from local_host.setup.installing import install
from local_host.setup.messages import SetupError, timed_step
from local_host.setup.places import Checkout, base_python

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
        return stamps.digest((self.checkout.root / name for name in names), self.version)

    def is_current(self) -> bool:
        """Whether nothing has to be done."""
        return self._has_interpreter() and stamps.is_current(self.folder, self.made_from())

    def make(self, log: str) -> None:
        """Bring it up to date; one of another Python, or half made, is made anew.

        Raises SetupError when it cannot be made.
        """
        wanted = self.made_from()
        if self.folder.exists() and not self._is_usable():
            shutil.rmtree(self.folder)
        stamps.mark_unfinished(self.folder)
        if not self._has_interpreter():
            self._create()
        self._install(log)
        stamps.mark_finished(self.folder, wanted)

    def _has_interpreter(self) -> bool:
        # Not `exists`: it raises where the Python behind the link is somebody else's.
        return os.access(self.interpreter, os.X_OK)

    def _is_usable(self) -> bool:
        if stamps.is_unfinished(self.folder) or not self._has_interpreter():
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
