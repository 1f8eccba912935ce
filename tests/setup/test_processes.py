"""Children end with us, and nothing that is not ours is ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local_host.setup import processes
from local_host.setup.messages import SetupError
from local_host.setup.processes import file_lock

ROOT = Path(__file__).resolve().parents[2]
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)  # child-of-this-test"]
PARENT = """
import signal, sys, time
from local_host.setup import processes
child = processes.start(sys.argv[1:], death_signal=signal.SIGTERM)
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(not processes.HAS_PARENT_DEATH_SIGNAL, reason="Linux only")
def test_a_child_ends_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *SLEEP], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        _wait_until_it_is("child-of-this-test", child)
        parent.kill()
    _wait_until_it_is("", child)


def test_a_child_is_asked_to_end() -> None:
    child = processes.start(SLEEP, death_signal=signal.SIGKILL)
    assert processes.stop(child, seconds=10)
    assert child.returncode == -signal.SIGTERM


def test_a_process_of_another_program_is_not_ended() -> None:
    child = processes.start(SLEEP, death_signal=signal.SIGKILL)
    _wait_until_it_is("child-of-this-test", child.pid)
    assert processes.end_leftover(child.pid, ["azurite"], [(signal.SIGKILL, 5.0)])
    assert child.poll() is None
    processes.stop(child, seconds=10)


def test_a_leftover_process_of_the_gateway_is_ended() -> None:
    child = processes.start(SLEEP, death_signal=signal.SIGKILL)
    _wait_until_it_is("child-of-this-test", child.pid)
    tries = [(signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)]
    assert processes.end_leftover(child.pid, ["child-of-this-test"], tries)
    assert child.wait() == -signal.SIGTERM


def _wait_until_it_is(part: str, pid: int) -> None:
    """Wait for `part` in the process' own command line; "" waits for its end."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        line = processes.command_line(pid)
        if (part in line and "parent_death.py" not in line) if part else not line:
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} is {processes.command_line(pid)!r}")


# One process at a time, whatever becomes of the other.

HOLD = """
import sys, time
from pathlib import Path
from local_host.setup.processes import file_lock
with file_lock(Path(sys.argv[1]), seconds=0, on_wait=print, refusal="taken"):
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
        file_lock(
            tmp_path / "lock", seconds=0.3, on_wait=lambda: waits.append("w"), refusal="taken"
        ),
    ):
        pass
    assert waits == ["w"]
    assert holder.returncode == 0


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    with _hold(tmp_path / "lock") as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with file_lock(tmp_path / "lock", seconds=0, on_wait=lambda: None, refusal="taken"):
            pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(SetupError, match="Cannot write to"),
        file_lock(tmp_path / "file" / "lock", seconds=0, on_wait=lambda: None, refusal=""),
    ):
        pass
