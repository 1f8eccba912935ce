"""A row ends as 9001 or 9002 because of its own import alone, whatever becomes of a later one."""

from __future__ import annotations

import pytest

from shared.clock import SystemClock
from shared.imports.documents.processor import DocumentProcessor
from shared.imports.results import Outcome
from shared.services.chunk_messages import ChunkMessage, messages_for
from shared.storage.import_records import ImportRecord
from tests.builders import a_worker
from tests.integration import authdata_stage
from tests.integration.authdata_stage import AuthdataStage, an_employee
from tests.integration.stage import Harness, play
from tests.integration.test_authdata_deaths import dying_after, lines_of, work_of
from tests.integration.test_document_crashes import Desk, at_desk

pytestmark = pytest.mark.integration
END = pytest.mark.parametrize("code", [9001, 9002])


async def _end(stage: Harness, record: ImportRecord, code: int) -> None:
    """Poison every chunk of an import, or cancel it."""
    if code == 9002:
        await stage.gateway.cancelling.cancel(record)
    for message in messages_for(record, [], range(len(record.chunks))):
        if code == 9002:
            await stage.gateway.chunks.process(message)
        else:
            await stage.gateway.chunks.end_as_failed(message)


async def _run(stage: Harness, record: ImportRecord) -> None:
    for message in messages_for(record, [], range(len(record.chunks))):
        await stage.gateway.chunks.process(message)


@END
def test_the_end_of_later_workers_imports_fails_no_row_of_an_earlier_one(
    delivered: str, code: int
) -> None:
    async def scenario(stage: Harness) -> None:
        await stage.accept([a_worker("P0", Title="Mr"), a_worker("P1")])
        await stage.drain()
        rows = [a_worker(f"P{number}", Title="Dr") for number in range(6)]
        first = await stage.accept_quietly(rows, chunk_rows=2)
        later = [await stage.accept_quietly(rows[:4], chunk_rows=3) for _ in range(3)]
        for record in later[1:]:
            await _end(stage, record, code)
        await _run(stage, first)
        results = await stage.results(first)
        outcomes = [results[index].outcome for index in range(6)]
        assert outcomes == [Outcome.UPDATED] * 2 + [Outcome.NEW] * 4
        for record in later[1:]:
            assert await stage.codes(record) == [[code]] * 4
            await stage.forget_end(record)
            await _run(stage, record)
            assert await stage.codes(record) == [[code]] * 4, "a straggler"
        await _run(stage, later[0])
        assert await stage.codes(later[0]) == [[1103]] * 4

    play(delivered, scenario)


@END
def test_the_end_of_a_later_upload_leaves_an_earlier_one_its_document(
    delivered: str, code: int
) -> None:
    async def leave_open(message: ChunkMessage) -> None:
        """As where the time of the handler is up."""

    async def scenario(desk: Desk) -> None:
        first, later = await desk.accept(b"%PDF-1"), await desk.accept(b"%PDF-2")
        gateway = desk.gateway
        work = DocumentProcessor(gateway.account.tables, gateway.imports, SystemClock(), leave_open)
        [failed] = await work.end(later, later.inline.encode(), code)
        assert [message.id for message in failed.messages] == [code]
        [result] = await work.run(first, first.inline.encode(), _never_stops)
        assert result.outcome is Outcome.NEW
        [straggler] = await work.run(later, later.inline.encode(), _never_stops)
        assert straggler == failed

    at_desk(delivered, scenario)


@END
def test_the_end_of_a_later_authdata_import_fails_no_row_of_an_earlier_one(
    delivered: str, code: int
) -> None:
    async def scenario(stage: AuthdataStage) -> None:
        rows = [an_employee(f"A{number}") for number in range(4)]
        first = await stage.begin((await stage.stage(rows)).file_log_id)
        later = await stage.begin((await stage.stage(rows)).file_log_id)
        work = work_of(stage, later)
        lines = await lines_of(stage, later, 0)
        await work._plans.get_or_make(later)
        failed = await work.end(later, lines, code)
        assert [[message.id for message in row.messages] for row in failed] == [[code]] * 4
        found = await work.run(first, await lines_of(stage, first, 0), dying_after(99))
        assert [row.outcome for row in found] == [Outcome.NEW] * 4
        assert await work.run(later, lines, dying_after(99)) == failed

    authdata_stage.play(delivered, scenario)


async def _never_stops() -> None:
    """No cancel and no end of the time."""
