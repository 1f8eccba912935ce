"""The data folder of a local gateway. Only one gateway at a time runs on it.

Its file `gateway.json` has the address of the running gateway for other programs, the connection
string of the storage and the keys of what is sealed in it, so only its owner may read it.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from local_host.setup.messages import SetupError, note
from local_host.setup.paths import AZURITE, FOLDER_MODE, close_to_others
from local_host.setup.processes import end_leftover, file_lock

_GATEWAY_FILE = "gateway.json"
# What the gateway and `dev.py` put into the folder.
_FILES = frozenset(
    {
        "azurite", "azurite.log", "azurite.pid", "bench", "data-keys", "demo.json", "gateway.json",
        "gateway.json.new", "gateway.log", "logs", "run.lock", "setup.lock", "snapshots", "tls",
    }
)  # fmt: skip
# Seconds to wait for a gateway that is just stopping.
_PATIENCE = 15.0
# A temporary folder of this age has been locked by its gateway, if that still runs.
_YOUNG_SECONDS = 60.0
# Signals with the seconds to wait after each. The emulator writes its data when it is asked to end.
_END_EMULATOR = ((signal.SIGTERM, 30.0), (signal.SIGKILL, 5.0))
_END_HOST = ((signal.SIGKILL, 5.0),)


@dataclass(frozen=True)
class RunningGateway:
    """A running gateway: its address, the connection string of its storage, its process.

    `certificate` is the file of the certificate to trust if the address is https, else empty.
    `data_keys` is the value of GATEWAY_DATA_KEYS.
    """

    url: str
    storage: str
    pid: int
    certificate: str = ""
    data_keys: str = field(default="", repr=False)


def write_gateway(folder: Path, gateway: RunningGateway) -> None:
    """Write gateway.json atomically."""
    draft = folder / f"{_GATEWAY_FILE}.new"
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        json.dump({name: value for name, value in asdict(gateway).items() if value}, file)
    draft.replace(folder / _GATEWAY_FILE)


def read_gateway(folder: Path) -> RunningGateway | None:
    """Read gateway.json; None if the file is missing or cannot be read."""
    try:
        fields = json.loads((folder / _GATEWAY_FILE).read_text("utf-8"))
        return RunningGateway(
            str(fields["url"]),
            str(fields["storage"]),
            int(fields["pid"]),
            fields.get("certificate", ""),
            fields.get("data_keys", ""),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove_gateway(folder: Path) -> None:
    """Remove gateway.json, if it exists."""
    (folder / _GATEWAY_FILE).unlink(missing_ok=True)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for the time of the block. Those of gateways that were killed are removed too."""
    prefix = f"payroll-gateway-{os.geteuid()}-"
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        _remove_if_left_behind(folder)
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        yield Path(name)


def _remove_if_left_behind(folder: Path) -> None:
    with suppress(OSError, SetupError):
        status = folder.lstat()
        is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
        # A younger one may be about to be locked.
        if is_ours and time.time() - status.st_mtime > _YOUNG_SECONDS:
            with DataFolder(folder).lock(seconds=0):
                shutil.rmtree(folder)


class DataFolder:
    """The files of a gateway: the emulator's data, the log, the running processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        # The data of the emulator, and what the emulator prints.
        self.storage = self.folder / "azurite"
        self.emulator_log = self.folder / "azurite.log"
        # What the local host and the app log.
        self.host_log = self.folder / "gateway.log"
        # The certificate of a gateway that serves https, and its key.
        self.tls = self.folder / "tls"
        self._emulator_pid = self.folder / "azurite.pid"

    @contextmanager
    def lock(self, seconds: float = _PATIENCE) -> Iterator[None]:
        """Lock the folder during the block, and end the processes of an earlier gateway.

        Other users of the machine cannot read the files of the folder. Raises SetupError if another
        gateway does not stop within `seconds` seconds.
        """
        self._close_to_others()
        with file_lock(
            self.folder / "run.lock",
            seconds=seconds,
            on_wait=self._note_wait if seconds else lambda: None,
            refusal=f"Another gateway runs on {self.folder}. Stop it, or name another folder "
            "with --data.",
        ):
            self._end_leftovers()
            yield

    def delete_storage(self) -> None:
        """Delete all stored data; to be called inside `lock`."""
        if not self.storage.exists():
            return
        try:
            shutil.rmtree(self.storage)
        except OSError as error:
            raise SetupError(f"Cannot empty {self.storage}: {error.strerror}.") from error

    def read_data_keys(self) -> str:
        """The keys of this folder's storage, as GATEWAY_DATA_KEYS takes them; made at first use."""
        file = self.folder / "data-keys"
        if not file.exists():
            text = f"local:{base64.b64encode(secrets.token_bytes(32)).decode()}"
            draft = file.with_name(f"{_GATEWAY_FILE}.new")
            draft.unlink(missing_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT, 0o600), "w") as opened:
                opened.write(text)
            draft.replace(file)
        return file.read_text("ascii").strip()

    def record_emulator(self, pid: int) -> None:
        """Write down the emulator's process, so that the next start can end it after a crash."""
        self._emulator_pid.write_text(str(pid), "ascii")

    def forget_emulator(self) -> None:
        """To be called when the emulator has ended."""
        self._emulator_pid.unlink(missing_ok=True)

    def _close_to_others(self) -> None:
        try:
            self.folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            names = {entry.name for entry in self.folder.iterdir()}
            for name in names & _FILES:
                close_to_others(self.folder / name)
            # A folder that holds something else, as the home folder does, is not ours to close.
            if names <= _FILES:
                self.folder.chmod(FOLDER_MODE)
        except OSError as error:
            raise SetupError(f"Cannot write to {self.folder}: {error.strerror}.") from error

    def _note_wait(self) -> None:
        gateway = read_gateway(self.folder)
        folder = f" at {gateway.url}" if gateway else ""
        note(f"A gateway{folder} runs on {self.folder}: waiting for it to stop ...")

    def _end_leftovers(self) -> None:
        gateway = read_gateway(self.folder)
        if gateway is not None:
            end_leftover(gateway.pid, ["local_host", "--port"], _END_HOST)
            remove_gateway(self.folder)
        try:
            pid = int(self._emulator_pid.read_text("ascii"))
        except (OSError, ValueError):
            return
        words = (["azurite", str(self.storage)], ["azurite", "--inMemoryPersistence", str(AZURITE)])
        if not all(end_leftover(pid, ours, _END_EMULATOR) for ours in words):
            raise SetupError(f"An emulator of {self.folder} (process {pid}) cannot be ended.")
        self.forget_emulator()
