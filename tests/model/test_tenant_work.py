"""The timers read one list of the tenants that may have work, however many tenants there are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

import pytest

from shared.auth.callers import Caller
from shared.auth.integrations import Integration
from shared.auth.lookups import PARTITION
from shared.clock import to_iso
from shared.imports.workers.definition import WORKERS
from shared.services.retention import Retention, RetentionStep
from shared.services.tenant_work import OPEN_IMPORTS, ListedTenant, WorkList, WorkNotes
from shared.storage.names import TENANTS
from shared.storage.ports import Entity
from tests.builders import workers
from tests.memory_storage import CountedRequests, MemoryTables
from tests.model.harness import TENANT, CountedProcess, ModelClock

CALLER = Caller(TENANT, "S", "S", Integration(TENANT, "S", "S"))


class Stage:
    """The notes and the list of one column, with a clock that a test moves."""

    def __init__(self, tenants: int = 1) -> None:
        requests = CountedRequests()
        self.requests = requests.counts
        self.tables = MemoryTables(requests)
        self.clock = ModelClock()
        for number in range(tenants):
            self.tables.place(TENANTS, Entity(PARTITION, f"t{number:04d}", {"name": "T"}))
        self.list = WorkList(self.tables, OPEN_IMPORTS, self.clock, unmarked_per_run=0)
        self.notes = WorkNotes(self.tables, OPEN_IMPORTS)

    async def note(self) -> None:
        await self.notes.note("t0000", to_iso(self.clock.now()))

    async def settle(self, *, has_work: bool = False) -> int:
        """Settle every listed tenant; how many there were."""
        listed = await self.list.tenants()
        for tenant in listed:
            await self.list.settle(tenant, has_work=has_work)
        return len(listed)


@pytest.mark.parametrize("tenants", [1, 1_000])
def test_a_sweep_of_idle_tenants_asks_as_often_however_many_there_are(tenants: int) -> None:
    async def scenario() -> list[int]:
        process = CountedProcess()
        for number in range(tenants - 1):
            process.tables.place(TENANTS, Entity(PARTITION, f"t{number:04d}", {"name": "T"}))
        await process.process.sweep.run()
        swept = process.requests.total()

        async def expire(tenant: str, before: datetime) -> AsyncIterator[int]:
            yield 1

        async def ids() -> list[str]:
            return [e.row for e in await process.tables.query(TENANTS, PARTITION)]

        step = RetentionStep("x", timedelta(0), expire)
        retention = Retention([step], process.tables, ModelClock(), ids)
        await retention.run()
        process.requests.clear()
        await retention.run()
        return [swept, process.requests.total()]

    assert asyncio.run(scenario()) == [1, 2]


def test_a_tenant_is_noted_once_in_some_minutes_and_listed_while_it_may_have_work() -> None:
    async def scenario() -> None:
        stage = Stage(tenants=2)
        await stage.note()
        stage.requests.clear()
        stage.clock.seconds = 19 * 60
        await stage.note()
        assert not stage.requests, "it relies on the note"
        assert await stage.settle() == 1
        stage.clock.seconds = 59 * 60
        assert await stage.settle() == 1
        stage.clock.seconds = 61 * 60
        assert await stage.settle(has_work=True) == 1, "it has work, however old the note is"
        assert await stage.settle() == 1
        assert await stage.settle() == 0

    asyncio.run(scenario())


def test_a_note_that_comes_between_list_and_end_stays() -> None:
    async def scenario() -> None:
        stage = Stage()
        await stage.note()
        stage.clock.seconds = 61 * 60
        [listed] = await stage.list.tenants()
        await stage.note()
        await stage.list.settle(listed, has_work=False)
        assert await stage.settle() == 1

    asyncio.run(scenario())


def test_work_that_nobody_noted_is_found_in_turn() -> None:
    """An earlier version has stored it, or the tenant's entity was restored."""

    async def scenario() -> None:
        stage = Stage(tenants=5)
        turns = WorkList(stage.tables, OPEN_IMPORTS, stage.clock)
        found: set[str] = set()
        listed: Sequence[ListedTenant] = ()
        for run in range(5):
            stage.clock.seconds = 30.0 * run
            listed = await turns.tenants()
            assert len(listed) == 2
            found |= {each.id for each in listed}
        assert len(found) == 5
        await turns.settle(listed[0], has_work=True)
        assert [each.id for each in await stage.list.tenants()] == [listed[0].id]

    asyncio.run(scenario())


def test_an_import_notes_its_tenant_before_it_is_accepted() -> None:
    async def scenario() -> None:
        process = CountedProcess()
        body = json.dumps(workers(1)).encode()
        await process.process.intake.accept(WORKERS, CALLER, body)
        stored = process.tables.tables[TENANTS][PARTITION, TENANT]
        assert stored.text(OPEN_IMPORTS)

    asyncio.run(scenario())
