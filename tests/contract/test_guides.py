"""The commands of the pages that a reader follows: docs/tutorial.md, deploy.md, operate.md."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import a_worker
from tests.e2e.gateway_process import ROOT, GatewayProcess, started
from tests.emulator import Emulator, open_ready_gateway, settings_for
from tests.guides import GUIDES, inline, scripts
from tests.integration.manage import Manage
from tests.tenants import Sender, new_sender

NEXT = "\x1e"
USAGE = 2


def run_script(text: str, folder: Path, **variables: str) -> str:
    """What the commands print, one after another in one shell that ends with the first failure."""
    done = subprocess.run(
        ["bash", "-c", f"set -eu\n{text}"],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


@pytest.fixture
def printed(gateway: GatewayProcess, sender: Sender, tmp_path: Path) -> list[str]:
    """What each block of the tutorial has printed."""
    script = f"printf '{NEXT}'\n".join(scripts("tutorial"))
    return run_script(
        script,
        tmp_path,
        GATEWAY_URL=f"http://127.0.0.1:{gateway.port}",
        GATEWAY_FUNCTIONS_KEY=sender.headers["X-Functions-Key"],
        GATEWAY_SOFTWARE_KEY=sender.headers["X-Software-Key"],
    ).split(NEXT)


def test_the_first_hour_goes_as_the_page_says(printed: list[str]) -> None:
    _, tried, imported, corrected, read, undone = printed
    assert '"importStatus":"OK"' in tried
    assert '"importStatus":"Error"' in tried
    assert '"errorID":1006' in tried
    assert '"state":"CompletedWithErrors"' in imported
    assert "11/12/1980" in corrected
    assert '"state":"Repaired"' in corrected
    assert '"Surname":"Bill"' in read
    assert '"ACME","007","Bond"' in read
    assert '"reversed":1' in undone
    stored = undone[undone.rindex('{"items"') :]
    assert '"PersonnelRef":"007"' not in stored
    assert '"PersonnelRef":"008"' in stored


# docs/deploy.md and docs/operate.md, on an account of their own: some commands are for all tenants.


@pytest.fixture(scope="module")
def account(emulator: Emulator) -> str:
    return emulator.account("guides")


@pytest.fixture(scope="module")
def deployed(account: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with started(account, tmp_path_factory.mktemp("deployed")) as process:
        yield process


def test_the_first_import_goes_as_the_page_of_the_deployment_says(
    account: str, deployed: GatewayProcess, tmp_path: Path
) -> None:
    # The programs and files that the page names, from the folder of the checkout.
    for name in ("dev.py", "samples"):
        (tmp_path / name).symlink_to(ROOT / name)
    program = tmp_path / "python3"
    program.symlink_to(sys.executable)
    make, send = scripts("deploy")
    here = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "AzureWebJobsStorage": account,
        "GATEWAY_URL": f"http://127.0.0.1:{deployed.port}",
    }
    made = run_script(make, tmp_path, **here)
    [key] = re.findall(r"\bpig_\S+", made)
    answer = json.loads(run_script(send, tmp_path, KEY=key, **here))
    assert "OK" in {row["importStatus"] for row in answer["results"]}
    assert run_script("curl -sS $GATEWAY_URL/api/health", tmp_path, **here)


@pytest.fixture(scope="module")
def senders(account: str) -> Iterator[Sender]:
    """Integrations of tenants of their own, made at once because that is quicker."""

    async def create() -> list[Sender]:
        async with open_ready_gateway(settings_for(account)) as opened:
            return await asyncio.gather(*(new_sender(opened) for _ in COMMANDS))

    return iter(asyncio.run(create()))


COMMANDS = list(
    dict.fromkeys(
        command for page in GUIDES for command in inline(page) if command.startswith("manage.py ")
    )
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_a_guide_does_what_it_is_named_for(
    account: str,
    deployed: GatewayProcess,
    senders: Iterator[Sender],
    tmp_path: Path,
    command: str,
) -> None:
    manage, sender = Manage(account, tmp_path), next(senders)
    tenant = sender.tenant
    files = {name: str(tmp_path / name) for name in ("workers.json", "person.zip")}
    words = {"T": tenant, "acme": tenant, "HR1": sender.integration.software_key, **files}
    if " ID" in command:
        answer = deployed.post(sender, [a_worker("P1"), a_worker("P2", Gender="x")])
        words["ID"] = answer.headers["x-import-id"]
    if " CLIENT" in command:
        client = manage.document("client", "add", "--tenant", tenant, "--scope", "documents")
        words["CLIENT"] = client["clientId"]
    if " OLD_ID" in command:
        of_key = ("--tenant", tenant, "--software-key", sender.integration.software_key)
        [key] = manage.document("key", "list", *of_key)["keys"]
        words["OLD_ID"] = key["id"]
        manage.document("key", "add", *of_key)
    ran = manage.run(*(words.get(word, word) for word in command.split()[1:]), answer="y\n")
    if ran.returncode == USAGE and " --" not in command:
        # A sentence that names the command, without the options that it needs.
        assert "Missing " in ran.stderr
        return
    # A command that reports failed rows ends with 1; one that is refused says so as an error.
    assert ran.returncode == 0 or (ran.returncode == 1 and not ran.stderr), ran
    assert ran.stdout.strip()
