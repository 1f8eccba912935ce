"""What is read from the emulator's output, and how it is called."""

from __future__ import annotations

from pathlib import Path

from local_host.setup.azurite import Programs, command, read_endpoints

OUTPUT = """\
Azurite Blob service is starting at http://127.0.0.1:0
Azurite Blob service is successfully listening at http://127.0.0.1:45203
Azurite Queue service is starting at http://127.0.0.1:0
Azurite Queue service is successfully listening at http://127.0.0.1:40151
Azurite Table service is starting at http://127.0.0.1:0
Azurite Table service is successfully listening at http://127.0.0.1:39287
"""
PROGRAMS = Programs(Path("/n/node"), Path("/a/azurite.js"))


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


def test_it_is_called_with_free_ports_and_without_telemetry() -> None:
    words = command(PROGRAMS, None)
    assert words[0] == "/n/node"
    assert words[words.index("/a/azurite.js") + 1] == "--inMemoryPersistence"
    for service in ("--blobPort", "--queuePort", "--tablePort"):
        assert words[words.index(service) + 1] == "0"
    assert {"--disableTelemetry", "--skipApiVersionCheck"} <= set(words)


def test_a_location_is_never_combined_with_memory() -> None:
    words = command(PROGRAMS, Path("/data"))
    assert words[words.index("--location") + 1] == "/data"
    assert "--inMemoryPersistence" not in words


def test_the_programs_of_the_variables_are_taken() -> None:
    environ = {"AZURITE_NODE": "/x/node", "AZURITE_SCRIPT": "/x/azurite.js"}
    assert Programs.from_environ(environ) == Programs(Path("/x/node"), Path("/x/azurite.js"))
