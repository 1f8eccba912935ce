"""`dev.py lock`: writes requirements.txt from requirements.in.

The result holds for Python 3.11 and newer on every system, with the hash of each file that the
package index has, and everything that the direct requirements bring along. Versions that are in
requirements.txt already stay, unless they are to be upgraded.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Sequence

from local_host.setup.environment import LOCKED
from local_host.setup.messages import SetupError, say
from local_host.setup.places import CHECKOUT
from local_host.setup.preparing import prepare

_DIRECT = "requirements.in"


def lock(words: Sequence[str]) -> int:
    """Carry out the command; returns the exit status. Raises SetupError."""
    parser = argparse.ArgumentParser(
        prog="dev.py lock",
        description=f"Write {LOCKED} from {_DIRECT}: every package of a deployment with its "
        "version and its hashes. uv asks the package index; UV_DEFAULT_INDEX names another one.",
    )
    parser.add_argument(
        "--upgrade", action="store_true", help="take the newest versions, not those locked so far"
    )
    options = parser.parse_args(words)
    prepare()
    command = [str(CHECKOUT.environment / "bin" / "uv"), "pip", "compile", _DIRECT]
    command += ["--output-file", LOCKED, "--quiet", "--universal", "--python-version", "3.11"]
    command += ["--generate-hashes", "--custom-compile-command", "python3 dev.py lock"]
    command += ["--upgrade"] if options.upgrade else []
    if subprocess.run(command, cwd=CHECKOUT.root, check=False).returncode:
        raise SetupError(f"uv could not write {LOCKED}; its own words are above.")
    say(f"{LOCKED} is up to date. The next command of dev.py installs what has changed.")
    return 0
