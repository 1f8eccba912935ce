"""The results of the benches, a file for each under `.local/bench/parts/`, and of small runs under
`.local/bench/quick/`.

A run that died goes on with `--resume`: what the same commit has measured with the same options is
not measured again. The report reads the last result of every bench.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Self

from benchmarks.catalogue import Outcome
from benchmarks.options import Options
from local_host.setup.paths import AZURITE, ROOT

_CODE: Final = ("shared", "functions", "function_app.py", "host.json", "local_host", "benchmarks")
_PACKAGES: Final = ("azure-functions", "azure-data-tables", "azure-core", "aiohttp", "pydantic")


@dataclass(frozen=True, slots=True)
class Card:
    """The circumstances of a measurement: load averages of a minute before and after it, sizes,
    rounds, versions.
    """

    commit: str
    started_at: str
    seconds: float
    load_before: float
    load_after: float
    rows: tuple[int, ...]
    rounds: int
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """The last result of a bench."""

    card: Card
    figures: Mapping[str, float | None]
    document: Mapping[str, Any]
    lines: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    @classmethod
    def of(cls, outcome: Outcome, card: Card) -> Self:
        """The result that is kept."""
        return cls(
            card, outcome.figures, outcome.document, tuple(outcome.lines), tuple(outcome.skipped)
        )

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        card = Card(**{**document["card"], "rows": tuple(document["card"]["rows"])})
        return cls(
            card,
            document["figures"],
            document["document"],
            tuple(document["lines"]),
            tuple(document["skipped"]),
        )


@dataclass(slots=True)
class Stopwatch:
    """Makes the card of a bench that begins now."""

    options: Options
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    load: float = field(default_factory=lambda: os.getloadavg()[0])

    def card(self) -> Card:
        """The card of the bench that has just ended."""
        return Card(
            commit=commit(),
            started_at=self.started_at.isoformat(timespec="seconds"),
            seconds=round((datetime.now(UTC) - self.started_at).total_seconds(), 1),
            load_before=round(self.load, 2),
            load_after=round(os.getloadavg()[0], 2),
            rows=self.options.rows,
            rounds=self.options.rounds,
            versions=versions(),
        )


class Parts:
    """The kept results."""

    def __init__(self, folder: Path, *, is_quick: bool = False) -> None:
        self._folder = folder / ("quick" if is_quick else "parts")

    def keep(self, name: str, part: Part) -> Path:
        """Replace the last result of a bench."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file, written = self._file(name), self._file(f".{name}")
        written.write_text(json.dumps(asdict(part), indent=2, ensure_ascii=False) + "\n", "utf-8")
        written.replace(file)
        return file

    def last(self, name: str) -> Part | None:
        """The last result of a bench, if there is a readable one."""
        try:
            return Part.from_json(json.loads(self._file(name).read_text("utf-8")))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def measured(self, name: str, options: Options) -> Part | None:
        """The result of a bench by the same commit with the same options, if there is one."""
        part = self.last(name)
        if part is None or part.card.commit != commit():
            return None
        card = part.card
        return part if (card.rows, card.rounds) == (options.rows, options.rounds) else None

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def commit() -> str:
    """The last commit that changed what is measured or measures, with a mark where files differ
    from it; "" outside a repository.
    """
    last = _git("log", "-1", "--format=%h", "--abbrev=12", "--", *_CODE)
    return f"{last}-dirty" if last and _git("status", "--porcelain", "--", *_CODE) else last


def _git(*words: str) -> str:
    try:
        process = subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, check=False, text=True
        )
    except OSError:
        return ""
    return process.stdout.strip()


def versions() -> Mapping[str, str]:
    """The versions of what is measured and measured with."""
    emulator = json.loads((AZURITE / "node_modules/azurite/package.json").read_text("utf-8"))
    return {
        "processors": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "azurite": emulator["version"],
        **{name: version(name) for name in _PACKAGES},
    }
