"""Stamps: small files that say from what a folder was made, so that a second start does nothing.

A stamp is the last file that an installation writes. One that is missing or differs means: install
again. A folder that an installation was interrupted in also holds a mark and is made anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

_STAMP = ".gateway-stamp"
_UNFINISHED = ".gateway-unfinished"


def digest(files: Iterable[Path], *words: str) -> str:
    """One value for the content of `files` and for `words`; the order of the files counts."""
    total = hashlib.sha256()
    for file in files:
        total.update(hashlib.sha256(file.read_bytes()).digest())
    for word in words:
        total.update(hashlib.sha256(word.encode()).digest())
    return total.hexdigest()


def is_current(folder: Path, wanted: str) -> bool:
    """Whether `folder` was finished from exactly this."""
    if is_unfinished(folder):
        return False
    try:
        return (folder / _STAMP).read_text("ascii").strip() == wanted
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        return False


def is_unfinished(folder: Path) -> bool:
    """Whether an installation began in `folder` and did not end."""
    return (folder / _UNFINISHED).exists()


def mark_unfinished(folder: Path) -> None:
    """To be called before the first change; makes the folder where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _UNFINISHED).touch()
    (folder / _STAMP).unlink(missing_ok=True)


def mark_finished(folder: Path, made_from: str) -> None:
    """To be called after the last change."""
    (folder / _STAMP).write_text(made_from + "\n", "ascii")
    (folder / _UNFINISHED).unlink(missing_ok=True)
