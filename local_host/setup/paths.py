"""The paths in the checkout, and the protection of files from other users of the machine.

The data folder contains personal data, keys and the log of the gateway.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The virtual environment that everything runs in, and its interpreter.
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
# A second environment, for the vendor's worker library.
WORKER_VENV = ROOT / ".venv-worker"
# The emulator's package.json and lock file; npm installs beside them.
AZURITE = ROOT / "local_host" / "azurite"
# The console, with a package.json and a lock file of what its checks need.
CONSOLE = ROOT / "console"
# The data of local runs, logs, locks; the setting DATA names another folder for the data.
LOCAL = ROOT / ".local"
DATA = "GATEWAY_DATA"

FOLDER_MODE = 0o700
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def site_packages() -> Path:
    """Where pip installs packages in VENV, which the Python that runs this has made."""
    return VENV / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def base_python() -> str:
    """The interpreter outside any virtual environment, even where `dev.py` runs inside one."""
    return str(getattr(sys, "_base_executable", "") or sys.executable)


def close_to_others(path: Path) -> None:
    """Remove all rights of other users from `path` and everything in it.

    Links are skipped, and so are files of another user, who could restore the rights.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(status.st_mode) or status.st_uid != os.geteuid():
        return
    if status.st_mode & _OTHERS:
        path.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS)
    if stat.S_ISDIR(status.st_mode):
        for entry in path.iterdir():
            close_to_others(entry)


@contextmanager
def private_umask() -> Iterator[None]:
    """Files that this process and its children create during the block are closed to others."""
    before = os.umask(_OTHERS)
    try:
        yield
    finally:
        os.umask(before)
