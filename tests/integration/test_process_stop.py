"""SIGTERM in a process that has no host of ours, as on the platform: announced, then the end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.integration
_PROGRAM = """
import asyncio, signal, sys
from shared.process_stop import ProcessStop, announce_on_sigterm

stop = ProcessStop()

async def main():
    {before}
    announce_on_sigterm(stop, {seconds})
    print("ready", flush=True)
    await stop.wait()
    print("announced", stop.is_announced, flush=True)
    {after}

asyncio.run(main())
"""


def _run(before: str, after: str, seconds: float, signals: int = 1) -> tuple[int, str]:
    """The exit status of such a process that is sent SIGTERM, and what it printed."""
    program = _PROGRAM.format(before=before, after=after, seconds=seconds)
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        output = process.stdout.readline()
        for _ in range(signals - 1):
            process.send_signal(signal.SIGTERM)
        output += process.stdout.read()
        return process.wait(60), output


def test_process_without_a_handler_ends_by_the_signal_after_its_time() -> None:
    status, output = _run("pass", "await asyncio.sleep(3600)", 0.2)
    assert (status, output) == (-signal.SIGTERM, "announced True\n")


def test_process_that_blocks_its_loop_ends_as_well() -> None:
    status, _ = _run("pass", "import time; time.sleep(3600)", 0.2)
    assert status == -signal.SIGTERM


def test_second_signal_ends_the_process_at_once() -> None:
    status, _ = _run("pass", "await asyncio.sleep(3600)", 3600, signals=2)
    assert status == -signal.SIGTERM


def test_handler_that_was_there_is_called_and_decides() -> None:
    before = 'signal.signal(signal.SIGTERM, lambda *_: print("before", flush=True))'
    assert _run(before, "sys.exit(7)", 0.05) == (7, "before\nannounced True\n")


def test_ignored_signal_stays_ignored() -> None:
    before = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    program = _PROGRAM.format(before=before, after="pass", seconds=1)
    program = program.replace("await stop.wait()", "signal.raise_signal(signal.SIGTERM)")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "ready\nannounced False\n"
