"""`dev.py build`: the folder that is deployed, with the app and the packages that it needs.

The packages are those of the locked set, checked by their hashes, for the platform of Azure and not
for this machine. The platform then installs nothing: its own build may use another Python than the
one that runs the app.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from local_host.setup.environment import LOCKED, LOCKED_TELEMETRY
from local_host.setup.install import digest, install, is_installed_from, mark_finished
from local_host.setup.messages import SetupError
from local_host.setup.paths import LOCAL, ROOT, VENV

# Where azure.yaml expects the folder.
BUILD: Final = LOCAL / "build"
# The Python of `infra/gateway.bicep`, and a Linux that is no newer than the platform's.
PYTHON_VERSION: Final = "3.13"
_PLATFORM: Final = "x86_64-manylinux_2_28"
# Where the worker of the platform looks for packages.
PACKAGES: Final = ".python_packages/lib/site-packages"


def build(folder: Path, *, with_telemetry: bool = False) -> None:
    """Make `folder` anew. Packages of the same locked set stay where they are.

    Raises SetupError where the folder is something else, or the packages cannot be had.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / ".python_packages").is_dir():
        raise SetupError(f"{folder} has other files: name a folder that is new or empty.")
    for entry in folder.iterdir() if folder.exists() else ():
        if entry.name != ".python_packages":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    _install_packages(folder / PACKAGES, LOCKED_TELEMETRY if with_telemetry else LOCKED)
    for name in app_files():
        if name == LOCKED:
            # Its packages are there. Left out, no build of the platform installs them again.
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)


def app_files() -> list[str]:
    """The files of the checkout that .funcignore does not leave out.

    Only files that git knows, or would take in: no cache and no file of this machine.
    """
    import pathspec

    ignored = pathspec.GitIgnoreSpec.from_lines((ROOT / ".funcignore").read_text().splitlines())
    return [name for name in _files_of_checkout() if not ignored.match_file(name)]


def _files_of_checkout() -> Iterable[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = "The build takes the files that git lists: run it in a checkout."
        raise SetupError(reason) from error
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def _install_packages(folder: Path, locked: str) -> None:
    source = digest([ROOT / locked], PYTHON_VERSION, _PLATFORM)
    if is_installed_from(folder, source):
        return
    shutil.rmtree(folder, ignore_errors=True)
    install(
        f"Installing the packages of {locked} for Python {PYTHON_VERSION} on Linux",
        "uv",
        [
            str(VENV / "bin" / "uv"), "pip", "install", "--require-hashes",
            "--only-binary", ":all:",
            "--python-version", PYTHON_VERSION, "--python-platform", _PLATFORM,
            "--target", str(folder), "--requirements", locked,
        ],
        log=LOCAL / "logs" / "build.log",
        environ=os.environ,
        folder=ROOT,
    )  # fmt: skip
    mark_finished(folder, source)
