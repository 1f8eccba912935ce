"""How much CPU time and memory an entry takes for an input, per byte of it.

CPU time is that of the process, so a machine that is busy with something else changes little, and
the best of some runs counts. Memory is the peak of what Python allocates; what C libraries such as
libxml2 allocate for themselves is not in it.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from shared.errors import GatewayError

GROWTH = 4
"""The large input is so many times the small one."""
_MOST_GROWTH = 2.5 * GROWTH
"""A quadratic entry takes `GROWTH` squared, which is 16 times as long."""
_NOISE_SECONDS = 0.03
_TRIES = 3
_MEGABYTE = 1_000_000

Make = Callable[[int], Any]
"""An input of about so many bytes."""


@dataclass(frozen=True)
class Entry:
    """A place where text comes in.

    `read` takes an input and answers or refuses it (any `GatewayError`). `bytes` is the size of
    the small input. `seconds` is the ceiling of CPU time per megabyte, `memory` that of the peak
    per byte of the small input; `fixed` are bytes that are allowed whatever the input is. `dear`
    has other ceilings for single inputs: rows of three bytes, which the limit of rows bounds.
    """

    name: str
    read: Callable[[Any], object]
    worst: Mapping[str, Make]
    bytes: int
    seconds: float = 10.0
    memory: float = 100.0
    fixed: int = 1_100_000
    dear: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    refused: tuple[type[Exception], ...] = field(default=(GatewayError,))


@dataclass(frozen=True)
class Reading:
    """What one input of an entry costs: seconds of the small and of the large input, per byte."""

    entry: Entry
    input: str
    small: float
    large: float
    size: int
    small_size: int
    peak: int

    @property
    def seconds_per_megabyte(self) -> float:
        """Of the large input."""
        return self.large * _MEGABYTE / self.size

    @property
    def memory_per_byte(self) -> float:
        """Peak bytes of Python objects per byte of the input."""
        return self.peak / self.small_size

    def faults(self) -> list[str]:
        """What is over the entry's budget, as sentences."""
        problems = []
        if self.large > self.small * _MOST_GROWTH + _NOISE_SECONDS:
            problems.append(
                f"{GROWTH} times the input takes {self.large / self.small:.0f} times the time "
                f"({self.small:.3f} s, then {self.large:.3f} s)"
            )
        seconds, memory = self.entry.dear.get(self.input, (self.entry.seconds, self.entry.memory))
        if self.large - _NOISE_SECONDS > seconds * self.size / _MEGABYTE:
            problems.append(f"it takes {self.seconds_per_megabyte:.1f} s for a megabyte")
        if self.peak > memory * self.small_size + self.entry.fixed:
            problems.append(f"it takes {self.memory_per_byte:.0f} bytes of memory for a byte")
        return [f"{self.entry.name}, {self.input}: {fault}" for fault in problems]


def measure(entry: Entry, name: str) -> Reading:
    """The cost of one input; measured again where it seems to be over the budget."""
    make = entry.worst[name]
    small, large = make(entry.bytes), make(entry.bytes * GROWTH)
    with suppress(*entry.refused):
        entry.read(small)  # what is imported or cached by the first call is not the input's cost
    sizes = (_size(large), _size(small), _peak(entry, small))
    reading = Reading(entry, name, _cpu(entry, small), _cpu(entry, large), *sizes)
    for _ in range(_TRIES):
        if not reading.faults():
            break
        reading = Reading(
            entry,
            name,
            max(reading.small, _cpu(entry, small)),
            min(reading.large, _cpu(entry, large)),
            *sizes,
        )
    return reading


def _size(sent: Any) -> int:
    return len(sent.encode("utf-8", "replace") if isinstance(sent, str) else sent)


def _cpu(entry: Entry, sent: Any) -> float:
    start = time.process_time()
    with suppress(*entry.refused):
        entry.read(sent)
    return time.process_time() - start


def _peak(entry: Entry, sent: Any) -> int:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        with suppress(*entry.refused):
            entry.read(sent)
        _, peak = tracemalloc.get_traced_memory()
        return peak - before
    finally:
        tracemalloc.stop()
