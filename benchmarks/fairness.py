"""Bench `fairness`: one-row calls of a tenant while another tenant's large import runs, by the same
calls without it.
"""

from __future__ import annotations

import http.client
import threading
from contextlib import suppress

from benchmarks.catalogue import Outcome
from benchmarks.large_import import short_case
from benchmarks.measuring.figures import in_rounds, middle, percentile, rounded
from benchmarks.measuring.rig import Rig, running_rig
from benchmarks.measuring.tables import Line, number, render
from benchmarks.measuring.waiting import BenchError
from benchmarks.one_row import call_seconds
from benchmarks.options import Options
from benchmarks.payloads import body_of
from local_host.setup.messages import note

_CALLS = 60
_QUICK_CALLS = 5
# Calls that wait long must not make the bench last for ever.
_SECONDS_UNDER_LOAD = 90.0
_QUICK_SECONDS = 10.0
_CALLS_BEFORE = 5
_QUICK_ROWS = 5_000


def run(options: Options) -> Outcome:
    """Measure. Raises BenchError or SetupError."""
    rows = max(options.rows[-1], _QUICK_ROWS)
    calls = _QUICK_CALLS if options.is_quick else _CALLS
    most_seconds = _QUICK_SECONDS if options.is_quick else _SECONDS_UNDER_LOAD
    body = body_of(short_case(rows))
    alone: list[list[float]] = []
    under_load: list[list[float]] = []
    for count in range(1, options.rounds + 1):
        note(f"round {count} of {options.rounds}")
        with running_rig(options.folder / "logs") as rig:
            with rig.connect(rig.new_sender()) as connection:
                call_seconds(connection, _CALLS_BEFORE)
                alone.append(call_seconds(connection, calls, _CALLS_BEFORE))
            under_load.append(_calls_under_load(rig, body, rows, calls, most_seconds))
            # Its import is of no use any more, and a host lets running functions end.
            rig.host.process.kill()
    return _outcome(rows, alone, under_load)


def _calls_under_load(
    rig: Rig, body: bytes, rows: int, calls: int, most_seconds: float
) -> list[float]:
    """The seconds of calls until there are enough of them, time is up, or the large import has
    ended.
    """

    def send() -> None:
        # The gateway may be ended while its answer is waited for.
        with (
            suppress(OSError, http.client.HTTPException, BenchError),
            rig.connect(rig.new_sender()) as connection,
        ):
            connection.send_workers(body, rows)

    sender = rig.new_sender()
    sending = threading.Thread(target=send, daemon=True)
    seconds: list[float] = []
    with rig.connect(sender) as connection:
        call_seconds(connection, _CALLS_BEFORE)
        sending.start()
        while len(seconds) < calls and sum(seconds) < most_seconds and sending.is_alive():
            seconds += call_seconds(connection, 1, _CALLS_BEFORE + len(seconds))
    return seconds


def _outcome(rows: int, alone: list[list[float]], under_load: list[list[float]]) -> Outcome:
    percentiles = {
        name: {
            percent: [percentile(calls, percent) * 1_000 for calls in rounds]
            for percent in (50, 95)
        }
        for name, rounds in (("alone", alone), ("underLoad", under_load))
    }
    by_alone = middle(in_rounds(percentiles["underLoad"][95], percentiles["alone"][95]))
    document = {
        "rows": rows,
        "callsUnderLoad": [len(calls) for calls in under_load],
        "p95ByAlone": rounded(by_alone),
        "notComparableBetweenRuns": {
            f"{name}P{percent}Milliseconds": rounded(middle(values))
            for name, each in percentiles.items()
            for percent, values in each.items()
        },
    }
    lines = [
        Line(f"one-row calls while another tenant's {rows:,} rows are imported"),
        Line("  p95 ÷ p95 alone", (number(by_alone),)),
        Line("  calls made meanwhile", (str(sum(map(len, under_load))),)),
        *(
            Line(f"  {name} p{percent}, ms (not comparable)", (number(middle(values), 0),))
            for name, each in percentiles.items()
            for percent, values in each.items()
        ),
    ]
    return Outcome(document, render(lines), {"oneRow/underLoad": by_alone})
