"""`python -m tests.faults.skewed_host …`: the local host, with a gateway whose clock can jump.

The file that `FAULT_CLOCK_FILE` names holds the seconds by which the clock of the gateway is ahead
(negative: behind); it is read each time that the gateway asks for the time of day.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from local_host.__main__ import main
from shared.bootstrap import use_clock

CLOCK_FILE = "FAULT_CLOCK_FILE"


class SkewedClock:
    """A clock that is ahead of the machine's by what its file says."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._seconds())

    def elapsed(self) -> float:
        return time.monotonic()

    def _seconds(self) -> float:
        # While it is being written the file may be empty for a moment.
        return float(self._file.read_text() or 0)


if __name__ == "__main__":
    use_clock(SkewedClock(Path(os.environ[CLOCK_FILE])))
    sys.exit(main())
