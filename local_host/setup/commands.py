"""The commands of `dev.py`: which there are, and what each starts in the environment."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from local_host.setup.azurite import Programs
from local_host.setup.checks import run_checks
from local_host.setup.environment import LOCKED, prepare
from local_host.setup.gateway import DATA, read_run_options
from local_host.setup.messages import SetupError, note, say
from local_host.setup.paths import CHECKOUT

USAGE = """usage: python3 dev.py COMMAND

  run [--port 7071] [--data DIR] [--fresh] [--no-demo] [--exit] [--tls]
                        set up, start the gateway with its storage, show a demo, serve until Ctrl-C
  test [ARGUMENT ...]   set up, then every test; the arguments go to pytest
  check                 format, lint, strict types, unit tests: a minute or two
  bench [NAME ...]      the benchmarks
  lock [--upgrade]      write requirements.txt (what is deployed, with hashes) from requirements.in
  manage [--data DIR] ARGUMENT ...
                        manage.py on the storage of the running gateway; manage --help lists all

The first command makes .venv and installs what is pinned (a minute or two, and a package index).
"""
_HELP = {
    "test": """usage: python3 dev.py test [ARGUMENT ...]

Set up, then run every test (about ten minutes). The arguments go to pytest:

  python3 dev.py test -k poison             tests with this word in their name
  python3 dev.py test tests/unit -x         one folder, until the first failure

All options of pytest: .venv/bin/python -m pytest --help
""",
    "check": """usage: python3 dev.py check

Set up, then check the format, lint, check the types and run the unit tests, side by side: a minute
or two. It takes no arguments. The status is 0 where everything passed.
""",
}
_INTERRUPTED = 130
_WRONG_USAGE = 2


def run_command(words: Sequence[str]) -> int:
    """Carry out one command line; returns the exit status."""
    if not words or words[0] in ("-h", "--help", "help"):
        say(USAGE)
        return 0 if words else _WRONG_USAGE
    command = _COMMANDS.get(words[0])
    if command is None:
        note(f"dev.py has no command {words[0]!r}.\n\n{USAGE}")
        return _WRONG_USAGE
    if words[0] in _HELP and {"-h", "--help"} & set(words[1:]):
        # Shown at once: the set-up takes minutes, and a whole run of the tests takes ten.
        say(_HELP[words[0]])
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return command(list(words[1:]))
    except SetupError as error:
        note(str(error))
        return error.status
    except KeyboardInterrupt:
        note("Stopped. The next start goes on where this one was.")
        return _INTERRUPTED


def _run(words: list[str]) -> int:
    from local_host.setup.gateway import run

    return run(read_run_options(words, os.environ, CHECKOUT))


def _test(words: list[str]) -> int:
    from local_host.setup.environment import prepare_worker

    prepare()
    programs = Programs.of(CHECKOUT)
    own = {"AZURITE_NODE": str(programs.node), "AZURITE_SCRIPT": str(programs.script)}
    worker = prepare_worker()
    if worker is not None:
        own["GATEWAY_WORKER_PYTHON"] = str(worker)
    _become(["-m", "pytest", *words], own, CHECKOUT.root)


def _check(words: list[str]) -> int:
    if words:
        raise SetupError("check takes no arguments.", _WRONG_USAGE)
    prepare()
    return run_checks()


def _bench(words: list[str]) -> int:
    prepare()
    programs = Programs.of(CHECKOUT)
    own = {"AZURITE_NODE": str(programs.node), "AZURITE_SCRIPT": str(programs.script)}
    _become(["-m", "benchmarks", *words], own, CHECKOUT.root)


def _lock(words: list[str]) -> int:

    return lock(words)


def _manage(words: list[str]) -> int:
    own = {}
    if len(words) > 1 and words[0] == "--data":
        own[DATA] = str(Path(words[1]).resolve())
        words = words[2:]
    prepare()
    _become([str(CHECKOUT.root / "manage.py"), *words], own, Path.cwd())


def _become(words: Sequence[str], own: Mapping[str, str], folder: Path) -> NoReturn:
    """End as the environment's Python, so that its exit status and its signals are ours."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.chdir(folder)
    python = str(CHECKOUT.python)
    os.execve(python, [python, *words], {**os.environ, **own})


_COMMANDS: Mapping[str, Callable[[list[str]], int]] = {
    "run": _run,
    "test": _test,
    "check": _check,
    "bench": _bench,
    "lock": _lock,
    "manage": _manage,
}


# `dev.py lock`: writes requirements.txt from requirements.in.
#
# The result holds for Python 3.11 and newer on every system, with the hash of each file that the
# package index has, and everything that the direct requirements bring along. Versions that are in
# requirements.txt already stay, unless they are to be upgraded.

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
