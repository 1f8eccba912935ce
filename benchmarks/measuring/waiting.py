"""What goes wrong while measuring, and waiting for a condition with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

_SECONDS = 60.0
_PAUSE = 0.02


class BenchError(Exception):
    """Something did not go as a measurement needs it; the text says what."""


def wait_until(
    condition: Callable[[], bool], subject: str, seconds: float = _SECONDS, pause: float = _PAUSE
) -> None:
    """Return when the condition holds. Raises BenchError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"waited {seconds:.0f} s in vain for {subject}")
        time.sleep(pause)
