"""Documents whose call has died: taken up once, in the order of acceptance, by whoever comes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import pytest

from shared.imports.documents.model import Upload
from shared.imports.import_type import Options
from shared.imports.results import Outcome
from shared.services.chunk_messages import ChunkMessage
from shared.services.status import ImportState
from shared.storage.import_records import ImportRecord
from tests.builders import a_worker
from tests.documents import ROUND, make_ready
from tests.integration.stage import Harness, play

pytestmark = pytest.mark.integration


class Desk:
    """Uploads of one tenant, step by step."""

    def __init__(self, stage: Harness) -> None:
        self.stage = stage
        self.gateway = stage.gateway
        self.tenant = stage.sender.tenant
        self.intake = stage.gateway.documents.intake

    async def accept(self, content: bytes, name: str = "a.pdf", worker: str = "P1") -> ImportRecord:
        """An accepted upload whose call has died before the work."""
        upload = Upload(worker, ROUND, name, "2026-01-01T00:00:00.000Z", len(content), "pdf")
        placed = await self.intake.resolve(self.tenant, upload)
        import_id = str(uuid.uuid4())
        await self.intake.keep(self.tenant, import_id, [content], len(content))
        return await self.intake.accept(self.tenant, import_id, placed, Options())

    async def outcome(self, record: ImportRecord) -> Outcome | None:
        taken = await self.intake.find(record)
        return None if taken is None else taken.result.outcome

    async def content(self) -> bytes:
        """The file of the one document that there is."""
        reading = self.gateway.documents.reading
        [document] = (await reading.page(self.tenant, "", "", "", 10)).documents
        return await reading.content(self.tenant, document)


def at_desk(storage: str, scenario: Callable[[Desk], Awaitable[None]], **settings: int) -> None:
    async def run(stage: Harness) -> None:
        await make_ready(stage.gateway, stage.sender.tenant)
        await stage.accept([a_worker("P1", ExternalWorkerRef="hr-1")])
        await stage.drain()
        await scenario(Desk(stage))

    play(storage, run, **settings)


def test_the_sweep_finishes_what_a_dead_call_has_left(delivered: str) -> None:
    async def scenario(desk: Desk) -> None:
        good = await desk.accept(b"%PDF-1")
        bad = await desk.accept(b"%PDF-2", worker="nobody")
        report = await desk.gateway.reporting.report(good)
        assert report.state is ImportState.ACCEPTED
        await desk.gateway.sweep.run()
        assert await desk.outcome(good) is Outcome.NEW
        assert await desk.outcome(bad) is Outcome.FAILED
        assert not (await desk.stage.again(good)).is_open
        assert await desk.content() == b"%PDF-1"

    at_desk(delivered, scenario, document_sweep_seconds=0)


def test_the_sweep_leaves_a_call_the_time_it_has(delivered: str) -> None:
    async def scenario(desk: Desk) -> None:
        record = await desk.accept(b"%PDF-1")
        await desk.gateway.sweep.run()
        assert await desk.outcome(record) is None
        await desk.intake.finish(record)

    at_desk(delivered, scenario, document_sweep_seconds=300)


def test_a_later_upload_first_ends_the_earlier_one_whose_call_is_dead(delivered: str) -> None:
    async def scenario(desk: Desk) -> None:
        earlier = await desk.accept(b"%PDF-1")
        other = await desk.accept(b"%PDF-x", name="b.pdf")
        later = await desk.accept(b"%PDF-2", worker="hr-1")
        await desk.intake.finish(later)
        assert await desk.outcome(earlier) is Outcome.NEW
        assert await desk.outcome(later) is Outcome.UPDATED
        assert await desk.outcome(other) is None, "another document is none of its business"
        assert await desk.content() == b"%PDF-2"
        await desk.intake.finish(earlier)
        assert await desk.content() == b"%PDF-2", "a straggler changes nothing"
        assert await desk.outcome(earlier) is Outcome.NEW
        await desk.intake.finish(other)

    at_desk(delivered, scenario)


def test_everybody_at_once_comes_to_the_same_end(delivered: str) -> None:
    async def scenario(desk: Desk) -> None:
        records = [await desk.accept(f"%PDF-{number}".encode()) for number in range(5)]
        await asyncio.gather(*(desk.intake.finish(record) for record in records[::-1] * 2))
        outcomes = [await desk.outcome(record) for record in records]
        assert outcomes == [Outcome.NEW, *[Outcome.UPDATED] * 4]
        assert await desk.content() == b"%PDF-4"

    at_desk(delivered, scenario)


def test_a_run_that_died_before_its_result_says_the_same_again(delivered: str) -> None:
    async def scenario(desk: Desk) -> None:
        record = await desk.accept(b"%PDF-1")
        first = await desk.intake.finish(record)
        assert first is not None
        await desk.stage.forget_end(record)
        await desk.gateway.sweep.run()
        again = await desk.intake.find(record)
        assert again is not None
        assert again.result == first.result

    at_desk(delivered, scenario, document_sweep_seconds=0)


def test_a_document_that_was_ended_by_force_is_not_committed_afterwards(delivered: str) -> None:
    async def scenario(desk: Desk) -> None:
        record = await desk.accept(b"%PDF-1")
        message = ChunkMessage(desk.tenant, record.number, record.import_id, 0)
        await desk.gateway.chunks.end_as_failed(message)
        await desk.stage.forget_end(record)
        await desk.intake.finish(record)
        assert await desk.outcome(record) is Outcome.FAILED
        page = await desk.gateway.documents.reading.page(desk.tenant, "", "", "", 10)
        assert page.documents == ()
        await desk.intake.finish(await desk.accept(b"%PDF-2"))
        assert await desk.content() == b"%PDF-2"

    at_desk(delivered, scenario)


def test_lists_are_paged_without_loss_by_worker_by_round_and_whole(delivered: str) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.stage.accept([a_worker("P2")])
        await desk.stage.drain()
        for number in range(7):
            worker = "P2" if number == 3 else "P1"
            await desk.intake.finish(await desk.accept(b"%PDF-", f"{number}.pdf", worker))
        for worker, round_code, count in (
            ("", "", 7), ("hr-1", "", 6), ("P2", "", 1), ("", ROUND, 7), ("P1", ROUND, 6),
            ("P1", "other", 0), ("nobody", "", 0), ("", "x" * 61, 0),
        ):  # fmt: skip
            for size in (1, 3, 100):
                found, after = [], ""
                while True:
                    reading = desk.gateway.documents.reading
                    page = await reading.page(desk.tenant, worker, round_code, after, size)
                    found += [document["fileName"] for document in page.documents]
                    if page.next_row is None:
                        break
                    assert len(page.documents) == size
                    after = page.next_row
                assert len(found) == len(set(found)) == count

    at_desk(delivered, scenario)
