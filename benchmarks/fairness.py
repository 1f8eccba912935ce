"""Bench `fairness`: one-row calls of a tenant beside large work of other tenants, by the same calls
without it. That work is an import of JSON, and then also one of CSV and exports without a pause.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.catalogue import Outcome
from benchmarks.files_import import csv_of
from benchmarks.large_import import short_case
from benchmarks.measuring.figures import in_rounds, middle, percentile, rounded
from benchmarks.measuring.gateway_calls import WORKERS as IMPORT
from benchmarks.measuring.gateway_calls import Connection
from benchmarks.measuring.rig import Rig, Sender, running_rig
from benchmarks.measuring.tables import Line, number, render
from benchmarks.measuring.waiting import BenchError
from benchmarks.one_row import call_seconds
from benchmarks.options import Options
from benchmarks.payloads import Case, body_of
from local_host.setup.messages import note

_CALLS: Final = 60
_QUICK_CALLS: Final = 5
# Calls that wait long must not make the bench last for ever.
_SECONDS_UNDER_LOAD: Final = 90.0
_QUICK_SECONDS: Final = 10.0
_CALLS_BEFORE: Final = 5
_QUICK_ROWS: Final = 5_000
_EXPORTED_ROWS: Final = 5_000
_EXPORT: Final = ("/api/records/workers?pageSize=10000", "application/x-ndjson")


@dataclass(frozen=True, slots=True)
class _Load:
    """Large work of other tenants, and the seconds of the calls without it and beside it, by
    rounds.
    """

    name: str
    title: str
    has_files_and_exports: bool
    alone: list[list[float]] = field(default_factory=list)
    beside: list[list[float]] = field(default_factory=list)

    @property
    def by_alone(self) -> float | None:
        """p95 beside the load ÷ p95 alone."""
        return middle(
            in_rounds(self._percentiles(self.beside, 95), self._percentiles(self.alone, 95))
        )

    @property
    def milliseconds(self) -> dict[str, float | None]:
        """The medians of the rounds' percentiles."""
        return {
            f"{when}P{percent}": middle(each * 1_000 for each in self._percentiles(calls, percent))
            for when, calls in (("alone", self.alone), ("beside", self.beside))
            for percent in (50, 95)
        }

    @staticmethod
    def _percentiles(rounds: list[list[float]], percent: int) -> list[float]:
        return [percentile(calls, percent) for calls in rounds]


def run(options: Options) -> Outcome:
    """Measure. Raises BenchError or SetupError."""
    rows = max(options.rows[-1], _QUICK_ROWS)
    calls = _QUICK_CALLS if options.is_quick else _CALLS
    most_seconds = _QUICK_SECONDS if options.is_quick else _SECONDS_UNDER_LOAD
    case = short_case(rows)
    bodies = (body_of(case), csv_of(case).body)
    loads = (
        _Load("import", f"one-row calls while another tenant's {rows:,} rows are imported", False),
        _Load("all", "the same, beside an import of as many rows of CSV and exports", True),
    )
    for count in range(1, options.rounds + 1):
        for load in loads:
            note(f"round {count} of {options.rounds}: {load.title}")
            with running_rig(options.folder / "logs") as rig:
                sender = rig.new_sender()
                with rig.connect(sender) as connection:
                    call_seconds(connection, _CALLS_BEFORE)
                    load.alone.append(call_seconds(connection, calls, _CALLS_BEFORE))
                load.beside.append(
                    _calls_beside(rig, load, bodies, rows, sender, calls, most_seconds)
                )
                # Its imports are of no use any more, and a host lets running functions end.
                rig.host.process.kill()
    return _outcome(rows, loads)


def _calls_beside(
    rig: Rig,
    load: _Load,
    bodies: tuple[bytes, bytes],
    rows: int,
    sender: Sender,
    calls: int,
    most_seconds: float,
) -> list[float]:
    """The seconds of calls until there are enough of them, time is up, or the import of JSON has
    ended.
    """
    json_body, csv_body = bodies
    has_ended = threading.Event()
    if load.has_files_and_exports:
        exporter = rig.new_sender()
        with rig.connect(exporter) as connection:
            connection.send(IMPORT, "application/json", body_of(Case(_EXPORTED_ROWS, 10)))
        _start(rig, exporter, lambda each: _export(each, has_ended))
        _start(rig, rig.new_sender(), lambda each: each.send(IMPORT, "text/csv", csv_body))
    importing = _start(rig, rig.new_sender(), lambda each: each.send_workers(json_body, rows))
    seconds: list[float] = []
    first = _CALLS_BEFORE + calls
    with rig.connect(sender) as connection:
        while len(seconds) < calls and sum(seconds) < most_seconds and importing.is_alive():
            seconds += call_seconds(connection, 1, first + len(seconds))
    has_ended.set()
    return seconds


def _start(rig: Rig, sender: Sender, work: Callable[[Connection], Any]) -> threading.Thread:
    """Let another tenant work in a thread; the gateway may be ended meanwhile."""

    def run() -> None:
        with (
            suppress(OSError, http.client.HTTPException, BenchError),
            rig.connect(sender) as connection,
        ):
            work(connection)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def _export(connection: Connection, has_ended: threading.Event) -> None:
    while not has_ended.is_set():
        connection.read_pages(*_EXPORT)


def _outcome(rows: int, loads: tuple[_Load, ...]) -> Outcome:
    document = {
        "rows": rows,
        "calls": {load.name: [len(calls) for calls in load.beside] for load in loads},
        "p95ByAlone": {load.name: rounded(load.by_alone) for load in loads},
        "notComparableBetweenRuns": {
            load.name: {name: rounded(value) for name, value in load.milliseconds.items()}
            for load in loads
        },
    }
    lines: list[Line] = []
    for load in loads:
        lines += [
            Line(load.title),
            Line("  p95 ÷ p95 alone", (number(load.by_alone),)),
            Line("  calls made meanwhile", (str(sum(map(len, load.beside))),)),
            *(
                Line(f"  {name}, ms (not comparable)", (number(value, 0),))
                for name, value in load.milliseconds.items()
            ),
        ]
    figures = {"oneRow/underLoad": loads[0].by_alone, "oneRow/underAll": loads[1].by_alone}
    return Outcome(document, render(lines), figures)
