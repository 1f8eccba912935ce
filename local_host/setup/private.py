"""Folders and files that other users of the machine cannot read, also where they exist already.

The data folder holds personal data, keys and what the gateway logs.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER_MODE = 0o700
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def close_to_others(path: Path) -> None:
    """Take every right of others from what exists at `path`, and from all that is in it.

    A link is left alone, and so is what belongs to another user, who could open it again.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid():
        return
    if found.st_mode & _OTHERS:
        path.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)
    if stat.S_ISDIR(found.st_mode):
        for entry in path.iterdir():
            close_to_others(entry)


@contextmanager
def files_are_private() -> Iterator[None]:
    """What this process and its children make during the block is closed to others."""
    before = os.umask(_OTHERS)
    try:
        yield
    finally:
        os.umask(before)
