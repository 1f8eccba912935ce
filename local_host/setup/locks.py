"""Locks between processes: a locked file, released by the system when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from local_host.setup.messages import SetupError
from local_host.setup.private import FOLDER_MODE

_PAUSE = 0.1


@contextmanager
def locked(
    path: Path, *, patience: float | None, on_wait: Callable[[], None], refusal: str
) -> Iterator[None]:
    """Hold the lock of `path` for the time of the block.

    Where another process has it, `on_wait` is called once; after `patience` seconds (None: any
    time) a SetupError with `refusal` is raised.
    """
    with _opened(path) as file:
        if not _try_lock(file):
            on_wait()
            _wait_for(file, patience, refusal)
        yield


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SetupError(f"Cannot write to {path.parent}: {error.strerror}.") from error
    try:
        yield file
    finally:
        os.close(file)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for(file: int, patience: float | None, refusal: str) -> None:
    deadline = None if patience is None else time.monotonic() + patience
    while not _try_lock(file):
        if deadline is not None and time.monotonic() > deadline:
            raise SetupError(refusal)
        time.sleep(_PAUSE)
