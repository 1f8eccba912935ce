"""The commands of docs/tutorial.md, one after another in one shell."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.gateway_process import ROOT, GatewayProcess
from tests.tenants import Sender

NEXT = "\x1e"


@pytest.fixture
def printed(gateway: GatewayProcess, sender: Sender, tmp_path: Path) -> list[str]:
    """What each block of the page has printed."""
    page = (ROOT / "docs/tutorial.md").read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    variables = {
        "GATEWAY_URL": f"http://127.0.0.1:{gateway.port}",
        "GATEWAY_FUNCTIONS_KEY": sender.headers["X-Functions-Key"],
        "GATEWAY_SOFTWARE_KEY": sender.headers["X-Software-Key"],
    }
    script = "set -eu\n" + f"printf '{NEXT}'\n".join(blocks)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout.split(NEXT)


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
