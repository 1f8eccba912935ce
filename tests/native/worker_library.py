"""The app on the vendor's own worker library, as a child process (Python 3.13).

`vendor/native_host.py`, a tool of a third party, plays the part of the host.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.emulator import AUTHDATA_KEYS

ROOT = Path(__file__).resolve().parents[2]
HOST = Path(__file__).parent / "vendor" / "native_host.py"
Invocation = dict[str, Any]


@dataclass(frozen=True)
class WorkerLibrary:
    """An interpreter that has the library, and the storage to run the app on."""

    python: str
    storage: str

    def list_functions(self) -> dict[str, Any]:
        """What the library says when it indexes the app; fails where it warns of something."""
        listed = self._run("list", "--strict")
        assert listed.returncode == 0, listed.stdout + listed.stderr
        functions: dict[str, Any] = json.loads(listed.stdout)
        return functions

    def invoke(self, invocations: Sequence[Invocation]) -> list[dict[str, Any]]:
        """Run functions one after another in one process; one answer each."""
        lines = "\n".join(json.dumps(invocation) for invocation in invocations)
        ran = self._run("--compact", "batch", "-", text=lines)
        answers: list[dict[str, Any]] = [json.loads(line) for line in ran.stdout.splitlines()]
        assert len(answers) == len(invocations), ran.stdout + ran.stderr
        return answers

    def _run(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GATEWAY_", "AzureWebJobs", "PYTHON", "VIRTUAL_ENV"))
        }
        own = {
            "AzureWebJobsStorage": self.storage,
            "GATEWAY_AUTHDATA_KEYS": AUTHDATA_KEYS,
            "PYTHONUTF8": "1",
        }
        options = [word for word in words if word == "--compact"]
        command = [word for word in words if word != "--compact"]
        return subprocess.run(
            [self.python, str(HOST), "--settings", "none", *options, str(ROOT), *command],
            input=text,
            capture_output=True,
            check=False,
            cwd=ROOT,
            env={**kept, **own},
            text=True,
            timeout=100,
        )
