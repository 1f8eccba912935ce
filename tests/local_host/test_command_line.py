"""`python -m local_host` as a command."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.local_host.running_host import (
    ROOT,
    SAMPLE,
    host_environment,
    started,
    wait_until,
)

pytestmark = pytest.mark.integration


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


def test_taken_port_is_one_sentence_and_status_2(connection_string: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run(
            "--app", str(SAMPLE), "--port", port, environment=host_environment(connection_string)
        )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"Port {port} is taken; choose another with --port.\n"


def test_refused_app_names_the_function_and_ends_with_1(connection_string: str) -> None:
    environment = host_environment(connection_string)
    del environment["JOBS_QUEUE"]
    ended = run("--app", str(SAMPLE), "--port", "0", environment=environment)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "refused: function jobs: the app setting JOBS_QUEUE is not set\n" in ended.stderr


def test_bad_number_in_a_setting_is_refused(connection_string: str) -> None:
    environment = host_environment(connection_string, LOCAL_HOST_LEASE_SECONDS="soon")
    ended = run("--app", str(SAMPLE), "--port", "0", environment=environment)
    assert ended.returncode == 1
    assert "LOCAL_HOST_LEASE_SECONDS must be a positive number" in ended.stderr


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_host_with_0(
    number: signal.Signals, connection_string: str, tmp_path: Path
) -> None:
    with started(host_environment(connection_string), tmp_path) as host:
        assert host.stop(number) == 0


def test_a_second_signal_ends_it_at_once(connection_string: str, tmp_path: Path) -> None:
    settings = host_environment(connection_string, TICK_SCHEDULE="* * * * * *")
    with started(settings, tmp_path) as host:
        host.wait_for("tick")
        host.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in host.log() or None, "it has begun to stop")
        host.process.send_signal(signal.SIGTERM)
        assert host.process.wait(5) in (0, 1)


def test_only_127_0_0_1_is_bound(connection_string: str, tmp_path: Path) -> None:
    with started(host_environment(connection_string), tmp_path) as host:
        lines = Path(f"/proc/{host.process.pid}/net/tcp").read_text().splitlines()[1:]
    port = f"{host.port:04X}"
    listening = [line.split() for line in lines if line.split()[3] == "0A"]
    bound = [words[1] for words in listening if words[1].endswith(f":{port}")]
    assert bound == [f"0100007F:{port}"]


def test_command_has_a_help_text(connection_string: str) -> None:
    ended = run("--help", environment=host_environment(connection_string))
    assert ended.returncode == 0
    assert all(option in ended.stdout for option in ("--app", "--port", "--settings"))
