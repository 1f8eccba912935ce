"""Bench `one-row`: calls with one new worker each, one after the other on a kept connection.

The yardstick is as many single upserts, one after the other, as such a call takes storage requests,
plus the mean time that a message waited for the host's next poll. The emulator's access log shows
that time: from the request that sends the message to the poll behind it.

Calls without a pause wait 100 ms minus what the gateway itself takes from one message to the next,
since the host polls 100 ms after the last message. So a second wait is that of calls with pauses of
random length between them.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

from benchmarks.catalogue import Outcome
from benchmarks.measuring.access_log import AccessLog, ArrivalTimes
from benchmarks.measuring.figures import middle, percentile, rounded
from benchmarks.measuring.floors import single_upserts
from benchmarks.measuring.gateway_calls import Connection
from benchmarks.measuring.rig import Rig, running_rig
from benchmarks.measuring.tables import Line, number, render
from benchmarks.options import Options
from benchmarks.payloads import one_row
from local_host.setup.messages import note
from shared.imports.workers.definition import WORKERS

_CALLS = 50
_QUICK_CALLS = 5
_CALLS_BEFORE = 5
_PAUSED_CALLS = 15
_LONGEST_PAUSE = 0.5


@dataclass(slots=True)
class Readings:
    """The seconds of the calls, of as many upserts and of the waits for a poll, by rounds."""

    calls: list[list[float]] = field(default_factory=list)
    upserts: list[list[float]] = field(default_factory=list)
    waits: list[list[float]] = field(default_factory=list)
    paused_waits: list[list[float]] = field(default_factory=list)
    requests_per_call: list[float] = field(default_factory=list)

    def milliseconds(self, percent: int) -> float | None:
        """The median of the rounds' percentiles."""
        return middle(percentile(calls, percent) * 1_000 for calls in self.calls)

    @property
    def requests(self) -> float | None:
        """Storage requests per call, polls left out."""
        return middle(self.requests_per_call)

    @property
    def wait(self) -> float | None:
        """Mean milliseconds from a message to the poll that fetches it."""
        return _mean_milliseconds(self.waits)

    @property
    def paused_wait(self) -> float | None:
        """The same for calls with pauses of random length between them."""
        return _mean_milliseconds(self.paused_waits)

    @property
    def over_raw(self) -> float | None:
        """p50 ÷ (as many upserts one after the other as it takes requests + the mean wait)."""
        rounds = zip(self.calls, self.upserts, self.waits, self.requests_per_call, strict=True)
        return middle(
            percentile(calls, 50) / (requests * percentile(upserts, 50) + sum(waits) / len(waits))
            for calls, upserts, waits, requests in rounds
            if waits
        )


def _mean_milliseconds(rounds: list[list[float]]) -> float | None:
    return middle(sum(waits) / len(waits) * 1_000 for waits in rounds if waits)


def run(options: Options) -> Outcome:
    """Measure. Raises BenchError or SetupError."""
    readings = Readings()
    with running_rig(options.folder / "logs", has_access_log=True) as rig:
        for number_of_round in range(1, options.rounds + 1):
            note(f"round {number_of_round} of {options.rounds}")
            _round(rig, readings, _QUICK_CALLS if options.is_quick else _CALLS)
    return _outcome(readings)


def call_seconds(connection: Connection, calls: int, first: int = 0) -> list[float]:
    """The seconds of so many calls with a new worker each."""
    return [connection.send_workers(one_row(first + at), 1).seconds for at in range(calls)]


def _round(rig: Rig, readings: Readings, calls: int) -> None:
    rig.empty()
    log = AccessLog(rig.access_log)
    with rig.connect(rig.new_sender()) as connection:
        log.begin()
        call_seconds(connection, _CALLS_BEFORE)
        log.settled()
        log.begin()
        with ArrivalTimes(rig.access_log) as arrivals:
            readings.calls.append(call_seconds(connection, calls, _CALLS_BEFORE))
            readings.requests_per_call.append(log.settled().total / calls)
        readings.waits.append(arrivals.waits())
        with ArrivalTimes(rig.access_log) as arrivals:
            for at in range(min(calls, _PAUSED_CALLS)):
                time.sleep(random.uniform(0, _LONGEST_PAUSE))
                call_seconds(connection, 1, _CALLS_BEFORE + calls + at)
        readings.paused_waits.append(arrivals.waits())
    entities = rig.stored(WORKERS.table)
    with rig.standing_still():
        readings.upserts.append(single_upserts(rig.connection_string, entities[:calls]))


def _outcome(readings: Readings) -> Outcome:
    p50, p95 = readings.milliseconds(50), readings.milliseconds(95)
    document = {
        "callsPerRound": len(readings.calls[0]),
        "requestsPerCall": rounded(readings.requests),
        "p50OverRawRequests": rounded(readings.over_raw),
        "meanWaitMilliseconds": rounded(readings.wait),
        "meanWaitWithPausesMilliseconds": rounded(readings.paused_wait),
        "notComparableBetweenRuns": {
            "p50Milliseconds": rounded(p50),
            "p95Milliseconds": rounded(p95),
            "rawMilliseconds": rounded(
                middle(percentile(upserts, 50) * 1_000 for upserts in readings.upserts)
            ),
        },
    }
    lines = [
        Line(f"calls with one row, {len(readings.calls[0])} a round"),
        Line("  storage requests", (number(readings.requests, 1),)),
        Line("  p50 ÷ (as many upserts + the mean wait)", (number(readings.over_raw),)),
        Line("  mean wait for a poll, ms", (number(readings.wait, 0),)),
        Line("  the same with pauses between the calls, ms", (number(readings.paused_wait, 0),)),
        Line("  p50, ms (not comparable between runs)", (number(p50, 0),)),
        Line("  p95, ms (not comparable between runs)", (number(p95, 0),)),
    ]
    figures = {
        "oneRow/requests": readings.requests,
        "oneRow/raw": readings.over_raw,
        "oneRow/wait": readings.wait,
    }
    return Outcome(document, render(lines), figures)
