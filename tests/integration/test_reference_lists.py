"""Reference lists that are lost in part, or replaced while they are read, fail no row wrongly."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from shared.clock import RandomIds, SystemClock
from shared.imports.import_type import ReferenceKind
from shared.services.admin.reference_lists import ReferenceLists
from shared.storage.ports import Delete, Entity, Operation, Tables
from tests.builders import a_worker
from tests.integration.broken import set_columns
from tests.integration.stage import Harness, play

pytestmark = pytest.mark.integration
HEAD = "h|division"
HEADS: Mapping[str, Mapping[str, Any]] = {
    "another generation": {"Generation": "0b5c"},
    "no generation": {"Generation": None},
    "no number of values": {"Values": "many"},
    "a larger number of values": {"Values": 7},
}


@dataclass
class InterruptedTables:
    """The real tables; `interrupt` is awaited once, before values of a list are read or removed."""

    tables: Tables
    interrupt: Callable[[], Awaitable[None]] | None = None

    def __post_init__(self) -> None:
        self.get, self.write = self.tables.get, self.tables.write

    async def query(self, table: str, partition: str, *keys: Any, **options: Any) -> list[Entity]:
        """See `Tables.query`."""
        if keys and str(keys[0]).startswith("v|") and self.interrupt is not None:
            interrupt, self.interrupt = self.interrupt, None
            await interrupt()
        return await self.tables.query(table, partition, *keys, **options)

    async def transact(self, table: str, operations: Sequence[Operation]) -> None:
        """See `Tables.transact`."""
        await self.tables.transact(table, operations)


def lists_on(tables: Tables) -> ReferenceLists:
    return ReferenceLists(tables, SystemClock(), RandomIds(), cache_seconds=0)


@pytest.mark.parametrize("way", [*HEADS, "a value that was lost"])
def test_rows_are_not_judged_by_a_list_that_cannot_be_read(delivered: str, way: str) -> None:
    async def scenario(stage: Harness) -> None:
        tenant, lists = stage.sender.tenant, stage.gateway.lists
        await lists.load(tenant, ReferenceKind.DIVISION, ["D1", "D2"])
        await lists.load(tenant, ReferenceKind.DEPARTMENT, ["Q1"])
        if way in HEADS:
            await set_columns(delivered, "References", tenant, HEAD, HEADS[way])
        else:
            tables = stage.gateway.account.tables
            found = await tables.query("References", tenant, "v|division|", "v|division|~")
            await tables.write("References", Delete(found[0]))
        rows = [
            a_worker("P1", DivisionRef="D9"),
            a_worker("P2"),
            a_worker("P3", DepartmentRef="Q1"),
            a_worker("P4", DepartmentRef="Q2"),
        ]
        record = await stage.accept(rows)
        await stage.drain()
        assert await stage.codes(record) == [[9001], [], [], [2001]]
        [message] = (await stage.results(record))[0].messages
        assert "ask the operator of the gateway to load it again" in message.text

        await lists.load(tenant, ReferenceKind.DIVISION, ["D9"])
        child = await stage.gateway.retrying.retry(await stage.again(record), b"")
        await stage.drain()
        assert await stage.codes(child) == [[], [2001]]

    play(delivered, scenario, cache_seconds=0)


def test_a_list_that_is_replaced_while_it_is_read_is_read_again(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        tenant = stage.sender.tenant
        await stage.gateway.lists.load(tenant, ReferenceKind.DIVISION, ["D1", "D2"])

        async def replace_list() -> None:
            await stage.gateway.lists.load(tenant, ReferenceKind.DIVISION, ["D2", "D3"])

        tables = InterruptedTables(stage.gateway.account.tables, replace_list)
        found = await lists_on(tables).for_tenant(tenant)
        assert found.unreadable == frozenset()
        allowed = [found.allows(ReferenceKind.DIVISION, value) for value in ("D1", "D2", "D3")]
        assert allowed == [False, True, True]

    play(delivered, scenario)


def test_two_loads_at_once_leave_one_whole_list(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        tenant = stage.sender.tenant

        async def load_another() -> None:
            await stage.gateway.lists.load(tenant, ReferenceKind.DIVISION, ["D2", "D3"])

        # The other call has written its values and its head when this one removes what is old.
        tables = InterruptedTables(stage.gateway.account.tables, load_another)
        await lists_on(tables).load(tenant, ReferenceKind.DIVISION, ["D1"])
        found = await stage.gateway.lists.for_tenant(tenant)
        assert found.unreadable == frozenset()
        assert found.values["division"] in ({"D1"}, {"D2", "D3"})

    play(delivered, scenario, cache_seconds=0)


def test_a_list_of_an_earlier_version_counts(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        tenant = stage.sender.tenant
        await stage.gateway.lists.load(tenant, ReferenceKind.DIVISION, ["D1"])
        await set_columns(delivered, "References", tenant, HEAD, {"Values": None})
        record = await stage.accept(
            [a_worker("P1", DivisionRef="D1"), a_worker("P2", DivisionRef="D2")]
        )
        await stage.drain()
        assert await stage.codes(record) == [[], [2001]]

    play(delivered, scenario, cache_seconds=0)
