"""Bench `authdata`: a batch of employees staged and processed, the same again, a twentieth changed.

Speeds are divided by floor B in one partition, which writes the entities that the first load leaves
behind, records and look-ups; all employees of a tenant lie in one partition. Requests per record
come from a pass of their own, with the emulator's access log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from benchmarks.catalogue import Outcome
from benchmarks.measuring.access_log import AccessLog
from benchmarks.measuring.figures import in_rounds, middle, rounded
from benchmarks.measuring.floors import Entity, floor_b
from benchmarks.measuring.gateway_calls import Connection
from benchmarks.measuring.rig import Rig, running_rig
from benchmarks.measuring.tables import Line, number, render
from benchmarks.measuring.waiting import BenchError
from benchmarks.options import Options
from local_host.setup.messages import note
from shared.imports.authdata.definition import AUTHDATA

_CHANGED_ONE_IN = 20
_FLOOR = "floorB"


class Load(StrEnum):
    """What is sent, one after the other, and the count that all or some records have then."""

    NEW = "new"
    UNCHANGED = "unchanged"
    CHANGED = "changed"


def run(options: Options) -> Outcome:
    """Measure. Raises BenchError or SetupError."""
    rows = options.rows[-1]
    rounds: list[Mapping[str, float]] = []
    with running_rig(options.folder / "logs") as rig:
        note(f"warming up: {rows:,} employees")
        # What the first load leaves behind: that is what the floor writes.
        rig.empty()
        with rig.connect(rig.new_sender()) as connection:
            _send(rig, connection, rows, Load.NEW)
        entities = rig.stored(AUTHDATA.table)
        for count in range(1, options.rounds + 1):
            note(f"round {count} of {options.rounds}")
            rounds.append(_round(rig, rows, entities))
    with running_rig(options.folder / "logs", has_access_log=True) as rig:
        note("counting requests")
        requests = _requests(rig, rows)
    return _outcome(rows, rounds, requests)


def body_of(rows: int, load: Load) -> bytes:
    """The body of a call; in a changed load every twentieth record has another value."""
    changed_count = range(0, rows, _CHANGED_ONE_IN) if load is Load.CHANGED else ()
    employees = [
        {
            "employeeId": f"EMPLOYEE{at:06d}",
            "employeeStatus": "Active",
            "authValue1": f"Surname {at}",
            "authValue2": f"19{at % 90 + 10}-0{at % 9 + 1}-1{at % 10}",
            "authValue3": f"{'X' if at in changed_count else ''}{at}",
        }
        for at in range(rows)
    ]
    return json.dumps({"employee": employees}, separators=(",", ":")).encode()


def _round(rig: Rig, rows: int, entities: list[Entity]) -> Mapping[str, float]:
    """Records per second of the floor and of each load."""
    rig.empty()
    with rig.standing_still():
        floor = floor_b(rig.connection_string, entities, rig.emulator_meter)
    rig.empty()
    speeds = {_FLOOR: rows / floor.seconds}
    with rig.connect(rig.new_sender()) as connection:
        for load in Load:
            connection.check_health()
            speeds[load] = rows / _send(rig, connection, rows, load)
    return speeds


def _send(rig: Rig, connection: Connection, rows: int, load: Load) -> float:
    """Stage and process; the seconds until the import has ended, however long the call waited."""
    body = body_of(rows, load)
    sent = connection.send(AUTHDATA.address, "application/json", body)
    rig.wait_until_idle()
    counts = connection.counts_of(sent.import_id)
    changed_count = len(range(0, rows, _CHANGED_ONE_IN))
    expected = {
        Load.NEW: ("new", rows),
        Load.UNCHANGED: ("unchanged", rows),
        Load.CHANGED: ("updated", changed_count),
    }
    outcome, count = expected[load]
    if counts[outcome] != count:
        raise BenchError(f"not every employee ended as {outcome}: {counts}")
    return sent.seconds


def _requests(rig: Rig, rows: int) -> Mapping[str, float]:
    log = AccessLog(rig.access_log)
    requests: dict[str, float] = {}
    with rig.connect(rig.new_sender()) as connection:
        for load in Load:
            log.begin()
            _send(rig, connection, rows, load)
            requests[load] = log.settled().total / rows
    return requests


def _outcome(
    rows: int, rounds: list[Mapping[str, float]], requests: Mapping[str, float]
) -> Outcome:
    floors = [each[_FLOOR] for each in rounds]
    speed = {
        f"{load}/{_FLOOR}": middle(in_rounds([each[load] for each in rounds], floors))
        for load in Load
    }
    document: dict[str, Any] = {
        "rows": rows,
        "rounds": len(rounds),
        "speed": {name: rounded(value) for name, value in speed.items()},
        "requestsPerRow": {name: rounded(value) for name, value in requests.items()},
        "notComparableBetweenRuns": {"rowsPerSecond": [dict(each) for each in rounds]},
    }
    lines = [
        Line(f"{rows:,} employees of one tenant, staged and processed in one call"),
        *(Line(f"  {name}", (number(value),)) for name, value in speed.items()),
        Line("storage requests per record"),
        *(Line(f"  {name}", (number(value, 4),)) for name, value in requests.items()),
    ]
    return Outcome(document, render(lines), {"authdata/floorB": speed[f"{Load.NEW}/{_FLOOR}"]})
