"""Starting and ending other processes, and locks between processes.

No child outlives its parent, and only processes that this program started are ended.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from local_host.setup.messages import SetupError
from local_host.setup.paths import FOLDER_MODE

# Whether the system can send a child a signal when its parent dies.
HAS_PARENT_DEATH_SIGNAL = sys.platform == "linux"

_PARENT_DEATH = Path(__file__).with_name("parent_death.py")
_PAUSE = 0.05
_LOCK_PAUSE = 0.1


def start(
    command: Sequence[str],
    *,
    death_signal: signal.Signals,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    output: IO[bytes] | int | None = None,
    errors: IO[bytes] | int | None = None,
    source: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start `command`, which gets `death_signal` when the calling thread ends.

    `source` is its standard input, by default empty.

    It gets its own session, so that Ctrl-C on the terminal reaches only this process, which ends
    its children in the right order.
    """
    words = list(command)
    if HAS_PARENT_DEATH_SIGNAL:
        words = [
            sys.executable,
            "-I",
            "-S",
            str(_PARENT_DEATH),
            str(int(death_signal)),
            str(os.getpid()),
            *command,
        ]
    return subprocess.Popen(
        words,
        stdin=source,
        stdout=output,
        stderr=errors,
        env=None if environ is None else dict(environ),
        cwd=folder,
        start_new_session=True,
    )


def stop(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Ask a child to end, once; kill it after `seconds` seconds. Whether it ended when asked."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


def command_line(pid: int) -> str:
    """The command line of a process; "" if it does not run (or is a zombie)."""
    try:
        if HAS_PARENT_DEATH_SIGNAL:
            return (
                Path(f"/proc/{pid}/cmdline")
                .read_bytes()
                .replace(b"\0", b" ")
                .decode("utf-8", "replace")
            )
        output = subprocess.run(
            ["ps", "-ww", "-o", "command=", "-p", str(pid)],
            capture_output=True,
            check=False,
            text=True,
        )
    except OSError:
        return ""
    return output.stdout.strip()


def end_leftover(
    pid: int, words: Sequence[str], signals: Sequence[tuple[signal.Signals, float]]
) -> bool:
    """End a process that an earlier run left behind; True when no such process runs any more.

    A process whose command line does not contain all `words` is another program with the same id.
    `signals` are sent in turn, each with the seconds to wait after it.
    """
    for number, patience in signals:
        if not _has_words(pid, words):
            return True
        os.kill(pid, number)
        deadline = time.monotonic() + patience
        while _has_words(pid, words) and time.monotonic() < deadline:
            time.sleep(_PAUSE)
    return not _has_words(pid, words)


def _has_words(pid: int, words: Sequence[str]) -> bool:
    line = command_line(pid)
    return bool(line) and all(word in line for word in words)


def has_ended_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait a little for a child to end by itself."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


@contextmanager
def file_lock(
    path: Path, *, seconds: float | None, on_wait: Callable[[], None], refusal: str
) -> Iterator[None]:
    """Lock the file `path` for the time of the block; the system unlocks it when we die.

    Where another process has it, `on_wait` is called once; after `seconds` seconds (None: any
    time) a SetupError with `refusal` is raised.
    """
    try:
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SetupError(f"Cannot write to {path.parent}: {error.strerror}.") from error
    try:
        if not _try_lock(file):
            on_wait()
            deadline = None if seconds is None else time.monotonic() + seconds
            while not _try_lock(file):
                if deadline is not None and time.monotonic() > deadline:
                    raise SetupError(refusal)
                time.sleep(_LOCK_PAUSE)
        yield
    finally:
        os.close(file)


def lock_taker(path: Path) -> Callable[[], bool]:
    """A function that tries to lock the file `path` and returns whether this process has it.

    The lock is kept until this process ends. Raises SetupError.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SetupError(f"Cannot open {path}: {error.strerror}.") from error
    return lambda: _try_lock(file)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
