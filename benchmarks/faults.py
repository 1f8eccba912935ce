"""Bench `faults`: the long form of `tests/faults`, in slices whose figures are added up.

Each round is a line of `faults-rounds.jsonl` as soon as it has ended, with the commit it ran on. A
run goes on behind the last seed of the same commit and shows the figures of all its rounds. What a
run on another commit has found is not added: the gateway was another one.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.catalogue import Outcome
from benchmarks.measuring.tables import Line, render
from benchmarks.measuring.waiting import BenchError
from benchmarks.options import Options
from benchmarks.parts import commit
from local_host.setup.messages import note
from tests.faults.bench import Tally, run_rounds
from tests.faults.judge import FindingKind
from tests.faults.weather import EVENTS, REQUEST_FAULTS

FIRST_SEED = 1


def run(options: Options) -> Outcome:
    """Play rounds until so many faults have happened. Raises BenchError or SetupError."""
    unknown = sorted(options.kinds - REQUEST_FAULTS.keys() - EVENTS.keys())
    if unknown:
        known_rounds = ", ".join((*REQUEST_FAULTS, *EVENTS))
        raise BenchError(f"there is no fault {unknown[0]!r}; there are: {known_rounds}")
    # What the sweep of the bench itself logs is no figure.
    logging.getLogger().addHandler(logging.NullHandler())
    options.folder.mkdir(parents=True, exist_ok=True)
    rounds = RoundFile(options.folder / "faults-rounds.jsonl", commit())
    seed = options.seed or rounds.next_seed()
    note(f"seed {seed} and following; logs of rounds with findings stay in {options.folder}")
    work = run_rounds(
        seed, options.faults, options.folder / "logs", note, rounds.keep, only=options.kinds
    )
    asyncio.run(work)
    return _outcome(rounds)


class RoundFile:
    """The rounds that were played on this commit."""

    def __init__(self, file: Path, commit: str) -> None:
        self._file = file
        self._commit = commit

    def keep(self, seed: int, one: Tally) -> None:
        line = json.dumps({"commit": self._commit, "seed": seed, "tally": one.to_json()})
        with self._file.open("a") as file:
            file.write(f"{line}\n")

    def next_seed(self) -> int:
        return max((rounds["seed"] + 1 for rounds in self._read_rounds()), default=FIRST_SEED)

    def whole(self) -> Tally:
        whole = Tally()
        for rounds in self._read_rounds():
            whole.add(Tally.from_json(rounds["tally"]))
        return whole

    def _read_rounds(self) -> Iterable[dict[str, Any]]:
        if self._file.exists():
            for line in self._file.read_text("utf-8").splitlines():
                rounds = json.loads(line)
                if rounds["commit"] == self._commit:
                    yield rounds


def _outcome(rounds: RoundFile) -> Outcome:
    whole = rounds.whole()
    failures = {kind.value: whole.findings[kind.value] for kind in FindingKind}
    lines = [
        Line("fault", ("times",)),
        *(Line(f"  {name}", (f"{whole.faults[name]:,}",)) for name in (*REQUEST_FAULTS, *EVENTS)),
        Line("together", (f"{sum(whole.faults.values()):,}",)),
        Line("  kinds of requests at which a gateway was ended", (f"{len(whole.points):,}",)),
        Line(f"{whole.rounds} rounds, {whole.seconds / 60:.0f} minutes"),
        Line("  calls", (f"{whole.calls:,}",)),
        Line("  imports accepted", (f"{whole.imports:,}",)),
        Line("  rows accepted", (f"{whole.rows:,}",)),
        Line("    that ended as 9001 of a poisoned chunk", (f"{whole.rows_failed_too_often:,}",)),
        Line("    that ended as 9002 of a cancel", (f"{whole.rows_cancelled:,}",)),
        Line("  answers with 500", (f"{whole.answers_500:,}",)),
        Line("found"),
        *(Line(f"  {name}", (f"{count:,}",)) for name, count in failures.items()),
    ]
    shown_failures = render(lines)
    for failure in whole.failures:
        shown_failures.append(f"seed {failure['seed']}:")
        shown_failures += [f"  {text}" for text in failure["findings"]]
    document = {**whole.to_json(), "findings": dict(Counter(failures))}
    return Outcome(document, shown_failures, has_failed=bool(whole.failures))
