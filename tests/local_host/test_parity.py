"""PARITY.md names a test for everything that it calls mirrored."""

from __future__ import annotations

import re
from pathlib import Path

from tests.local_host.running_host import ROOT


def rows() -> list[tuple[str, str, str]]:
    lines = (ROOT / "local_host" / "PARITY.md").read_text("utf-8").splitlines()
    cells = [re.split(r"(?<!\\) ?\| ?", line)[1:-1] for line in lines if line.startswith("| ")]
    return [(row[0], row[1], row[2]) for row in cells if row[1].strip() and row[1] != "here"]


def known_tests() -> set[str]:
    sources = (path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    pattern = re.compile(r"^def (test_\w+)\(", re.MULTILINE)
    return {name for source in sources for name in pattern.findall(source)}


def test_every_row_has_one_of_three_states() -> None:
    assert {state for _, state, _ in rows()} == {"mirrored", "simplified", "absent"}


def test_every_mirrored_row_names_a_test() -> None:
    assert [
        what for what, state, proof in rows() if state == "mirrored" and "`test_" not in proof
    ] == []


def test_every_named_test_exists() -> None:
    named = {name for *_, proof in rows() for name in re.findall(r"`(test_\w+)`", proof)}
    assert len(named) > 40
    assert named - known_tests() == set()
