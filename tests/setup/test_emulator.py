"""The emulator as a child process: its output, ports, accounts, and data after a sudden end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import TableServiceClient

from local_host.setup import azurite, processes
from local_host.setup.azurite import Programs, command, read_endpoints
from local_host.setup.data_folder import DataFolder
from local_host.setup.messages import SetupError

# What is read from the emulator's output, and how it is called.

OUTPUT = """\
Azurite Blob service is starting at http://127.0.0.1:0
Azurite Blob service is successfully listening at http://127.0.0.1:45203
Azurite Queue service is starting at http://127.0.0.1:0
Azurite Queue service is successfully listening at http://127.0.0.1:40151
Azurite Table service is starting at http://127.0.0.1:0
Azurite Table service is successfully listening at http://127.0.0.1:39287
"""
EXAMPLE_PROGRAMS = Programs(Path("/n/node"), Path("/a/azurite.js"))


def test_the_ports_are_those_it_listens_at() -> None:
    assert read_endpoints(OUTPUT) == {
        "Blob": "http://127.0.0.1:45203",
        "Queue": "http://127.0.0.1:40151",
        "Table": "http://127.0.0.1:39287",
    }


def test_a_line_that_is_still_being_written_is_not_read() -> None:
    assert read_endpoints(OUTPUT[: OUTPUT.index("45203") + 2].rstrip("\n")) == {}


def test_only_what_has_been_announced_is_there() -> None:
    assert list(read_endpoints("\n".join(OUTPUT.splitlines()[:3]) + "\n")) == ["Blob"]


def test_the_emulator_is_started_with_free_ports_and_without_telemetry() -> None:
    words = command(EXAMPLE_PROGRAMS, None)
    assert words[0] == "/n/node"
    assert words[words.index("/a/azurite.js") + 1] == "--inMemoryPersistence"
    for service in ("--blobPort", "--queuePort", "--tablePort"):
        assert words[words.index(service) + 1] == "0"
    assert {"--disableTelemetry", "--skipApiVersionCheck"} <= set(words)


def test_a_location_is_never_combined_with_memory() -> None:
    words = command(EXAMPLE_PROGRAMS, Path("/data"))
    assert words[words.index("--location") + 1] == "/data"
    assert "--inMemoryPersistence" not in words


def test_the_programs_named_by_variables_are_used() -> None:
    environ = {"AZURITE_NODE": "/x/node", "AZURITE_SCRIPT": "/x/azurite.js"}
    assert Programs.from_environ(environ) == Programs(Path("/x/node"), Path("/x/azurite.js"))


# The emulator as a child: free ports, accounts of its own, data that outlives a sudden end.

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


@pytest.mark.integration
@pytest.mark.skipif(not PROGRAMS.script.exists(), reason="the emulator is not installed")
def test_each_account_has_its_own_tables() -> None:
    with azurite.running(PROGRAMS, accounts=["one", "other"]) as emulator:
        put(emulator.connection_string_of("one"), "a")
        assert rows(emulator.connection_string_of("one")) == ["a"]
        assert rows(emulator.connection_string_of("other")) == []


@pytest.mark.integration
@pytest.mark.skipif(not PROGRAMS.script.exists(), reason="the emulator is not installed")
def test_an_entity_is_found_by_its_keys_whatever_they_look_like() -> None:
    """`by_index.cjs` looks in an index, which compares texts of digits as numbers."""
    partitions = ["1", "01", "1.0", "a'b", "a", "A", "a|b"]
    keys = [(partition, f"{row}") for partition in partitions for row in ("7", "007", "7e0", "x")]
    with azurite.running(PROGRAMS) as emulator:
        service = TableServiceClient.from_connection_string(emulator.connection_string)
        table = service.create_table("keys")
        for number, (partition, row) in enumerate(keys):
            table.create_entity({"PartitionKey": partition, "RowKey": row, "Number": number})
        for number, (partition, row) in enumerate(keys):
            assert table.get_entity(partition, row)["Number"] == number
            table.upsert_entity({"PartitionKey": partition, "RowKey": row, "Number": -number})
        for partition in partitions:
            quoted = partition.replace("'", "''")
            found = table.query_entities(f"PartitionKey eq '{quoted}' and RowKey ge '0'")
            assert [each["RowKey"] for each in found] == ["007", "7", "7e0", "x"]
            pages = table.query_entities(
                f"PartitionKey eq '{quoted}'", results_per_page=1
            ).by_page()
            assert [each["RowKey"] for page in pages for each in page] == ["007", "7", "7e0", "x"]
        assert len(list(table.list_entities())) == len(keys)
        table.delete_entity("01", "007")
        assert len(list(table.query_entities("PartitionKey eq '01'"))) == 3


@pytest.mark.integration
@pytest.mark.skipif(not PROGRAMS.script.exists(), reason="the emulator is not installed")
def test_data_on_disk_outlives_the_emulator(tmp_path: Path) -> None:
    with azurite.running(PROGRAMS, location=tmp_path) as emulator:
        put(emulator.connection_string, "a")
    with azurite.running(PROGRAMS, location=tmp_path) as emulator:
        assert rows(emulator.connection_string) == ["a"]


@pytest.mark.integration
@pytest.mark.skipif(not PROGRAMS.script.exists(), reason="the emulator is not installed")
def test_asking_twice_to_end_loses_nothing(tmp_path: Path) -> None:
    with azurite.running(PROGRAMS, location=tmp_path) as emulator:
        put(emulator.connection_string, "a")
        for _ in range(5):
            emulator.process.send_signal(signal.SIGTERM)
        assert emulator.process.wait(30) == 0
    with azurite.running(PROGRAMS, location=tmp_path) as emulator:
        assert rows(emulator.connection_string) == ["a"]


@pytest.mark.integration
@pytest.mark.skipif(not PROGRAMS.script.exists(), reason="the emulator is not installed")
def test_the_emulator_can_be_ended_while_it_starts(tmp_path: Path) -> None:
    with subprocess.Popen(
        azurite.command(PROGRAMS, tmp_path), stdout=subprocess.DEVNULL
    ) as starting:
        while starting.poll() is None:
            starting.terminate()


@pytest.mark.integration
@pytest.mark.skipif(not PROGRAMS.script.exists(), reason="the emulator is not installed")
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


@pytest.mark.integration
@pytest.mark.skipif(not PROGRAMS.script.exists(), reason="the emulator is not installed")
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
