"""Bench `types`: the first load of each import type over HTTP, one after the other in each round.

Only the quotients tell something: assignments by workers, licenses in XML by licenses in JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.catalogue import Outcome
from benchmarks.measuring.access_log import AccessLog
from benchmarks.measuring.figures import in_rounds, middle, rounded
from benchmarks.measuring.rig import Rig, running_rig
from benchmarks.measuring.tables import Line, number, render
from benchmarks.measuring.waiting import BenchError
from benchmarks.options import Options
from benchmarks.type_payloads import Sending, sendings
from local_host.setup.messages import note

QUOTIENTS = (("assignments", "workers"), ("licenses XML", "licenses JSON"))


def run(options: Options) -> Outcome:
    """Measure. Raises BenchError or SetupError."""
    rows = options.rows[-1]
    sending = sendings(rows)
    rounds: list[Mapping[str, float]] = []
    with running_rig(options.folder / "logs") as rig:
        note(f"warming up: {rows:,} rows of each type")
        _round(rig, sending, rows)
        for count in range(1, options.rounds + 1):
            note(f"round {count} of {options.rounds}")
            rounds.append(_round(rig, sending, rows))
    with running_rig(options.folder / "logs", has_access_log=True) as rig:
        note("counting requests")
        requests = _requests(rig, sending, rows)
    return _outcome(rows, rounds, requests)


def _round(rig: Rig, sending: list[Sending], rows: int) -> Mapping[str, float]:
    """Rows per second of each."""
    rig.empty()
    speeds: dict[str, float] = {}
    with rig.connect(rig.new_sender()) as connection:
        for each in sending:
            connection.check_health()
            report = connection.send(each.address, each.media_type, each.body)
            rig.wait_until_idle()
            counts = connection.counts_of(report.import_id)
            if counts["new"] != rows:
                raise BenchError(f"not every row of {each.name} is new: {counts}")
            speeds[each.name] = rows / report.seconds
    return speeds


def _requests(rig: Rig, sending: list[Sending], rows: int) -> Mapping[str, float]:
    log = AccessLog(rig.access_log)
    requests: dict[str, float] = {}
    with rig.connect(rig.new_sender()) as connection:
        for each in sending:
            log.begin()
            connection.send(each.address, each.media_type, each.body)
            requests[each.name] = log.settled().total / rows
    return requests


def _outcome(
    rows: int, rounds: list[Mapping[str, float]], requests: Mapping[str, float]
) -> Outcome:
    quotients = {
        f"{one} ÷ {other}": middle(
            in_rounds([each[one] for each in rounds], [each[other] for each in rounds])
        )
        for one, other in QUOTIENTS
    }
    document: dict[str, Any] = {
        "rows": rows,
        "speed": {name: rounded(value) for name, value in quotients.items()},
        "requestsPerRow": {name: rounded(value) for name, value in requests.items()},
        "notComparableBetweenRuns": {"rowsPerSecond": [dict(each) for each in rounds]},
    }
    lines = [
        Line(f"first load of {rows:,} rows of 10 employers or companies"),
        *(Line(f"  {name}", (number(value),)) for name, value in quotients.items()),
        Line("storage requests per row"),
        *(Line(f"  {name}", (number(value, 4),)) for name, value in requests.items()),
    ]
    figures = {
        "xml/json": quotients["licenses XML ÷ licenses JSON"],
        "assignments/workers": quotients["assignments ÷ workers"],
    }
    return Outcome(document, render(lines), figures)
