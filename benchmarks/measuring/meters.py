"""What a process has used, as the kernel tells it: processor time and memory.

From `/proc`, so on Linux only; elsewhere every figure is None and the tables have gaps.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class Meter:
    """Looks at one process."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def processor_seconds(self) -> float | None:
        """Time on a processor so far, its own and the kernel's for it."""
        try:
            text = (self._folder / "stat").read_text()
        except OSError:
            return None
        # The second field is the program's name in parentheses, which may hold blanks.
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int | None:
        """Memory that it holds now."""
        return self._status("VmRSS")

    def peak_bytes(self) -> int | None:
        """The most memory that it has held since `forget_peak`, or since its start."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Let the peak begin anew at what is held now; without the right to do so it stays."""
        with suppress(OSError):
            (self._folder / "clear_refs").write_text("5")

    def _status(self, name: str) -> int | None:
        try:
            lines = (self._folder / "status").read_text().splitlines()
        except OSError:
            return None
        for line in lines:
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        return None


def spent(before: float | None, after: float | None) -> float | None:
    """The difference of two readings, None where there is no such reading."""
    return None if before is None or after is None else after - before
