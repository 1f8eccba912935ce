"""Rounds of the fault bench: a workload under faults, calm, and the judgement of what is left."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azure.core.exceptions import AzureError

from shared.errors import GatewayError
from shared.imports.import_type import OnExisting
from tests.documents import make_ready
from tests.emulator import open_ready_gateway, settings_for
from tests.faults.judge import FindingKind, Judgement, judge
from tests.faults.ledger import Ledger, TenantBooks, read_books
from tests.faults.rig import Rig, running_rig
from tests.faults.weather import Weather
from tests.faults.workload import Tenant, Workload
from tests.tenants import new_sender

TENANTS = 3
CALLERS = 10
CALLS = 120
CALM_SECONDS = 120.0
ROUNDS_OF_A_RIG = 8
"""Then the emulator gets new data: its tables are in memory and written whole."""


@dataclass
class Tally:
    """Figures of rounds, added up."""

    rounds: int = 0
    seconds: float = 0.0
    storm_seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    points: set[str] = field(default_factory=set)
    calls: int = 0
    imports: int = 0
    rows: int = 0
    rows_failed_too_often: int = 0
    rows_cancelled: int = 0
    answers_500: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    """Seed and findings of the rounds that had some."""

    def add(self, other: Tally) -> None:
        self.rounds += other.rounds
        self.seconds += other.seconds
        self.storm_seconds += other.storm_seconds
        self.faults += other.faults
        self.points |= other.points
        self.calls += other.calls
        self.imports += other.imports
        self.rows += other.rows
        self.rows_failed_too_often += other.rows_failed_too_often
        self.rows_cancelled += other.rows_cancelled
        self.answers_500 += other.answers_500
        self.findings += other.findings
        self.failures += other.failures

    def to_json(self) -> dict[str, Any]:
        own = {"faults": dict(self.faults), "findings": dict(self.findings)}
        return {**vars(self), **own, "points": sorted(self.points)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Tally:
        tally = cls(**document)
        tally.faults, tally.findings = Counter(tally.faults), Counter(tally.findings)
        tally.points = set(tally.points)
        return tally


async def run_rounds(
    seed: int,
    faults: int,
    folder: Path,
    say: Callable[[str], None],
    keep: Callable[[int, Tally], None] = lambda _seed, _one: None,
    *,
    calls: int = CALLS,
    only: frozenset[str] = frozenset(),
) -> Tally:
    """Rounds with the seeds from `seed` on, until so many faults have happened.

    `keep` is given the seed and the figures of each round, so that a run that is stopped loses
    one at most. Logs of rounds with findings, or with an answer of 500, stay in `folder`.
    """
    whole = Tally()
    while sum(whole.faults.values()) < faults:
        place = folder / f"rig-{seed + whole.rounds}"
        place.mkdir(parents=True, exist_ok=True)
        before = len(whole.failures), whole.answers_500
        async with running_rig(place, seed + whole.rounds) as rig:
            for _ in range(ROUNDS_OF_A_RIG):
                number = seed + whole.rounds
                one, _ = await run_round(rig, number, calls, only)
                whole.add(one)
                keep(number, one)
                say(_line(number, one, whole))
                for failure in one.failures:
                    say("\n".join(f"  {text}" for text in failure["findings"][:20]))
                if sum(whole.faults.values()) >= faults or one.findings:
                    break
        if (len(whole.failures), whole.answers_500) == before:
            shutil.rmtree(place)
    return whole


async def run_round(
    rig: Rig, seed: int, calls: int = CALLS, only: frozenset[str] = frozenset()
) -> tuple[Tally, Ledger]:
    """One round on tenants of its own: its figures, and what they were made of."""
    begun = time.monotonic()
    tenants = await _new_tenants(rig)
    load = Workload(seed, tenants, rig)
    weather = Weather(rig, seed, only)
    keeping = asyncio.create_task(rig.keep_running())
    try:
        await load.prepare()
        clouded = time.monotonic()
        storm = asyncio.create_task(weather.run())
        try:
            await load.run(CALLERS, calls)
        finally:
            storm.cancel()
            with suppress(asyncio.CancelledError):
                await storm
        cleared = time.monotonic()
        books = await _calm(rig, load)
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
    ledger = Ledger(load.calls, books, rig.poisoned)
    tally = _tally(seed, weather, judge(ledger))
    tally.seconds, tally.storm_seconds = time.monotonic() - begun, cleared - clouded
    return tally, ledger


async def _new_tenants(rig: Rig) -> list[Tenant]:
    tenants: list[Tenant] = []
    async with open_ready_gateway(settings_for(rig.storage)) as gateway:
        for _ in range(TENANTS):
            updates = await new_sender(gateway)
            inserts = await new_sender(gateway, updates.tenant, on_existing=OnExisting.ERROR)
            await make_ready(gateway, updates.tenant)
            tenants.append(Tenant(updates, inserts))
    return tenants


async def _calm(rig: Rig, load: Workload) -> dict[str, TenantBooks]:
    """Nothing fails any more: everything has to end. What is stored then."""
    deadline = time.monotonic() + CALM_SECONDS
    await load.finish(CALM_SECONDS / 2)
    names = [tenant.id for tenant in load.tenants]
    while True:
        with suppress(AzureError, GatewayError):
            await rig.sweep()
        books = await asyncio.to_thread(read_books, rig.storage, names)
        is_done = not any(each.is_unfinished for each in books.values())
        if is_done or time.monotonic() > deadline:
            return books
        await asyncio.sleep(1)


def _tally(seed: int, weather: Weather, judgement: Judgement) -> Tally:
    findings = [str(finding) for finding in judgement.findings]
    return Tally(
        rounds=1,
        faults=weather.counts,
        points=weather.points,
        calls=judgement.calls,
        imports=judgement.imports,
        rows=judgement.rows,
        rows_failed_too_often=judgement.rows_failed_too_often,
        rows_cancelled=judgement.rows_cancelled,
        answers_500=judgement.answers_500,
        findings=Counter(finding.kind.value for finding in judgement.findings),
        failures=[{"seed": seed, "findings": findings}] if findings else [],
    )


def _line(seed: int, one: Tally, whole: Tally) -> str:
    findings = json.dumps({kind.value: one.findings[kind.value] for kind in FindingKind})
    return (
        f"seed {seed}: {sum(one.faults.values())} faults, {one.calls} calls, {one.imports} "
        f"imports, {one.rows} rows, {one.storm_seconds:.0f} of {one.seconds:.0f} s: {findings}; "
        f"{sum(whole.faults.values())} faults so far"
    )
