"""The commands of `dev.py`; most of them end as the Python of the environment."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Final, NoReturn

from local_host.setup.azurite import SETUP_PROGRAMS
from local_host.setup.build import BUILD, build
from local_host.setup.environment import (
    LOCKED,
    LOCKED_TELEMETRY,
    prepare,
    prepare_console,
    prepare_worker,
)
from local_host.setup.messages import SetupError, note, say
from local_host.setup.paths import CONSOLE, DATA, PYTHON, ROOT, VENV

# `dev.py check`: format, lint, strict types and the fast tests, side by side, in a minute.
#
# The model tests run a sample of their interleavings here, and all of them in `test`.

_TESTS = ("tests/unit", "tests/model")
_SAMPLE = {"ORDER_MODEL_RUNS": "100"}
_TYPESCRIPT = (
    str(SETUP_PROGRAMS.node),
    str(CONSOLE / "node_modules" / "typescript" / "bin" / "tsc"),
)


@dataclass
class Check:
    """One running tool. Its output is shown when it ends, so that outputs do not mix.

    A tool of Python is called as its module.
    """

    name: str
    arguments: list[str]
    program: Sequence[str] = (str(PYTHON), "-m")
    start: float = field(default_factory=time.monotonic)
    output: IO[bytes] = field(default_factory=TemporaryFile)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [*self.program, *self.arguments],
            cwd=ROOT,
            env={**_SAMPLE, **os.environ},
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
        )

    def passes(self) -> bool:
        """Wait for its end and show its output."""
        status = self.process.wait()
        self.output.seek(0)
        text = self.output.read().decode("utf-8", "replace").rstrip()
        if text:
            say(text)
        verdict = "failed" if status else "passed"
        say(f"{self.name}: {verdict} after {time.monotonic() - self.start:.1f} s")
        return status == 0


def run_checks() -> int:
    """Run all checks, even if the first ones fail. Returns the exit status."""
    checks = [
        Check("format", ["ruff", "format", "--check", "--quiet", "."]),
        Check("lint", ["ruff", "check", "--quiet", "."]),
        Check("types", ["mypy", "--no-error-summary"]),
        Check("types of the console", ["--project", str(CONSOLE)], _TYPESCRIPT),
        Check(
            "fast tests",
            [
                "pytest",
                "-q",
                "-m",
                "not slow",
                *[name for name in _TESTS if (ROOT / name).is_dir()],
            ],
        ),
    ]
    failed_checks = [check.name for check in checks if not check.passes()]
    say(f"check failed: {', '.join(failed_checks)}" if failed_checks else "check passed")
    return 1 if failed_checks else 0


USAGE = """usage: python3 dev.py COMMAND

  run [--port 7071] [--data DIR] [--fresh] [--no-demo] [--exit] [--tls]
      [--memory] [--env FILE] [--snapshots DIR] [--while-locked FILE]
                        set up, start the gateway with its storage, show a demo, serve until Ctrl-C
  test [ARGUMENT ...]   set up, then every test; the arguments go to pytest
  check                 format, lint, strict types, unit tests: a minute or two
  bench [NAME ...]      the benchmarks
  lock [--upgrade]      write requirements.txt (what is deployed, with hashes) from requirements.in
  build [FOLDER] [--telemetry]
                        make the folder that is deployed: the app with its packages (.local/build)
  sbom FILE [--telemetry]
                        write the bill of materials of a deployment (CycloneDX JSON, with licences)
  manage [--data DIR] ARGUMENT ...
                        manage.py on the storage of the running gateway; manage --help lists all

The first command makes .venv and installs what is pinned (a minute or two, and a package index).
"""
_HELP = {
    "test": """usage: python3 dev.py test [ARGUMENT ...]

Set up, then run every test, in three processes (about twelve minutes on two quiet cores). The
arguments go to pytest:

  python3 dev.py test -k poison             tests with this word in their name
  python3 dev.py test tests/unit -x         one folder, until the first failure
  python3 dev.py test -n 0                  every test in one process, one after another

A folder, a file or -k runs in one process; -n 2 gives it two.
All options of pytest: .venv/bin/python -m pytest --help
""",
    "check": """usage: python3 dev.py check

Set up, then check the format, lint, check the types and run the unit tests, side by side: a minute
or two. It takes no arguments. The status is 0 where everything passed.
""",
}
_INTERRUPTED = 130
_WRONG_USAGE = 2
_EMULATOR_VARIABLES = {
    "AZURITE_NODE": str(SETUP_PROGRAMS.node),
    "AZURITE_SCRIPT": str(SETUP_PROGRAMS.script),
}


def run_command(arguments: Sequence[str]) -> int:
    """Carry out one command line; returns the exit status."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        say(USAGE)
        return 0 if arguments else _WRONG_USAGE
    name, *rest = arguments
    command = _COMMANDS.get(name)
    if command is None:
        note(f"dev.py has no command {name!r}.\n\n{USAGE}")
        return _WRONG_USAGE
    if name in _HELP and {"-h", "--help"} & set(rest):
        # Shown at once: the set-up and a whole run of the tests take minutes.
        say(_HELP[name])
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return command(rest)
    except SetupError as error:
        note(str(error))
        return error.status
    except KeyboardInterrupt:
        note("Stopped. Run the same command again to continue.")
        return _INTERRUPTED


