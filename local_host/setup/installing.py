"""Running an installer: its output goes to a log file, a line of progress to the person."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from local_host.setup import processes
from local_host.setup.failures import explain
from local_host.setup.messages import SetupError, note, timed_step
from local_host.setup.private import FOLDER_MODE

_PAUSE = 0.1
_REPORT_SECONDS = 5.0
_STOP_SECONDS = 5.0
_WIDTH = 70


def install(
    text: str,
    tool: str,
    command: Sequence[str],
    *,
    log: Path,
    environ: Mapping[str, str],
    folder: Path,
) -> None:
    """Run `command` in `folder`; `text` says to people what is being done.

    Raises SetupError with the reason when it fails. An interruption ends the installer too.
    """
    log.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    with timed_step(text), log.open("wb") as output:
        process = processes.start(
            command,
            death_signal=signal.SIGKILL,
            environ=environ,
            folder=folder,
            output=output,
            errors=subprocess.STDOUT,
        )
        try:
            status = _wait_and_report(process, log)
        except BaseException:
            processes.stop(process, _STOP_SECONDS)
            raise
        if status:
            raise SetupError(explain(tool, log.read_text("utf-8", "replace"), log))


def _wait_and_report(process: subprocess.Popen[bytes], log: Path) -> int:
    begun = reported = time.monotonic()
    while (status := process.poll()) is None:
        time.sleep(_PAUSE)
        now = time.monotonic()
        if now - reported >= _REPORT_SECONDS:
            reported = now
            note(f"    {now - begun:3.0f} s  {_last_line(log)}")
    return status


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()
    telling = [line.strip() for line in lines if line.strip() and "warn" not in line.lower()]
    return telling[-1][:_WIDTH] if telling else ""
