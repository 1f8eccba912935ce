"""Bench `peers`: the same first load by other ways to import rows with an outcome for each.

A peer has an environment of its own under `.local/bench/`, which this bench does not make:

    python3 -m venv .local/bench/fastapi
    .local/bench/fastapi/bin/pip install -r benchmarks/peers/fastapi.txt

and the same with `django`. A peer without it is left out, and so are all of them where PostgreSQL
is not installed. Both peers do less than the gateway: they check few fields or none, seal nothing,
and an import that dies has to be sent again. django-import-export reads its rows from a file.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.catalogue import Outcome
from benchmarks.measuring.figures import in_rounds, middle, rounded
from benchmarks.measuring.postgres import find_programs, running_postgres
from benchmarks.measuring.rig import running_rig
from benchmarks.measuring.tables import Line, number, render
from benchmarks.measuring.waiting import BenchError
from benchmarks.options import Options
from benchmarks.payloads import Case, body_of
from benchmarks.processes import EMPLOYERS, first_load_speed
from local_host.setup import processes
from local_host.setup.messages import note
from local_host.setup.paths import LOCAL

_PEERS: Final = Path(__file__).parent / "peers"
_ENVIRONMENTS: Final = LOCAL / "bench"
_NAMES: Final = ("fastapi", "django")
_SECONDS: Final = 600.0

# Imports the rows and returns how many a second.
Load = Callable[[bytes, Case], float]


def run(options: Options) -> Outcome:
    """Measure. Raises BenchError or SetupError."""
    case = Case(options.rows[-1], EMPLOYERS)
    body = body_of(case)
    programs = find_programs()
    pythons = {name: _ENVIRONMENTS / name / "bin" / "python" for name in _NAMES}
    peers = {name: python for name, python in pythons.items() if programs and python.exists()}
    skipped = [f"{name}: {_reason(programs, name)}" for name in _NAMES if name not in peers]
    if programs is None or not peers:
        return Outcome({}, ["peers: none"], skipped=skipped)
    ours: list[float] = []
    speeds: dict[str, list[float]] = {name: [] for name in peers}
    logs = options.folder / "logs"
    with running_rig(logs) as rig, running_postgres(programs) as database, ExitStack() as stack:
        loads: dict[str, Load] = {}
        if "fastapi" in peers:
            port = stack.enter_context(_running_fastapi(peers["fastapi"], database, logs))
            loads["fastapi"] = lambda body, case: _fastapi_speed(port, body, case)
        if "django" in peers:
            loads["django"] = lambda body, case: _django_speed(
                peers["django"], database, logs, body, case
            )
        note(f"warming up: {case.title}")
        first_load_speed(rig, body, case)
        for count in range(1, options.rounds + 1):
            note(f"round {count} of {options.rounds}")
            ours.append(first_load_speed(rig, body, case))
            with rig.standing_still():
                for name, load in loads.items():
                    speeds[name].append(load(body, case))
    return _outcome(case, ours, speeds, skipped)


def _reason(programs: Path | None, name: str) -> str:
    if programs is None:
        return "PostgreSQL (initdb, pg_ctl) is not installed"
    return f"there is no environment .local/bench/{name} (docs/benchmarks.md says how to make it)"


@contextmanager
def _running_fastapi(python: Path, database: str, logs: Path) -> Iterator[int]:
    """The port of the running peer."""
    with (logs / "fastapi.log").open("wb") as log:
        command = [str(python), str(_PEERS / "fastapi_app.py"), database]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise BenchError(f"the peer has ended: {logs / 'fastapi.log'}")
        yield int(line)
    finally:
        processes.stop(process, 10)
        process.stdout.close()


def _fastapi_speed(port: int, body: bytes, case: Case) -> float:
    _post(port, "/empty", b"")
    started_at = time.perf_counter()
    results = json.loads(_post(port, "/workers", body))
    seconds = time.perf_counter() - started_at
    if [result["status"] for result in results] != ["OK"] * case.rows:
        raise BenchError("the peer fastapi has not stored every row")
    return case.rows / seconds


def _post(port: int, path: str, body: bytes) -> bytes:
    connection = http.client.HTTPConnection(f"127.0.0.1:{port}", timeout=_SECONDS)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        data = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise BenchError(f"the peer fastapi answered {response.status}: {data[:300]!r}")
    return data


def _django_speed(python: Path, database: str, logs: Path, body: bytes, case: Case) -> float:
    file = logs / "django.json"
    file.write_bytes(body)
    command = [str(python), str(_PEERS / "django_app.py"), database, str(file)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise BenchError(f"the peer django: {ran.stderr[-500:]}")
    measured = json.loads(ran.stdout)
    if measured["new"] != case.rows:
        raise BenchError(f"the peer django has not stored every row: {measured}")
    return case.rows / float(measured["seconds"])


def _outcome(
    case: Case, ours: list[float], speeds: Mapping[str, list[float]], skipped: list[str]
) -> Outcome:
    by_peer = {name: middle(in_rounds(ours, each)) for name, each in speeds.items()}
    fastest = min((value for value in by_peer.values() if value is not None), default=None)
    document: dict[str, Any] = {
        "rows": case.rows,
        "firstByPeer": {name: rounded(value) for name, value in by_peer.items()},
        "notComparableBetweenRuns": {
            "rowsPerSecond": {
                "gateway": rounded(middle(ours)),
                **{name: rounded(middle(each)) for name, each in speeds.items()},
            }
        },
    }
    lines = [
        Line(f"first load of {case.title}"),
        *(Line(f"  gateway ÷ {name}", (number(value),)) for name, value in by_peer.items()),
    ]
    return Outcome(document, render(lines), {"first/fastestPeer": fastest}, skipped)
