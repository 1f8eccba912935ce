"""`python -m local_host [--app DIR] [--port 7071|0] [--settings FILE] [--tls-cert FILE …]`.

Prints `ready http://127.0.0.1:PORT` (https with `--tls-cert` and `--tls-key`) on a line of its own
on standard output when calls are answered; logs go to standard error. `--address-setting NAME` puts
that address into a setting of the app, unless it is set: WEBSITE_HOSTNAME, which the platform sets,
does not say whether it is http or https. The app finds the process id in LOCAL_HOST, which no other
host sets. Exit status: 0 stopped by a signal, 1 the app was refused,
2 wrong use or the port is taken.

With `--late-settings` the host loads the app and the modules of `--preload`, which takes most of
its start, while its caller starts the storage. Then it reads one line from standard input: a JSON
object with the settings that were not known before.
"""

import gc

# A tenth of the start would go into collections that find nothing, while the app is imported.
if __name__ == "__main__":
    gc.disable()

import argparse
import asyncio
import errno
import importlib
import json
import logging
import os
import re
import sys
from pathlib import Path
from socket import socket
from urllib.parse import urlsplit

from local_host.app_settings import AppRefusedError, load_settings_file, resolve_connection
from local_host.host_json import HostOptions, read_host_json
from local_host.indexing import AppFunction, index, load_functions
from local_host.log_lines import FORMAT, PrintableFormatter, printable_lines
from local_host.serving import Front, TlsFiles, bind, serve

_log = logging.getLogger("local_host")


def main(arguments: list[str] | None = None) -> int:
    """Run the host; returns the exit status."""
    options = _parse(arguments)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter(FORMAT))
    logging.basicConfig(handlers=[handler], level="INFO")
    for noisy in ("azure", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        sockets = bind(options.port)
    except OSError as error:
        reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used: {error}"
        _print_error(f"Port {options.port} {reason}; choose another with --port.")
        return 2
    with sockets:
        try:
            return asyncio.run(_run(options, sockets))
        except AppRefusedError as refused:
            for problem in refused.problems:
                _print_error(f"refused: {problem}")
            return 1


def _print_error(text: str) -> None:
    # The text may quote the name of a file or a setting.
    sys.stderr.write(f"{printable_lines(text)}\n")


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
    parser.add_argument("--tls-cert", type=Path, help="serve over TLS with this PEM certificate")
    parser.add_argument("--tls-key", type=Path, help="its private key")
    parser.add_argument(
        "--address-setting", default="", metavar="NAME", help="a setting to put the address into"
    )
    parser.add_argument(
        "--late-settings", action="store_true", help="read a line of settings from standard input"
    )
    parser.add_argument(
        "--preload", default=[], action="append", metavar="MODULE", help="import this of the app"
    )
    parser.add_argument(
        "--standin",
        action="store_true",
        help="answer the control calls at /_standin",
    )
    parser.add_argument(
        "--snapshots",
        type=Path,
        metavar="DIR",
        help="the stand-in's folder for snapshots (default: .local/snapshots of the app)",
    )
    options = parser.parse_args(arguments)
    if (options.tls_cert is None) is not (options.tls_key is None):
        parser.error("--tls-cert and --tls-key go together")
    return options


async def _run(options: argparse.Namespace, sockets: socket) -> int:
    """Index the app in the event loop, as the worker does, and serve it."""
    directory = options.app.resolve()
    file = options.settings.resolve() if options.settings else directory / "local.settings.json"
    if options.settings or file.is_file():
        load_settings_file(file)
    tls = TlsFiles(options.tls_cert, options.tls_key) if options.tls_cert else None
    if tls is not None:
        tls.check()
    address = _publish_address(options, sockets)
    host = read_host_json(directory / "host.json")
    logging.getLogger().setLevel(host.log_level)
    loaded = load_functions(directory)
    for module in options.preload:
        importlib.import_module(module)
    front: Front | None = None
    if options.standin:
        # It knows the app, so it is imported when the app's folder is on the path.
        from local_host.standin.stand_in import StandIn

        front = StandIn(address, options.snapshots or directory / ".local" / "snapshots")
    if options.late_settings:
        _read_late_settings()
    if options.standin:
        _check_emulator()
    functions = index(loaded, host)
    gc.freeze()
    gc.enable()
    await _serve(functions, host, sockets, directory, address, tls, front)
    return 0


def _read_late_settings() -> None:
    line = sys.stdin.readline()
    if not line.endswith("\n"):
        raise AppRefusedError(["the settings on standard input ended before their line did"])
    os.environ.update(json.loads(line))


def _check_emulator() -> None:
    """Raises AppRefusedError where the storage is a real account, which a reset would empty."""
    connection = resolve_connection("")
    text = connection.connection_string if connection else ""
    addresses = re.findall(r"(?:Blob|Queue|Table)Endpoint=([^;]*)", text, re.IGNORECASE)
    hosts = {urlsplit(address).hostname for address in addresses}
    if len(addresses) < 3 or not hosts <= {"127.0.0.1", "localhost", "::1"}:
        raise AppRefusedError(
            [
                "--standin needs a storage emulator on this machine in AzureWebJobsStorage, since "
                "its reset deletes everything that is stored"
            ]
        )


def _publish_address(options: argparse.Namespace, sockets: socket) -> str:
    """Put the address of this host into the environment of the app."""
    host = f"127.0.0.1:{sockets.getsockname()[1]}"
    address = f"https://{host}" if options.tls_cert else f"http://{host}"
    os.environ["WEBSITE_HOSTNAME"] = host
    os.environ["LOCAL_HOST"] = str(os.getpid())
    name = options.address_setting
    if name and not os.environ.get(name, "").strip():
        os.environ[name] = address
    return address


async def _serve(
    functions: list[AppFunction],
    options: HostOptions,
    sockets: socket,
    directory: Path,
    address: str,
    tls: TlsFiles | None,
    front: Front | None,
) -> None:
    """Serve until the stop, then end the process as the platform ends a worker.

    An app has no hook for closing its clients, and a sync handler may never return its thread.
    """

    def print_ready() -> None:
        for function in functions:
            source = function.trigger.get("queueName") or function.trigger.get("schedule") or ""
            where = f"/{function.route.text.lstrip('/')}" if function.route else source
            _log.info("function %s: %s %s", function.name, function.kind, where)
        sys.stdout.write(f"ready {address}\n")
        sys.stdout.flush()

    await serve(functions, options, sockets, directory, print_ready, tls, front)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
