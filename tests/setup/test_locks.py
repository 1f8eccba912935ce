"""One process at a time, whatever becomes of the other."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local_host.setup.locks import locked
from local_host.setup.messages import SetupError

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pathlib import Path
from local_host.setup.locks import locked
with locked(Path(sys.argv[1]), patience=0, on_wait=print, refusal="taken"):
    print("held", flush=True)
    sys.stdin.read()
"""


def _hold(path: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_second_holder_is_refused_after_its_patience(tmp_path: Path) -> None:
    waits: list[str] = []
    with (
        _hold(tmp_path / "lock") as holder,
        pytest.raises(SetupError, match="taken"),
        locked(tmp_path / "lock", patience=0.3, on_wait=lambda: waits.append("w"), refusal="taken"),
    ):
        pass
    assert waits == ["w"]
    assert holder.returncode == 0


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    with _hold(tmp_path / "lock") as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with locked(tmp_path / "lock", patience=0, on_wait=lambda: None, refusal="taken"):
            pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(SetupError, match="Cannot write to"),
        locked(tmp_path / "file" / "lock", patience=0, on_wait=lambda: None, refusal=""),
    ):
        pass
