"""Messages of the set-up: progress, and one sentence for a failure."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from local_host.log_lines import printable_lines


class SetupError(Exception):
    """The user has to do something; the text says what is wrong and what to do.

    `status` is the exit status of `dev.py`.
    """

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


def say(text: str) -> None:
    """Print a line without buffering, even into a pipe."""
    _print(text, sys.stdout)


def note(text: str) -> None:
    """Print a line on standard error: progress, or a problem."""
    _print(text, sys.stderr)


@contextmanager
def timed_step(text: str) -> Iterator[None]:
    """Print what begins, and how many seconds it took."""
    note(f"{text} ...")
    start = time.monotonic()
    yield
    note(f"{text}: done in {time.monotonic() - start:.1f} s")


def _print(text: str, stream: TextIO) -> None:
    # A character that the charset of the terminal does not have is shown as an escape.
    encoding = stream.encoding or "utf-8"
    line = printable_lines(text).encode(encoding, "backslashreplace").decode(encoding)
    print(line, file=stream, flush=True)
