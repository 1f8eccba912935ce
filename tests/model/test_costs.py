"""What a backlog of imports that wait for each other costs, counted exactly.

The real services on counted storage in memory: handler runs and requests for each import, however
long the line is. Messages are delivered in the order in which they were sent.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from shared.app import compose_chunks
from shared.auth.callers import Caller
from shared.auth.integrations import Integration
from shared.clock import RandomIds, SystemClock
from shared.dependencies import Dependencies
from shared.errors import ConflictError
from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.authdata.model import BatchCall
from shared.imports.authdata.services import compose_authdata
from shared.imports.import_type import ImportType
from shared.imports.workers.definition import WORKERS
from shared.process_stop import ProcessStop
from shared.services.background import Completions, SmallImportsFirst
from shared.services.changes import ChangePlace
from shared.services.chunk_messages import ChunkMessage
from shared.services.status import ImportState, Waiting
from shared.storage.import_records import ImportRecord
from tests.builders import a_worker, body_of
from tests.emulator import settings_for
from tests.memory_storage import CountedRequests, MemoryBlobs, MemoryQueues, MemoryTables
from tests.model.harness import TENANT, CountedProcess, LoopClock, run_at_once

LENGTHS = (50, 200, 400)
IMPORTS_AT_ONCE = 4
Rows = list[dict[str, Any]]


@dataclass
class Cost:
    """Of a backlog: handler runs, requests and entities that were read, for each import."""

    runs: float
    requests: float
    entities: float


class Backlog(CountedProcess):
    """Imports that are accepted one after another before any of them is worked on."""

    def __init__(self, chunk_rows: int = 1_000) -> None:
        super().__init__(chunk_rows=chunk_rows, imports_at_once=IMPORTS_AT_ONCE)
        self.accepted = 0

    async def accept(self, kind: ImportType, rows: Rows, tenant: str = TENANT) -> None:
        caller = Caller(tenant, "S", "S", Integration(tenant, "S", "S"))
        assert await self.process.intake.accept(kind, caller, json.dumps(rows).encode())
        self.accepted += 1

    async def messages_of_others_before(self, tenant: str) -> int:
        """How many messages of other tenants are delivered before the last one of this tenant."""
        before, others = 0, 0
        while self.queues.messages:
            message = await self.process_message()
            if message.tenant == tenant:
                before = others
            else:
                others += 1
        return before

    async def work_off(self) -> Cost:
        """Deliver messages until there are none; everything has ended then."""
        runs = await self.process_all()
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


def test_imports_that_do_not_meet_cost_the_same_however_many_there_are() -> None:
    for length in LENGTHS:
        cost = asyncio.run(_cost_of_workers(_apart, length))
        assert cost.runs == 1
        assert cost.requests <= 20, (length, cost)
        assert cost.entities <= 110, (length, cost)


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


@pytest.mark.parametrize("rows", [_apart, _of_one_record])
def test_a_one_row_import_stands_behind_a_few_of_another_tenant(
    rows: Callable[[int], Rows],
) -> None:
    async def play() -> int:
        backlog = Backlog()
        for number in range(150):
            await backlog.accept(WORKERS, rows(number))
        await backlog.accept(WORKERS, _apart(0), "other")
        return await backlog.messages_of_others_before("other")

    assert asyncio.run(play()) <= IMPORTS_AT_ONCE


def test_a_large_import_stands_behind_a_few_chunks_of_another_tenant() -> None:
    async def play() -> int:
        backlog = Backlog(chunk_rows=2)
        for first in range(0, 1_000, 200):
            many = [_worker(f"P{number}") for number in range(first, first + 200)]
            await backlog.accept(WORKERS, many)
        await backlog.accept(WORKERS, [_worker(f"P{number}") for number in range(101)], "other")
        return await backlog.messages_of_others_before("other")

    # The other tenant's import has 51 chunks, of which 16 are worked on at a time, as are 16 of the
    # first tenant's: they take turns.
    assert asyncio.run(play()) <= 51 + 4 * IMPORTS_AT_ONCE


# Many thousand employees loaded, loaded again, and a twentieth of them changed.
#
# The real services on counted storage in memory: what is shown is what is written and how often
# storage is asked; `AUTHDATA_EMPLOYEES=50000` is a load of the size that was asked for. The same on
# the emulator, with fewer records, is `tests/integration/test_authdata.py`.


EMPLOYEES = int(os.environ.get("AUTHDATA_EMPLOYEES", "6000"))
CHANGED = range(0, EMPLOYEES, 20)
REQUESTS = {"first": 0.039, "again": 0.018, "changed": 0.027}
"""The most per record, staged and processed; of 50,000: 0.0317, 0.0125, 0.0196."""
IN_FLIGHT = 4


class Small:
    """The services that authentication data needs, on storage in memory."""

    def __init__(self) -> None:
        requests = CountedRequests()
        self.requests = requests.counts
        self.tables = MemoryTables(requests)
        self.queues = MemoryQueues(requests)
        blobs = MemoryBlobs(requests)
        settings = settings_for("nothing connects to it", imports_at_once=8)
        dependencies = Dependencies.from_storage(
            settings, self.tables, blobs, self.queues, SystemClock(), ProcessStop()
        )
        self.imports = dependencies.imports
        self.authdata = compose_authdata(dependencies)
        self.chunks = compose_chunks(dependencies, self.authdata)

    async def load(self, rows: list[Mapping[str, str]]) -> dict[str, int]:
        """Stage and process; the totals of the answer."""
        call = BatchCall(None, validate=True, allow_no_auth=False, commit=True, rows=rows)
        staged = await self.authdata.staging.stage("acme", call, RandomIds().new())
        assert sum(self.requests.values()) < 150, "staging is cheap whatever its size"
        record = await self.authdata.processing.begin("acme", staged.file_log_id)
        assert record is not None
        while self.queues.messages:
            some = self.queues.messages[:IN_FLIGHT]
            del self.queues.messages[:IN_FLIGHT]
            messages = [ChunkMessage.from_text(message.text) for message in some]
            await asyncio.gather(*(self.chunks.process(message) for message in messages))
        ended = await self.imports.find("acme", record.import_id)
        assert ended is not None
        answer = await self.authdata.processing.answer(ended)
        return {name: answer[f"total{name}"] for name in ("New", "Updates", "NoChange", "Records")}


def employees(*, is_changed: bool) -> list[Mapping[str, str]]:
    return [
        {
            "employeeid": f"EMPLOYEE{at:06d}",
            "employeestatus": "Active",
            "authvalue1": f"Surname {at}",
            "authvalue2": f"19{at % 90 + 10}",
            "authvalue3": f"changed {at}" if is_changed and at in CHANGED else f"{at}",
        }
        for at in range(EMPLOYEES)
    ]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_many_employees_are_loaded_and_the_same_again_writes_nothing() -> None:
    async def run() -> None:
        small = Small()
        expected = {
            "first": (False, {"New": EMPLOYEES, "Updates": 0, "NoChange": 0}, 2 * EMPLOYEES),
            "again": (False, {"New": 0, "Updates": 0, "NoChange": EMPLOYEES}, 0),
            "changed": (
                True,
                {"New": 0, "Updates": len(CHANGED), "NoChange": EMPLOYEES - len(CHANGED)},
                3 * len(CHANGED),
            ),
        }
        for name, (is_changed, counts, writes) in expected.items():
            small.requests.clear()
            small.tables.written.clear()
            totals = await small.load(employees(is_changed=is_changed))
            assert totals == {**counts, "Records": EMPLOYEES}
            assert small.tables.written["AuthData"] == writes, name
            per_record = sum(small.requests.values()) / EMPLOYEES
            assert per_record <= REQUESTS[name], (name, per_record)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("imports", "rows", "size", "requests"),
    [
        # The imports are listed 200 at a time, and their results read by a request each.
        (50, 1, 1_000, 53),
        # The results of 16 imports are read at once, and some of them again for the next page.
        (50, 1, 10, 81),
        # A chunk of 1,000 rows has one result, which each page reads.
        (1, 1_000, 1_000, 4),
        (1, 1_000, 100, 31),
    ],
)
def test_pages_of_the_feed_cost_a_few_requests_each(
    imports: int, rows: int, size: int, requests: int
) -> None:
    async def scenario() -> tuple[int, int]:
        backlog = Backlog()
        for number in range(imports):
            workers = [_worker(f"P{number}-{at}") | {"Surname": "S"} for at in range(rows)]
            await backlog.accept(WORKERS, workers)
        await backlog.work_off()
        feed, place = backlog.process.changes, ChangePlace(0)
        backlog.requests.clear()
        changes = 0
        while True:
            page = await feed.page(TENANT, place, size, lambda _name: True)
            if page.following == place:
                return changes, sum(backlog.requests.values())
            changes += len(page.changes)
            place = page.following

    assert asyncio.run(scenario()) == (imports * rows, requests)


# Large imports let small ones go first.


async def _commits(first: SmallImportsFirst, *, is_small: bool = False) -> list[float]:
    """When four handlers made two commits each, of a second each."""
    loop = asyncio.get_running_loop()
    times: list[float] = []

    async def handle() -> None:
        with first.turns(is_small=is_small) as next_turn:
            for _ in range(2):
                await next_turn()
                times.append(round(loop.time(), 1))
                await asyncio.sleep(1)

    await asyncio.gather(*(handle() for _ in range(4)))
    return times


def test_large_imports_commit_at_once_as_long_as_no_small_one_comes() -> None:
    assert run_at_once(_commits(SmallImportsFirst())) == [0.0] * 4 + [1.0] * 4


def test_large_imports_commit_in_turn_after_a_small_one() -> None:
    async def scenario() -> list[float]:
        first = SmallImportsFirst()
        with first.working(is_small=True):
            pass
        return await _commits(first)

    # Two seconds after the small import, those that ask for a turn need not wait for one.
    assert run_at_once(scenario()) == [0.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]


def test_a_large_step_is_told_whether_small_imports_are_expected() -> None:
    async def scenario() -> list[bool]:
        first = SmallImportsFirst()
        with first.turns(is_small=False) as next_turn:
            answers = [await next_turn()]
            with first.working(is_small=True):
                pass
            answers.append(await next_turn())
            await asyncio.sleep(2)
            return [*answers, await next_turn()]

    assert run_at_once(scenario()) == [False, True, False]


def test_large_imports_pause_for_small_ones_but_small_ones_do_not_and_no_pause_is_long() -> None:
    async def scenario() -> list[list[float]]:
        first = SmallImportsFirst()
        with first.working(is_small=True):
            times = [await _commits(first, is_small=True), await _commits(first)]
        with first.working(is_small=False):
            await asyncio.sleep(10)
            return [*times, await _commits(first)]

    small, large, after = run_at_once(scenario())
    assert small == [0.0] * 4 + [1.0] * 4
    assert large == [2.5, 4.0, 5.5, 7.0, 8.5, 10.0, 11.5, 13.0]
    assert after == [24.0] * 4 + [25.0] * 4


# A call waits for the end of its import by an event, or by polls where another process handles it.


def test_a_call_polls_sooner_if_another_process_has_handled_the_rows_of_the_last_one() -> None:
    async def scenario() -> list[float]:
        backlog, others_events = Backlog(), Completions()
        loop = asyncio.get_running_loop()
        waiting = Waiting(backlog.process.imports, others_events, LoopClock(), ProcessStop())
        seconds: list[float] = []
        for number in range(4):
            await backlog.accept(WORKERS, _apart(number))
            record = await backlog.process.imports.read(TENANT, number + 1)
            assert record is not None
            began_at = loop.time()
            call = asyncio.create_task(waiting.until_ended(record, 10))
            await asyncio.sleep(0.05)
            await backlog.process_all()
            if number == 2:
                others_events.announce(record.import_id)
            assert await call
            seconds.append(round(loop.time() - began_at, 3))
        return seconds

    assert run_at_once(scenario()) == [0.25, 0.1, 0.05, 0.25]


# A chain of retries, each of the one before, has an end.


def test_retries_of_retries_have_an_end_that_names_the_first_import() -> None:
    async def scenario() -> None:
        stage = CountedProcess()
        process = stage.process

        async def retry(parent: ImportRecord, body: bytes = b"") -> ImportRecord:
            stored = await process.imports.read(parent.tenant, parent.number)
            assert stored is not None
            child = await process.retrying.retry(stored, body)
            await stage.process_all()
            return child

        caller = Caller(TENANT, "S", "S", Integration(TENANT, "S", "S"))
        first = await process.intake.accept(WORKERS, caller, body_of([a_worker("P1", Gender="x")]))
        assert first is not None
        await stage.process_all()
        parent = first
        for _ in range(50):
            parent = await retry(parent)
        with pytest.raises(ConflictError, match=first.import_id):
            await retry(parent)
        await retry(first, body_of([{"index": 0, "row": a_worker("P1")}]))
        report = await process.reporting.find(first.tenant, first.import_id)
        assert report.state is ImportState.REPAIRED

    asyncio.run(scenario())
