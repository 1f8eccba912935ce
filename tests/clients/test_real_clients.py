"""Clients as they are: .NET (Mono), Java and Node against a running gateway.

Each is skipped where its compiler or runtime is not installed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import a_worker, body_of
from tests.e2e.gateway_process import WORKERS, GatewayProcess, started
from tests.emulator import Emulator
from tests.tenants import Sender, a_sender

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
HERE = Path(__file__).parent
SECONDS = 90
MONO_PACKAGES = "mono-mcs, mono-runtime, libmono-system-runtime-serialization4.0-cil"
LICENSES = "/v1/imports/licenses"
REFERENCES = ("System.Net.Http.dll", "System.Runtime.Serialization.dll", "System.Xml.dll")


def _tool(name: str, package: str) -> str:
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed: install {package}")
    return program


def _run(*command: str | Path) -> str:
    """What the command prints. It must end without an error."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(name="storage", scope="module")
def fixture_storage(emulator: Emulator) -> str:
    return emulator.account("clients")


@pytest.fixture(name="gateway", scope="module")
def fixture_gateway(
    storage: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    with started(storage, tmp_path_factory.mktemp("gateway")) as process:
        yield process


@pytest.fixture(name="sender")
def fixture_sender(storage: str) -> Sender:
    return a_sender(storage)


@pytest.fixture(name="license_client", scope="module")
def fixture_license_client(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs the compiled C# client."""
    compiler, runtime = _tool("mcs", MONO_PACKAGES), _tool("mono", MONO_PACKAGES)
    program = tmp_path_factory.mktemp("mono") / "LicenseClient.exe"
    references = [f"-r:{name}" for name in REFERENCES]
    command = [compiler, *references, f"-out:{program}", str(HERE / "LicenseClient.cs")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if "CS0006" in done.stderr:
        pytest.skip(f"Mono lacks an assembly: install {MONO_PACKAGES}")
    assert done.returncode == 0, done.stderr
    return [runtime, str(program)]


@pytest.mark.parametrize("media_type", ["text/xml", "application/xml"])
def test_a_data_contract_client_reads_what_it_is_answered(
    gateway: GatewayProcess, sender: Sender, license_client: list[str], media_type: str
) -> None:
    keys = sender.headers["X-Functions-Key"], sender.headers["X-Software-Key"]
    address = f"{gateway.url}{LICENSES}?importAction="
    first = _run(*license_client, f"{address}Override", *keys, media_type).split(" ")
    assert first[:4] == [media_type, "2", "1", "2:Notes"]
    assert re.fullmatch(r"[0-9a-f-]{36}", first[4])
    # What the client has not set keeps what is stored, so the second row changes nothing.
    again = _run(*license_client, f"{address}Merge", *keys, media_type).split(" ")
    assert again[:4] == [media_type, "0", "3", "2:Notes"]
    results = gateway.get(f"/api/imports/{again[4]}/results", sender).json["items"]
    outcomes = {item["index"]: item["outcome"] for item in results}
    assert (outcomes[1], outcomes[3]) == ("unchanged", "unchanged")


def _check_worker(output: str) -> None:
    assert output.startswith('200 {"results":[{"recordIds":'), output
    assert '"importStatus":"OK"' in output


@pytest.mark.parametrize("which", ["HttpURLConnection", "HttpClient"])
def test_plain_java_imports_workers(gateway: GatewayProcess, sender: Sender, which: str) -> None:
    java = _tool("java", "a JDK from version 11 on, such as openjdk-17-jdk-headless")
    _tool("javac", "a JDK from version 11 on, such as openjdk-17-jdk-headless")
    keys = sender.headers["X-Functions-Key"], sender.headers["X-Software-Key"]
    body = body_of([a_worker("P1")]).decode()
    program = HERE / "WorkersClient.java"
    _check_worker(_run(java, program, which, f"{gateway.url}{WORKERS}", *keys, body))


def test_nodes_fetch_imports_workers(gateway: GatewayProcess, sender: Sender) -> None:
    node = _tool("node", "Node from version 18 on")
    keys = sender.headers["X-Functions-Key"], sender.headers["X-Software-Key"]
    body = body_of([a_worker("P1")]).decode()
    program = HERE / "workers_client.mjs"
    _check_worker(_run(node, program, f"{gateway.url}{WORKERS}", *keys, body))
