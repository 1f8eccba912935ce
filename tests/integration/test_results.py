"""Results in storage: read in plan order, spilled where they are large, written once."""

from __future__ import annotations

import random
import string

import pytest

from shared.gateway import Gateway
from shared.imports.messages import Message
from shared.imports.results import RowResult, failed
from shared.imports.row_reader import MAX_UNKNOWN
from shared.services.background import to_thread_if_large
from shared.services.results import Results
from shared.storage.names import IMPORT_RESULT_BLOBS
from shared.storage.result_records import ChunkResult
from tests.builders import a_worker
from tests.integration.stage import Harness, play

pytestmark = pytest.mark.integration
WHEN = "2026-01-31T09:05:00.000Z"


def _results(gateway: Gateway) -> Results:
    return Results(gateway.account.tables, gateway.account.blobs, to_thread_if_large)


def _noisy(rows: int) -> tuple[RowResult, ...]:
    """Results that hardly compress: two texts of 200 random characters in each."""
    pick = random.Random(1)
    letters = string.ascii_letters + string.digits + "äöüß€語"
    return tuple(
        failed(
            index,
            ("E1", f"P{index}"),
            *(Message(1002, "Title", "".join(pick.choices(letters, k=200))) for _ in range(12)),
        )
        for index in range(rows)
    )


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_results_over_an_entity_go_to_a_blob_and_come_back(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        results = _results(stage.gateway)
        name = stage.sender.tenant
        sent = ChunkResult(name, 0, _noisy(1_000), WHEN)
        assert await results.add(sent)
        [stored] = [chunk async for chunk in results.chunks(name)]
        assert stored.spilled
        assert stored.counts is not None
        assert stored.counts.failed == 1_000
        assert await stage.gateway.account.blobs.read(IMPORT_RESULT_BLOBS, stored.spilled)
        assert tuple(await results.rows(stored)) == sent.results

    play(delivered, scenario)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_a_second_handler_does_not_write_over_the_rows_of_the_first(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        results = _results(stage.gateway)
        name = stage.sender.tenant
        first = ChunkResult(name, 0, _noisy(1_000), WHEN)
        assert await results.add(first)
        assert not await results.add(ChunkResult(name, 0, _noisy(1_001), WHEN))
        [stored] = [chunk async for chunk in results.chunks(name)]
        assert tuple(await results.rows(stored)) == first.results

    play(delivered, scenario)


def test_the_first_result_of_a_chunk_stands(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        results = _results(stage.gateway)
        name = stage.sender.tenant
        for rows, is_first in ((1, True), (2, False)):
            assert await results.add(ChunkResult(name, 0, _noisy(rows), WHEN)) is is_first
        [stored] = [chunk async for chunk in results.chunks(name)]
        assert len(await results.rows(stored)) == 1

    play(delivered, scenario)


def test_more_chunks_than_are_read_at_once_come_in_order(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        results = _results(stage.gateway)
        name = stage.sender.tenant
        for number in reversed(range(45)):
            await results.add(ChunkResult(name, number, _noisy(1), WHEN))
        assert [chunk.chunk async for chunk in results.chunks(name)] == list(range(45))
        assert [chunk.chunk async for chunk in results.chunks(name, 41)] == [41, 42, 43, 44]

    play(delivered, scenario)


def test_of_many_unknown_fields_some_are_named_and_the_rest_are_counted(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        unknown = {f"Unknown{number}": number for number in range(120)}
        record = await stage.accept([a_worker("P1", **unknown)])
        await stage.drain()
        assert await stage.codes(record) == [[1007] * MAX_UNKNOWN]

    play(delivered, scenario)
