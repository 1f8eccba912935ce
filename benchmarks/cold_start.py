"""Bench `cold-start`: the time to import the app, by the time to import the vendor's library alone.

Each import runs in a new process. Files of bytecode are there, as in a deployment.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from benchmarks.catalogue import Outcome
from benchmarks.measuring.figures import in_rounds, middle, rounded
from benchmarks.measuring.rig import plain_environ
from benchmarks.measuring.tables import Line, number, render
from benchmarks.measuring.waiting import BenchError
from benchmarks.options import Options
from local_host.setup.paths import ROOT

_MODULES: Final = ("azure.functions", "function_app")


def run(options: Options) -> Outcome:
    """Measure. Raises BenchError."""
    for module in _MODULES:
        _import_seconds(module)
    seconds: dict[str, list[float]] = {module: [] for module in _MODULES}
    for _ in range(options.rounds):
        for module in _MODULES:
            seconds[module].append(_import_seconds(module))
    library, app = (seconds[module] for module in _MODULES)
    by_library = middle(in_rounds(app, library))
    document = {
        "appByLibrary": rounded(by_library),
        "notComparableBetweenRuns": {
            f"{module}Milliseconds": rounded(middle(values) * 1_000)  # type: ignore[operator]
            for module, values in seconds.items()
        },
    }
    lines = [
        Line("import of the app in a new process"),
        Line("  import function_app ÷ import azure.functions", (number(by_library),)),
    ]
    return Outcome(document, render(lines), {"coldStart": by_library})


def _import_seconds(module: str) -> float:
    program = (
        "import time; begin = time.perf_counter(); "
        f"import {module}; print(time.perf_counter() - begin)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=plain_environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise BenchError(f"{module} cannot be imported: {ran.stderr[-500:]}")
    return float(ran.stdout)
