"""The pytest plugin of the stand-in: its fixtures, its examples, and its gateway's end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from payroll_gateway_standin import PayrollGateway, StandinError, TenantGateway
from payroll_gateway_standin.process import RunningGateway, installed_from, shared_gateway

from local_host.setup import processes
from local_host.setup.azurite import SETUP_PROGRAMS
from local_host.setup.environment import is_prepared
from local_host.setup.paths import ROOT
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not is_prepared(), reason="`python3 dev.py` has not set up this checkout"),
]
EXAMPLES = ROOT / "standin" / "examples"
WORKERS = "/api/import/workers?version=1"
ROW = {"EmployerRef": "E1", "PersonnelRef": "1", "Surname": "Lovelace"}
SECONDS = 200


@pytest.fixture(name="running", scope="module")
def fixture_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("standin")
    with shared_gateway(ROOT, folder) as running:
        yield running
    _wait_for_end(folder)


@pytest.fixture(name="payroll_gateway", scope="module")
def fixture_payroll_gateway(running: RunningGateway) -> PayrollGateway:
    return PayrollGateway(running.variables)


@pytest.fixture(name="gateway")
def fixture_gateway(payroll_gateway: PayrollGateway) -> TenantGateway:
    return payroll_gateway.new_tenant()


def _import(gateway: TenantGateway, *rows: dict[str, str]) -> str:
    """Send rows as the test itself; returns the id of the import."""
    answer = gateway.call("POST", WORKERS, list(rows))
    assert answer.status == 200, answer.body
    return answer.headers["x-import-id"]


def test_a_tenant_is_made_within_fifty_milliseconds(payroll_gateway: PayrollGateway) -> None:
    def seconds() -> float:
        begun = time.monotonic()
        payroll_gateway.new_tenant()
        return time.monotonic() - begun

    # The first that is quick enough, since other programs may take the processors.
    assert any(seconds() < 0.05 for _ in range(200))


def test_a_test_sees_what_its_tenant_has_stored_and_nothing_of_others(
    payroll_gateway: PayrollGateway, gateway: TenantGateway
) -> None:
    import_id = _import(gateway, ROW, {**ROW, "PersonnelRef": "2"})
    other = payroll_gateway.new_tenant()
    assert [item["record"]["PersonnelRef"] for item in gateway.records("workers")] == ["1", "2"]
    assert len(gateway.records("workers", PersonnelRef="2")) == 1
    assert [item["importId"] for item in gateway.imports()] == [import_id]
    assert [item["outcome"] for item in gateway.results(import_id)] == ["new", "new"]
    assert (other.records("workers"), other.imports()) == ([], [])
    with pytest.raises(StandinError, match="does not take: Surname"):
        gateway.records("workers", Surname="Lovelace")


def test_the_own_calls_of_a_test_are_neither_journaled_nor_broken(
    payroll_gateway: PayrollGateway, gateway: TenantGateway
) -> None:
    gateway.faults.add("/*", status=503)
    _import(gateway, ROW)
    assert gateway.token("read_records")
    assert gateway.requests() == []
    assert [rule["applied"] for rule in gateway.faults.rules()] == [0]
    other = payroll_gateway.new_tenant()
    assert other.faults.rules() == []
    gateway.faults.clear()
    assert gateway.faults.rules() == []


def test_everything_wrong_with_a_rule_is_named(gateway: TenantGateway) -> None:
    with pytest.raises(StandinError, match=r"(?s)path must.*times must"):
        gateway.faults.add("import", status=503, times=0)


def test_what_all_tests_share_is_only_for_a_test_that_is_alone(gateway: TenantGateway) -> None:
    with pytest.raises(StandinError, match="payroll_gateway_alone"):
        gateway.clock.advance(60)
    with pytest.raises(StandinError, match="payroll_gateway_alone"):
        gateway.snapshots.load("any")


def test_a_client_in_node_needs_the_environment_file_alone(running: RunningGateway) -> None:
    program = EXAMPLES / "node" / "payroll_client.test.mjs"
    variables = f"--env-file={running.folder / 'gateway.env'}"
    _run(SETUP_PROGRAMS.node, variables, "--test", program)


def test_a_client_in_java_needs_the_environment_file_alone(running: RunningGateway) -> None:
    java = shutil.which("java")
    if java is None or shutil.which("javac") is None:
        pytest.skip("java is not installed: install a JDK from version 11 on")
    shell = 'set -a; . "$0"; exec "$@"'
    program = EXAMPLES / "java" / "PayrollClientTest.java"
    _run("sh", "-c", shell, running.folder / "gateway.env", java, program)


def test_parallel_workers_run_the_examples_on_one_gateway(tmp_path: Path) -> None:
    done = _pytest(tmp_path, EXAMPLES, "-n", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    # Each careless client fails the test that is for its mistake.
    assert re.search(r"\b9 passed, 8 xfailed\b", done.stdout), done.stdout
    folder = tmp_path / "base" / "payroll-gateway"
    assert (folder / "gateway.log").read_text().count("ready http") == 1
    _wait_for_end(folder)


def test_tests_beside_one_that_is_alone_and_one_that_is_killed_pass(tmp_path: Path) -> None:
    """One test kills its process, and one moves the clock and loads a snapshot."""
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_it.py").write_text(
        "import os, signal, pytest\n"
        "from payroll_gateway_standin.calls import call\n"
        f"ROWS, WORKERS = [{ROW!r}], {WORKERS!r}\n"
        "def test_killed(gateway):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "@pytest.mark.payroll_gateway_alone\n"
        "def test_alone(gateway):\n"
        "    assert gateway.call('POST', WORKERS, ROWS).status == 200\n"
        "    gateway.clock.advance(86400)\n"
        "    gateway.snapshots.save('plugin-test')\n"
        "    gateway.reset()\n"
        "    assert gateway.records('workers') == []\n"
        "    tenants = {each.tenant: each for each in gateway.snapshots.load('plugin-test')}\n"
        "    assert len(tenants[gateway.tenant].records('workers')) == 1\n"
        "    assert len(gateway.records('workers')) == 1\n"
        # The second to run sees nothing of the first, though it loads the same tenant.
        "@pytest.mark.payroll_gateway_alone\n"
        "@pytest.mark.parametrize('n', range(2))\n"
        "def test_loaded(payroll_gateway, gateway, n):\n"
        "    if 'base' not in gateway.snapshots.names():\n"
        "        payroll_gateway.new_tenant(tenant='acme')\n"
        "        gateway.snapshots.save('base')\n"
        "    loaded = gateway.snapshots.load('base')\n"
        "    [acme] = [each for each in loaded if each.tenant == 'acme']\n"
        "    assert (acme.faults.rules(), acme.requests(), acme.clock.ahead) == ([], [], 0)\n"
        "    acme.faults.add('/never', status=503)\n"
        "    call('GET', acme.url + '/api/imports', None, acme.headers)\n"
        "    assert len(acme.requests()) == 1\n"
        "    acme.clock.advance(86400)\n"
        "@pytest.mark.parametrize('n', range(8))\n"
        "def test_other(gateway, n):\n"
        "    assert gateway.call('POST', WORKERS, ROWS).status == 200\n"
        "    assert len(gateway.records('workers')) == 1\n"
    )
    done = _pytest(tmp_path, tests, "-n", "2")
    assert re.search(r"\b1 failed, 11 passed\b", done.stdout), done.stdout + done.stderr
    folder = tmp_path / "base" / "payroll-gateway"
    assert (folder / "gateway.log").read_text().count("ready http") == 1
    _wait_for_end(folder)


def test_a_killed_test_run_leaves_no_process(tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_killed.py").write_text(
        "import os, signal\ndef test_killed(gateway):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert _pytest(tmp_path, tests).returncode == -signal.SIGKILL
    _wait_for_end(tmp_path / "base" / "payroll-gateway")


@pytest.mark.skipif(not processes.HAS_PARENT_DEATH_SIGNAL, reason="Linux only")
def test_a_gateway_that_was_killed_is_started_again(tmp_path: Path) -> None:
    with shared_gateway(ROOT, tmp_path) as first:
        host = json.loads((tmp_path / "data" / "gateway.json").read_text())["pid"]
        # Of dev.py, which then cannot remove the file with the address.
        os.kill(int(Path(f"/proc/{host}/stat").read_text().split()[3]), signal.SIGKILL)
        wait_until(lambda: not processes.command_line(host), "the gateway's end")
        with shared_gateway(ROOT, tmp_path) as second:
            assert second.variables["GATEWAY_URL"] != first.variables["GATEWAY_URL"]
            assert PayrollGateway(second.variables).new_tenant().imports() == []
    _wait_for_end(tmp_path)


def test_a_wrong_folder_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(StandinError, match="no checkout of the gateway"),
        shared_gateway(tmp_path, tmp_path / "run"),
    ):
        pass


@pytest.mark.slow
def test_pip_installs_the_plugin_and_it_knows_where_the_gateway_is(tmp_path: Path) -> None:
    assert installed_from() == ROOT
    _run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    _run(python, "-m", "pip", "install", "-q", ROOT / "standin")
    (tmp_path / "test_it.py").write_text(
        "from payroll_gateway_standin import TenantGateway\n"
        "def test_it(gateway: TenantGateway) -> None:\n"
        "    assert gateway.records('workers') == []\n"
    )
    output = _run(python, "-m", "pytest", "-q", f"--basetemp={tmp_path / 'base'}", tmp_path)
    assert "1 passed" in output
    _wait_for_end(tmp_path / "base" / "payroll-gateway")


def _run(*command: str | Path, folder: Path = ROOT) -> str:
    """What the command prints. It must end without an error."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder, env=environ, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _pytest(folder: Path, tests: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A run of pytest with the plugin, as a user of the checkout has it."""
    # The other plugins of this checkout take seconds to load, in each process.
    plugins = ["-p", "payroll_gateway_standin.plugin", "-p", "xdist"]
    command = [sys.executable, "-m", "pytest", *plugins]
    command += ["-c", os.devnull, f"--rootdir={folder}", f"--basetemp={folder / 'base'}"]
    command += ["-p", "no:cacheprovider", "-W", "error", *words, str(tests)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environ |= {"PYTHONPATH": str(ROOT / "standin"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        command,
        cwd=folder, env=environ, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip


def _wait_for_end(folder: Path) -> None:
    """Wait until no process of the gateway of a test run is left."""
    data = folder / "data"
    wait_until(lambda: not (data / "gateway.json").exists(), "the end of the gateway", 15)
    wait_until(lambda: not (data / "azurite.pid").exists(), "the end of its storage", 15)
    wait_until(lambda: not _processes_of(folder), "the end of its processes", 15)


def _processes_of(folder: Path) -> list[str]:
    if not processes.HAS_PARENT_DEATH_SIGNAL:
        return []
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [line for pid in pids if str(folder) in (line := processes.command_line(pid))]
