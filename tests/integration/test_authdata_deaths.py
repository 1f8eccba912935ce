"""Imports of authentication data that die, fail, are cancelled or meet stragglers (I1, I3, I4)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress

import pytest

from shared.errors import StagingUnknownError, StorageUnavailableError
from shared.imports.authdata.model import BatchCall, Employee
from shared.imports.authdata.processor import AuthdataProcessor, records_of
from shared.imports.results import Outcome, RowResult
from shared.services.chunk_messages import messages_for
from shared.services.row_processor import BeforeCommit, SupersededError
from shared.services.status import ImportState
from shared.storage.import_records import ImportRecord, acceptance_operations, record_row
from shared.storage.ports import Delete, Entity, Merge
from shared.storage.result_records import result_row
from shared.web.responses import refusal
from tests.emulator import open_ready_gateway, settings_for
from tests.faults.proxy import Act, CutConnection, FaultProxy, Rule, Service, running_proxy
from tests.integration.harness import AuthdataHarness, an_employee, play_authdata
from tests.tenants import new_tenant

pytestmark = pytest.mark.integration
CHUNK = 40


class DiedError(Exception):
    """The handler is gone."""


def dying_after(commits: int) -> BeforeCommit:
    """A `before_commit` that lets so many transactions through."""
    remaining = commits

    async def before_commit() -> None:
        nonlocal remaining
        if remaining == 0:
            raise DiedError
        remaining -= 1

    return before_commit


async def ready(stage: AuthdataHarness) -> ImportRecord:
    """An import of 110 rows in chunks of 40: 40 updates, 30 renames, 40 new; no message is out."""
    old = [an_employee(f"A{at:02d}", status="on") for at in range(40)]
    await stage.imported(old + [an_employee(f"O{at:02d}") for at in range(30)])
    rows = [an_employee(f"A{at:02d}", f"A{at:02d}-one", "new") for at in range(40)]
    rows += [an_employee(f"N{at:02d}", f"O{at:02d}-one", f"O{at:02d}-two") for at in range(30)]
    rows += [an_employee(f"Z{at:02d}") for at in range(40)]
    staged = await stage.stage(rows)
    record = await stage.begin(staged.file_log_id)
    await stage.messages()
    return record


def work_of(stage: AuthdataHarness, record: ImportRecord) -> AuthdataProcessor:
    work = stage.gateway.chunks._processors.for_import(record)
    assert isinstance(work, AuthdataProcessor)
    return work


async def lines_of(stage: AuthdataHarness, record: ImportRecord, chunk: int) -> bytes:
    return await stage.gateway.chunks._payloads.lines(record, chunk)


async def deliver(stage: AuthdataHarness, record: ImportRecord, *chunks: int) -> None:
    for message in messages_for(record, [], chunks or range(len(record.chunks))):
        await stage.gateway.chunks.process(message)


async def results(stage: AuthdataHarness, record: ImportRecord) -> dict[int, RowResult]:
    rows = [row async for row in stage.gateway.reporting.all_results(record)]
    return {row.index: row for row in rows}


async def forget_results(stage: AuthdataHarness, record: ImportRecord) -> None:
    """As if the handlers had died before they wrote their results."""
    tables = stage.gateway.account.tables
    for chunk in record.chunks:
        await tables.write(
            "ImportResults", Delete(Entity(record.import_id, result_row(chunk.number), {}))
        )
    row = record_row(record.number)
    await tables.write("Imports", Merge(Entity(record.tenant, row, {"EndedAt": ""})))
    await tables.write("Imports", acceptance_operations(record)[2])


@pytest.mark.parametrize("commits", [0, 1])
def test_a_handler_that_died_in_the_middle_is_taken_up_and_decides_nothing_anew(
    delivered: str, commits: int
) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        record = await ready(stage)
        work = work_of(stage, record)
        for chunk in range(len(record.chunks)):
            lines = await lines_of(stage, record, chunk)
            try:
                await work.run(record, lines, dying_after(commits))
            except DiedError:
                continue
        await deliver(stage, record)
        answer = await stage.answer(record)
        assert (answer["totalUpdates"], answer["totalNew"], answer["totalErrors"]) == (70, 40, 0)
        assert answer["totalEmpIdUpdate"] == 30
        assert len(await stage.employees()) == 110

    play_authdata(delivered, scenario, chunk_rows=CHUNK)


def test_a_message_delivered_again_tells_what_was_done_the_first_time(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        record = await ready(stage)
        await deliver(stage, record)
        answer, stored = await stage.answer(record), await stage.stored()
        answered = await results(stage, record)
        await deliver(stage, record)
        await forget_results(stage, record)
        await deliver(stage, record)
        assert await results(stage, record) == answered
        assert await stage.stored() == stored
        assert await stage.answer(record) == answer

    play_authdata(delivered, scenario, chunk_rows=CHUNK)


@pytest.mark.parametrize("is_planned", [True, False])
def test_a_poisoned_chunk_ends_and_no_straggler_commits_its_rows(
    delivered: str, is_planned: bool
) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        record = await ready(stage)
        chunks, work = stage.gateway.chunks, work_of(stage, record)
        if is_planned:
            await deliver(stage, record, 0)
        [message] = messages_for(record, [], [1])
        await chunks.end_as_failed(message)
        before = await stage.stored()
        straggler = await work.run(record, await lines_of(stage, record, 1), dying_after(99))
        assert {row.outcome for row in straggler} == {Outcome.FAILED}
        assert {row.messages[-1].id for row in straggler} == {9001}
        after = await stage.stored()
        assert {row: each.document for row, each in after.items()} == {
            row: each.document for row, each in before.items()
        }
        await deliver(stage, record)
        answer = await stage.answer(record)
        assert answer["totalErrors"] == CHUNK, "the other chunks have not failed"
        assert answer["totalRecords"] == 110
        await stage.employees()
        again = await stage.imported([an_employee("Z00"), an_employee("N29", "O29-one", "O29-two")])
        assert again["totalErrors"] == 0
        assert {"Z00", "N29"} <= set(await stage.employees())

    play_authdata(delivered, scenario, chunk_rows=CHUNK)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_chunk_that_is_poisoned_before_the_plan_ends_no_other_chunk(
    delivered: str, first: int
) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        record = await ready(stage)
        [message] = messages_for(record, [], [first])
        await stage.gateway.chunks.end_as_failed(message)
        await deliver(stage, record)
        answered = await results(stage, record)
        ended = {
            index for index, row in answered.items() if row.messages and row.messages[0].id == 9001
        }
        lines = await lines_of(stage, record, first)
        assert ended == {row.position for row in records_of(lines)}
        assert (await stage.answer(record))["totalErrors"] == len(ended)
        again = await stage.imported([an_employee("Z39"), an_employee("A00", "A00-one", "newer")])
        assert again["totalErrors"] == 0

    play_authdata(delivered, scenario, chunk_rows=CHUNK)


def test_rows_of_one_employee_and_faulty_rows_end_with_their_chunk(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        rows = [an_employee("A1", f"value {at}", status=None if at else "on") for at in range(30)]
        rows += [an_employee("x" * 600), an_employee(f"A{2:02d}"), {"employeeId": "A3"}]
        rows += [an_employee(f"B{at:02d}") for at in range(110)]
        record = await stage.begin((await stage.stage(rows)).file_log_id)
        await stage.messages()
        [message] = messages_for(record, [], [0])
        await stage.gateway.chunks.end_as_failed(message)
        work = work_of(stage, record)
        late = await work.run(record, await lines_of(stage, record, 0), dying_after(99))
        assert {row.outcome for row in late} <= {Outcome.FAILED, Outcome.UNCHANGED}
        await deliver(stage, record)
        stored = await stage.employees()
        assert not stored.keys() & {"A1", "A02", "A3"}
        assert {f"B{at:02d}" for at in range(50, 110)} <= stored.keys()

    play_authdata(delivered, scenario, chunk_rows=CHUNK)


def test_a_cancelled_import_keeps_what_is_committed(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        record = await ready(stage)
        await deliver(stage, record, 0)
        current = await stage.again(record)
        assert await stage.gateway.imports.cancel(current, "2026-01-01T00:00:00.000Z")
        await deliver(stage, record)
        answer = await stage.answer(record)
        assert (answer["totalUpdates"], answer["totalErrors"]) == (CHUNK, 70)
        report = await stage.gateway.reporting.report(await stage.again(record))
        assert report.state is ImportState.CANCELLED
        assert report.counts.cancelled == 70
        repeated = await stage.begin(record.batch)
        assert await stage.answer(repeated) == answer
        await stage.employees()

    play_authdata(delivered, scenario, chunk_rows=CHUNK)


def test_an_import_cancelled_before_its_turn_changes_nothing(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        record = await ready(stage)
        before = await stage.entities()
        assert await stage.gateway.imports.cancel(record_read := await stage.again(record), "x")
        assert record_read.is_open
        straggler = work_of(stage, record)
        await deliver(stage, record)
        late = await straggler.run(record, await lines_of(stage, record, 0), dying_after(99))
        assert {row.messages[-1].id for row in late} == {9002}
        assert await stage.entities() == before, "not even a mark"

    play_authdata(delivered, scenario, chunk_rows=CHUNK)


def test_a_straggler_of_an_earlier_import_gives_way(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        record = await ready(stage)
        await deliver(stage, record)
        answered = await results(stage, record)
        await stage.imported([an_employee("B00", "A00-one", "new"), an_employee("Z01", "other")])
        stored = await stage.stored()
        lines = await lines_of(stage, record, 0)
        work = work_of(stage, record)
        with pytest.raises(SupersededError):
            await work.run(record, lines, dying_after(99))
        await deliver(stage, record)
        assert await stage.stored() == stored
        assert await results(stage, record) == answered

    play_authdata(delivered, scenario, chunk_rows=CHUNK)


def test_a_lost_payload_ends_the_import(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        rows = [an_employee(f"E{at:03d}") for at in range(200)]
        record = await stage.begin((await stage.stage(rows)).file_log_id)
        await stage.gateway.account.blobs.delete("import-payloads", record.blob_name)
        await deliver(stage, record, 0)
        await deliver(stage, record, 1)
        answer = await stage.answer(record)
        assert (answer["totalErrors"], answer["totalRecords"]) == (200, 200)
        assert await stage.employees() == {}

    play_authdata(delivered, scenario, chunk_rows=100)


# A stage call whose append got no answer never says that nothing was accepted.


BATCH = "5f2b8f5e-0000-4000-8000-00000000000a"


def stage(storage: str, fault: Callable[[FaultProxy], Rule]) -> tuple[Exception, int]:
    """Stage a record into a new batch under this fault; the error, and how many records are in."""

    async def play() -> tuple[Exception, int]:
        with running_proxy(storage) as proxy:
            async with open_ready_gateway(settings_for(proxy.connection_string)) as gateway:
                tenant = await new_tenant(gateway)
                rows = [{"employeeid": "e1", "authvalue1": "a"}]
                call = BatchCall(BATCH, validate=True, allow_no_auth=False, commit=True, rows=rows)
                proxy.add(fault(proxy))
                with pytest.raises(StorageUnavailableError) as caught:
                    await gateway.authdata.staging.stage(tenant, call, BATCH)
            async with open_ready_gateway(settings_for(storage)) as gateway:
                batch = await gateway.authdata.staging._batches.read(tenant, BATCH)
            return caught.value, batch.rows if batch else 0

    return asyncio.run(play())


def then_storage_is_away(proxy: FaultProxy, *, is_applied: bool) -> Rule:
    """The append is applied or not; from then on no table answers any more."""

    def go_away() -> None:
        proxy.rules = [Rule(CutConnection(), Service.TABLE)]

    return Rule(Act(go_away, is_applied), Service.TABLE, "POST", r"\$batch", "AuthStaging")


@pytest.mark.parametrize("is_applied", [True, False])
def test_an_append_without_an_answer_names_the_batch_to_ask_for(
    delivered: str, is_applied: bool
) -> None:
    error, rows = stage(delivered, lambda proxy: then_storage_is_away(proxy, is_applied=is_applied))
    assert rows == int(is_applied)
    assert isinstance(error, StagingUnknownError)
    answer = refusal(error)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    message = json.loads(answer.get_body())["message"]
    assert f"/api/admin/authdata/{BATCH}" in message
    assert "nothing was accepted" not in message


def test_storage_that_is_away_before_the_append_has_taken_nothing(delivered: str) -> None:
    error, rows = stage(
        delivered, lambda _: Rule(CutConnection(), Service.TABLE, path="AuthStaging")
    )
    assert rows == 0
    assert not isinstance(error, StagingUnknownError)


# Undos of authentication data.


async def undone(stage: AuthdataHarness) -> tuple[ImportRecord, dict[str, Employee]]:
    """The undo of such an import, whose messages are not out, and the employees before it."""
    record = await ready(stage)
    before = await stage.employees()
    await deliver(stage, record)
    undo = await stage.gateway.undoing.undo(await stage.again(record))
    await stage.messages()
    assert len(undo.chunks) > 1
    return undo, before


@pytest.mark.parametrize("commits", [0, 1])
def test_an_undo_that_died_in_the_middle_is_taken_up_and_counts_once(
    delivered: str, commits: int
) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        undo, before = await undone(stage)
        work = stage.gateway.chunks._processors.for_import(undo)
        for chunk in range(len(undo.chunks)):
            lines = await lines_of(stage, undo, chunk)
            with suppress(DiedError):
                await work.run(undo, lines, dying_after(commits))
        await deliver(stage, undo)
        told = await results(stage, undo)
        assert {row.outcome for row in told.values()} == {Outcome.UPDATED}
        assert await stage.employees() == before
        await forget_results(stage, undo)
        await deliver(stage, undo)
        assert await results(stage, undo) == told
        assert await stage.employees() == before

    play_authdata(delivered, scenario, chunk_rows=CHUNK)


def test_a_poisoned_chunk_of_an_undo_ends_and_a_retry_undoes_its_rows(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        undo, before = await undone(stage)
        [message] = messages_for(undo, [], [1])
        await stage.gateway.chunks.end_as_failed(message)
        work = stage.gateway.chunks._processors.for_import(undo)
        straggler = await work.run(undo, await lines_of(stage, undo, 1), dying_after(99))
        assert {row.messages[-1].id for row in straggler} == {9001}
        await deliver(stage, undo)
        assert (await stage.again(undo)).counts.failed == len(straggler)
        retry = await stage.gateway.retrying.retry(await stage.again(undo), b"")
        await stage.drain()
        assert (await stage.again(retry)).counts.failed == 0
        assert await stage.employees() == before

    play_authdata(delivered, scenario, chunk_rows=CHUNK)
