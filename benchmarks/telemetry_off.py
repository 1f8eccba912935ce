"""Bench `telemetry`: what the hooks of telemetry cost an import while it is off.

The gateway's own processor time for a first load on storage in memory, in pairs of processes: as it
is, and with the hooks of `shared/telemetry.py` replaced before anything else is imported, so that
no function is wrapped, and a span or a measurement does nothing. The calls of the two that are left
are in both. Without the SDK and a network a row costs less than in a real gateway, so the part of
the hooks is rather larger here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Final

from benchmarks.catalogue import Outcome
from benchmarks.measuring.figures import middle, quotient, rounded
from benchmarks.measuring.tables import Line, number, render
from benchmarks.measuring.waiting import BenchError
from benchmarks.options import Options
from local_host.setup.messages import note
from local_host.setup.paths import ROOT

_MODULE: Final = "benchmarks.telemetry_off"
_WITHOUT: Final = "without"
_LOADS: Final = 5


def run(options: Options) -> Outcome:
    """Measure. Raises BenchError."""
    rows = options.rows[-1]
    ratios: list[float | None] = []
    times: dict[str, list[float]] = {"off": [], _WITHOUT: []}
    for count in range(1, options.rounds + 1):
        note(f"round {count} of {options.rounds}")
        # The way that begins changes from round to round.
        for way in list(times) if count % 2 else reversed(times):
            times[way].append(_measured(way, rows))
        ratios.append(quotient(times["off"][-1], times[_WITHOUT][-1]))
    ratio = middle(ratios)
    document = {
        "rows": rows,
        "off/without": rounded(ratio),
        "rounds": [rounded(each) for each in ratios],
        "notComparableBetweenRuns": {
            f"{way}MicrosecondsPerRow": rounded(middle([*each])) for way, each in times.items()
        },
    }
    spread = ", ".join(number(each, 3) for each in sorted(each for each in ratios if each))
    lines = [
        Line(f"first load of {rows:,} rows, processor time"),
        Line("  telemetry off ÷ without its hooks", (number(ratio, 3),)),
        Line(f"  rounds: {spread}"),
    ]
    return Outcome(document, render(lines), {"telemetry/off": ratio})


def _measured(way: str, rows: int) -> float:
    """The least processor time of some loads in a process of their own, in microseconds a row."""
    command = [sys.executable, "-m", _MODULE, way, str(rows)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"a measuring process failed: {done.stderr[-500:]}")
    return float(min(json.loads(done.stdout))) / rows * 1e6


def _remove_hooks() -> None:
    """Replace the hooks, before any module that uses them is imported."""
    from shared import telemetry

    nothing = nullcontext()

    def unwrapped(_name: str) -> Callable[[Any], Any]:
        return lambda function: function

    def no_span(*_: object, **__: object) -> Any:
        return nothing

    def no_note(*_: object, **__: object) -> None:
        return None

    for name, replacement in (("traced", unwrapped), ("span", no_span), ("note", no_note)):
        setattr(telemetry, name, replacement)


def _measure_here(way: str, rows: int) -> list[float]:
    """The processor time of each of some loads after a first one, in seconds."""
    if way == _WITHOUT:
        _remove_hooks()
    import logging

    from benchmarks.scaling_simulation import Load, simulate

    logging.disable(logging.CRITICAL)
    load = Load("", tenants=1, employers=10, rows=rows, is_full=True)
    seconds: list[float] = []
    for _ in range(_LOADS + 1):
        started_at = time.process_time()
        assert simulate(load, 4, chunk_rows=1_000).lost == 0
        seconds.append(time.process_time() - started_at)
    return seconds[1:]


if __name__ == "__main__":
    print(json.dumps(_measure_here(sys.argv[1], int(sys.argv[2]))))
