"""Bench `stages`: the processor time of the gateway's process for a row, by stage.

A gateway that watches itself (`stage_sampler`) imports workers, the same again, and all of them
changed. The watching slows it down a little.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks.catalogue import Outcome
from benchmarks.measuring.figures import middle, rounded
from benchmarks.measuring.rig import Rig, running_rig
from benchmarks.measuring.stage_sampler import PREFIX, REST, STAGES
from benchmarks.measuring.tables import Line, number, render
from benchmarks.measuring.waiting import wait_until
from benchmarks.options import Options
from benchmarks.payloads import Case
from benchmarks.workers_import import EMPLOYERS, MeasuredCase
from benchmarks.workers_import_readings import IMPORTS
from local_host.setup.messages import note

WHOLE: Final = "all"
_SAMPLER: Final = "benchmarks.stage_sampler"


def run(options: Options) -> Outcome:
    """Measure. Raises BenchError or SetupError."""
    case = Case(options.rows[-1], EMPLOYERS)
    measured = MeasuredCase(case, IMPORTS)
    rounds: list[Mapping[str, Mapping[str, float]]] = []
    with running_rig(options.folder / "logs", preload=_SAMPLER) as rig:
        sampler = _SamplerLog(rig, options.folder / "logs" / "gateway.log")
        for count in range(options.rounds + 1):
            note(f"round {count} of {options.rounds}" if count else f"warming up: {case.title}")
            read = _one_round(rig, sampler, measured)
            if count:
                rounds.append(read)
    # In microseconds for a row.
    times = {
        stage: {
            str(step): middle([read[step].get(stage, 0.0) / case.rows * 1e6 for read in rounds])
            for step in IMPORTS
        }
        for stage in (*STAGES, REST, WHOLE)
    }
    document = {
        "rows": case.rows,
        "microsecondsPerRow": {
            stage: {step: rounded(value) for step, value in of_stage.items()}
            for stage, of_stage in times.items()
        },
    }
    lines = [
        Line(f"{case.title}: processor time, µs a row", tuple(IMPORTS)),
        *(
            Line(f"  {stage}", tuple(number(value, 0) for value in of_stage.values()))
            for stage, of_stage in times.items()
        ),
    ]
    return Outcome(document, render(lines))


def _one_round(
    rig: Rig, sampler: _SamplerLog, measured: MeasuredCase
) -> Mapping[str, Mapping[str, float]]:
    """The processor seconds of each import by stage."""
    read: dict[str, Mapping[str, float]] = {}
    rig.empty()
    with rig.connect(rig.new_sender()) as connection:
        connection.check_health()
        for step in IMPORTS:
            sampler.take()
            sending = measured.send(connection, step)
            rig.wait_until_idle()
            seconds = sampler.take()
            read[step] = {**seconds, WHOLE: sum(seconds.values())}
            measured.check(connection, step, sending)
    return read


class _SamplerLog:
    """Asks the sampler of a gateway for its sums, which come as lines of the gateway's log."""

    def __init__(self, rig: Rig, log: Path) -> None:
        self._process = rig.host.process.pid
        self._log = log

    def take(self) -> Mapping[str, float]:
        """The processor seconds by stage since the last time."""
        before = len(self._lines())
        os.kill(self._process, signal.SIGUSR1)
        wait_until(lambda: len(self._lines()) > before, "the sums of the stages")
        sums: Mapping[str, float] = json.loads(self._lines()[-1].removeprefix(PREFIX))
        return sums

    def _lines(self) -> list[str]:
        lines = self._log.read_text("utf-8", "replace").splitlines(keepends=True)
        return [line for line in lines if line.startswith(PREFIX) and line.endswith("\n")]
