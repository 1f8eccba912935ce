"""The slices of the fault bench are added up, commit by commit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.faults import FIRST_SEED, RoundFile
from tests.faults.bench import Tally


def a_round() -> Tally:
    return Tally(rounds=1, calls=10, faults=Counter({"SIGKILL": 2}), points={"Table GET a"})


def test_slices_of_a_commit_are_added_up_and_go_on_behind_the_last_seed(tmp_path: Path) -> None:
    file = tmp_path / "rounds.jsonl"
    assert RoundFile(file, "one").next_seed() == FIRST_SEED
    failure = {"seed": 8, "findings": ["lost: …"]}
    RoundFile(file, "one").keep(7, a_round())
    found = a_round()
    found.findings["lost"] = 1
    found.failures.append(failure)
    RoundFile(file, "one").keep(8, found)
    RoundFile(file, "other").keep(70, a_round())

    rounds = RoundFile(file, "one")
    assert rounds.next_seed() == 9
    whole = rounds.whole()
    assert (whole.rounds, whole.calls, whole.faults) == (2, 20, Counter({"SIGKILL": 4}))
    assert whole.points == {"Table GET a"}
    assert whole.findings == Counter(lost=1)
    assert whole.failures == [failure]


def test_an_unknown_kind_of_fault_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["faults", "--kind", "earthquake"], tmp_path) == 1
    assert "no fault 'earthquake'" in capsys.readouterr().err
