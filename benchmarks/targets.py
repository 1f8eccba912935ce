"""The table of targets: each is one figure of one bench, with what it must and what it should be.

All are ratios within one run, or exact counts of requests. `docs/performance.md` shows them with
what was measured (`python3 dev.py bench report`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.measuring.tables import GAP


@dataclass(frozen=True, slots=True)
class Target:
    """A line of the table; `name` is what its bench calls the figure.

    `is_limit` says that less is better: the figure must be at most `must`.
    """

    name: str
    bench: str
    title: str
    must: float
    aim: float
    unit: str = ""
    is_limit: bool = False

    def is_met(self, figure: float, bound: float) -> bool:
        """Whether the figure reaches `must` or `aim`."""
        return figure <= bound if self.is_limit else figure >= bound

    def shown(self, figure: float | None) -> str:
        """A figure as the table shows it, with its unit."""
        if figure is None:
            return GAP
        digits = 4 if self.must < 0.1 else 2
        text = f"{figure:,.{digits}f}".rstrip("0").rstrip(".") or "0"
        return f"{text} {self.unit}".strip()


def _limit(name: str, bench: str, title: str, must: float, aim: float, unit: str = "") -> Target:
    return Target(name, bench, title, must, aim, unit, is_limit=True)


_FIRST = "first load, 10,000 workers of 10 employers with look-ups"

TARGETS: Final = (
    Target("first/floorB", "import", f"{_FIRST} ÷ floor B", 1.0, 1.4),
    Target("first/floorC", "import", f"{_FIRST} ÷ floor C", 0.6, 0.8),
    Target("oneEmployer/floorB", "employer", "one employer ÷ floor B in one partition", 0.8, 1.0),
    Target("first/tutorial", "tutorial", "1,000 rows ÷ the way of the tutorials", 10, 20),
    Target("first/fastestPeer", "peers", "10,000 rows ÷ the fastest peer", 2, 4),
    Target("largest/first", "large", "100,000 rows ÷ 10,000 rows (rows a second)", 0.9, 1.0),
    Target("unchanged/first", "import", "unchanged repeat ÷ first load", 1.5, 2.5),
    Target("changed/first", "import", "all rows changed ÷ first load", 0.75, 0.9),
    _limit("requests/new", "import", "storage requests per new row", 0.045, 0.035),
    _limit("requests/unchanged", "import", "storage requests per unchanged row", 0.02, 0.012),
    _limit("requests/changed", "import", "storage requests per changed row", 0.05, 0.04),
    _limit("oneRow/requests", "one-row", "one-row call: storage requests", 10, 8),
    _limit("oneRow/raw", "one-row", "one-row call: p50 ÷ (raw requests + wait)", 1.5, 1.2),
    _limit("oneRow/wait", "one-row", "one-row call: mean wait for a poll", 75, 60, "ms"),
    _limit("idle/requests", "idle", "idle gateway: storage requests a second", 16, 8),
    _limit("idle/processor", "idle", "idle gateway: processor", 0.05, 0.02, "core"),
    _limit("tenants/sweep", "growth", "sweep: requests, 1,000 idle tenants ÷ 1", 3, 1),
    _limit("tenants/upkeep", "growth", "upkeep: requests, 1,000 idle tenants ÷ 1", 3, 1),
    _limit("tenants/retention", "growth", "retention: requests, 1,000 idle tenants ÷ 1", 3, 1),
    _limit(
        "oneRow/underLoad", "fairness", "one-row p95 during a 100,000-row import ÷ alone", 3, 1.5
    ),
    _limit(
        "oneRow/underAll",
        "fairness",
        "one-row p95 during import, CSV and exports ÷ alone",
        3,
        1.5,
    ),
    Target("xml/json", "types", "licenses in XML ÷ in JSON", 0.8, 1.0),
    Target("assignments/workers", "types", "assignments ÷ workers", 0.9, 1.0),
    Target("csv/json", "files", "CSV ÷ JSON", 0.8, 1.0),
    Target("xlsx/json", "files", "XLSX ÷ JSON", 0.4, 0.6),
    Target("ndjson/sdk", "export", "export as NDJSON ÷ the SDK's query", 0.5, 0.8),
    Target("authdata/floorB", "authdata", "authdata staged and processed ÷ floor B", 0.6, 1.0),
    _limit("sealing/loss", "sealing", "sealing sensitive fields: loss of first load", 10, 3, "%"),
    Target("two/one", "processes", "two gateway processes ÷ one", 1.1, 1.25),
    _limit("memory/json", "import", "peak memory over idle ÷ payload, 10,000 rows", 3, 2),
    _limit("memory/csv", "files", "memory to read 100,000 rows of CSV ÷ file", 5, 3),
    _limit("coldStart", "cold-start", "import function_app ÷ import azure.functions", 2.0, 1.5),
)
