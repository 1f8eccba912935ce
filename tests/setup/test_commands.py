"""The help of dev.py is shown at once, on a machine where nothing is set up yet."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
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


def test_an_old_python_is_told_that_it_is_too_old() -> None:
    for python in _old_pythons():
        done = subprocess.run([python, DEV, "run"], capture_output=True, text=True, check=False)
        if "pyenv:" in done.stderr:
            continue  # a shim of a version that is not switched on
        assert done.returncode == 2
        assert done.stderr.startswith("dev.py needs Python 3.11 or newer, but this is 3.")
        assert len(done.stderr.splitlines()) == 1
        return
    pytest.skip("no Python older than 3.11 found")
