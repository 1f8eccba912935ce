"""Bench `sealing`: a first load with sealed fields by one without, and the cost of sealing a row.

Each way has an emulator and a gateway of its own; the other gateway stands still meanwhile.
"""

from __future__ import annotations

import json
import time
import timeit
from typing import Final

from benchmarks.catalogue import Outcome
from benchmarks.measuring.figures import in_rounds, middle, rounded
from benchmarks.measuring.rig import running_rig, stopped
from benchmarks.measuring.tables import Line, number, render
from benchmarks.options import Options
from benchmarks.payloads import Case, body_of
from benchmarks.processes import EMPLOYERS, first_load_speed
from local_host.setup.messages import note
from local_host.setup.paths import ROOT
from shared.app import sealed_fields
from shared.imports.workers.definition import WORKERS
from shared.storage.sealing import Sealer, aes_gcm

_WITHOUT_SEALING: Final = "benchmarks.without_sealing"


def run(options: Options) -> Outcome:
    """Measure. Raises BenchError or SetupError."""
    case = Case(options.rows[-1], EMPLOYERS)
    body = body_of(case)
    sealed: list[float] = []
    plain: list[float] = []
    logs = options.folder / "logs"
    with (
        running_rig(logs / "sealed") as sealing,
        running_rig(logs / "plain", preload=_WITHOUT_SEALING) as storing,
    ):
        ways = ((sealing, storing, sealed), (storing, sealing, plain))
        for count in range(options.rounds + 1):
            note(f"round {count} of {options.rounds}" if count else f"warming up: {case.title}")
            # Pairs differ by more than sealing costs, so a round has two, in opposite orders.
            for rig, other, speeds in (*ways, *reversed(ways)):
                with stopped(other.host):
                    speeds.append(first_load_speed(rig, body, case))
    by_plain = middle(in_rounds(sealed[2:], plain[2:]))
    loss = None if by_plain is None else (1 - by_plain) * 100
    costs = measure_sealing()
    document = {
        "rows": case.rows,
        "lossPercent": rounded(loss),
        "notComparableBetweenRuns": {
            "rowsPerSecond": {"sealed": sealed[2:], "plain": plain[2:]},
            **{f"{name}MicrosecondsPerRow": rounded(cost) for name, cost in costs.items()},
        },
    }
    lines = [
        Line(f"first load of {case.title}"),
        Line("  loss by sealing, %", (number(loss, 1),)),
        Line("processor time for a worker with all fields, µs (not comparable between runs)"),
        *(Line(f"  {name}", (number(cost, 0),)) for name, cost in costs.items()),
    ]
    return Outcome(document, render(lines), {"sealing/loss": loss})


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
