"""Bench `scaling`: what more workers bring until storage throttles, and what a million rows cost.

Everything is counted in virtual time (`scaling_simulation`), so it is the same on each machine.
Without `--quick` the tables and the plot of docs/scaling.md are written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from benchmarks.catalogue import Outcome
from benchmarks.measuring.tables import Line, render
from benchmarks.options import Options
from benchmarks.plots import lines_plot
from benchmarks.report import fill_page
from benchmarks.scaling_simulation import LOADS, Growth, Load, count_requests, simulate
from local_host.setup.messages import note
from local_host.setup.paths import ROOT

PAGE: Final = ROOT / "docs" / "scaling.md"
PLOT: Final = "rows-per-second-over-workers.svg"
WORKERS: Final = (1, 2, 4, 8, 16, 32, 64)
_QUICK_WORKERS: Final = (4, 32)
_QUICK_PART: Final = 8

COLUMNS: Final = (
    "workers",
    "rows/s",
    "entities/s",
    "requests per row",
    "answers 503",
    "failed handlers",
    "refused calls",
    "rows lost",
    "seconds",
)
_MILLION: Final = 1_000_000
# The requests of storage in memory by the meters of the price lists, with dollars for 10,000 of
# each: pay as you go, locally redundant, East US.
_METERS: Final[Mapping[str, tuple[tuple[str, ...], float]]] = {
    "tables, all operations": (("transaction", "query", "write", "get"), 0.00036),
    "queues, all operations": (("queue",), 0.004),
    "blobs, writes": (("put",), 0.055),
    "blobs, reads": (("blob",), 0.0044),
}


def run(options: Options) -> Outcome:
    """Simulate every load with every number of workers."""
    loads = [_smaller(load) for load in LOADS] if options.is_quick else LOADS
    growth: dict[str, list[Growth]] = {}
    for load in loads:
        note(f"{load.name} …")
        numbers = _QUICK_WORKERS if options.is_quick else WORKERS
        growth[load.name] = [simulate(load, workers) for workers in numbers]
    rows = 1_000 if options.is_quick else 10_000
    requests = count_requests(rows)
    if not options.is_quick:
        write_page(PAGE, growth, requests, rows)
        note(f"Written: {PAGE}")
    return Outcome(
        {
            "loads": {name: [asdict(one) for one in each] for name, each in growth.items()},
            "requestsOfRows": {"rows": rows, **requests},
        },
        _lines(growth),
        has_failed=any(one.lost for each in growth.values() for one in each),
    )


def _smaller(load: Load) -> Load:
    return replace(load, rows=max(1, load.rows // _QUICK_PART), calls=min(load.calls, 2))


def cells(one: Growth) -> tuple[str, ...]:
    """The cells of a line, by `COLUMNS`."""
    return (
        str(one.workers),
        f"{one.rows_per_second:,.0f}",
        f"{one.rows_per_second * one.entities_per_row:,.0f}",
        f"{one.requests_per_row:.3f}"
        if one.requests_per_row < 1
        else f"{one.requests_per_row:.1f}",
        f"{one.busy:,}",
        str(one.came_back),
        str(one.refused),
        str(one.lost),
        f"{one.seconds:,.1f}",
    )


def _lines(growth: Mapping[str, Sequence[Growth]]) -> list[str]:
    lines: list[Line] = []
    for name, each in growth.items():
        lines.append(Line(name, COLUMNS))
        lines += (Line("", cells(one)) for one in each)
    return render(lines)


def write_page(
    page: Path, growth: Mapping[str, Sequence[Growth]], requests: Counter[str], rows: int
) -> None:
    """Write the generated parts of the page, and its plot."""
    fill_page(page, {"growth": _growth_table(growth), "requests": _cost_table(requests, rows)})
    plot = lines_plot(
        "Rows a second over workers, in the simulation",
        "workers (handlers at work at the same time)",
        "rows a second",
        {
            name: [(float(one.workers), one.rows_per_second) for one in each]
            for name, each in growth.items()
        },
    )
    (page.parent / "images" / PLOT).write_text(plot, "utf-8")


def _growth_table(growth: Mapping[str, Sequence[Growth]]) -> str:
    lines = [
        f"| load | {' | '.join(COLUMNS)} |",
        f"| --- |{' ---: |' * len(COLUMNS)}",
        *(
            f"| {name if at == 0 else ''} | {' | '.join(cells(one))} |"
            for name, each in growth.items()
            for at, one in enumerate(each)
        ),
    ]
    return "\n".join(lines) + "\n"


def _cost_table(requests: Counter[str], rows: int) -> str:
    lines = [
        "| meter | requests for a million rows | dollars for 10,000 | dollars |",
        "| --- | ---: | ---: | ---: |",
    ]
    total, dollars = 0.0, 0.0
    for meter, (kinds, price) in _METERS.items():
        count = sum(requests[kind] for kind in kinds) * _MILLION / rows
        total += count
        dollars += count / 10_000 * price
        lines.append(f"| {meter} | {count:,.0f} | {price} | {count / 10_000 * price:.4f} |")
    lines.append(f"| together | {total:,.0f} | | {dollars:.2f} |")
    return "\n".join(lines) + "\n"
