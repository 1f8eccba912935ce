"""host.json, its overrides, the settings file, and `python -m local_host` as a command."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local_host.app_settings import (
    AppRefusedError,
    Connection,
    load_settings_file,
    resolve_connection,
)
from local_host.host_json import HostOptions, parse_time_span, read_host_json
from tests.local_host.running_host import (
    ROOT,
    SAMPLE,
    host_environment,
    started,
)
from tests.waiting import wait_until

# host.json, its overrides, and the settings file.


def read(folder: Path, document: Any) -> HostOptions:
    (folder / "host.json").write_text(json.dumps(document))
    return read_host_json(folder / "host.json")


def test_defaults_are_those_of_the_host(tmp_path: Path) -> None:
    options = read(tmp_path, {"version": "2.0"})
    processors = os.cpu_count() or 1
    assert options.http.route_prefix == "api"
    assert (options.http.max_outstanding, options.http.max_concurrent) == (-1, -1)
    queues = options.queues
    assert (queues.batch_size, queues.new_batch_threshold) == (16, 8 * processors)
    assert (queues.max_dequeue_count, queues.visibility_timeout) == (5, 0.0)
    assert (queues.max_polling_interval, queues.is_base64) == (2.0, True)
    assert (options.blobs.max_parallel, options.blobs.max_attempts) == (8 * processors, 5)
    assert (options.function_timeout, options.has_bundle) == (1800.0, False)


def test_values_are_honoured(tmp_path: Path) -> None:
    queues = {"batchSize": 4, "visibilityTimeout": "00:00:30", "messageEncoding": "none"}
    options = read(
        tmp_path,
        {
            "version": "2.0",
            "functionTimeout": "-1",
            "extensionBundle": {"id": "b", "version": "[4.0.0, 5.0.0)"},
            "extensions": {"http": {"routePrefix": "/v1/"}, "queues": queues},
            "logging": {"logLevel": {"default": "Warning"}},
        },
    )
    assert (options.queues.batch_size, options.queues.is_base64) == (4, False)
    assert (options.queues.visibility_timeout, options.http.route_prefix) == (30.0, "v1")
    assert (options.function_timeout, options.has_bundle) == (None, True)
    assert options.log_level == "WARNING"


@pytest.mark.parametrize(
    ("hsts", "expected"),
    [
        ({}, ""),
        ({"isEnabled": False, "maxAge": "10"}, ""),
        ({"isEnabled": True}, "max-age=2592000"),
        ({"isEnabled": True, "maxAge": "10"}, "max-age=864000"),
        ({"isEnabled": "true", "maxAge": "1.00:00:01"}, "max-age=86401"),
        ({"isEnabled": True, "includeSubDomains": True}, "max-age=2592000; includeSubDomains"),
    ],
)
def test_strict_transport_security(tmp_path: Path, hsts: dict[str, Any], expected: str) -> None:
    document = {"version": "2.0", "extensions": {"http": {"hsts": hsts}}}
    (tmp_path / "host.json").write_text(json.dumps(document))
    assert read_host_json(tmp_path / "host.json").http.strict_transport == expected


def test_environment_overrides_host_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AzureFunctionsJobHost__extensions__queues__batchSize", "3")
    assert read(tmp_path, {"version": "2.0"}).queues.batch_size == 3


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({}, "version"),
        ({"version": "3.0"}, "version"),
        ([], "JSON object"),
        ({"version": "2.0", "functionTimeout": "ten"}, "functionTimeout"),
        ({"version": "2.0", "extensions": {"queues": {"batchSize": 33}}}, "batchSize"),
        ({"version": "2.0", "extensions": {"queues": {"batchSize": True}}}, "batchSize"),
        ({"version": "2.0", "extensions": {"queues": {"maxDequeueCount": 0}}}, "maxDequeueCount"),
        (
            {"version": "2.0", "extensions": {"queues": {"maxPollingInterval": "00:00:00.05"}}},
            "maxPollingInterval",
        ),
        (
            {"version": "2.0", "extensions": {"queues": {"messageEncoding": "utf8"}}},
            "messageEncoding",
        ),
    ],
)
def test_wrong_host_json_is_refused(tmp_path: Path, document: Any, named: str) -> None:
    with pytest.raises(AppRefusedError, match=named):
        read(tmp_path, document)


def test_all_problems_are_reported_in_one_error(tmp_path: Path) -> None:
    with pytest.raises(AppRefusedError) as refused:
        read(tmp_path, {"extensions": {"queues": {"batchSize": 0, "maxDequeueCount": "x"}}})
    assert len(refused.value.problems) == 3


def test_unknown_top_level_key_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read(tmp_path, {"version": "2.0", "queuess": {}, "Logging": {}})
    assert [record.getMessage() for record in caplog.records] == [
        "host.json: the host does not know the key queuess"
    ]


def test_missing_host_json_means_the_defaults(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_host_json(tmp_path / "host.json").http.route_prefix == "api"
    assert "is missing or empty" in caplog.text


@pytest.mark.parametrize(
    ("text", "seconds"), [("00:00:30", 30), ("1.02:03:04.5", 93784.5), ("01:30", 5400)]
)
def test_time_span(text: str, seconds: float) -> None:
    assert parse_time_span(text) == seconds


def test_settings_file_fills_the_environment_and_does_not_override_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {"SET": "before"})
    path = tmp_path / "local.settings.json"
    path.write_text('\ufeff{"IsEncrypted": false, "Values": {"SET": "x", "NEW": "y"}}')
    load_settings_file(path)
    assert os.environ == {"SET": "before", "NEW": "y"}


@pytest.mark.parametrize(
    "text", ['{"Values": {"A": 1}}', '{"IsEncrypted": true, "Values": {}}', "[]", "{", ""]
)
def test_wrong_settings_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "local.settings.json"
    path.write_text(text)
    with pytest.raises(AppRefusedError, match="settings file"):
        load_settings_file(path)


@pytest.mark.parametrize(
    ("environment", "name", "connection"),
    [
        ({}, "X", None),
        ({"X": "c"}, "X", Connection("c")),
        ({"AzureWebJobsX": "c"}, "X", Connection("c")),
        ({"AzureWebJobsStorage": "c"}, "", Connection("c")),
        ({"AzureWebJobsStorage": "c"}, "Storage", Connection("c")),
        ({"X": "c", "X__queueServiceUri": "https://q"}, "X", Connection("c")),
        (
            {"X__queueServiceUri": "https://q", "X__clientId": "id"},
            "X",
            Connection(addresses=(("queue", "https://q"),), client_id="id"),
        ),
        (
            {"AzureWebJobsX__accountName": "acct", "AzureWebJobsX__blobServiceUri": "https://b"},
            "X",
            Connection(
                addresses=(
                    ("blob", "https://b"),
                    ("queue", "https://acct.queue.core.windows.net"),
                    ("table", "https://acct.table.core.windows.net"),
                )
            ),
        ),
    ],
)
def test_connection_by_string_or_identity(
    environment: dict[str, str],
    name: str,
    connection: Connection | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", environment)
    assert resolve_connection(name) == connection


def test_development_storage_is_the_emulator_on_its_usual_ports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", {"AzureWebJobsStorage": "UseDevelopmentStorage=true"})
    connection = resolve_connection("")
    assert connection is not None
    assert "QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;" in connection.connection_string


# `python -m local_host` as a command.


def run(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local_host", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.integration
def test_a_port_in_use_is_one_sentence_and_status_2(connection_string: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run(
            "--app", str(SAMPLE), "--port", port, environment=host_environment(connection_string)
        )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"Port {port} is taken; choose another with --port.\n"


@pytest.mark.integration
def test_refused_app_names_the_function_and_ends_with_1(connection_string: str) -> None:
    environment = host_environment(connection_string)
    del environment["JOBS_QUEUE"]
    ended = run("--app", str(SAMPLE), "--port", "0", environment=environment)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "refused: function jobs: the app setting JOBS_QUEUE is not set\n" in ended.stderr


@pytest.mark.integration
def test_bad_number_in_a_setting_is_refused(connection_string: str) -> None:
    environment = host_environment(connection_string, LOCAL_HOST_LEASE_SECONDS="soon")
    ended = run("--app", str(SAMPLE), "--port", "0", environment=environment)
    assert ended.returncode == 1
    assert "LOCAL_HOST_LEASE_SECONDS must be a positive number" in ended.stderr


@pytest.mark.integration
def test_settings_file_is_used(connection_string: str, tmp_path: Path) -> None:
    environment = host_environment(connection_string)
    values = {name: environment.pop(name) for name in ("JOBS_QUEUE", "AzureWebJobsStorage")}
    settings = tmp_path / "other.settings.json"
    settings.write_text(json.dumps({"Values": values}))
    (tmp_path / "function_app.py").write_text((SAMPLE / "function_app.py").read_text())
    (tmp_path / "host.json").write_text((SAMPLE / "host.json").read_text())
    ended = run("--app", str(tmp_path), "--port", "0", environment=environment)
    assert "JOBS_QUEUE is not set" in ended.stderr
    settings.rename(tmp_path / "local.settings.json")
    with started(environment, tmp_path, tmp_path) as host:
        assert host.call("GET", "/echo").status == 200


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_host_with_0(
    number: signal.Signals, connection_string: str, tmp_path: Path
) -> None:
    with started(host_environment(connection_string), tmp_path) as host:
        assert host.stop(number) == 0


@pytest.mark.integration
def test_a_second_signal_ends_it_at_once(connection_string: str, tmp_path: Path) -> None:
    settings = host_environment(connection_string, TICK_SCHEDULE="* * * * * *")
    with started(settings, tmp_path) as host:
        host.wait_for("tick")
        host.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in host.log() or None, "it has begun to stop")
        host.process.send_signal(signal.SIGTERM)
        assert host.process.wait(5) in (0, 1)


@pytest.mark.integration
def test_only_127_0_0_1_is_bound(connection_string: str, tmp_path: Path) -> None:
    with started(host_environment(connection_string), tmp_path) as host:
        lines = Path(f"/proc/{host.process.pid}/net/tcp").read_text().splitlines()[1:]
    port = f"{host.port:04X}"
    listening = [line.split() for line in lines if line.split()[3] == "0A"]
    bound = [words[1] for words in listening if words[1].endswith(f":{port}")]
    assert bound == [f"0100007F:{port}"]


@pytest.mark.integration
def test_command_has_a_help_text(connection_string: str) -> None:
    ended = run("--help", environment=host_environment(connection_string))
    assert ended.returncode == 0
    assert all(option in ended.stdout for option in ("--app", "--port", "--settings"))
