"""A worker is found by its name without asking every employer, whatever dies in between."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared.app import fill_indexes
from shared.imports.documents.model import WorkerKey
from shared.imports.documents.worker_lookup import WorkerSearch
from shared.imports.import_type import FoundBy
from shared.imports.workers.definition import EXTERNAL, PERSONNEL, WORKERS
from shared.services.name_index import NamedRecord, NameIndex
from shared.storage.entities import encode
from shared.storage.ports import Delete, Entity
from tests.builders import a_worker
from tests.integration.harness import CountedTables, Harness, play

pytestmark = pytest.mark.integration
EMPLOYERS = 60


async def found(stage: Harness, name: str) -> tuple[list[tuple[str, str]], int]:
    """Employer and reference of the workers that the name means, and how many reads it took."""
    tables = CountedTables(stage.gateway.account.tables)
    search = WorkerSearch(tables, NameIndex(tables))
    workers = await search.find(stage.sender.tenant, name)
    return [
        (worker.employer, worker.personnel) for worker in workers
    ], tables.reads + tables.queries


async def employ(stage: Harness, *rows: dict[str, Any]) -> None:
    """Import the workers and wait for the end."""
    await stage.accept(list(rows))
    await stage.drain()


def test_the_number_of_employers_does_not_matter(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        await employ(
            stage,
            *(
                a_worker("P1", EmployerRef=f"E{at}", ExternalWorkerRef=f"X{at}")
                for at in range(EMPLOYERS)
            ),
            a_worker("P2", EmployerRef="E7"),
        )
        assert await found(stage, "X41") == ([("E41", "P1")], 3)
        assert await found(stage, "P2") == ([("E7", "P2")], 4)
        ambiguous, reads = await found(stage, "P1")
        assert len(ambiguous) == 2
        assert reads < 15
        assert (await found(stage, "P3"))[0] == []

    play(delivered, scenario)


def test_a_reference_that_was_given_up_finds_its_worker_no_more(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        await employ(stage, a_worker("P1", ExternalWorkerRef="X1"))
        await employ(stage, a_worker("P1", ExternalWorkerRef="X2"))
        await employ(stage, a_worker("P2", ExternalWorkerRef="X1"))
        assert (await found(stage, "X1"))[0] == [("E1", "P2")]
        assert (await found(stage, "X2"))[0] == [("E1", "P1")]
        await employ(stage, a_worker("P2", ExternalWorkerRef=None))
        assert (await found(stage, "X1"))[0] == []
        await employ(stage, a_worker("P1", ExternalWorkerRef="X1"))
        assert (await found(stage, "X1"))[0] == [("E1", "P1")]

    play(delivered, scenario)


def test_an_external_reference_comes_before_a_reference_of_another_employer(
    delivered: str,
) -> None:
    async def scenario(stage: Harness) -> None:
        await employ(
            stage,
            a_worker("77", EmployerRef="E1"),
            a_worker("P2", EmployerRef="E2", ExternalWorkerRef="77"),
            a_worker("88", EmployerRef="E3", ExternalWorkerRef="88"),
        )
        assert (await found(stage, "77"))[0] == [("E2", "P2")]
        assert (await found(stage, "88"))[0] == [("E3", "88")]

    play(delivered, scenario)


def test_a_handler_that_died_between_index_and_record_leaves_nothing_to_be_found(
    delivered: str,
) -> None:
    async def scenario(stage: Harness) -> None:
        index = NameIndex(stage.gateway.account.tables)
        await employ(stage, a_worker("P1"))
        names = [
            NamedRecord(FoundBy(EXTERNAL, "X9"), "E1", "P9"),
            NamedRecord(FoundBy(PERSONNEL, "P9"), "E1", "P9"),
            NamedRecord(FoundBy(EXTERNAL, "X9"), "E1", "P1"),
        ]
        await index.note(WORKERS, stage.sender.tenant, names)
        assert (await found(stage, "X9"))[0] == (await found(stage, "P9"))[0] == []
        await employ(stage, a_worker("P9", ExternalWorkerRef="X9"))
        assert (await found(stage, "X9"))[0] == [("E1", "P9")]

    play(delivered, scenario)


def test_workers_of_before_the_index_are_found_and_are_entered_by_the_timer(
    delivered: str,
) -> None:
    async def scenario(stage: Harness) -> None:
        tables, tenant = stage.gateway.account.tables, stage.sender.tenant
        await employ(
            stage,
            a_worker("P1", EmployerRef="E1", ExternalWorkerRef="X1"),
            a_worker("P1", EmployerRef="E2", ExternalWorkerRef="P1"),
        )
        for entity in await tables.query("Workers", encode(tenant), "h", "~"):
            await tables.write("Workers", Delete(Entity(entity.partition, entity.row, {})))
        await employ(stage, a_worker("P3", EmployerRef="E3"))
        for _ in range(2):
            assert (await found(stage, "X1"))[0] == [("E1", "P1")]
            assert (await found(stage, "P1"))[0] == [("E2", "P1")]
            assert (await found(stage, "P3"))[0] == [("E3", "P3")]
            await fill_indexes(stage.gateway)
        assert (await found(stage, "X1"))[1] == 3

    play(delivered, scenario)


def test_a_dry_run_leaves_no_name_behind(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        kind, gateway, tenant = WORKERS, stage.gateway, stage.sender.tenant
        planned = await gateway.intake.read(
            kind, tenant, b'[{"EmployerRef":"E1","PersonnelRef":"P1","Surname":"S"}]'
        )
        draft = gateway.intake.draft(kind, tenant, planned, stage.sender.caller.options)
        await gateway.dry_runs.judge(kind, draft, planned, with_changes=False)
        assert await gateway.account.tables.query("Workers", encode(tenant)) == []

    play(delivered, scenario)


def test_many_workers_cost_a_request_for_a_hundred_names(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        await employ(stage, *(a_worker(f"P{at}", ExternalWorkerRef=f"X{at}") for at in range(300)))
        answers = await asyncio.gather(*(found(stage, f"X{at}") for at in range(0, 300, 37)))
        assert [answer for answer, _ in answers] == [[("E1", f"P{at}")] for at in range(0, 300, 37)]
        assert WorkerKey("E1", "P0") in await WorkerSearch(
            stage.gateway.account.tables, NameIndex(stage.gateway.account.tables)
        ).find(stage.sender.tenant, "P0")

    play(delivered, scenario)
