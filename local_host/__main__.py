"""`python -m local_host [--app DIR] [--port 7071|0] [--settings FILE]`.

Prints `ready http://127.0.0.1:PORT` on a line of its own on standard output when calls are
answered; logs go to standard error. Exit status: 0 stopped by a signal, 1 the app was refused,
2 wrong use or the port is taken.
"""

import argparse
import asyncio
import errno
import logging
import os
import sys
from pathlib import Path
from socket import socket

from local_host.app_settings import load_settings_file
from local_host.errors import AppRefusedError
from local_host.host_json import HostOptions, read_host_json
from local_host.indexing import AppFunction, index, load_functions
from local_host.serving import bind, serve

_log = logging.getLogger("local_host")


def main(arguments: list[str] | None = None) -> int:
    """Run the host; returns the exit status."""
    options = _parse(arguments)
    logging.basicConfig(
        stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s", level="INFO"
    )
    for noisy in ("azure", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        bound = bind(options.port)
    except OSError as error:
        reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used: {error}"
        sys.stderr.write(f"Port {options.port} {reason}; choose another with --port.\n")
        return 2
    with bound:
        try:
            return _run(options.app.resolve(), options.settings, bound)
        except AppRefusedError as refused:
            for problem in refused.problems:
                sys.stderr.write(f"refused: {problem}\n")
            return 1


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local_host",
        description="Runs a function_app.py without the vendor's host, on 127.0.0.1.",
    )
    parser.add_argument("--app", type=Path, default=Path(), help="the app's folder (default: .)")
    parser.add_argument("--port", type=int, default=7071, help="0 takes a free port")
    parser.add_argument(
        "--settings", type=Path, help="a settings file (default: local.settings.json of the app)"
    )
    return parser.parse_args(arguments)


def _run(directory: Path, settings: Path | None, bound: socket) -> int:
    file = settings.resolve() if settings else directory / "local.settings.json"
    if settings or file.is_file():
        load_settings_file(file)
    os.environ["WEBSITE_HOSTNAME"] = f"127.0.0.1:{bound.getsockname()[1]}"
    options = read_host_json(directory / "host.json")
    logging.getLogger().setLevel(options.log_level)
    functions = index(load_functions(directory), options)
    asyncio.run(_serve(functions, options, bound, directory))
    return 0


async def _serve(
    functions: list[AppFunction], options: HostOptions, bound: socket, directory: Path
) -> None:
    """Serve until the end, then leave as the platform ends a worker: an app is not asked.

    It has no hook to close its clients in, and a sync handler may never return its thread.
    """

    def tell_ready() -> None:
        for function in functions:
            source = function.trigger.get("queueName") or function.trigger.get("schedule") or ""
            where = f"/{function.route.text.lstrip('/')}" if function.route else source
            _log.info("function %s: %s %s", function.name, function.kind, where)
        sys.stdout.write(f"ready http://127.0.0.1:{bound.getsockname()[1]}\n")
        sys.stdout.flush()

    await serve(functions, options, bound, directory, tell_ready)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