def _run(arguments: list[str]) -> int:
    # Imported late, so that --help is quick: it loads an HTTP client.
    from local_host.setup.gateway import read_run_options, run

    return run(read_run_options(arguments, os.environ))


def _test(arguments: list[str]) -> int:
    prepare()
    prepare_console()
    variables = dict(_EMULATOR_VARIABLES)
    worker = prepare_worker()
    if worker is not None:
        variables["GATEWAY_WORKER_PYTHON"] = str(worker)
    # tests/conftest.py says how many processes that are. Each takes one file after another, in
    # order: the short ones come last, so that both end at about the same time.
    processes = ["-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder"]
    _become_python(["-m", "pytest", *processes, *arguments], variables, ROOT)


def _check(arguments: list[str]) -> int:
    if arguments:
        raise SetupError("check takes no arguments.", _WRONG_USAGE)
    prepare()
    prepare_console()
    return run_checks()


def _bench(arguments: list[str]) -> int:
    prepare()
    _become_python(["-m", "benchmarks", *arguments], _EMULATOR_VARIABLES, ROOT)


def _lock(arguments: list[str]) -> int:
    """Write requirements.txt: the packages of a deployment, for Python 3.11 and newer.

    The result has the hash of each file that the package index has, for every system. Versions
    that are in requirements.txt already stay, unless they are to be upgraded.
    """
    sources = {"requirements.in": LOCKED, "requirements-telemetry.in": LOCKED_TELEMETRY}
    parser = argparse.ArgumentParser(
        prog="dev.py lock",
        description=f"Write {' and '.join(sources.values())}: every package of a deployment, the "
        "second time with those for telemetry, with its version and its hashes. uv asks the "
        "package index; UV_DEFAULT_INDEX names another one.",
    )
    parser.add_argument(
        "--upgrade", action="store_true", help="take the newest versions, not those locked so far"
    )
    options = parser.parse_args(arguments)
    prepare()
    for source, locked in sources.items():
        command = [str(VENV / "bin" / "uv"), "pip", "compile", source]
        command += ["--output-file", locked, "--quiet", "--universal", "--python-version", "3.11"]
        command += ["--generate-hashes", "--custom-compile-command", "python3 dev.py lock"]
        command += ["--upgrade"] if options.upgrade else []
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            raise SetupError(f"uv could not write {locked}; its message is above.")
    say("Both are up to date. The next command of dev.py installs what has changed.")
    return 0


def _build(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dev.py build",
        description="Make the folder that is deployed: the files that .funcignore names, and the "
        "locked packages for the platform, checked by their hashes.",
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", default=BUILD, help="the folder to make; .local/build"
    )
    _add_telemetry_option(parser)
    options = parser.parse_args(arguments)
    prepare()
    build(options.folder.resolve(), with_telemetry=options.telemetry)
    say(f"{options.folder} is ready to be deployed.")
    return 0


def _add_telemetry_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--telemetry", action="store_true", help=f"take the packages of {LOCKED_TELEMETRY}"
    )


# The tool is run from an environment of its own, since nothing else needs its packages.
_SBOM_TOOL: Final = "cyclonedx-bom==7.5.0"


def _sbom(arguments: list[str]) -> int:
    """Write which packages a deployment has, with their licences, from their own metadata."""
    parser = argparse.ArgumentParser(
        prog="dev.py sbom",
        description=f"Install {LOCKED} into an empty environment, checking the hashes, and write "
        "what is there as CycloneDX JSON, with licences.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the file to write")
    _add_telemetry_option(parser)
    options = parser.parse_args(arguments)
    file: Path = options.file.resolve()
    locked = LOCKED_TELEMETRY if options.telemetry else LOCKED
    prepare()
    uv = str(VENV / "bin" / "uv")
    with TemporaryDirectory() as folder:
        python = f"{folder}/bin/python"
        install = ["pip", "install", "--quiet", "--require-hashes", "--python", python]
        write = ["tool", "run", "--quiet", "--from", _SBOM_TOOL, "cyclonedx-py", "environment"]
        for command in (
            ["venv", "--quiet", "--clear", "--python", str(PYTHON), folder],
            [*install, "--requirements", locked],
            [*write, "--output-reproducible", "--output-file", str(file), python],
        ):
            if subprocess.run([uv, *command], cwd=ROOT, check=False).returncode:
                raise SetupError(f"uv {command[0]} has failed; its message is above.")
    say(f"{file} has the packages of a deployment with their licences.")
    return 0


def _manage(arguments: list[str]) -> int:
    variables = {}
    if len(arguments) > 1 and arguments[0] == "--data":
        variables[DATA] = str(Path(arguments[1]).resolve())
        arguments = arguments[2:]
    prepare()
    _become_python([str(ROOT / "manage.py"), *arguments], variables, Path.cwd())


def _become_python(
    arguments: Sequence[str], variables: Mapping[str, str], folder: Path
) -> NoReturn:
    """Replace this process by the environment's Python, which then gets the signals."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.chdir(folder)
    os.execve(PYTHON, [str(PYTHON), *arguments], {**os.environ, **variables})


_COMMANDS: Mapping[str, Callable[[list[str]], int]] = {
    "run": _run,
    "test": _test,
    "check": _check,
    "bench": _bench,
    "lock": _lock,
    "build": _build,
    "sbom": _sbom,
    "manage": _manage,
}
