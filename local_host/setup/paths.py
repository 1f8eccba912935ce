"""Where things are in a checkout: environments, installed programs, logs, stamps."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Checkout:
    """A working copy of the repository, and the ignored folders that the set-up makes in it."""

    root: Path

    @property
    def environment(self) -> Path:
        """The virtual environment that everything runs in."""
        return self.root / ".venv"

    @property
    def worker_environment(self) -> Path:
        """The second one, for the vendor's worker library."""
        return self.root / ".venv-worker"

    @property
    def python(self) -> Path:
        """The interpreter of the environment."""
        return self.environment / "bin" / "python"

    @property
    def azurite(self) -> Path:
        """The folder of the emulator's package.json and lock file."""
        return self.root / "local_host" / "azurite"

    @property
    def local(self) -> Path:
        """Data of local runs, logs, locks."""
        return self.root / ".local"

    def log(self, name: str) -> Path:
        """The log file of one tool."""
        return self.local / "logs" / f"{name}.log"


CHECKOUT = Checkout(Path(__file__).resolve().parents[2])


def packages_of(environment: Path) -> Path:
    """The site-packages of a virtual environment made by the Python that runs this."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return environment / "lib" / version / "site-packages"


def base_python() -> str:
    """The interpreter outside any virtual environment, even where `dev.py` runs inside one."""
    return str(getattr(sys, "_base_executable", "") or sys.executable)


# Folders and files that other users of the machine cannot read, also where they exist already.
#
# The data folder holds personal data, keys and what the gateway logs.

FOLDER_MODE = 0o700
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def close_to_others(path: Path) -> None:
    """Take every right of others from what exists at `path`, and from all that is in it.

    A link is left alone, and so is what belongs to another user, who could open it again.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid():
        return
    if found.st_mode & _OTHERS:
        path.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)
    if stat.S_ISDIR(found.st_mode):
        for entry in path.iterdir():
            close_to_others(entry)


@contextmanager
def files_are_private() -> Iterator[None]:
    """What this process and its children make during the block is closed to others."""
    before = os.umask(_OTHERS)
    try:
        yield
    finally:
        os.umask(before)
