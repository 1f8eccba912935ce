"""`dev.py check`: format, lint, strict types and the fast tests, side by side, in a minute.

The model tests run a sample of their interleavings here, and all of them in `test`.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO

from local_host.setup.messages import say
from local_host.setup.paths import PYTHON, ROOT

_TESTS = ("tests/unit", "tests/model")
_SAMPLE = {"ORDER_MODEL_RUNS": "100"}


@dataclass
class Check:
    """One running tool. Its output is shown when it ends, so that outputs do not mix."""

    name: str
    arguments: list[str]
    start: float = field(default_factory=time.monotonic)
    output: IO[bytes] = field(default_factory=TemporaryFile)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [PYTHON, "-m", *self.arguments],
            cwd=ROOT,
            env={**_SAMPLE, **os.environ},
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
        )

    def passes(self) -> bool:
        """Wait for its end and show its output."""
        status = self.process.wait()
        self.output.seek(0)
        text = self.output.read().decode("utf-8", "replace").rstrip()
        if text:
            say(text)
        verdict = "failed" if status else "passed"
        say(f"{self.name}: {verdict} after {time.monotonic() - self.start:.1f} s")
        return status == 0


def run_checks() -> int:
    """Run all checks, even if the first ones fail. Returns the exit status."""
    checks = [
        Check("format", ["ruff", "format", "--check", "--quiet", "."]),
        Check("lint", ["ruff", "check", "--quiet", "."]),
        Check("types", ["mypy", "--no-error-summary"]),
        Check(
            "fast tests",
            [
                "pytest",
                "-q",
                "-m",
                "not slow",
                *[name for name in _TESTS if (ROOT / name).is_dir()],
            ],
        ),
    ]
    failed_checks = [check.name for check in checks if not check.passes()]
    say(f"check failed: {', '.join(failed_checks)}" if failed_checks else "check passed")
    return 1 if failed_checks else 0
