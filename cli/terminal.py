"""The one place where commands print: nothing that a caller sent reaches the terminal as it is."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from shared.printable import printable


def say(lines: Iterable[str]) -> None:
    """Print each line on standard output."""
    for line in lines:
        print(printable(line))


def complain(lines: Iterable[str]) -> None:
    """Print each line on standard error."""
    for line in lines:
        print(printable(line), file=sys.stderr)
