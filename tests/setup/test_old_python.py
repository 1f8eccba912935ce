"""A Python that is too old gets one clear sentence from dev.py."""

from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path

import pytest

DEV = Path(__file__).resolve().parents[2] / "dev.py"


def _old_pythons() -> list[str]:
    on_path = [shutil.which(f"python3.{minor}") for minor in (8, 9, 10)]
    installed = (Path.home() / ".pyenv" / "versions").glob("3.[89].*/bin/python3")
    return [python for python in (*on_path, *map(str, sorted(installed))) if python]


def test_dev_py_parses_on_python_3_8() -> None:
    ast.parse(DEV.read_text(), feature_version=(3, 8))


def test_an_old_python_is_told_that_it_is_too_old() -> None:
    for python in _old_pythons():
        told = subprocess.run([python, DEV, "run"], capture_output=True, text=True, check=False)
        if "pyenv:" in told.stderr:
            continue  # a shim of a version that is not switched on
        assert told.returncode == 2
        assert told.stderr.startswith("dev.py needs Python 3.11 or newer, but this is 3.")
        assert len(told.stderr.splitlines()) == 1
        return
    pytest.skip("no Python older than 3.11 found")
