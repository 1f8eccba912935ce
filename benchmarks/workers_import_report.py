"""What is told of bench `import`: a table with ratios first, and everything as JSON."""

from __future__ import annotations

import json
import time
import timeit
from collections.abc import Sequence
from typing import Any

from benchmarks.catalogue import Outcome
from benchmarks.measuring.figures import middle, quotient, rounded
from benchmarks.measuring.tables import Line, number, render
from benchmarks.workers_import_readings import IMPORTS, CaseReadings, OneRowReadings, Step
from local_host.setup.paths import ROOT
from shared.app import sealed_fields
from shared.imports.workers.definition import WORKERS
from shared.storage.sealing import Sealer, aes_gcm

_TITLES = {
    Step.FLOOR_A: "floor A",
    Step.FLOOR_B: "floor B",
    Step.NEW: "first load",
    Step.UNCHANGED: "unchanged repeat",
    Step.CHANGED: "all rows changed",
}
_QUOTIENTS = (
    (Step.NEW, Step.FLOOR_A),
    (Step.NEW, Step.FLOOR_B),
    (Step.UNCHANGED, Step.NEW),
    (Step.CHANGED, Step.NEW),
)


def outcome_of(cases: Sequence[CaseReadings], one_row: OneRowReadings) -> Outcome:
    """The result of the bench."""
    document: dict[str, Any] = {
        "cases": [_case(case) for case in cases],
        "oneRow": {
            "employers": 1,
            "callsPerRound": len(one_row.calls[0]),
            "requestsPerCall": rounded(one_row.requests_per_call),
            "p50OverRawRequests": rounded(one_row.over_raw),
            "notComparableBetweenRuns": {
                "p50Milliseconds": rounded(one_row.milliseconds(50)),
                "p95Milliseconds": rounded(one_row.milliseconds(95)),
            },
        },
    }
    sealing = measure_sealing()
    document["notComparableBetweenRuns"] = {
        f"{name}MicrosecondsPerRow": rounded(cost) for name, cost in sealing.items()
    }
    costs = ", ".join(f"{name} {number(cost, 0)}" for name, cost in sealing.items())
    return Outcome(
        document,
        [
            *_table(cases),
            "",
            *_sentences(one_row),
            f"Processor time for a worker with all fields, in microseconds: {costs} "
            "(not comparable between runs)",
        ],
    )


def measure_sealing(rounds: int = 5, times: int = 400) -> dict[str, float]:
    """The processor time, in microseconds, of sealing and opening the worker of our sample that has
    all fields: in its record, and in the payload.
    """
    fields = sealed_fields(WORKERS.table)
    assert fields is not None
    samples = json.loads((ROOT / "samples" / "workers.json").read_text("utf-8"))
    text = max((json.dumps(each, separators=(",", ":")) for each in samples), key=len)
    sealer = Sealer("bench", 1, {1: aes_gcm(bytes(32))})
    place = ("bench", "-", "-")

    def seal() -> tuple[str, bytes]:
        open_text, values = fields.take_out(text)
        return open_text, sealer.seal(values.encode(), *place)

    open_text, sealed = seal()
    payload = sealer.seal(text.encode() * times, *place)
    work = {
        "seal": (seal, times),
        "open": (lambda: fields.put_back(open_text, sealer.open(sealed, *place).decode()), times),
        "sealPayload": (lambda: sealer.seal(text.encode() * times, *place), 1),
        "openPayload": (lambda: sealer.open(payload, *place), 1),
    }
    return {
        name: min(timeit.repeat(call, number=count, repeat=rounds, timer=time.process_time))
        / times
        * 1e6
        for name, (call, count) in work.items()
    }


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


def _sentences(readings: OneRowReadings) -> list[str]:
    p50, p95 = (number(readings.milliseconds(percent), 0) for percent in (50, 95))
    return [
        f"One row, 1 employer: {readings.requests_per_call:.1f} storage requests; p50 ÷ (as many "
        f"upserts one after the other + half a poll) {number(readings.over_raw)}",
        f"(not comparable between runs: p50 {p50} ms, p95 {p95} ms)",
    ]
