"""One short round of the bench, which the short form and the tests of the checker share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from tests.faults.bench import Tally, run_round
from tests.faults.judge import Finding, judge
from tests.faults.ledger import Ledger
from tests.faults.rig import running_rig

SEED = 25
CALLS = 60


@dataclass(frozen=True)
class Round:
    """Its figures, and what they were made of."""

    tally: Tally
    ledger: Ledger
    findings: list[Finding]


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Round:
    """A round that has been played, with every kind of fault."""
    folder = tmp_path_factory.mktemp("faults")

    async def play() -> Round:
        async with running_rig(folder, SEED) as rig:
            tally, ledger = await run_round(rig, SEED, CALLS)
            return Round(tally, ledger, judge(ledger).findings)

    return asyncio.run(play())
