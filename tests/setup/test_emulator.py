"""The emulator as a child: free ports, accounts of its own, data that outlives a sudden end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import TableServiceClient

from local_host.setup import azurite, processes
from local_host.setup.data_folder import DataFolder
from local_host.setup.messages import SetupError

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = azurite.Programs.from_environ()
KEEP = """
import sys, threading
from pathlib import Path
from local_host.setup import azurite
from local_host.setup.data_folder import DataFolder
data = DataFolder(Path(sys.argv[1]))
with azurite.running(azurite.Programs.from_environ(), location=data.storage) as emulator:
    data.record_emulator(emulator.process.pid)
    threads = [threading.Thread(target=threading.Event().wait, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    print(emulator.connection_string, flush=True)
    sys.stdin.read()
"""

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not PROGRAMS.script.exists(), reason="the emulator is not installed"),
]


def test_each_account_has_its_own_tables() -> None:
    with azurite.running(PROGRAMS, accounts=["one", "other"]) as emulator:
        put(emulator.connection_string_of("one"), "a")
        assert rows(emulator.connection_string_of("one")) == ["a"]
        assert rows(emulator.connection_string_of("other")) == []


def test_data_on_disk_outlives_the_emulator(tmp_path: Path) -> None:
    with azurite.running(PROGRAMS, location=tmp_path) as emulator:
        put(emulator.connection_string, "a")
    with azurite.running(PROGRAMS, location=tmp_path) as emulator:
        assert rows(emulator.connection_string) == ["a"]


def test_asking_twice_to_end_loses_nothing(tmp_path: Path) -> None:
    with azurite.running(PROGRAMS, location=tmp_path) as emulator:
        put(emulator.connection_string, "a")
        for _ in range(5):
            emulator.process.send_signal(signal.SIGTERM)
        assert emulator.process.wait(30) == 0
    with azurite.running(PROGRAMS, location=tmp_path) as emulator:
        assert rows(emulator.connection_string) == ["a"]


def test_it_can_be_ended_while_it_starts(tmp_path: Path) -> None:
    with subprocess.Popen(
        azurite.command(PROGRAMS, tmp_path), stdout=subprocess.DEVNULL
    ) as starting:
        while starting.poll() is None:
            starting.terminate()


@pytest.mark.skipif(not processes.HAS_PARENT_DEATH_SIGNAL, reason="Linux only")
def test_data_on_disk_outlives_the_sudden_end_of_a_starter_with_threads(tmp_path: Path) -> None:
    keeper = subprocess.Popen(
        [sys.executable, "-c", KEEP, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with keeper:
        assert keeper.stdout is not None
        put(keeper.stdout.readline().strip(), "a")
        keeper.send_signal(signal.SIGKILL)
    data = DataFolder(tmp_path)
    with data.lock(), azurite.running(PROGRAMS, location=data.storage) as emulator:
        assert rows(emulator.connection_string) == ["a"]


def test_an_emulator_that_does_not_start_says_why(tmp_path: Path) -> None:
    script = tmp_path / "broken.js"
    script.write_text("console.error('no such thing'); process.exit(3)")
    with (
        pytest.raises(SetupError, match="no such thing"),
        azurite.running(azurite.Programs(PROGRAMS.node, script)),
    ):
        pass


def put(connection: str, row: str) -> None:
    with TableServiceClient.from_connection_string(connection) as service:
        table = service.create_table_if_not_exists("Things")
        table.upsert_entity({"PartitionKey": "p", "RowKey": row})


def rows(connection: str) -> list[str]:
    with TableServiceClient.from_connection_string(connection) as service:
        try:
            return [row["RowKey"] for row in service.get_table_client("Things").list_entities()]
        except ResourceNotFoundError:
            return []
