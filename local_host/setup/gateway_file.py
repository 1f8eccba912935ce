"""`gateway.json`: how other programs find the gateway that runs on a data folder.

It holds the connection string of the storage, so only its owner may read it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

_NAME = "gateway.json"


@dataclass(frozen=True)
class RunningGateway:
    """A gateway that answers: its address, the connection string of its storage, its process.

    `certificate` is the file of the one to trust where the address is https, else empty.
    """

    url: str
    storage: str
    pid: int
    certificate: str = ""


def write_gateway(folder: Path, gateway: RunningGateway) -> None:
    """Announce the gateway; a reader sees all of it or nothing."""
    draft = folder / f"{_NAME}.new"
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        json.dump({name: value for name, value in asdict(gateway).items() if value}, file)
    draft.replace(folder / _NAME)


def read_gateway(folder: Path) -> RunningGateway | None:
    """What is announced in `folder`; None where nothing is, or nothing that can be read."""
    try:
        said = json.loads((folder / _NAME).read_text("utf-8"))
        return RunningGateway(
            str(said["url"]), str(said["storage"]), int(said["pid"]), said.get("certificate", "")
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove_gateway(folder: Path) -> None:
    """Take the announcement back."""
    (folder / _NAME).unlink(missing_ok=True)
