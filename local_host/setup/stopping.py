"""Being asked to stop: Ctrl-C, SIGTERM, a closed terminal. Once means in order, twice at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PAUSE = 0.02


class Stopped(Exception):  # noqa: N818 -- it is a wish, no error
    """Somebody asked to stop while something was being waited for."""


class StopRequests:
    """Counts the signals from its making on; nothing is interrupted, everything that waits asks.

    A hang-up that `nohup` has switched off stays off.
    """

    def __init__(self) -> None:
        self.count = 0
        for number in _SIGNALS:
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._note)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1

    def is_urgent(self) -> bool:
        """Whether somebody has asked again."""
        return self.count > 1

    def wait_until(self, condition: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait for `condition`; False when it did not come true within `seconds`.

        Raises Stopped when asked to stop.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while not condition():
            if self.count:
                raise Stopped
            if deadline is not None and time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE)
        return True
