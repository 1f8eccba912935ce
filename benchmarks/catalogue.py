"""Every benchmark by its name: a module each, loaded when it is asked for.

`rows` and `rounds` are what a bench takes where the command line says nothing. They are chosen so
that all benches of a whole run together take less than twenty minutes on two processors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from benchmarks.options import Options


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a bench found: everything as a JSON value, what people read of it, and `figures` by the
    names of the targets.

    `skipped` says why a part was left out. `has_failed` ends the run with status 1: something was
    found that must not be.
    """

    document: Mapping[str, Any]
    lines: Sequence[str]
    figures: Mapping[str, float | None] = field(default_factory=dict)
    skipped: Sequence[str] = ()
    has_failed: bool = False


@dataclass(frozen=True, slots=True)
class Bench:
    """A bench: its module, and the sizes and rounds it takes by default and with `--quick`."""

    module: str
    summary: str
    rows: tuple[int, ...] = (10_000,)
    rounds: int = 3
    quick_rows: tuple[int, ...] = (500,)
    is_in_whole: bool = True

    def run(self, options: Options) -> Outcome:
        """Measure. Raises BenchError or SetupError."""
        outcome: Outcome = import_module(f"benchmarks.{self.module}").run(options)
        return outcome

    def options(self, options: Options) -> Options:
        """The options of a run, with this bench's sizes and rounds where none are given."""
        return replace(
            options,
            rows=options.rows or (self.quick_rows if options.is_quick else self.rows),
            rounds=options.rounds or (1 if options.is_quick else self.rounds),
        )


BENCHES: Final[Mapping[str, Bench]] = {
    "import": Bench("workers_import", "workers over HTTP by the floors", (100, 1_000, 10_000)),
    "employer": Bench("one_employer", "workers of one employer: one partition"),
    "tutorial": Bench("tutorial", "the way of the tutorials: a message per row", (1_000,)),
    "peers": Bench("peers_import", "FastAPI and Django on PostgreSQL"),
    "stages": Bench("stages", "processor time of a row by stage"),
    "large": Bench("large_import", "rows a second as an import grows", (10_000, 100_000), 1),
    "one-row": Bench("one_row", "calls with one row"),
    "fairness": Bench("fairness", "calls with one row during a large import", (100_000,), 1),
    "idle": Bench("idle", "what a gateway without work costs", rounds=1),
    "growth": Bench("growth", "timers and calls with more tenants and imports", (1_000,), 1, (20,)),
    "types": Bench("types_import", "each import type", (3_000,)),
    "files": Bench("files_import", "JSON, NDJSON, CSV, XLSX", (5_000,)),
    "export": Bench("export", "records read back"),
    "authdata": Bench("authdata_import", "batches of employees", rounds=2),
    "sealing": Bench("sealing", "imports with and without sealed fields"),
    "processes": Bench("processes", "two gateway processes on one storage"),
    "cold-start": Bench("cold_start", "time until the app is imported", rounds=7),
    "telemetry": Bench("telemetry_off", "what telemetry costs while it is off", (2_000,), 7),
    "scaling": Bench("scaling", "more workers on storage that throttles", is_in_whole=False),
    "faults": Bench("faults", "the long form of the fault bench", is_in_whole=False),
}
