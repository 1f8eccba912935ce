"""Pages of stored records: what they cost, what they pass over, and what is broken in storage."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence
from typing import Any

import pytest

from shared.errors import InvalidRequestError
from shared.gateway import Gateway
from shared.services.records.reading import RecordRequest
from shared.storage.business_records import partition_of, row_of
from shared.storage.entities import encode
from shared.storage.ports import Delete, Entity, Insert, Merge, Operation, Upsert, Value
from tests.builders import a_worker
from tests.emulator import Emulator, Watch, open_ready_gateway, settings_for
from tests.integration.harness import Harness, play
from tests.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
OLD = "2020-01-01T00:00:00.000Z"


def an_entity(tenant: str, employer: str, reference: str, **values: Value) -> Entity:
    """A stored worker as an import would leave it."""
    document = a_worker(reference, EmployerRef=employer)
    stored: dict[str, Value] = {
        "Number": 1,
        "Position": 0,
        "Outcomes0": "[]",
        "Document0": json.dumps(document, separators=(",", ":")),
        **values,
    }
    return Entity(partition_of(tenant, employer), row_of(reference), stored)


async def write_all(gateway: Gateway, entities: Sequence[Entity]) -> None:
    """In transactions of 100, of one partition each."""
    by_partition: dict[str, list[Operation]] = {}
    for entity in entities:
        by_partition.setdefault(entity.partition, []).append(Insert(entity))
    for operations in by_partition.values():
        for at in range(0, len(operations), 100):
            await gateway.account.tables.transact("Workers", operations[at : at + 100])


async def references(gateway: Gateway, request: RecordRequest, size: int = 1_000) -> list[str]:
    """The references of a page."""
    page = await gateway.records.page("workers", request, size)
    items = [json.loads(text) for text in page.texts]
    return [(item["record"] or item["key"])["PersonnelRef"] for item in items]


async def reads(gateway: Gateway, watch: Watch) -> int:
    """Requests that read from tables since the watch began.

    The log is in order of the answers, and late: a last request tells that all others are in it.
    """
    last = uuid.uuid4().hex
    await gateway.account.tables.get("Workers", "last", last)

    async def is_logged() -> bool:
        return any(last in each.path for each in watch.requests())

    await until(is_logged, "the last request in the log")
    return sum(each.method == "GET" and "/Workers" in each.path for each in watch.requests()) - 1


def test_what_pages_cost(emulator: Emulator) -> None:
    storage, tenant = emulator.account("counted"), f"cost-{uuid.uuid4().hex[:20]}"
    entities = [
        an_entity(tenant, f"E{at % 7}", f"P{at:05d}", Deleted=False) for at in range(10_000)
    ]

    async def scenario() -> None:
        async with open_ready_gateway(settings_for(storage)) as gateway:
            await write_all(gateway, entities)
            watch = emulator.watch("counted")
            page = await gateway.records.page("workers", RecordRequest(tenant), 1_000)
            first = await reads(gateway, watch)
            behind = RecordRequest(tenant, continuation=page.continuation)
            following = await gateway.records.page("workers", behind, 1_000)
            second = await reads(gateway, watch) - first - 1
            assert (len(page.texts), len(following.texts)) == (1_000, 1_000)
            assert first == 1
            assert second <= 3
            watch = emulator.watch("counted")
            whole = await gateway.records.page("workers", RecordRequest(tenant), 10_000)
            assert len(whole.texts) == 10_000
            end = RecordRequest(tenant, continuation=whole.continuation)
            assert not whole.continuation or await references(gateway, end) == []
            assert await reads(gateway, watch) <= 20
            watch = emulator.watch("counted")
            one = RecordRequest(tenant, {"EmployerRef": "E3", "PersonnelRef": "P00003"})
            assert await references(gateway, one) == ["P00003"]
            assert await reads(gateway, watch) == 1

    asyncio.run(scenario())


def test_what_is_no_record_is_passed_over_and_what_is_broken_is_said(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        gateway, tenant = stage.gateway, stage.sender.tenant
        ended = Entity(partition_of(tenant, "E1"), row_of("P0"), {"Deleted": True, "Ended": "{}"})
        gone = an_entity(tenant, "E1", "P1", Deleted=True, ChangedBy="i", UpdatedAt=OLD)
        odd = [
            an_entity(tenant, "E1", "P2", Document0='{"Surname":'),
            an_entity(tenant, "E1", "P3", Document0="[]"),
            an_entity(tenant, "E1", "P4", Document0=""),
            an_entity(tenant, "E1", "P5", ChangedBy=7, CreatedAt=True, UpdatedAt=5),
            an_entity(tenant, "E1", "P6", PreviousNumber=1, Previous="{"),
        ]
        await write_all(gateway, [ended, gone, *odd, an_entity(tenant, "E2", "P7")])
        page = await gateway.records.page("workers", RecordRequest(tenant), 100)
        items = [json.loads(text) for text in page.texts]
        broken = [item["key"]["PersonnelRef"] for item in items if item.get("unreadable")]
        assert broken == ["P2", "P3", "P4"]
        assert all(item["record"] is None for item in items[:3])
        assert [item["record"]["PersonnelRef"] for item in items[3:]] == ["P5", "P6", "P7"]
        assert all("previous" not in item for item in items)
        rows = await gateway.records.page("workers", RecordRequest(tenant, as_rows=True), 100)
        assert [json.loads(row)["PersonnelRef"] for row in rows.texts] == ["P5", "P6", "P7"]
        deleted = await gateway.records.page("workers", RecordRequest(tenant, is_deleted=True), 9)
        [item] = [json.loads(text) for text in deleted.texts]
        assert item["key"] == {"EmployerRef": "E1", "PersonnelRef": "P1"}
        assert (item["changedBy"], item["changedAt"], item["deleted"]) == ("i", OLD, True)
        one = RecordRequest(tenant, {"EmployerRef": "E1", "PersonnelRef": "P2"})
        assert await references(gateway, one) == ["P2"]

    play(delivered, scenario)


def test_a_page_of_what_few_want_ends_early_and_goes_on(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        gateway, tenant = stage.gateway, stage.sender.tenant
        await write_all(
            gateway,
            [
                an_entity(tenant, "E1", f"P{at:03d}", **({} if at == 99 else {"Deleted": True}))
                for at in range(100)
            ],
        )
        listed: list[str] = []
        continuation, pages = "", 0
        while True:
            request = RecordRequest(tenant, continuation=continuation)
            page = await gateway.records.page("workers", request, 2)
            listed += page.texts
            pages += 1
            continuation = page.continuation
            if not continuation:
                break
        assert len(listed) == 1
        assert 1 < pages < 5

    play(delivered, scenario)


def test_former_values_are_shown_as_long_as_the_results_that_replaced_them(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        gateway, tenant = stage.gateway, stage.sender.tenant
        for surname in ("Old", "New"):
            await stage.accept([a_worker("P1", Surname=surname)])
            await stage.drain()

        async def previous() -> Any:
            page = await gateway.records.page("workers", RecordRequest(tenant), 1)
            return json.loads(page.texts[0]).get("previous")

        assert await previous() == {"Surname": "Old"}
        place = partition_of(tenant, "E1"), row_of("P1")
        await gateway.account.tables.write("Workers", Merge(Entity(*place, {"UpdatedAt": OLD})))
        assert await previous() is None

    play(delivered, scenario)


def test_names_are_found_without_the_index_too_but_not_among_too_many_groups(
    delivered: str,
) -> None:
    async def scenario(stage: Harness) -> None:
        gateway, tenant = stage.gateway, stage.sender.tenant
        rows = [a_worker("P1", ExternalWorkerRef="X"), a_worker("P1", EmployerRef="E2")]
        await stage.accept(rows)
        await stage.drain()
        tables = gateway.account.tables
        by_name = RecordRequest(tenant, {"PersonnelRef": "P1"})
        by_external = RecordRequest(tenant, {"ExternalWorkerRef": "X"})
        assert await references(gateway, by_name) == ["P1", "P1"]
        await tables.write("Workers", Delete(Entity(encode(tenant), "indexed", {})))
        async with open_ready_gateway(gateway.settings) as fresh:
            assert await references(fresh, by_name) == ["P1", "P1"]
            assert await references(fresh, by_external) == ["P1"]
            groups = [
                Upsert(Entity(encode(tenant), f"g|F{at:04d}", {"Group": f"F{at:04d}"}))
                for at in range(1_000)
            ]
            for at in range(0, 1_000, 100):
                await tables.transact("Workers", groups[at : at + 100])
            for request in (by_name, by_external):
                with pytest.raises(InvalidRequestError, match="send EmployerRef"):
                    await references(fresh, request)

    play(delivered, scenario)
