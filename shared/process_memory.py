"""Memory of the process that is not used any more goes back to the system."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

# mallopt(3) of the GNU C library.
_M_MMAP_THRESHOLD: Final = -3
_LARGE_BYTES: Final = 256 * 1024


def return_large_blocks() -> None:
    """Let the C library give each block of 256 KiB or more back to the system when it is freed.

    The GNU library raises that limit to the largest block that was freed, up to 32 MiB. Bodies and
    chunks would then share a heap with small blocks, and what lies between those stays with the
    process. A C library without the function has no such limit to set.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
