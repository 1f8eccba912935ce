"""`dev.py run`: its arguments, its help before set-up, and the whole gateway started and ended."""

from __future__ import annotations

import ast
import fcntl
import json
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from local_host.setup import processes
from local_host.setup.environment import is_prepared
from local_host.setup.environment_file import environment_file, prepare_environment_file
from local_host.setup.gateway import (
    find_storage_account,
    gateway_environ,
    read_local_settings,
    read_run_options,
)
from local_host.setup.messages import SetupError
from local_host.setup.paths import ROOT
from tests.waiting import wait_until

# The arguments of `dev.py run` and the variables that it hands on.


def test_the_defaults_are_those_of_the_contract() -> None:
    options = read_run_options([], {})
    assert (options.port, options.data) == (7071, ROOT / ".local")
    assert (options.fresh, options.demo, options.exit) == (False, True, False)
    assert not options.tls


def test_a_variable_names_another_data_folder() -> None:
    assert read_run_options([], {"GATEWAY_DATA": "/data"}).data == Path("/data")


def test_stored_data_in_memory_needs_no_folder_that_another_gateway_may_have() -> None:
    assert read_run_options(["--memory"], {"GATEWAY_DATA": "/data"}).data is None
    assert read_run_options(["--memory", "--data", "d"], {}).data == Path("d")


def test_every_argument_is_read() -> None:
    words = ["--port", "0", "--data", "d", "--fresh", "--no-demo", "--exit", "--tls", "--memory"]
    words += ["--env", "e", "--while-locked", "l", "--snapshots", "s"]
    options = read_run_options(words, {})
    assert (options.port, options.data) == (0, Path("d"))
    assert (options.fresh, options.demo, options.exit) == (True, False, True)
    assert (options.tls, options.memory) == (True, True)
    assert (options.env, options.while_locked) == (Path("e"), Path("l"))
    assert options.snapshots == Path("s")


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_number_that_is_not_a_port_is_refused(
    port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        read_run_options([f"--port={port}"], {})
    assert "--port" in capsys.readouterr().err


def test_the_settings_file_wins_over_the_example_and_a_variable_over_both(tmp_path: Path) -> None:
    (tmp_path / "local.settings.example.json").write_text('{"Values": {"A": "0", "B": "0"}}')
    (tmp_path / "local.settings.json").write_text('\ufeff{"Values": {"A": "1", "C": "1"}}')
    settings = read_local_settings(tmp_path)
    environ = gateway_environ({"C": "2"}, settings)
    assert (environ["A"], environ["C"]) == ("1", "2")
    assert "B" not in environ


def test_without_any_settings_file_there_are_no_defaults(tmp_path: Path) -> None:
    assert read_local_settings(tmp_path) == {}


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"Values": []}'])
def test_a_broken_settings_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "local.settings.json").write_text(text)
    with pytest.raises(SetupError, match=r"local\.settings\.json"):
        read_local_settings(tmp_path)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ""),
        ("UseDevelopmentStorage=true", ""),
        (" UseDevelopmentStorage=true; ", ""),
        ("AccountName=mine;AccountKey=k", "AccountName=mine;AccountKey=k"),
    ],
)
def test_only_a_real_account_replaces_the_emulator(value: str, expected: str) -> None:
    assert find_storage_account({"AzureWebJobsStorage": value}) == expected


# The file for tests of any language.


def test_the_environment_file_is_private_and_a_shell_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "gateway.env"
    prepare_environment_file(file)
    with environment_file(file, {"GATEWAY_URL": "http://h:1", "GATEWAY_STORAGE": "A=b;C='d'"}):
        assert file.stat().st_mode & 0o077 == 0
        shell = '. "$0"; echo "$GATEWAY_URL $GATEWAY_STORAGE"'
        done = subprocess.run(["sh", "-c", shell, file], capture_output=True, text=True, check=True)
        assert done.stdout == "http://h:1 A=b;C='d'\n"
    assert list(tmp_path.iterdir()) == []


def test_the_environment_file_of_another_gateway_stays(tmp_path: Path) -> None:
    file = tmp_path / "gateway.env"
    with environment_file(file, {"GATEWAY_URL": "http://h:1"}):
        # What is left of a gateway that was killed goes, so that a test waits for the new one.
        prepare_environment_file(file)
        assert not file.exists()
        file.write_text("GATEWAY_URL=http://h:2\n")
    assert file.read_text() == "GATEWAY_URL=http://h:2\n"


