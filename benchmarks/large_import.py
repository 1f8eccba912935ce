"""Bench `large`: rows per second of first loads of growing size, an employer per 1,000 rows.

A worker of the sample is too long for 100,000 of them in one body, so the rows of all sizes are
short workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks.catalogue import Outcome
from benchmarks.measuring.figures import in_rounds, middle, rounded
from benchmarks.measuring.rig import Rig, running_rig
from benchmarks.measuring.tables import Line, number, render
from benchmarks.measuring.waiting import BenchError
from benchmarks.options import Options
from benchmarks.payloads import Case, body_of
from local_host.setup.messages import note

ROWS_PER_EMPLOYER: Final = 1_000


def short_case(rows: int) -> Case:
    """So many short workers, an employer per 1,000."""
    return Case(rows, max(1, rows // ROWS_PER_EMPLOYER), is_short=True)


def run(options: Options) -> Outcome:
    """Measure. Raises BenchError or SetupError."""
    bodies = {rows: body_of(short_case(rows)) for rows in options.rows}
    with running_rig(options.folder / "logs") as rig:
        note(f"warming up: {options.rows[0]:,} rows")
        _rows_per_second(rig, options.rows[0], bodies[options.rows[0]])
        rounds: list[Mapping[int, float]] = []
        for count in range(1, options.rounds + 1):
            note(f"round {count} of {options.rounds}")
            speeds = {rows: _rows_per_second(rig, rows, bodies[rows]) for rows in options.rows}
            rounds.append(speeds)
    return _outcome(options.rows, rounds)


def _rows_per_second(rig: Rig, rows: int, body: bytes) -> float:
    rig.empty()
    with rig.connect(rig.new_sender()) as connection:
        connection.check_health()
        sent = connection.send_workers(body, rows)
        rig.wait_until_idle()
        counts = connection.counts_of(sent.import_id)
    if counts["new"] != rows:
        raise BenchError(f"not every row is new: {counts}")
    return rows / sent.seconds


def _outcome(sizes: tuple[int, ...], rounds: list[Mapping[int, float]]) -> Outcome:
    speeds = {rows: [each[rows] for each in rounds] for rows in sizes}
    by_smallest = {rows: middle(in_rounds(speeds[rows], speeds[sizes[0]])) for rows in sizes[1:]}
    document = {
        "rowsBySmallest": {str(rows): rounded(value) for rows, value in by_smallest.items()},
        "notComparableBetweenRuns": {
            "rowsPerSecond": {str(rows): rounded(middle(speeds[rows])) for rows in sizes}
        },
    }
    lines = [
        Line(f"short workers, an employer per {ROWS_PER_EMPLOYER:,}: rows per second, in times"),
        *(
            Line(f"  {rows:,} rows ÷ {sizes[0]:,} rows", (number(value),))
            for rows, value in by_smallest.items()
        ),
        Line("rows per second (not comparable between runs)"),
        *(Line(f"  {rows:,} rows", (number(middle(speeds[rows]), 0),)) for rows in sizes),
    ]
    return Outcome(document, render(lines), {"largest/first": by_smallest.get(sizes[-1])})
