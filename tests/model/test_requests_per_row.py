"""What an import asks of storage, exactly: former values and import ids ride along for nothing.

The real services on counted storage in memory. At most those of the gateway before records kept
what they were, and the same number of entities in transactions. Each is that of
1,000 rows that are new, then of the same rows again, then of the rows with a changed field.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from shared.auth.callers import Caller
from shared.auth.integrations import Integration
from shared.errors import ConflictError
from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.import_type import ImportType, Options
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.definition import LICENSES
from shared.imports.results import RowResult
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_messages import ChunkMessage
from shared.storage.sealing import PLAIN_DIGESTS, RecordDigests
from tests.builders import workers
from tests.memory_storage import CountedRequests, MemoryBlobs, MemoryQueues, MemoryTables
from tests.model.harness import (
    TENANT,
    CountedIds,
    CountedProcess,
    LoopClock,
    make_process,
    run_at_once,
)

_T = TypeVar("_T")
Rows = list[dict[str, Any]]
Cost = Counter[str]
ROWS = 1_000
READ_ONCE = 13
CALLER = Caller(TENANT, "S", "S", Integration(TENANT, "S", "S"))


class CountedGateway(CountedProcess):
    """One process, and what each import asks of storage."""

    def __init__(self, digests: RecordDigests = PLAIN_DIGESTS) -> None:
        super().__init__(chunk_rows=ROWS, digests=digests)

    async def cost_of(self, kind: ImportType, rows: Rows) -> tuple[Cost, int]:
        """Requests by kind, and the entities that were written to the table of the type."""
        self.requests.clear()
        written = self.tables.written[kind.table]
        body = json.dumps(rows).encode()
        if kind is LICENSES:
            planned = await self.process.intake.read(kind, TENANT, body)
            options = replace(Options(), action=LicenseAction.MERGE.value)
            draft = self.process.intake.draft(kind, TENANT, planned, options)
            await self.process.intake.accept_planned(kind, draft, planned)
        else:
            await self.process.intake.accept(kind, CALLER, body)
        await self.process_all()
        return Cost(self.requests), self.tables.written[kind.table] - written

    async def cost_of_undo(self, kind: ImportType) -> tuple[Cost, int]:
        """The same for the undo of the last import."""
        number = await self.process.imports.newest_number(TENANT)
        record = await self.process.imports.read(TENANT, number)
        assert record is not None
        self.requests.clear()
        written = self.tables.written[kind.table]
        await self.process.undoing.undo(record)
        await self.process_all()
        return Cost(self.requests), self.tables.written[kind.table] - written


def assignments() -> Rows:
    return [
        {
            "EmployerRef": "E00",
            "AssignmentRef": f"A{at:04d}",
            "PersonnelRef": "W000000",
            "ClientRef": "C1",
            "DivisionRef": "D1",
            "DepartmentRef": "D1",
            "StartDate": "2026-01-01",
            "ExpectedEndDate": None,
            "ActualEndDate": None,
        }
        for at in range(ROWS)
    ]


def licenses() -> Rows:
    return [
        {"companyCode": "C1", "employeeNumber": f"{at:04d}", "licenseNumber": "A"}
        for at in range(ROWS)
    ]


@pytest.mark.parametrize(
    ("kind", "rows", "change", "expected"),
    [
        (
            WORKERS,
            workers(ROWS),
            {"Title": "Dr"},
            [
                (Cost(blob=4, get=9, put=1, query=25, queue=12, transaction=22, write=6), 1_139),
                (Cost(blob=4, get=8, put=1, query=21, queue=12, transaction=2, write=4), 0),
                (Cost(blob=4, get=8, put=1, query=25, queue=12, transaction=14, write=4), ROWS),
            ],
        ),
        (
            ASSIGNMENTS,
            assignments(),
            {"JobTitle": "Cook"},
            [
                (Cost(blob=4, get=12, put=1, query=13, queue=12, transaction=14, write=5), 1_001),
                (Cost(blob=4, get=8, put=1, query=13, queue=12, transaction=2, write=4), 0),
                (Cost(blob=4, get=12, put=1, query=17, queue=12, transaction=14, write=4), ROWS),
            ],
        ),
        (
            LICENSES,
            licenses(),
            {"notes": "n"},
            [
                (Cost(blob=1, put=1, query=8, queue=3, transaction=502, write=3), 2_501),
                (Cost(blob=1, put=1, query=6, queue=3, transaction=2, write=1), 0),
                (Cost(blob=1, put=1, query=6, queue=3, transaction=338, write=1), 1_336),
            ],
        ),
    ],
    ids=["workers", "assignments", "licenses"],
)
def test_an_import_asks_of_storage_what_it_did_before_records_kept_former_values(
    kind: ImportType, rows: Rows, change: dict[str, Any], expected: list[tuple[Cost, int]]
) -> None:
    async def scenario() -> list[tuple[Cost, int]]:
        gateway = CountedGateway()
        if kind is ASSIGNMENTS:
            await gateway.cost_of(WORKERS, workers(10))
        changed = [row | change for row in rows]
        return [await gateway.cost_of(kind, each) for each in (rows, rows, changed)]

    assert asyncio.run(scenario()) == expected


@pytest.mark.parametrize(
    ("kind", "rows", "change"),
    [
        (WORKERS, workers(ROWS), {"Title": "Dr"}),
        (ASSIGNMENTS, assignments(), {"JobTitle": "Cook"}),
        (LICENSES, licenses(), {"notes": "n"}),
    ],
    ids=["workers", "assignments", "licenses"],
)
def test_an_undo_asks_no_more_of_storage_than_the_import(
    kind: ImportType, rows: Rows, change: dict[str, Any]
) -> None:
    """Of new records, of changed ones, and each time the undo of that undo.

    An undo reads some things of the undone import once, whatever its rows: its record and results.
    Its own record is read, while that of the import is known from its acceptance.
    """

    async def scenario() -> None:
        gateway = CountedGateway()
        if kind is ASSIGNMENTS:
            await gateway.cost_of(WORKERS, workers(10))
        for sent in (rows, [row | change for row in rows]):
            imported, written = await gateway.cost_of(kind, sent)
            for _ in range(2):
                undone, written_back = await gateway.cost_of_undo(kind)
                assert undone.total() <= imported.total() + READ_ONCE, (undone, imported)
                assert written_back <= written

    asyncio.run(scenario())


# The requests of a large import do not depend on how long storage takes.

MANY = 10_000
HANDLERS = 4
SLOW_SECONDS = 4.0
# Less than a chunk takes.
SWEEP_SECONDS = 120


class SlowRequests(CountedRequests):
    """Each request takes so many seconds."""

    async def passed(self, kind: str, work: Callable[[], _T]) -> _T:
        await asyncio.sleep(SLOW_SECONDS)
        return await super().passed(kind, work)


async def _requests_when_slow(*payloads: Rows) -> list[float]:
    """The requests per row of imports one after the other, with the sweep every half minute.

    The sweep's own requests are not counted.
    """
    requests = SlowRequests()
    swept = CountedRequests()
    tables, blobs, queues = MemoryTables(requests), MemoryBlobs(requests), MemoryQueues(requests)
    limits: dict[str, Any] = {"max_rows": MANY, "chunk_rows": 1_000, "chunk_bytes": 4 * 1024 * 1024}
    limits["sweep_after_seconds"] = SWEEP_SECONDS
    clock, ids = LoopClock(), CountedIds()
    process = make_process(tables, blobs, queues, clock, ids, handler_seconds=300, **limits)
    sweeping = MemoryTables(swept)
    sweeping.tables, sweeping._rows = tables.tables, tables._rows
    sweeper = make_process(sweeping, blobs, queues, clock, ids, **limits).sweep

    async def sweep() -> None:
        while True:
            await asyncio.sleep(30)
            await sweeper.run()

    async def handle() -> None:
        while queues.messages:
            message = ChunkMessage.from_text(queues.messages.pop(0).text)
            await process.chunks.process(message)

    found: list[float] = []
    timer = asyncio.create_task(sweep())
    for rows in payloads:
        requests.counts.clear()
        await process.intake.accept(WORKERS, CALLER, json.dumps(rows).encode())
        await asyncio.gather(*(handle() for _ in range(HANDLERS)))
        assert await process.imports.open_of(TENANT) == []
        found.append(requests.counts.total() / len(rows))
    timer.cancel()
    return found


def test_requests_per_row_are_few_however_long_an_import_takes() -> None:
    """New, unchanged and changed rows with look-ups; no message is sent again meanwhile."""
    rows = [row | {"ExternalWorkerRef": f"X{at}"} for at, row in enumerate(workers(MANY))]
    changed = [row | {"Title": "Dr"} for row in rows]
    new, unchanged, changed_all = run_at_once(_requests_when_slow(rows, rows, changed))
    found = (new, unchanged, changed_all)
    assert all(map(float.__le__, found, (0.042, 0.012, 0.03))), found


def test_a_call_with_one_row_asks_storage_nine_times() -> None:
    """New, unchanged and changed, in a process that has imported rows of this employer before.

    The message is three of the requests: it is sent, fetched and deleted.
    """

    async def scenario() -> list[int]:
        gateway = CountedGateway()
        await gateway.cost_of(WORKERS, workers(1, employers=1))
        row = workers(2, employers=1)[1:]
        payloads = (row, row, [row[0] | {"Title": "Dr"}])
        return [(await gateway.cost_of(WORKERS, each))[0].total() for each in payloads]

    # One of each is the gateway's own look for open imports at the end.
    assert asyncio.run(scenario()) == [10, 8, 9]


def test_a_digest_changes_no_outcome() -> None:
    """The same imports with digests and without: rows that change nothing, something, or much.

    They are complete, partial, twice in a payload or faulty, and some imports are undone.
    """

    def payload(draw: random.Random, number: int) -> Rows:
        rows = [row | {"ExternalWorkerRef": f"X{at}"} for at, row in enumerate(workers(120, 2))]
        changes: Rows = [{"Title": "Dr"}, {"Title": None}, {"Gender": "?"}, {"PersonnelNotes": "x"}]
        for row in rows:
            if draw.random() < 0.2 * number:
                row.update(draw.choice(changes))
            if draw.random() < 0.1:
                del row["Surname"]
        return [*rows, *draw.sample(rows, 3 * number)]

    async def scenario(seed: int, digests: RecordDigests) -> tuple[list[RowResult], Any]:
        draw, gateway = random.Random(seed), CountedGateway(digests)
        process = gateway.process
        found: list[RowResult] = []
        for number in (0, 0, 1, 1, 2):
            sent = payload(draw, number)
            for _ in range(2):
                await process.intake.accept(WORKERS, CALLER, json.dumps(sent).encode())
                await gateway.process_all()
                newest = await process.imports.newest_number(TENANT)
                record = await process.imports.read(TENANT, newest)
                assert record is not None
                if draw.random() < 0.3:
                    with suppress(ConflictError):  # it may have changed nothing
                        await process.undoing.undo(record)
                        await gateway.process_all()
                found += [row async for row in process.reporting.all_results(record)]
        stored = {
            key: {name: value for name, value in entity.values.items() if name != "Digest"}
            for key, entity in gateway.tables.tables[WORKERS.table].items()
        }
        return found, stored

    for seed in range(3):
        results, stored = asyncio.run(scenario(seed, PLAIN_DIGESTS))
        assert (results, stored) == asyncio.run(scenario(seed, RecordDigests(0, {})))
        assert len({result.outcome for result in results}) == 4