@pytest.mark.parametrize("content", [b"SECRET=mine\n", b"GATEWAY_URL=u\nPATH=p\n", b"\xff"])
def test_a_file_that_no_gateway_wrote_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / ".env"
    file.write_bytes(content)
    with pytest.raises(SetupError, match=r"\.env"):
        prepare_environment_file(file)
    assert file.read_bytes() == content


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="No such file"):
        prepare_environment_file(tmp_path / "missing" / "gateway.env")


# The help of dev.py is shown at once, on a machine where nothing is set up yet.

COMMANDS = ("run", "test", "check", "lock")


@pytest.fixture(scope="module")
def bare_checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What dev.py needs, without an environment."""
    folder = tmp_path_factory.mktemp("bare")
    shutil.copy(ROOT / "dev.py", folder)
    shutil.copytree(ROOT / "local_host" / "setup", folder / "local_host" / "setup")
    for module in (ROOT / "local_host").glob("*.py"):
        shutil.copy(module, folder / "local_host")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_a_command_shows_its_help_instead_of_starting(
    bare_checkout: Path, command: str, option: str
) -> None:
    before = sorted(bare_checkout.iterdir())
    done = subprocess.run(
        [sys.executable, "-B", "dev.py", command, option],
        cwd=bare_checkout, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage:")
    assert command in done.stdout.splitlines()[0]
    assert sorted(bare_checkout.iterdir()) == before


def test_the_overview_names_every_command(bare_checkout: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-B", "dev.py", "--help"],
        cwd=bare_checkout, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    for command in (*COMMANDS, "bench", "manage"):
        assert f"\n  {command} " in done.stdout


# A Python that is too old gets one clear sentence from dev.py.
DEV = Path(__file__).resolve().parents[2] / "dev.py"


def _old_pythons() -> list[str]:
    on_path = [shutil.which(f"python3.{minor}") for minor in (8, 9, 10)]
    installed = (Path.home() / ".pyenv" / "versions").glob("3.[89].*/bin/python3")
    return [python for python in (*on_path, *map(str, sorted(installed))) if python]


def test_dev_py_parses_on_python_3_8() -> None:
    ast.parse(DEV.read_text(), feature_version=(3, 8))


def test_an_old_python_is_refused_with_the_needed_version() -> None:
    for python in _old_pythons():
        done = subprocess.run([python, DEV, "run"], capture_output=True, text=True, check=False)
        if "pyenv:" in done.stderr:
            continue  # a shim of a version that is not switched on
        assert done.returncode == 2
        assert done.stderr.startswith("dev.py needs Python 3.11 or newer, but this is 3.")
        assert len(done.stderr.splitlines()) == 1
        return
    pytest.skip("no Python older than 3.11 found")


# `dev.py run` as a person meets it: the whole gateway, started and ended in every way.


@pytest.mark.e2e
@pytest.mark.skipif(not is_prepared(), reason="`python3 dev.py` has not set up this checkout")
def test_the_demo_runs_as_expected_and_shows_every_row(tmp_path: Path) -> None:
    done = finished("--exit", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    for row in json.loads((ROOT / "samples" / "workers.json").read_text()):
        names = {name.lower(): value for name, value in row.items()}
        assert str(names["personnelref"]) in done.stdout
    # Eight rows of the samples and one record of the batch.
    assert done.stdout.count("(bad on purpose)") == 9
    assert "\nSummary: of 25 rows 17 are stored, and 8 failed" in done.stdout
    assert "\nWhat to do next: " in done.stdout
    assert ready_lines(done.stdout) == 1
    assert not (tmp_path / "gateway.json").exists()


@pytest.mark.e2e
@pytest.mark.skipif(not is_prepared(), reason="`python3 dev.py` has not set up this checkout")
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


@pytest.mark.e2e
@pytest.mark.skipif(not is_prepared(), reason="`python3 dev.py` has not set up this checkout")
def test_a_second_start_takes_under_five_seconds_of_work(tmp_path: Path) -> None:
    """Counted is the work of its processes, demo included, which other programs do not lengthen."""
    words = ("--exit", "--data", str(tmp_path))
    finished(*words)
    assert min(seconds_of_work(*words), seconds_of_work(*words)) < 5


@pytest.mark.e2e
@pytest.mark.skipif(not is_prepared(), reason="`python3 dev.py` has not set up this checkout")
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


@pytest.mark.e2e
@pytest.mark.skipif(not is_prepared(), reason="`python3 dev.py` has not set up this checkout")
def test_a_gateway_that_dies_by_itself_is_a_failure(tmp_path: Path) -> None:
    with started("--no-demo", "--data", str(tmp_path)) as (gateway, _url):
        os.kill(json.loads((tmp_path / "gateway.json").read_text())["pid"], signal.SIGKILL)
        assert gateway.wait(90) == 1
        assert gateway.stderr is not None
        assert "ended by itself (SIGKILL)" in gateway.stderr.read()


@pytest.mark.e2e
@pytest.mark.skipif(not is_prepared(), reason="`python3 dev.py` has not set up this checkout")
@pytest.mark.skipif(not processes.HAS_PARENT_DEATH_SIGNAL, reason="Linux only")
def test_after_a_sudden_end_the_next_start_has_the_data_and_no_leftover_process(
    tmp_path: Path,
) -> None:
    with started("--data", str(tmp_path)) as (gateway, _url):
        gateway_file = json.loads((tmp_path / "gateway.json").read_text())
        gateway.kill()
    with started("--no-demo", "--data", str(tmp_path)) as (_gateway, url):
        assert answers(url)
        assert processes.command_line(gateway_file["pid"]) == ""
        assert "demo" in manage(tmp_path, "tenant", "list").stdout


@pytest.mark.e2e
@pytest.mark.skipif(not is_prepared(), reason="`python3 dev.py` has not set up this checkout")
def test_no_tenant_for_tests_is_made_in_a_real_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AzureWebJobsStorage", "AccountName=real;AccountKey=k")
    done = finished("--no-demo", "--env", str(tmp_path / "gateway.env"), "--data", str(tmp_path))
    assert done.returncode == 1
    assert "names a real account" in done.stderr


@pytest.mark.e2e
@pytest.mark.skipif(not is_prepared(), reason="`python3 dev.py` has not set up this checkout")
def test_a_port_in_use_is_reported_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = finished("--exit", "--data", str(tmp_path), port=port)
    assert done.returncode == 1
    assert f"Port {port} is taken" in done.stderr
    assert "--port" in done.stderr


@pytest.mark.e2e
@pytest.mark.skipif(not is_prepared(), reason="`python3 dev.py` has not set up this checkout")
def test_a_gateway_for_tests_starts_with_little_work(tmp_path: Path) -> None:
    """Its processes work side by side, so on two processors it is ready in under two seconds."""
    words = ("--memory", "--no-demo", "--exit", "--data", str(tmp_path))
    assert min(seconds_of_work(*words), seconds_of_work(*words)) < 3
    assert not (tmp_path / "azurite").exists()


@pytest.mark.e2e
@pytest.mark.skipif(not is_prepared(), reason="`python3 dev.py` has not set up this checkout")
@pytest.mark.skipif(not processes.HAS_PARENT_DEATH_SIGNAL, reason="Linux only")
def test_a_gateway_for_tests_leaves_no_process_and_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    # A real account in the environment is not used, and another gateway may run beside it.
    monkeypatch.setenv("AzureWebJobsStorage", "AccountName=real;AccountKey=k")
    with started("--memory", "--no-demo") as (gateway, url), started("--memory", "--no-demo"):
        assert answers(url)
        folders = {folder: gateway_of(folder) for folder in tmp_path.iterdir()}
        [killed] = [folder for folder, written in folders.items() if written["url"] == url]
        emulator = int((killed / "azurite.pid").read_text())
        gateway.kill()
        for pid in (int(folders[killed]["pid"]), emulator):
            wait_until(partial(has_ended, pid), "the end of a process of the killed gateway")
        os.utime(killed, (0, 0))
        # The next one removes what the killed one left behind, and nothing of the other one.
        assert finished("--memory", "--no-demo", "--exit").returncode == 0
        assert set(tmp_path.iterdir()) == set(folders) - {killed}
    wait_until(lambda: not list(tmp_path.iterdir()), "the folder of the other gateway to go")


@pytest.mark.e2e
@pytest.mark.skipif(not is_prepared(), reason="`python3 dev.py` has not set up this checkout")
def test_a_gateway_ends_when_its_last_user_has_ended(tmp_path: Path) -> None:
    lock = tmp_path / "users"
    first, second = (lock.open("w") for _ in range(2))
    with first, second:
        for user in (first, second):
            fcntl.flock(user, fcntl.LOCK_SH)
        words = ("--memory", "--no-demo", "--while-locked", str(lock))
        with started(*words) as (gateway, url):
            first.close()
            assert answers(url)
            assert gateway.poll() is None
            second.close()
            assert gateway.wait(20) == 0


def has_ended(pid: int) -> bool:
    return not processes.command_line(pid)


def gateway_of(folder: Path) -> dict[str, Any]:
    written: dict[str, Any] = json.loads((folder / "gateway.json").read_text())
    return written


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


def seconds_of_work(*words: str) -> float:
    """Processor time of a start and its end, of all processes that were waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert finished(*words).returncode == 0
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
