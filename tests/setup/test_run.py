"""`dev.py run` as a person meets it: the whole gateway, started and ended in every way."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from local_host.setup import processes
from local_host.setup.environment import is_prepared

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not is_prepared(), reason="`python3 dev.py` has not set up this checkout"),
]


def test_the_demo_goes_as_expected_and_every_row_is_shown(tmp_path: Path) -> None:
    done = finished("--exit", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    for row in json.loads((ROOT / "samples" / "workers.json").read_text()):
        names = {name.lower(): value for name, value in row.items()}
        assert str(names["personnelref"]) in done.stdout
    # Five rows of the samples and one record of the batch.
    assert done.stdout.count("(bad on purpose)") == 6
    assert "\nSummary: of 17 rows 12 were imported, and 5 failed" in done.stdout
    assert "\nWhat to do next: " in done.stdout
    assert ready_lines(done.stdout) == 1
    assert not (tmp_path / "gateway.json").exists()


def test_over_tls_callers_find_the_certificate_and_the_issuer_is_the_address(
    tmp_path: Path,
) -> None:
    with started("--tls", "--no-demo", "--data", str(tmp_path)) as (_gateway, url):
        gateway_file = json.loads((tmp_path / "gateway.json").read_text())
        assert gateway_file["url"] == url
        assert url.startswith("https://127.0.0.1:")
        trust = ssl.create_default_context(cafile=gateway_file["certificate"])
        discovery = f"{url}/connect/.well-known/openid-configuration"
        with urlopen(discovery, context=trust, timeout=10) as answer:
            assert json.load(answer)["issuer"] == url


def test_a_second_start_takes_under_five_seconds_of_work(tmp_path: Path) -> None:
    """Counted is the work of its processes, demo included, which other programs do not lengthen."""
    finished("--exit", "--data", str(tmp_path))
    assert min(seconds_of_work(tmp_path), seconds_of_work(tmp_path)) < 5


def test_while_it_runs_it_is_announced_and_ctrl_c_ends_it_in_order(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "gateway.log").touch(0o644)
    with started("--no-demo", "--data", str(tmp_path)) as (gateway, url):
        gateway_file = json.loads((tmp_path / "gateway.json").read_text())
        assert gateway_file["url"] == url
        assert "TableEndpoint=http://127.0.0.1:" in gateway_file["storage"]
        assert answers(url)
        everything = [tmp_path, *tmp_path.rglob("*")]
        assert len(everything) > 5
        assert [path for path in everything if path.stat().st_mode & 0o077] == []
        gateway.send_signal(signal.SIGINT)
        assert gateway.wait(90) == 0
    assert not (tmp_path / "gateway.json").exists()
    assert processes.command_line(gateway_file["pid"]) == ""


def test_a_gateway_that_dies_by_itself_is_a_failure(tmp_path: Path) -> None:
    with started("--no-demo", "--data", str(tmp_path)) as (gateway, _url):
        os.kill(json.loads((tmp_path / "gateway.json").read_text())["pid"], signal.SIGKILL)
        assert gateway.wait(90) == 1
        assert gateway.stderr is not None
        assert "ended by itself (SIGKILL)" in gateway.stderr.read()


@pytest.mark.skipif(not processes.HAS_PARENT_DEATH_SIGNAL, reason="Linux only")
def test_after_a_sudden_end_the_next_start_finds_the_data_and_no_strays(tmp_path: Path) -> None:
    with started("--data", str(tmp_path)) as (gateway, _url):
        gateway_file = json.loads((tmp_path / "gateway.json").read_text())
        gateway.kill()
    with started("--no-demo", "--data", str(tmp_path)) as (_gateway, url):
        assert answers(url)
        assert processes.command_line(gateway_file["pid"]) == ""
        assert "demo" in manage(tmp_path, "tenant", "list").stdout


def test_a_taken_port_is_named_with_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = finished("--exit", "--data", str(tmp_path), port=port)
    assert done.returncode == 1
    assert f"Port {port} is taken" in done.stderr
    assert "--port" in done.stderr


def finished(*words: str, port: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(port, words), capture_output=True, text=True, timeout=180, check=False
    )


@contextmanager
def started(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A gateway that has said that it is ready, and its address."""
    gateway = subprocess.Popen(
        command(0, words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with gateway:
        try:
            assert gateway.stdout is not None
            lines = iter(gateway.stdout.readline, "")
            yield gateway, next(line.split()[1] for line in lines if line.startswith("ready "))
        finally:
            gateway.terminate()


def seconds_of_work(data: Path) -> float:
    """Processor time of a start and its end, of all processes that were waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert finished("--exit", "--data", str(data)).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def command(port: int, words: tuple[str, ...]) -> list[str]:
    return [sys.executable, str(ROOT / "dev.py"), "run", "--port", str(port), *words]


def manage(data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(ROOT / "dev.py"), "manage", "--data", str(data), *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def ready_lines(output: str) -> int:
    return sum(line.startswith("ready http://127.0.0.1:") for line in output.splitlines())


def answers(url: str) -> bool:
    with urlopen(f"{url}/api/health", timeout=10) as answer:
        return bool(answer.status == 200)
