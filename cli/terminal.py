"""Printing for all commands, with the text of callers escaped for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO

from shared.printable import printable


def say(lines: Iterable[str]) -> None:
    """Print each line on standard output."""
    _print(lines, sys.stdout)


def print_errors(lines: Iterable[str]) -> None:
    """Print each line on standard error."""
    _print(lines, sys.stderr)


def confirm(question: str) -> bool:
    """Ask on standard error; only y or yes on standard input is a yes."""
    _print([question], sys.stderr, end="")
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        _print([""], sys.stderr)
    return answer.strip().lower() in ("y", "yes")


def fits(text: str, stream: TextIO) -> bool:
    """Whether the stream's charset has every character of the text."""
    try:
        text.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _print(lines: Iterable[str], stream: TextIO, end: str = "\n") -> None:
    """Print text. Characters that the terminal's charset lacks are escaped too.

    A command that fails at a name may have printed half of what it shows only once, such as a key.
    """
    encoding = stream.encoding or "utf-8"
    for line in lines:
        text = printable(line).encode(encoding, "backslashreplace").decode(encoding)
        print(text, end=end, file=stream, flush=not end)  # a prompt waits for an answer
