"""The result of bench `import`: a table with ratios first, and everything as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.catalogue import Outcome
from benchmarks.measuring.figures import middle, quotient, rounded
from benchmarks.measuring.tables import Line, number, render
from benchmarks.workers_import_readings import IMPORTS, CaseReadings, Step

_TITLES = {
    Step.FLOOR_A: "floor A",
    Step.FLOOR_B: "floor B",
    Step.FLOOR_C: "floor C",
    Step.NEW: "first load",
    Step.UNCHANGED: "unchanged repeat",
    Step.CHANGED: "all rows changed",
}
_QUOTIENTS = (
    (Step.NEW, Step.FLOOR_A),
    (Step.NEW, Step.FLOOR_B),
    (Step.NEW, Step.FLOOR_C),
    (Step.UNCHANGED, Step.NEW),
    (Step.CHANGED, Step.NEW),
)


def outcome_of(cases: Sequence[CaseReadings]) -> Outcome:
    """The result of the bench; its figures are those of the largest case."""
    largest = cases[-1]
    requests = {step: _requests(largest, step)["total"] for step in IMPORTS}
    figures = {
        "first/floorB": largest.speed(Step.NEW, Step.FLOOR_B),
        "first/floorC": largest.speed(Step.NEW, Step.FLOOR_C),
        "unchanged/first": largest.speed(Step.UNCHANGED, Step.NEW),
        "changed/first": largest.speed(Step.CHANGED, Step.NEW),
        **{f"requests/{step}": count for step, count in requests.items()},
        "memory/json": largest.memory(Step.NEW),
    }
    return Outcome({"cases": [_case(case) for case in cases]}, _table(cases), figures)


def _case(case: CaseReadings) -> dict[str, Any]:
    return {
        "rows": case.case.rows,
        "employers": case.case.employers,
        "lookupsPerRow": int(case.case.has_lookups),
        "payloadBytes": case.payload_bytes,
        "entities": case.entities,
        "speed": {
            f"{step}/{other}": rounded(case.speed(step, other)) for step, other in _QUOTIENTS
        },
        "processorTime": {
            f"{step}/floorB": rounded(case.work(step, Step.FLOOR_B)) for step in IMPORTS
        },
        "requestsPerRow": {step: _requests(case, step) for step in IMPORTS},
        "peakMemoryOverIdlePerPayload": {step: rounded(case.memory(step)) for step in IMPORTS},
        "notComparableBetweenRuns": _absolute(case),
    }


def _requests(case: CaseReadings, step: Step) -> dict[str, float | None]:
    counted, rows = case.counted[step].requests, case.case.rows
    parts = {
        "total": counted.total,
        "tables": counted.tables,
        "blobs": counted.blobs,
        "queues": counted.queues + counted.sends,
        "pollsBeside": max(0, counted.polls - counted.sends),
    }
    return {name: rounded(value / rows) for name, value in parts.items()}


def _absolute(case: CaseReadings) -> dict[str, Any]:
    return {
        "rowsPerSecond": {step: rounded(case.rows_per_second(step)) for step in Step},
        "clientProcessorMillisecondsPerRow": {
            step: rounded(_milliseconds_per_row(case, step)) for step in Step
        },
        "idleBytes": case.counted[Step.NEW].idle,
        "peakBytes": {step: case.counted[step].peak for step in IMPORTS},
        "rounds": [
            {
                step: {
                    "seconds": rounded(read.seconds),
                    "clientProcessorSeconds": rounded(read.client),
                    "emulatorProcessorSeconds": rounded(read.emulator),
                }
                for step, read in steps.items()
            }
            for steps in case.rounds
        ],
    }


def _milliseconds_per_row(case: CaseReadings, step: Step) -> float | None:
    return quotient(middle(case.client(step)), case.case.rows / 1_000)


def _table(cases: Sequence[CaseReadings]) -> list[str]:
    def line(name: str, cells: Sequence[float | None], digits: int = 2) -> Line:
        return Line(name, [number(cell, digits) for cell in cells])

    lines = [
        Line("rows", [f"{each.case.rows:,}" for each in cases]),
        Line("employers", [str(each.case.employers) for each in cases]),
        Line("look-ups per row", [str(int(each.case.has_lookups)) for each in cases]),
        Line("speed, in times"),
        *(
            line(
                f"  {_TITLES[step]} ÷ {_TITLES[other]}", [each.speed(step, other) for each in cases]
            )
            for step, other in _QUOTIENTS
        ),
        Line("processor time of storage's client, in times"),
        *(
            line(f"  {_TITLES[step]} ÷ floor B", [each.work(step, Step.FLOOR_B) for each in cases])
            for step in IMPORTS
        ),
        Line("storage requests per row"),
        *(
            line(f"  {_TITLES[step]}", [_requests(each, step)["total"] for each in cases], 4)
            for step in IMPORTS
        ),
        Line("peak memory over idle ÷ payload"),
        *(line(f"  {_TITLES[step]}", [each.memory(step) for each in cases]) for step in IMPORTS),
        Line("rows per second (not comparable between runs)"),
        *(
            line(f"  {_TITLES[step]}", [each.rows_per_second(step) for each in cases], 0)
            for step in Step
        ),
        Line("client's processor ms per row (not comparable between runs)"),
        *(
            line(f"  {_TITLES[step]}", [_milliseconds_per_row(each, step) for each in cases])
            for step in Step
        ),
    ]
    return ["import: workers", *render(lines)]
