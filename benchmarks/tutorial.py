"""Bench `tutorial`: a first load by the way of the tutorials, which `tutorial_app` is.

Both apps run on a local host of their own and one emulator, and the other stands still. The time
of the tutorial's app goes until its caller has read all results, for which it asks every 0.2 s.
Both are called after the same pause, in which the host polls less and less often; the pauses of the
rounds differ by parts of the longest time between two polls.
"""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.catalogue import Outcome
from benchmarks.measuring.figures import in_rounds, middle, rounded
from benchmarks.measuring.rig import running_host, running_rig, stopped
from benchmarks.measuring.tables import Line, number, render
from benchmarks.measuring.waiting import BenchError, wait_until
from benchmarks.options import Options
from benchmarks.payloads import Case, body_of
from benchmarks.processes import EMPLOYERS, first_load_speed
from local_host.setup.host_process import HostProcess
from local_host.setup.messages import note

_APP = Path(__file__).parent / "tutorial_app"
_PAUSE = 0.2
_LONGEST_POLL = 1.0  # as host.json of both says
_IDLE_SECONDS = 3.0
_SECONDS = 600.0


def run(options: Options) -> Outcome:
    """Measure. Raises BenchError or SetupError."""
    case = Case(options.rows[-1], EMPLOYERS)
    body = body_of(case)
    ours: list[float] = []
    tutorial: list[float] = []
    logs = options.folder / "logs"
    with (
        running_rig(logs) as rig,
        running_host(rig.connection_string, logs, app=_APP, name="tutorial") as host,
    ):
        _call(host, "POST", "/api/storage")
        note(f"warming up: {case.title}")
        first_load_speed(rig, body, case)
        for count in range(1, options.rounds + 1):
            note(f"round {count} of {options.rounds}")
            pause = _IDLE_SECONDS + _LONGEST_POLL * (count - 0.5) / options.rounds
            with stopped(host):
                ours.append(first_load_speed(rig, body, case, pause))
            with rig.standing_still():
                time.sleep(pause)
                tutorial.append(case.rows / _import_seconds(host, body, case.rows))
    by_tutorial = middle(in_rounds(ours, tutorial))
    document = {
        "rows": case.rows,
        "firstByTutorial": rounded(by_tutorial),
        "notComparableBetweenRuns": {"rowsPerSecond": {"gateway": ours, "tutorial": tutorial}},
    }
    lines = [
        Line(f"first load of {case.title}"),
        Line("  gateway ÷ the way of the tutorials", (number(by_tutorial),)),
    ]
    return Outcome(document, render(lines), {"first/tutorial": by_tutorial})


def _import_seconds(host: HostProcess, body: bytes, rows: int) -> float:
    started_at = time.perf_counter()
    import_id = _call(host, "POST", "/api/workers", body)["import"]
    wait_until(
        lambda: len(_call(host, "GET", f"/api/results/{import_id}")) == rows,
        "the results of the tutorial's app",
        _SECONDS,
        _PAUSE,
    )
    return time.perf_counter() - started_at


def _call(host: HostProcess, method: str, path: str, body: bytes | None = None) -> Any:
    connection = http.client.HTTPConnection(urlsplit(host.url).netloc, timeout=_SECONDS)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        data = response.read()
    finally:
        connection.close()
    if response.status not in (200, 202):
        raise BenchError(f"the tutorial's app answered {response.status}: {data[:300]!r}")
    return json.loads(data)
