"""Bench `import`: workers over HTTP against the floors, interleaved, and what they cost.

Two passes: the rounds are timed against an emulator that writes no log; then each case runs once
more on a fresh rig, where requests are counted and the gateway's memory is watched.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from benchmarks.catalogue import Outcome
from benchmarks.measuring.access_log import AccessLog
from benchmarks.measuring.floors import Entity, Reading, floor_a, floor_b, floor_c
from benchmarks.measuring.gateway_calls import Connection, Sent
from benchmarks.measuring.meters import spent
from benchmarks.measuring.rig import Rig, running_rig
from benchmarks.measuring.waiting import BenchError
from benchmarks.options import Options
from benchmarks.payloads import Case, body_of, one_row
from benchmarks.workers_import_readings import CaseReadings, Counted, Step
from benchmarks.workers_import_report import outcome_of
from local_host.setup.messages import note
from shared.imports.workers.definition import WORKERS

EMPLOYERS = 10
# The imports in their order, and the outcome that all of their rows must have.
_ENDS = {Step.NEW: "new", Step.UNCHANGED: "unchanged", Step.CHANGED: "updated"}
_FLOORS = {Step.FLOOR_A: floor_a, Step.FLOOR_B: floor_b, Step.FLOOR_C: floor_c}
# Floor A takes most of the time above this, so it is measured in the first round only.
_MOST_ROWS_OF_FLOOR_A = 1_000
_CALLS_BEFORE = 5


def run(options: Options) -> Outcome:
    """Measure. Raises BenchError or SetupError."""
    cases = [MeasuredCase(Case(rows, EMPLOYERS)) for rows in options.rows]
    logs = options.folder / "logs"
    with running_rig(logs) as rig:
        measure_rounds(rig, cases, options.rounds)
    for case in cases:
        note(f"counting requests and memory: {case.readings.case.title}")
        with running_rig(logs, has_access_log=True) as rig:
            _warm_up_calls(rig)
            case.readings.counted = case.count(rig)
    return outcome_of([case.readings for case in cases])


def measure_rounds(rig: Rig, cases: Sequence[MeasuredCase], rounds: int) -> None:
    """Warm every case up, then time all of them in each round."""
    for case in cases:
        note(f"warming up: {case.readings.case.title}")
        case.warm_up(rig)
    for number in range(1, rounds + 1):
        for case in cases:
            note(f"round {number} of {rounds}: {case.readings.case.title}")
            case.readings.rounds.append(case.time(rig))


class MeasuredCase:
    """Runs the `steps` of one case."""

    def __init__(self, case: Case, steps: Collection[Step] = tuple(Step)) -> None:
        self._steps = steps
        first = body_of(case)
        self._bodies = {
            Step.NEW: first,
            Step.UNCHANGED: first,
            Step.CHANGED: body_of(case, notes="Other notes"),
        }
        self._entities: list[Entity] = []
        self.readings = CaseReadings(case, len(first))

    def warm_up(self, rig: Rig) -> None:
        """Import once, and keep what is then stored: that is what the floors write."""
        rig.empty()
        with rig.connect(rig.new_sender()) as connection:
            self.check(connection, Step.NEW, self.send(connection, Step.NEW))
            rig.wait_until_idle()
        self._entities = rig.stored(WORKERS.table)
        self.readings.entities = len(self._entities)

    def time(self, rig: Rig) -> Mapping[Step, Reading]:
        """One round: the floors, then the imports of a new tenant."""
        floors = {step: floor for step, floor in _FLOORS.items() if step in self._steps}
        if self.readings.rounds and self.readings.case.rows > _MOST_ROWS_OF_FLOOR_A:
            floors.pop(Step.FLOOR_A, None)
        read: dict[Step, Reading] = {}
        for step, floor in floors.items():
            rig.empty()
            with rig.standing_still():
                read[step] = floor(rig.connection_string, self._entities, rig.emulator_meter)
        rig.empty()
        with rig.connect(rig.new_sender()) as connection:
            connection.check_health()
            for step in (step for step in _ENDS if step in self._steps):
                gateway, emulator = rig.gateway_meter, rig.emulator_meter
                before = gateway.processor_seconds(), emulator.processor_seconds()
                sending = self.send(connection, step)
                rig.wait_until_idle()
                after = gateway.processor_seconds(), emulator.processor_seconds()
                self.check(connection, step, sending)
                read[step] = Reading(
                    sending.seconds, spent(before[0], after[0]), spent(before[1], after[1])
                )
        return read

    def count(self, rig: Rig) -> Mapping[Step, Counted]:
        """Once more on a fresh rig with a log, without looking at the time."""
        log, meter = AccessLog(rig.access_log), rig.gateway_meter
        counts: dict[Step, Counted] = {}
        idle = meter.resident_bytes()
        with rig.connect(rig.new_sender()) as connection:
            for step in _ENDS:
                log.begin()
                meter.forget_peak()
                sending = self.send(connection, step)
                counts[step] = Counted(log.settled(), idle, meter.peak_bytes())
                self.check(connection, step, sending)
        return counts

    def send(self, connection: Connection, step: Step) -> Sent:
        """Send the body of a step. Raises BenchError unless each row goes in clean."""
        return connection.send_workers(self._bodies[step], self.readings.case.rows)

    def check(self, connection: Connection, step: Step, sending: Sent) -> None:
        """Raises BenchError unless every row ended as the step wants it."""
        counts = connection.counts_of(sending.import_id)
        if counts[_ENDS[step]] != self.readings.case.rows:
            raise BenchError(f"not every row ended as {_ENDS[step]}: {counts}")


def _warm_up_calls(rig: Rig) -> None:
    """What a fresh gateway does once is no part of the memory or the requests of an import."""
    with rig.connect(rig.new_sender()) as connection:
        for number in range(_CALLS_BEFORE):
            connection.send_workers(one_row(number), 1)
    AccessLog(rig.access_log).settled()
