"""Retry and cancel where the test delivers: open parents, lost rows, rows that are held back."""

from __future__ import annotations

import json

import pytest

from shared.errors import ConflictError, GoneError
from shared.services.status import ImportState
from shared.storage.names import IMPORT_PAYLOADS
from tests.builders import a_worker, body_of
from tests.integration.stage import Harness, play

pytestmark = pytest.mark.integration
LONG = "x" * 300


def test_an_open_parent_is_not_retried(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record = await stage.accept([a_worker("P1", Gender="x")])
        with pytest.raises(ConflictError, match="still running"):
            await stage.gateway.retrying.retry(record, b"")
        await stage.drain()

    play(delivered, scenario)


def test_a_parent_whose_payload_is_lost_is_gone(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        rows = [a_worker(f"P{at:03d}", Gender="x", PersonnelNotes=LONG) for at in range(90)]
        record = await stage.accept(rows)
        await stage.drain()
        await stage.gateway.account.blobs.delete(IMPORT_PAYLOADS, record.blob_name)
        with pytest.raises(GoneError, match="expired"):
            await stage.gateway.retrying.retry(await stage.again(record), b"")

    play(delivered, scenario)


def test_a_large_retry_keeps_which_rows_are_as_they_were_sent(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        rows = [a_worker(f"P{at:03d}", Gender="x", PersonnelNotes=LONG) for at in range(90)]
        parent = await stage.accept(rows)
        await stage.drain()
        later = await stage.accept([a_worker("P005"), a_worker("P006")])
        await stage.drain()
        corrected = [{"index": at, "row": {**rows[at], "Gender": 1}} for at in range(6, 90)]
        same = [{"index": at, "row": rows[at]} for at in range(6)]
        child = await stage.gateway.retrying.retry(
            await stage.again(parent), body_of([*corrected, *same])
        )
        await stage.drain()
        codes = await stage.codes(child)
        assert codes == [[1002]] * 5 + [[1002, 1101]] + [[]] * 84
        assert (await stage.again(child)).counts.updated == 1, "P006 was corrected"
        stored = await stage.stored("P005")
        assert stored is not None
        assert stored.stamp.number == later.number

    play(delivered, scenario)


def test_an_import_that_waits_for_an_earlier_one_is_cancelled_at_once(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        first = await stage.accept_quietly([a_worker("P1")])
        second = await stage.accept_quietly([a_worker("P1", Title="Dr"), a_worker("P2")])
        cancelled = await stage.gateway.cancelling.cancel(second)
        assert cancelled.is_cancelled
        [message] = await stage.messages()
        assert message.import_id == second.import_id
        await stage.gateway.chunks.process(message)
        report = await stage.gateway.reporting.find(second.tenant, second.import_id)
        assert report.state is ImportState.CANCELLED
        assert (report.counts.failed, report.counts.cancelled) == (2, 2)
        assert await stage.codes(second) == [[9002], [9002]]

        again = await stage.gateway.cancelling.cancel(await stage.again(second))
        assert again == report.record, "twice changes nothing"
        await stage.gateway.cancelling.cancel(first)
        await stage.drain()

    play(delivered, scenario)


def test_an_import_that_has_ended_is_not_called_cancelled(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        accepted = await stage.accept([a_worker("P3")])
        read = await stage.again(accepted)
        await stage.drain()
        for record in (accepted, read):
            with pytest.raises(ConflictError, match="has ended"):
                await stage.gateway.cancelling.cancel(record)
        assert not (await stage.again(accepted)).is_cancelled

    play(delivered, scenario)


def test_cancelled_rows_go_in_when_they_are_retried(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        record = await stage.accept_quietly([a_worker("P1"), a_worker("P2")])
        await stage.gateway.cancelling.cancel(record)
        await stage.drain()
        child = await stage.gateway.retrying.retry(await stage.again(record), b"")
        await stage.drain()
        assert (await stage.again(child)).counts.new == 2
        assert json.loads(child.inline.splitlines()[0].partition("\t")[2])["PersonnelRef"] == "P1"

    play(delivered, scenario)
