"""How the app hears of drops is decided when it is indexed.

See docs/contracts.md#4, docs/platform.md#3.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.unit.house.source_tree import ROOT

_ASKED = """
import json
from functions.documents import documents_drop
print(json.dumps(json.loads(documents_drop._function.get_function_json())["bindings"][0]))
"""


@pytest.mark.parametrize(
    ("setting", "source"),
    [
        ("", "LogsAndContainerScan"),
        ("polling", "LogsAndContainerScan"),
        ("EventGrid", "EventGrid"),
        ("wrong", "LogsAndContainerScan"),
    ],
)
def test_the_trigger_has_the_source_of_the_setting_and_hands_on_bytes(
    setting: str, source: str
) -> None:
    environ = {**os.environ, "GATEWAY_DROP_SOURCE": setting}
    ran = subprocess.run(
        [sys.executable, "-c", _ASKED],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        check=True,
        text=True,
    )
    binding = json.loads(ran.stdout)
    assert (binding["source"], binding["path"]) == (source, "document-drop/{name}")
    assert binding["dataType"] == "BINARY"
