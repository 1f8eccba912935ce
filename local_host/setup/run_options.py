"""What `dev.py run` was asked for, and the environment variables that it gives to the gateway."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local_host.setup.messages import SetupError
from local_host.setup.places import Checkout

STORAGE = "AzureWebJobsStorage"
DATA = "GATEWAY_DATA"
_DEVELOPMENT = "UseDevelopmentStorage=true"
_MAX_PORT = 65_535


@dataclass(frozen=True)
class RunOptions:
    """The arguments of `run`. Port 0 means a free one."""

    port: int
    data: Path
    fresh: bool
    demo: bool
    exit: bool
    tls: bool


def read_run_options(
    words: Sequence[str], environ: Mapping[str, str], checkout: Checkout
) -> RunOptions:
    """Parse the arguments; a mistake ends the program with status 2 and the usage."""
    parser = argparse.ArgumentParser(
        prog="dev.py run",
        description="Set up, start the storage emulator and the gateway, show a demo, serve.",
    )
    parser.add_argument(
        "--port", type=_port, default=7071, help="0 takes a free one (default 7071)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=default_data(environ, checkout),
        metavar="DIR",
        help="the data folder (default %(default)s)",
    )
    parser.add_argument("--fresh", action="store_true", help="empty the stored data first")
    parser.add_argument("--no-demo", dest="demo", action="store_false", help="only serve")
    parser.add_argument(
        "--exit", action="store_true", help="stop after the demo; status 0 if it went as expected"
    )
    parser.add_argument(
        "--tls", action="store_true", help="serve https, with a certificate made for this machine"
    )
    return RunOptions(**vars(parser.parse_args(words)))


def default_data(environ: Mapping[str, str], checkout: Checkout) -> Path:
    """The data folder where none is named."""
    return Path(environ.get(DATA) or checkout.local)


def read_local_settings(checkout: Checkout) -> dict[str, str]:
    """`Values` of local.settings.json, or of the example where there is none.

    Raises SetupError for a file that is not what Core Tools would take.
    """
    for name in ("local.settings.json", "local.settings.example.json"):
        file = checkout.root / name
        if file.exists():
            return _values(file)
    return {}


def gateway_environ(environ: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """The variables of the gateway's process: the settings file gives defaults, ours win.

    Dropped files are looked for every second: somebody waits for them.
    """
    own = {"LOCAL_HOST_BLOB_SCAN_SECONDS": "1"}
    return {**own, **settings, **environ}


def given_storage(environ: Mapping[str, str]) -> str:
    """The connection string of a real account in `environ`; "" where the emulator is meant."""
    storage = environ.get(STORAGE, "").strip()
    return "" if storage.rstrip(";") == _DEVELOPMENT else storage


def _values(file: Path) -> dict[str, str]:
    try:
        values = json.loads(file.read_text("utf-8-sig"))["Values"]
        return {str(name): value for name, value in values.items() if isinstance(value, str)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SetupError(
            f'{file.name} is no settings file: it needs an object "Values" of strings.'
        ) from error


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= _MAX_PORT:
        raise argparse.ArgumentTypeError(f"{port} is no port")
    return port
