"""What a backlog of imports that wait for each other costs, counted exactly.

The real services on counted storage in memory: handler runs and requests for each import, however
long the line is. Messages are delivered in the order in which they were sent.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from shared.auth.caller import Caller
from shared.auth.integration import Integration
from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.definition import ImportType
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_messages import ChunkMessage
from tests.counted_storage import CountedBlobs, CountedQueues, CountedTables
from tests.model.processes import TENANT, CountedIds, ModelClock, a_process

LENGTHS = (50, 200, 400)
Rows = list[dict[str, Any]]


@dataclass
class Cost:
    """Of a backlog: handler runs, requests and entities that were read, for each import."""

    runs: float
    requests: float
    entities: float


class Backlog:
    """Imports that are accepted one after another before any of them is worked on."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.tables = CountedTables(self.requests)
        self.queues = CountedQueues(self.requests)
        self.process = a_process(
            self.tables,
            CountedBlobs(self.requests),
            self.queues,
            ModelClock(),
            CountedIds(),
            chunk_rows=1_000,
            handler_seconds=300,
        )
        self.accepted = 0

    async def accept(self, kind: ImportType, rows: Rows) -> None:
        caller = Caller(TENANT, "S", "S", Integration(TENANT, "S", "S"))
        assert await self.process.intake.accept(kind, caller, json.dumps(rows).encode())
        self.accepted += 1

    async def work_off(self) -> Cost:
        """Deliver messages until there are none; everything has ended then."""
        runs = 0
        while self.queues.messages:
            await self.process.chunks.process(ChunkMessage.from_text(self.queues.messages.pop(0)))
            runs += 1
        assert await self.process.imports.open_of(TENANT) == []
        requests = sum(self.requests.values())
        accepted = self.accepted
        return Cost(runs / accepted, requests / accepted, self.tables.entities_read / accepted)


def _worker(reference: str, title: str = "Dr") -> dict[str, Any]:
    return {"EmployerRef": "E1", "PersonnelRef": reference, "Title": title}


def _of_one_record(number: int) -> Rows:
    return [_worker("P1", f"T{number}")]


def _of_two_records_each(number: int) -> Rows:
    """Each meets the import before it in one record and the one behind it in another."""
    return [_worker(f"P{number}"), _worker(f"P{number + 1}")]


def _of_many_records(number: int) -> Rows:
    """Every tenth meets all others; those do not meet each other."""
    if number % 10 == 9:
        return [_worker(f"P{other}", f"T{number}") for other in range(60)]
    return [_worker(f"P{number % 60}", f"T{number}")]


def _apart(number: int) -> Rows:
    return [_worker(f"P{number}")]


@pytest.mark.parametrize(
    ("rows", "runs", "requests", "entities"),
    [
        (_of_one_record, 1, 20, 110),
        (_of_two_records_each, 1, 20, 110),
        (_of_many_records, 2, 30, 150),
    ],
)
def test_a_line_of_imports_costs_the_same_for_each_however_long_it_is(
    rows: Callable[[int], Rows], runs: float, requests: float, entities: float
) -> None:
    for length in LENGTHS:
        cost = asyncio.run(_cost_of_workers(rows, length))
        assert cost.runs <= runs, (length, cost)
        assert cost.requests <= requests, (length, cost)
        assert cost.entities <= entities, (length, cost)


def test_imports_that_do_not_meet_pay_nothing_for_waiting() -> None:
    for length in LENGTHS:
        cost = asyncio.run(_cost_of_workers(_apart, length))
        assert cost.runs == 1
        assert cost.requests <= 20, (length, cost)


async def _cost_of_workers(rows: Callable[[int], Rows], length: int) -> Cost:
    backlog = Backlog()
    for number in range(length):
        await backlog.accept(WORKERS, rows(number))
    return await backlog.work_off()


@pytest.mark.parametrize("length", LENGTHS)
def test_rows_that_wait_for_a_reference_run_twice_however_long_the_line_is(length: int) -> None:
    async def play() -> Cost:
        backlog = Backlog()
        for number in range(length):
            await backlog.accept(WORKERS, _of_one_record(number))
            assignment = {
                "EmployerRef": "E1",
                "AssignmentRef": f"A{number}",
                "PersonnelRef": "P1",
                "StartDate": "2026-01-01",
            }
            await backlog.accept(ASSIGNMENTS, [assignment])
        return await backlog.work_off()

    cost = asyncio.run(play())
    assert cost.runs <= 2, cost
    assert cost.requests <= 30, cost
