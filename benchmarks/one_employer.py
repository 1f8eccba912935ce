"""Bench `employer`: a first load of workers of one employer, by floors B and C in one partition.

The workers have no look-ups, so that all entities lie in one partition, which the emulator searches
for every write. Floor A would take most of the time and is left out.
"""

from __future__ import annotations

from benchmarks.catalogue import Outcome
from benchmarks.measuring.figures import rounded
from benchmarks.measuring.rig import running_rig
from benchmarks.measuring.tables import Line, number, render
from benchmarks.options import Options
from benchmarks.payloads import Case
from benchmarks.workers_import import MeasuredCase, measure_rounds
from benchmarks.workers_import_readings import Step

_STEPS = (Step.FLOOR_B, Step.FLOOR_C, Step.NEW)


def run(options: Options) -> Outcome:
    """Measure. Raises BenchError or SetupError."""
    case = MeasuredCase(Case(options.rows[-1], 1, has_lookups=False), _STEPS)
    with running_rig(options.folder / "logs") as rig:
        measure_rounds(rig, [case], options.rounds)
    readings = case.readings
    speed = {f"new/{step}": readings.speed(Step.NEW, step) for step in _STEPS[:2]}
    rows_per_second = {step: readings.rows_per_second(step) for step in _STEPS}
    document = {
        "rows": readings.case.rows,
        "speed": {name: rounded(value) for name, value in speed.items()},
        "notComparableBetweenRuns": {
            "rowsPerSecond": {step: rounded(value) for step, value in rows_per_second.items()}
        },
    }
    lines = [
        Line(f"{readings.case.title}, in times"),
        *(Line(f"  {name}", (number(value),)) for name, value in speed.items()),
        Line("rows per second (not comparable between runs)"),
        *(Line(f"  {name}", (number(value, 0),)) for name, value in rows_per_second.items()),
    ]
    return Outcome(document, render(lines), {"oneEmployer/floorB": speed["new/floorB"]})
