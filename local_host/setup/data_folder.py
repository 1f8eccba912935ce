"""The data folder of a local gateway: one gateway at a time, and nothing left of a dead one."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from local_host.setup import processes
from local_host.setup.messages import SetupError, note
from local_host.setup.paths import FOLDER_MODE, close_to_others
from local_host.setup.processes import locked

# `gateway.json`: how other programs find the gateway that runs on a data folder.
#
# It holds the connection string of the storage, so only its owner may read it.

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


_PATIENCE = 15.0
"""Seconds for a predecessor that is just stopping."""
_STRAY_EMULATOR = ((signal.SIGTERM, 30.0), (signal.SIGKILL, 5.0))
_OWN = frozenset(
    {
        "azurite", "azurite.log", "azurite.pid", "bench", "demo.json", "gateway.json",
        "gateway.json.new", "gateway.log", "logs", "run.lock", "setup.lock", "tls",
    }
)  # fmt: skip
"""What the gateway and `dev.py` put into the folder."""
_STRAY_HOST = ((signal.SIGKILL, 5.0),)


class DataFolder:
    """What a gateway keeps on disk: the emulator's data, its log, who runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    @property
    def storage(self) -> Path:
        """The emulator's data."""
        return self.folder / "azurite"

    @property
    def emulator_log(self) -> Path:
        """What the emulator says."""
        return self.folder / "azurite.log"

    @property
    def host_log(self) -> Path:
        """What the local host and the app say."""
        return self.folder / "gateway.log"

    @property
    def tls(self) -> Path:
        """The certificate of a gateway that serves https, and its key."""
        return self.folder / "tls"

    @contextmanager
    def held(self) -> Iterator[None]:
        """No other gateway runs on the folder during the block, and none is left of an earlier one.

        Other users of the machine cannot read what is in it. Raises SetupError where one goes on
        running.
        """
        self._close_to_others()
        with locked(
            self.folder / "run.lock",
            patience=_PATIENCE,
            on_wait=lambda: note(f"{self._running()}: waiting for it to stop ..."),
            refusal=f"Another gateway runs on {self.folder}. Stop it, or name another folder "
            "with --data.",
        ):
            self._end_strays()
            yield

    def empty(self) -> None:
        """Forget everything that was stored. Only while held."""
        if not self.storage.exists():
            return
        try:
            shutil.rmtree(self.storage)
        except OSError as error:
            raise SetupError(f"Cannot empty {self.storage}: {error.strerror}.") from error

    def note_emulator(self, pid: int) -> None:
        """Remember the emulator's process, for a start after a sudden end."""
        self._emulator_pid.write_text(str(pid), "ascii")

    def forget_emulator(self) -> None:
        """The emulator has ended as it should."""
        self._emulator_pid.unlink(missing_ok=True)

    def _close_to_others(self) -> None:
        """Of a folder that holds something else, as the home folder does, only what is ours."""
        try:
            self.folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            names = {entry.name for entry in self.folder.iterdir()}
            for name in names & _OWN:
                close_to_others(self.folder / name)
            if names <= _OWN:
                self.folder.chmod(FOLDER_MODE)
        except OSError as error:
            raise SetupError(f"Cannot write to {self.folder}: {error.strerror}.") from error

    @property
    def _emulator_pid(self) -> Path:
        return self.folder / "azurite.pid"

    def _running(self) -> str:
        gateway = read_gateway(self.folder)
        where = f" at {gateway.url}" if gateway else ""
        return f"A gateway{where} runs on {self.folder}"

    def _end_strays(self) -> None:
        gateway = read_gateway(self.folder)
        if gateway is not None:
            processes.end_stray(gateway.pid, ["local_host", "--port"], _STRAY_HOST)
            remove_gateway(self.folder)
        try:
            pid = int(self._emulator_pid.read_text("ascii"))
        except (OSError, ValueError):
            return
        if not processes.end_stray(pid, ["azurite", str(self.storage)], _STRAY_EMULATOR):
            raise SetupError(f"An emulator of {self.folder} (process {pid}) cannot be ended.")
        self.forget_emulator()
