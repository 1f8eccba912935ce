"""Bench `import`: workers over HTTP against the floors, interleaved, and what they cost.

Two passes: the rounds are timed against an emulator that writes no log; then each case runs once
more on a fresh rig, where requests are counted and the gateway's memory is watched.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.catalogue import Outcome
from benchmarks.measuring.access_log import AccessLog
from benchmarks.measuring.floors import Entity, Reading, floor_a, floor_b, single_upserts
from benchmarks.measuring.gateway_calls import Connection, Sent
from benchmarks.measuring.meters import spent
from benchmarks.measuring.rig import Rig, running_rig
from benchmarks.measuring.waiting import BenchError
from benchmarks.options import Options
from benchmarks.payloads import Case, body_of, one_row
from benchmarks.workers_import_readings import CaseReadings, Counted, OneRowReadings, Step
from benchmarks.workers_import_report import outcome_of
from local_host.setup.messages import note
from shared.imports.workers.definition import WORKERS

EMPLOYERS = 10
_CALLS = 50
_QUICK_CALLS = 5
_CALLS_BEFORE = 5
_CALLS_COUNTED = 5
# The imports in their order, and the outcome that all of their rows must have.
_ENDS = {Step.NEW: "new", Step.UNCHANGED: "unchanged", Step.CHANGED: "updated"}


def run(options: Options) -> Outcome:
    """Measure. Raises BenchError or SetupError."""
    cases = [_MeasuredCase(case) for case in cases_of(options)]
    calls = OneRowReadings()
    logs = options.folder / "logs"
    with running_rig(logs) as rig:
        for case in cases:
            note(f"warming up: {case.readings.case.title}")
            case.warm_up(rig)
        for number in range(1, options.rounds + 1):
            for case in cases:
                note(f"round {number} of {options.rounds}: {case.readings.case.title}")
                case.readings.rounds.append(case.time(rig))
            note(f"round {number} of {options.rounds}: calls with one row")
            _time_calls(rig, calls, _QUICK_CALLS if options.is_quick else _CALLS)
    for case in cases:
        note(f"counting requests and memory: {case.readings.case.title}")
        with running_rig(logs, has_access_log=True) as rig:
            calls.requests_per_call = _count_calls(rig)
            case.readings.counted = case.count(rig)
    return outcome_of([case.readings for case in cases], calls)


def cases_of(options: Options) -> list[Case]:
    """Each size with ten employers; the largest without look-ups too, and then of one employer.

    The emulator's time for a write grows with the partition: 10,000 rows of one employer with
    look-ups would keep it busy for minutes, and show nothing else.
    """
    cases = [Case(rows, EMPLOYERS) for rows in options.rows]
    if options.is_quick:
        return cases
    largest = options.rows[-1]
    return [
        *cases,
        Case(largest, EMPLOYERS, has_lookups=False),
        Case(largest, 1, has_lookups=False),
    ]


class _MeasuredCase:
    """Runs one case."""

    def __init__(self, case: Case) -> None:
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
            self._check(connection, Step.NEW, self._send(connection, Step.NEW))
            rig.wait_until_idle()
        self._entities = rig.stored(WORKERS.table)
        self.readings.entities = len(self._entities)

    def time(self, rig: Rig) -> Mapping[Step, Reading]:
        """One round: the floors, then the imports of a new tenant.

        One employer is there for the sake of the large partition, which floor B shows as well;
        floor A would take most of the time and is left out.
        """
        floors = {Step.FLOOR_A: floor_a, Step.FLOOR_B: floor_b}
        if self.readings.case.employers == 1:
            del floors[Step.FLOOR_A]
        read: dict[Step, Reading] = {}
        for step, floor in floors.items():
            rig.empty()
            with rig.standing_still():
                read[step] = floor(rig.connection_string, self._entities, rig.emulator_meter)
        rig.empty()
        with rig.connect(rig.new_sender()) as connection:
            connection.check_health()
            for step in _ENDS:
                gateway, emulator = rig.gateway_meter, rig.emulator_meter
                before = gateway.processor_seconds(), emulator.processor_seconds()
                sending = self._send(connection, step)
                rig.wait_until_idle()
                after = gateway.processor_seconds(), emulator.processor_seconds()
                self._check(connection, step, sending)
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
                sending = self._send(connection, step)
                counts[step] = Counted(log.settled(), idle, meter.peak_bytes())
                self._check(connection, step, sending)
        return counts

    def _send(self, connection: Connection, step: Step) -> Sent:
        return connection.send_workers(self._bodies[step], self.readings.case.rows)

    def _check(self, connection: Connection, step: Step, sending: Sent) -> None:
        counts = connection.counts_of(sending.import_id)
        if counts[_ENDS[step]] != self.readings.case.rows:
            raise BenchError(f"not every row ended as {_ENDS[step]}: {counts}")


def _time_calls(rig: Rig, readings: OneRowReadings, calls: int) -> None:
    rig.empty()
    with rig.connect(rig.new_sender()) as connection:
        readings.calls.append(_call_seconds(connection, calls))
        rig.wait_until_idle()
    entities = rig.stored(WORKERS.table)
    with rig.standing_still():
        readings.upserts.append(single_upserts(rig.connection_string, entities[:calls]))


def _count_calls(rig: Rig) -> float:
    """Requests per call; also what warms a fresh gateway up."""
    log = AccessLog(rig.access_log)
    with rig.connect(rig.new_sender()) as connection:
        connection.send_workers(one_row(_CALLS_COUNTED), 1)
        log.settled()
        log.begin()
        for number in range(_CALLS_COUNTED):
            connection.send_workers(one_row(number), 1)
        return log.settled().total / _CALLS_COUNTED


def _call_seconds(connection: Connection, calls: int) -> list[float]:
    """The seconds of so many calls with a new worker each, after a few that do not count."""
    seconds = [
        connection.send_workers(one_row(number), 1).seconds
        for number in range(_CALLS_BEFORE + calls)
    ]
    return seconds[_CALLS_BEFORE:]
