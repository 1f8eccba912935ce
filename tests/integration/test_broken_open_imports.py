"""Open-import entities and the index of ids, broken or lost: no import is stuck or mistaken."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from shared.app import record_repair_of, retention_of
from shared.clock import SystemClock
from shared.errors import NotFoundError
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_messages import messages_for
from shared.services.record_repair import Repair
from shared.storage.import_records import index_row, open_row, record_row
from tests.builders import a_worker, body_of
from tests.integration.broken import set_columns
from tests.integration.stage import Harness, play

pytestmark = pytest.mark.integration

OPEN: Mapping[str, Mapping[str, Any]] = {
    "a text for the rows": {"Rows": "many"},
    "a fraction for the rows": {"Rows": 1.5},
    "other rows": {"Rows": 500},
    "no rows": {"Rows": None},
    "no first place": {"First": ""},
    "another last place": {"Last": "a"},
    "no last place": {"Last": None},
    "places that are no JSON": {"Places0": "["},
    "other places": {"Places0": "[1]"},
    "another id": {"ImportId": "0b5c"},
}
INDEX: Mapping[str, Mapping[str, Any]] = {
    "a text": {"Number": "first"},
    "no number": {"Number": None},
    "the number of another import": {"Number": 2},
    "the number of no import": {"Number": 7_000},
}


@pytest.mark.parametrize("way", OPEN)
def test_a_broken_open_import_holds_back_what_it_must_and_no_more(delivered: str, way: str) -> None:
    async def scenario(stage: Harness) -> None:
        first = await stage.accept_quietly([a_worker("P1", Title="Ms")])
        row = open_row("workers", first.number)
        await set_columns(delivered, "Imports", first.tenant, row, OPEN[way])
        second = await stage.accept([a_worker("P1", Title="Dr", KnownAs="Sam")])
        for message in await stage.messages():
            await stage.gateway.chunks.process(message)
        await stage.gateway.sweep.run()
        await stage.drain()
        assert [await stage.codes(each) for each in (first, second)] == [[[]], [[]]]
        stored = await stage.stored("P1")
        assert stored is not None
        assert stored.document is not None
        assert (stored.document["Title"], stored.created_by) == ("Dr", first.number)

    play(delivered, scenario, sweep_after_seconds=0)


def test_an_import_whose_open_entity_is_lost_ends_with_its_last_chunk(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record = await stage.accept_quietly([a_worker("P1")])
        await stage.forget("Imports", record.tenant, open_row("workers", record.number))
        [message] = messages_for(record, [], [0])
        await stage.gateway.chunks.process(message)
        ended = await stage.again(record)
        assert not ended.is_open
        assert ended.counts.new == 1
        await stage.gateway.chunks.process(message)
        assert (await stage.again(record)).ended_at == ended.ended_at

    play(delivered, scenario)


def test_a_cancel_ends_an_import_whose_open_entity_is_lost(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record = await stage.accept_quietly([a_worker("P1")])
        await stage.forget("Imports", record.tenant, open_row("workers", record.number))
        await stage.gateway.cancelling.cancel(await stage.again(record))
        for message in await stage.messages():
            await stage.gateway.chunks.process(message)
        assert not (await stage.again(record)).is_open
        assert await stage.codes(record) == [[9002]]

    play(delivered, scenario)


@pytest.mark.parametrize("healer", ["retention", "records repair"])
def test_an_open_import_that_the_sweep_cannot_find_is_found_again(
    delivered: str, healer: str
) -> None:
    async def scenario(stage: Harness) -> None:
        gateway, tenant = stage.gateway, stage.sender.tenant
        lost = await stage.accept_quietly([a_worker("P1")])
        broken = await stage.accept_quietly([a_worker("P2")])
        await stage.accept_quietly([a_worker("P3")])
        for record in (lost, broken):
            await stage.forget("Imports", tenant, open_row("workers", record.number))
        row = record_row(broken.number)
        await set_columns(delivered, "Imports", tenant, row, {"Chunks0": b"\0"})
        await gateway.sweep.run()
        if healer == "retention":
            await retention_of(gateway, SystemClock()).purge([tenant], timedelta(days=1))
        else:
            repair = record_repair_of(gateway)
            found = [thing async for thing in repair.find(tenant, ["imports"])]
            kinds = {thing.key: thing.repair for thing in found}
            assert kinds == {lost.import_id: Repair.MEND, broken.import_id: Repair.CLOSE}
            assert all([await repair.repair(thing) for thing in found])
        await gateway.sweep.run()
        await stage.drain()
        assert (await stage.again(lost)).counts.new == 1
        assert (await stage.again(broken)).counts.failed == 1

    play(delivered, scenario, sweep_after_seconds=0)


@pytest.mark.parametrize("way", INDEX)
def test_an_import_is_found_by_its_id_whatever_the_index_says(delivered: str, way: str) -> None:
    async def scenario(stage: Harness) -> None:
        gateway, tenant = stage.gateway, stage.sender.tenant
        record = await stage.accept([a_worker("P1")])
        await stage.accept([a_worker("P2")])
        await stage.drain()
        row = index_row(record.import_id)
        await set_columns(delivered, "Imports", tenant, row, INDEX[way])
        report = await gateway.reporting.find(tenant, record.import_id.upper())
        assert report.record.number == record.number
        # A call with the same Idempotency-Key comes with the same id.
        same = await gateway.intake.accept(
            WORKERS, stage.sender.caller, body_of([a_worker("P1")]), record.import_id
        )
        assert same is not None
        assert same.number == record.number
        with pytest.raises(NotFoundError):
            await gateway.reporting.find(tenant, "0b5c7a0e-0000-4000-8000-000000000000")

    play(delivered, scenario)
