"""`dev.py bench report`: the table of targets from the last results, and the page with the figures.

The generated parts of `docs/performance.md` stand between `<!-- bench: NAME -->` and
`<!-- /bench -->`; the plots are files in `docs/images/`. What no bench has measured is a dash.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.catalogue import BENCHES
from benchmarks.measuring.tables import GAP, Line, render
from benchmarks.parts import Card, Part, Parts
from benchmarks.plots import Points, bars_plot, lines_plot
from benchmarks.targets import TARGETS, Target
from benchmarks.workers_import_readings import IMPORTS
from local_host.setup.messages import say
from local_host.setup.paths import ROOT

PAGE: Final = ROOT / "docs" / "performance.md"
_SPEED_PLOT: Final = "rows-per-second.svg"
_LATENCY_PLOT: Final = "latency.svg"
_PART: Final = re.compile(r"(<!-- bench: ([\w-]+) -->\n).*?(<!-- /bench -->)", re.DOTALL)


def main(words: Sequence[str], folder: Path, page: Path = PAGE) -> int:
    """Print the table and write the page and its plots."""
    parser = argparse.ArgumentParser(
        prog="dev.py bench report", description="The table of targets from the last results."
    )
    parser.add_argument(
        "--no-page", action="store_true", help="only print it, leave docs/performance.md as it is"
    )
    arguments = parser.parse_args(words)
    last = {name: Parts(folder).last(name) for name in BENCHES}
    parts = {name: part for name, part in last.items() if part is not None}
    say("\n".join(target_lines(parts)))
    if not arguments.no_page:
        write_page(page, parts)
        say(f"Written: {page}")
    return 0


def target_lines(parts: Mapping[str, Part]) -> list[str]:
    """The table of targets as text."""
    lines = [Line("target", ("must", "aim", "measured", "", "rounds", "load"))]
    for target in TARGETS:
        figure, part = _figure(target, parts), parts.get(target.bench)
        card = part.card if part else None
        lines.append(
            Line(
                target.title,
                (
                    target.shown(target.must),
                    target.shown(target.aim),
                    target.shown(figure),
                    _verdict(target, figure),
                    str(card.rounds) if card else GAP,
                    f"{card.load_before} to {card.load_after}" if card else GAP,
                ),
            )
        )
    return render(lines)


def write_page(page: Path, parts: Mapping[str, Part]) -> None:
    """Replace the generated parts of the page, and the plots."""
    generated = {
        "targets": _targets_table(parts),
        "rows-per-second": _speed_table(parts),
        "stages": _stages_table(parts),
        "circumstances": _circumstances(parts),
        "left-out": _left_out(parts),
    }
    fill_page(page, generated)
    images = page.parent / "images"
    images.mkdir(exist_ok=True)
    plot = lines_plot("Rows a second, first load", "rows", "rows a second", _speeds(parts))
    (images / _SPEED_PLOT).write_text(plot, "utf-8")
    plot = bars_plot("Calls with one row", "ms", _latencies(parts))
    (images / _LATENCY_PLOT).write_text(plot, "utf-8")


def _figure(target: Target, parts: Mapping[str, Part]) -> float | None:
    part = parts.get(target.bench)
    return part.figures.get(target.name) if part else None


def _verdict(target: Target, figure: float | None) -> str:
    if figure is None:
        return ""
    if target.is_met(figure, target.aim):
        return "aim"
    return "must" if target.is_met(figure, target.must) else "missed"


def fill_page(page: Path, generated: Mapping[str, str]) -> None:
    """Write the generated parts of a page between their marks."""
    text = page.read_text("utf-8")
    page.write_text(
        _PART.sub(lambda found: found[1] + generated[found[2]] + found[3], text), "utf-8"
    )


def _targets_table(parts: Mapping[str, Part]) -> str:
    rows = ["| target | must | aim | measured | reached | bench, rows, rounds, load |"]
    rows.append("|---|---|---|---|---|---|")
    for target in TARGETS:
        figure, part = _figure(target, parts), parts.get(target.bench)
        sign = "≤" if target.is_limit else "≥"
        cells = (
            target.title,
            f"{sign} {target.shown(target.must)}",
            f"{sign} {target.shown(target.aim)}",
            target.shown(figure),
            _verdict(target, figure) or GAP,
            _card_cell(target.bench, part.card if part else None),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _card_cell(bench: str, card: Card | None) -> str:
    if card is None:
        return f"`{bench}`: not measured"
    load = f"{card.load_before} to {card.load_after}"
    return f"`{bench}`, {max(card.rows):,}, {card.rounds}, {load}"


def _circumstances(parts: Mapping[str, Part]) -> str:
    if not parts:
        return "Nothing has been measured yet.\n"
    cards = [part.card for part in parts.values()]
    commits = sorted({card.commit for card in cards})
    days = sorted({card.started_at[:10] for card in cards})
    versions = "; ".join(f"{name} {value}" for name, value in cards[-1].versions.items())
    minutes = sum(card.seconds for card in cards) / 60
    return (
        f"Measured on {', '.join(days)} at {', '.join(commits)} in {minutes:.0f} minutes. "
        f"{versions[0].upper()}{versions[1:]}.\n"
    )


def _left_out(parts: Mapping[str, Part]) -> str:
    reasons = [f"* {name}: {reason}" for name, part in parts.items() for reason in part.skipped]
    return "\n".join(reasons) + "\n" if reasons else "Nothing was left out.\n"


def _speeds(parts: Mapping[str, Part]) -> dict[str, Points]:
    """Rows per second of everything that was measured, over the number of rows."""
    series: dict[str, list[tuple[float, float]]] = {
        name: [] for name in ("floor C", "floor B", "gateway", "floor A", "gateway, short rows")
    }
    names = {"new": "gateway", "floorA": "floor A", "floorB": "floor B", "floorC": "floor C"}
    for case in _document(parts, "import").get("cases", ()):
        for step, name in names.items():
            if speed := case["notComparableBetweenRuns"]["rowsPerSecond"].get(step):
                series[name].append((case["rows"], speed))
    large = _document(parts, "large").get("notComparableBetweenRuns", {})
    for rows, speed in large.get("rowsPerSecond", {}).items():
        series["gateway, short rows"].append((int(rows), speed))
    tutorial = _document(parts, "tutorial")
    if tutorial:
        speeds = tutorial["notComparableBetweenRuns"]["rowsPerSecond"]["tutorial"]
        series["tutorials"] = [(tutorial["rows"], sorted(speeds)[len(speeds) // 2])]
    peers = _document(parts, "peers")
    for name, speed in peers.get("notComparableBetweenRuns", {}).get("rowsPerSecond", {}).items():
        if name != "gateway":
            series[name] = [(peers["rows"], speed)]
    return {name: sorted(points) for name, points in series.items() if points}


def _speed_table(parts: Mapping[str, Part]) -> str:
    rows = ["| first load | rows | rows a second |", "|---|---|---|"]
    for name, points in _speeds(parts).items():
        rows += (f"| {name} | {size:,.0f} | {speed:,.0f} |" for size, speed in points)
    return "\n".join(rows) + "\n"


def _stages_table(parts: Mapping[str, Part]) -> str:
    rows = ["| | first load | unchanged | all changed |", "|---|---|---|---|"]
    for stage, times in _document(parts, "stages").get("microsecondsPerRow", {}).items():
        cells = (f"{times[step]:,.0f}" for step in IMPORTS)
        rows.append(f"| {stage} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _latencies(parts: Mapping[str, Part]) -> dict[str, float]:
    alone = _document(parts, "one-row").get("notComparableBetweenRuns", {})
    load = _document(parts, "fairness").get("notComparableBetweenRuns", {})
    beside_import, beside_all = load.get("import", {}), load.get("all", {})
    bars = {
        "one storage request (upsert), p50": alone.get("rawMilliseconds"),
        "one row, p50": alone.get("p50Milliseconds"),
        "one row, p95": alone.get("p95Milliseconds"),
        "one row during another tenant's large import, p50": beside_import.get("besideP50"),
        "one row during another tenant's large import, p95": beside_import.get("besideP95"),
        "the same beside an import of CSV and exports too, p95": beside_all.get("besideP95"),
    }
    return {name: value for name, value in bars.items() if value is not None}


def _document(parts: Mapping[str, Part], name: str) -> Mapping[str, Any]:
    part = parts.get(name)
    return part.document if part else {}
