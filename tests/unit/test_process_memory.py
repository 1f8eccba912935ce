"""Large blocks that were freed are given back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# The first block raises the limit of the GNU library. The small ones keep what lies below them.
BLOCKS = """
import sys
from pathlib import Path
from shared.process_memory import return_large_blocks

def resident():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024

if sys.argv[1] == "given back":
    return_large_blocks()
first = bytes(30 * 1024 * 1024)
del first
before = resident()
large, small = [], []
for number in range(10):
    large.append(b"." * (4 * 1024 * 1024))
    small.append(b"." * (1000 + number))
del large
print(resident() - before)
"""


def _kept_after(mode: str) -> int:
    """The MiB that a process still has after it has freed 40."""
    ran = subprocess.run(
        [sys.executable, "-c", BLOCKS, mode], cwd=ROOT, capture_output=True, check=True, text=True
    )
    return int(ran.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about the GNU C library")
def test_freed_blocks_are_given_back_although_larger_ones_were_freed_before() -> None:
    assert _kept_after("as it is") > 20
    assert _kept_after("given back") < 5
