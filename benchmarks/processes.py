"""Bench `processes`: a first load by two gateway processes on one storage, by that of one.

The call goes to the first process; both fetch messages. While one is measured the other stands
still. Client, emulator and gateways share the processors of one machine.
"""

from __future__ import annotations

import time

from benchmarks.catalogue import Outcome
from benchmarks.measuring.figures import in_rounds, middle, rounded
from benchmarks.measuring.rig import Rig, running_host, running_rig, stopped
from benchmarks.measuring.tables import Line, number, render
from benchmarks.options import Options
from benchmarks.payloads import Case, body_of
from local_host.setup.messages import note

EMPLOYERS = 10


def run(options: Options) -> Outcome:
    """Measure. Raises BenchError or SetupError."""
    case = Case(options.rows[-1], EMPLOYERS)
    body = body_of(case)
    one: list[float] = []
    two: list[float] = []
    logs = options.folder / "logs"
    with (
        running_rig(logs) as rig,
        running_host(rig.connection_string, logs, name="second-gateway") as second,
    ):
        note(f"warming up: {case.title}")
        first_load_speed(rig, body, case)
        for count in range(1, options.rounds + 1):
            note(f"round {count} of {options.rounds}")
            two.append(first_load_speed(rig, body, case))
            with stopped(second):
                one.append(first_load_speed(rig, body, case))
    by_one = middle(in_rounds(two, one))
    document = {
        "rows": case.rows,
        "twoByOne": rounded(by_one),
        "notComparableBetweenRuns": {"rowsPerSecond": {"one": one, "two": two}},
    }
    lines = [
        Line(f"first load of {case.title}"),
        Line("  two processes ÷ one", (number(by_one),)),
    ]
    return Outcome(document, render(lines), {"two/one": by_one})


def first_load_speed(rig: Rig, body: bytes, case: Case, pause: float = 0.0) -> float:
    """Rows per second of a new tenant's import, so many seconds after another call."""
    rig.empty()
    with rig.connect(rig.new_sender()) as connection:
        connection.check_health()
        time.sleep(pause)
        seconds = connection.send_workers(body, case.rows).seconds
        rig.wait_until_idle()
    return case.rows / seconds
