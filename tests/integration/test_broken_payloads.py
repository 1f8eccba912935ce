"""A payload that cannot be read: its rows end as 9001, the import ends, later imports go on."""

from __future__ import annotations

import pytest

from shared.errors import GoneError
from shared.imports.results import Outcome
from shared.services.chunk_messages import ChunkMessage, messages_for
from shared.services.status import ImportState, ResultCursor
from shared.storage.entities import split_text
from shared.storage.import_records import ImportRecord, record_row
from shared.storage.names import IMPORT_PAYLOADS, IMPORTS
from shared.storage.ports import Entity, Merge
from tests.builders import a_worker
from tests.integration.broken import PAYLOADS, Break
from tests.integration.stage import Harness, play

pytestmark = pytest.mark.integration
LONG = "x" * 10_000
"""Three rows with this text are too large for the import record: their payload is a blob."""


async def _broken_import(
    stage: Harness, change: Break, *, is_inline: bool
) -> tuple[ImportRecord, ChunkMessage]:
    notes = {} if is_inline else {"PersonnelNotes": LONG}
    record = await stage.accept_quietly([a_worker(f"P{at}", **notes) for at in range(3)])
    tables, blobs = stage.gateway.account.tables, stage.gateway.account.blobs
    if is_inline:
        columns = split_text("Lines", change(record.inline.encode()).decode())
        row = record_row(record.number)
        await tables.write(IMPORTS, Merge(Entity(record.tenant, row, columns)))
    else:
        data = await blobs.read(IMPORT_PAYLOADS, record.blob_name)
        assert data is not None
        await blobs.put(IMPORT_PAYLOADS, record.blob_name, [change(data)])
    [message] = messages_for(record, [], [0])
    return record, message


async def _check_ended(stage: Harness, record: ImportRecord, usable: int) -> None:
    gateway = stage.gateway
    report = await gateway.reporting.find(record.tenant, record.import_id)
    assert report.state is ImportState.COMPLETED_WITH_ERRORS
    counts = report.counts
    assert (counts.new, counts.failed, counts.done) == (usable, 3 - usable, 3)
    page = await gateway.reporting.results(report.record, ResultCursor(), 100)
    assert sorted(row.index for row in page.results) == [0, 1, 2]
    failed = [row for row in page.results if row.outcome is Outcome.FAILED]
    assert [[message.id for message in row.messages] for row in failed] == [[9001]] * (3 - usable)
    assert all(row.messages[0].detail for row in failed), "the reason is told"
    if report.record.inline or usable:
        rows = [row async for some in gateway.failed_rows.chunks(report.record) for row in some]
        assert sorted(row.index for row in rows) == sorted(row.index for row in failed)


@pytest.mark.parametrize("is_inline", [True, False], ids=["inline", "blob"])
def test_only_what_cannot_be_read_fails_and_a_later_import_goes_in(
    delivered: str, is_inline: bool
) -> None:
    async def scenario(stage: Harness) -> None:
        for name, (change, usable) in PAYLOADS.items():
            if is_inline and name == "no UTF-8":
                continue  # a column of text is always UTF-8
            record, message = await _broken_import(stage, change, is_inline=is_inline)
            later = await stage.accept([a_worker(f"P{at}", Title="Dr") for at in range(3)])
            await stage.gateway.chunks.process(message)
            await _check_ended(stage, record, usable)
            await stage.drain()
            counts = (await stage.again(later)).counts
            assert (counts.new + counts.updated, counts.failed) == (3, 0)
            # The next way begins with an empty store.
            await stage.forget_workers()

    play(delivered, scenario)


@pytest.mark.parametrize("way", ["empty", "no JSON", "no index", "a line that went"])
@pytest.mark.parametrize("is_cancelled", [True, False], ids=["cancelled", "poisoned"])
def test_the_last_resort_needs_nothing_of_the_payload(
    delivered: str, way: str, is_cancelled: bool
) -> None:
    async def scenario(stage: Harness) -> None:
        record, message = await _broken_import(stage, PAYLOADS[way][0], is_inline=False)
        if is_cancelled:
            await stage.gateway.cancelling.cancel(await stage.again(record))
            await stage.drain()
        else:
            await stage.gateway.chunks.end_as_failed(message)
        ended = await stage.again(record)
        assert not ended.is_open
        assert (ended.counts.failed, ended.counts.done) == (3, 3)
        assert ended.is_cancelled is is_cancelled

    play(delivered, scenario)


def test_a_sweep_brings_an_import_with_a_broken_payload_to_its_end(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record, _ = await _broken_import(stage, PAYLOADS["zeros"][0], is_inline=False)
        await stage.gateway.sweep.run()
        await stage.drain()
        await stage.gateway.sweep.run()
        assert await stage.messages() == []
        await _check_ended(stage, record, 0)

    play(delivered, scenario, sweep_after_seconds=0)


def test_a_retry_asks_for_the_rows_that_cannot_be_read(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        retry = stage.gateway.retrying.retry
        record, message = await _broken_import(stage, PAYLOADS["no JSON"][0], is_inline=True)
        await stage.gateway.chunks.process(message)
        ended = await stage.again(record)
        with pytest.raises(GoneError, match="index 1 cannot be read"):
            await retry(ended, b"")
        body = b'[{"index":1,"row":{"EmployerRef":"E1","PersonnelRef":"P1","Surname":"S"}}]'
        child = await retry(ended, body)
        await stage.drain()
        assert (await stage.again(child)).counts.new == 1

        lost, message = await _broken_import(stage, PAYLOADS["empty"][0], is_inline=False)
        await stage.gateway.account.blobs.delete(IMPORT_PAYLOADS, lost.blob_name)
        await stage.gateway.chunks.process(message)
        with pytest.raises(GoneError, match="expired"):
            await retry(await stage.again(lost), b"")

    play(delivered, scenario)
