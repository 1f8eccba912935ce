"""The second environment: the vendor's worker library, which exists for Python 3.13 only.

Most machines have no Python 3.13 beside the one in use, so whatever is missing here is a note for
the person and never a failure; the tests that need it skip.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from local_host.setup.environment import LOCKED, Environment
from local_host.setup.messages import SetupError, note
from local_host.setup.places import CHECKOUT, Checkout, base_python
from local_host.setup.preparing import alone_in, make

VERSION = "3.13"
_PROBE = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"


def prepare_worker(checkout: Checkout = CHECKOUT) -> Path | None:
    """The interpreter of the worker's environment, made where it is not there; None without one."""
    python = find_python()
    if python is None:
        note(f"No Python {VERSION} found: the tests on the vendor's worker library are skipped.")
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
    return Environment(checkout, checkout.worker_environment, python, VERSION, requirements)


def find_python() -> str | None:
    """A Python of the worker's version that can make environments."""
    return next((python for python in _candidates() if _is_fit(python)), None)


def _candidates() -> Iterator[str]:
    if sys.version_info[:2] == (3, 13):
        yield base_python()
    on_path = shutil.which(f"python{VERSION}")
    if on_path:
        yield on_path
    for folder in sorted((Path.home() / ".pyenv" / "versions").glob(f"{VERSION}*"), reverse=True):
        yield str(folder / "bin" / "python")


def _is_fit(python: str) -> bool:
    try:
        answer = subprocess.run([python, "-c", _PROBE], capture_output=True, check=False, text=True)
    except OSError:
        return False
    return answer.returncode == 0 and answer.stdout.strip() == VERSION
