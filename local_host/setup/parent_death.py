"""Become another program that gets a signal when its parent dies (Linux only).

    python parent_death.py SIGNAL PARENT PROGRAM [ARGUMENT ...]

So a gateway does not outlive a `dev.py` that was killed. This is a separate program, because the
request has to be made between fork and exec, where a process with threads must not run Python.
"""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main(death_signal: int, parent: int, command: list[str]) -> None:
    """Ask for the signal and become `command`; ends where the parent is already gone."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the process that started this one has ended")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
