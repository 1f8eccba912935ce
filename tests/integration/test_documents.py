"""Dropped files on real storage: what goes in, what is rejected, told of twice, changed, missed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import unquote

import pytest
from azure.storage.blob import BlobClient
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from shared.errors import StorageUnavailableError
from shared.imports.documents.messages import DocumentMessageId
from shared.imports.documents.model import Upload
from shared.imports.documents.processor import named_files
from shared.imports.documents.rounds import Feature, RoundStatus
from shared.imports.import_type import Options
from shared.imports.messages import CATALOGUE, MessageId
from shared.imports.results import Outcome
from shared.services.background import to_thread_if_large
from shared.services.chunk_messages import ChunkMessage
from shared.services.results import Results
from shared.services.retention import ExpiringFiles
from shared.services.status import ImportState
from shared.services.undoing import Undoing
from shared.storage.import_records import ImportRecord
from shared.storage.names import DOCUMENT_BLOBS, DOCUMENT_DROP, DOCUMENT_REJECTED
from tests.builders import a_worker
from tests.documents import JPEG, PDF, ROUND, make_ready
from tests.integration.harness import Harness, play
from tests.integration.test_retention import LaterClock

pytestmark = pytest.mark.integration
LIMIT = 5_000_000


class Drops:
    """The containers of one tenant, and the imports that came of them."""

    def __init__(self, stage: Harness, service: BlobServiceClient) -> None:
        self.stage = stage
        self.tenant = stage.sender.tenant
        self.gateway = stage.gateway
        self.box: ContainerClient = service.get_container_client(DOCUMENT_DROP)
        self.rejected: ContainerClient = service.get_container_client(DOCUMENT_REJECTED)

    async def drop(self, path: str, content: bytes = PDF, **metadata: str) -> str:
        """Drop a file of this tenant and return its name."""
        name = f"{self.tenant}/{path}"
        await self.box.upload_blob(name, content, metadata=metadata, overwrite=True)
        return name

    async def import_drop(self, name: str) -> None:
        await self.gateway.documents.drops.import_drop(name)

    async def names(self, container: ContainerClient) -> list[str]:
        return [blob.name async for blob in container.list_blobs(self.tenant)]

    async def results(self) -> list[Any]:
        """The result of each import of documents, in order of acceptance."""
        page = await self.gateway.reporting.newest(
            self.tenant, None, 100, lambda report: report.record.type_name == "documents"
        )
        assert all(not report.record.is_open for report in page.reports)
        return [
            result
            for report in reversed(page.reports)
            async for result in self.gateway.reporting.all_results(report.record)
        ]

    async def documents(self) -> list[dict[str, Any]]:
        page = await self.gateway.documents.reading.page(self.tenant, "", "", "", 100)
        return list(page.documents)


def drops(storage: str, scenario: Callable[[Drops], Awaitable[None]], **settings: Any) -> None:
    """Run a test with a tenant that may take documents and has the worker P1 of two employers."""

    async def run(stage: Harness) -> None:
        rounds = (ROUND, RoundStatus.OPEN), ("closed", RoundStatus.CLOSED)
        await make_ready(stage.gateway, stage.sender.tenant, *rounds)
        await stage.accept([a_worker("P1"), a_worker("P2"), a_worker("P2", EmployerRef="E2")])
        await stage.drain()
        async with BlobServiceClient.from_connection_string(storage) as service:
            await scenario(Drops(stage, service))

    play(storage, run, **settings)


BAD: list[tuple[str, bytes, dict[str, str], int]] = [
    (f"{ROUND}/nobody/a.pdf", PDF, {}, DocumentMessageId.WORKER_NOT_FOUND),
    (f"{ROUND}/P2/a.pdf", PDF, {}, DocumentMessageId.AMBIGUOUS_WORKER),
    (f"{ROUND}/P1/a.pdf", JPEG, {}, DocumentMessageId.WRONG_FILE_TYPE),
    (f"{ROUND}/P1/a.exe", PDF, {}, DocumentMessageId.WRONG_FILE_TYPE),
    (f"{ROUND}/P1/a.pdf", b"", {}, DocumentMessageId.EMPTY_FILE),
    (f"{ROUND}/P1/a.pdf", b"%PDF-" + bytes(LIMIT - 4), {}, DocumentMessageId.FILE_TOO_LARGE),
    (f"{ROUND}/P1/a%2Fb.pdf", PDF, {}, DocumentMessageId.UNSAFE_FILE_NAME),
    (
        f"{ROUND}/P1/a.pdf",
        PDF,
        {"generationtime": "2999-01-01"},
        DocumentMessageId.WRONG_GENERATION_TIME,
    ),
    (f"{ROUND}/P1/a.pdf", PDF, {"GenerationTime": "soon"}, DocumentMessageId.WRONG_GENERATION_TIME),
    (f"{ROUND}/{'x' * 61}/a.pdf", PDF, {}, DocumentMessageId.WRONG_REFERENCE_LENGTH),
    (f"{ROUND}/P1/more/a.pdf", PDF, {}, DocumentMessageId.WRONG_DROP_PATH),
    (f"{ROUND}/%zz/a.pdf", PDF, {}, DocumentMessageId.WRONG_DROP_PATH),
    ("1999/P1/a.pdf", PDF, {}, DocumentMessageId.ROUND_NOT_FOUND),
    ("closed/P1/a.pdf", PDF, {}, DocumentMessageId.ROUND_NOT_OPEN),
]
DETAILS: dict[int, str] = {
    DocumentMessageId.WRONG_FILE_TYPE: "; send ",
    DocumentMessageId.FILE_TOO_LARGE: f"it has {LIMIT + 1} bytes and the limit is {LIMIT}",
    DocumentMessageId.UNSAFE_FILE_NAME: "it has the character / at character 2",
    DocumentMessageId.WRONG_REFERENCE_LENGTH: "the worker, the third part of the path",
}


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_every_fault_rejects_the_file_with_its_reason(delivered: str) -> None:
    async def scenario(play: Drops) -> None:
        for path, content, metadata, fault in BAD:
            name = await play.drop(path, content, **metadata)
            await play.import_drop(name)
            assert await play.names(play.box) == []
            [moved] = await play.names(play.rejected)
            assert moved.startswith(f"{name}/")
            blob = await play.rejected.get_blob_client(moved).download_blob()
            assert await blob.readall() == content
            blob_metadata = blob.properties.metadata
            assert blob_metadata["errorid"] == str(fault)
            reason = unquote(blob_metadata["reason"])
            assert reason.endswith(CATALOGUE[fault].advice)
            assert DETAILS.get(fault, "") in reason
            assert moved == f"{name}/{blob_metadata['importid']}"
            await play.rejected.delete_blob(moved)
            *_, result = await play.results()
            assert [message.id for message in result.messages] == [fault]
        assert await play.documents() == []

    drops(delivered, scenario, max_document_bytes=LIMIT)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.parametrize("sent", ["fr\xfch", "x" * 4000])
def test_a_time_that_is_none_at_all_does_not_keep_the_file_in_the_container(
    delivered: str, sent: str
) -> None:
    """Bytes that no header may have are kept percent-encoded, and no more than metadata hold."""

    async def scenario(play: Drops) -> None:
        name = f"{play.tenant}/{ROUND}/P1/a.pdf"
        await asyncio.to_thread(drop_with_time, delivered, name, sent)
        await play.import_drop(name)
        assert await play.names(play.box) == []
        [moved] = await play.names(play.rejected)
        metadata = (await play.rejected.get_blob_client(moved).get_blob_properties()).metadata
        assert metadata["errorid"] == str(DocumentMessageId.WRONG_GENERATION_TIME)
        assert metadata["generationtime"] in ("fr%FCh", "x" * 100)

    drops(delivered, scenario)


def drop_with_time(storage: str, name: str, sent: str) -> None:
    """By the library that sends metadata as Latin-1."""
    with BlobClient.from_connection_string(storage, DOCUMENT_DROP, name) as blob:
        blob.upload_blob(PDF, metadata={"generationtime": sent})


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_a_file_of_the_largest_size_goes_in_block_by_block(delivered: str) -> None:
    async def scenario(play: Drops) -> None:
        content = b"%PDF-" + bytes(range(256)) * (LIMIT // 256 + 1)
        name = await play.drop(f"{ROUND}/P1/large.pdf", content[:LIMIT])
        await play.import_drop(name)
        [document] = await play.documents()
        assert document["size"] == LIMIT
        stored = await play.gateway.documents.reading.content(play.tenant, document)
        assert stored == content[:LIMIT]

    drops(delivered, scenario, max_document_bytes=LIMIT)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_a_drop_of_a_tenant_that_is_none_is_rejected_without_an_import(delivered: str) -> None:
    async def scenario(play: Drops) -> None:
        name = f"no-{play.tenant}"[:40] + f"/{ROUND}/P1/a.pdf"
        await play.box.upload_blob(name, PDF)
        await play.import_drop(name)
        moved = [blob async for blob in play.rejected.list_blobs(f"{name}/", include=["metadata"])]
        assert [blob.metadata["errorid"] for blob in moved] == [
            str(DocumentMessageId.UNKNOWN_TENANT)
        ]
        assert await play.results() == []

    drops(delivered, scenario)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_a_drop_without_the_feature_is_rejected(delivered: str) -> None:
    async def scenario(play: Drops) -> None:
        await play.gateway.documents.features.switch(play.tenant, Feature.DOCUMENTS, False)
        await play.import_drop(await play.drop(f"{ROUND}/P1/a.pdf"))
        [result] = await play.results()
        assert [message.id for message in result.messages] == [
            DocumentMessageId.DOCUMENTS_NOT_ENABLED
        ]

    drops(delivered, scenario)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_a_drop_of_a_disabled_tenant_is_rejected_and_open_imports_end(delivered: str) -> None:
    async def scenario(play: Drops) -> None:
        record = await play.stage.accept([a_worker("P9")])
        await play.gateway.tenants.switch(play.tenant, is_enabled=False)
        await play.import_drop(await play.drop(f"{ROUND}/P1/a.pdf"))
        [result] = await play.results()
        assert [message.id for message in result.messages] == [DocumentMessageId.TENANT_DISABLED]
        assert await play.names(play.box) == []
        assert len(await play.names(play.rejected)) == 1
        await play.stage.drain()
        assert (await play.stage.stored("P9")) is not None
        assert not (await play.stage.again(record)).is_open

    drops(delivered, scenario)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_a_drop_that_is_told_of_many_times_at_once_is_one_import(delivered: str) -> None:
    async def scenario(play: Drops) -> None:
        good = await play.drop(f"{ROUND}/P1/a.pdf")
        bad = await play.drop(f"{ROUND}/nobody/a.pdf")
        await asyncio.gather(*(play.import_drop(name) for name in (good, bad) * 5))
        await play.import_drop(good)
        assert len(await play.results()) == 2
        assert len(await play.documents()) == 1
        assert await play.names(play.box) == []
        assert len(await play.names(play.rejected)) == 1

    drops(delivered, scenario)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_a_file_dropped_again_replaces_the_document(delivered: str) -> None:
    async def scenario(play: Drops) -> None:
        for content in (b"%PDF-1.7 one", b"%PDF-1.7 two"):
            await play.import_drop(await play.drop(f"{ROUND}/P1/a.pdf", content))
        [document] = await play.documents()
        assert await play.gateway.documents.reading.content(play.tenant, document) == content
        assert [result.outcome.value for result in await play.results()] == ["new", "updated"]

    drops(delivered, scenario)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_the_default_time_is_when_the_blob_was_made(delivered: str) -> None:
    async def scenario(play: Drops) -> None:
        await play.import_drop(await play.drop(f"{ROUND}/P1/a.pdf"))
        [document] = await play.documents()
        generated_at = datetime.fromisoformat(document["generationTime"])
        assert abs(datetime.now(UTC) - generated_at) < timedelta(minutes=5)
        assert (document["EmployerRef"], document["PersonnelRef"]) == ("E1", "P1")

    drops(delivered, scenario)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_the_sweep_takes_in_what_has_lain_for_a_while(delivered: str) -> None:
    async def scenario(play: Drops) -> None:
        await play.drop(f"{ROUND}/P1/a.pdf")
        await play.drop(f"{ROUND}/nobody/a.pdf")
        await play.gateway.documents.drop_sweep.run()
        assert await play.names(play.box) == []
        assert len(await play.documents()) == 1

    drops(delivered, scenario, document_sweep_seconds=0)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_the_sweep_leaves_to_the_trigger_what_is_new(delivered: str) -> None:
    async def scenario(play: Drops) -> None:
        await play.drop(f"{ROUND}/P1/a.pdf")
        await play.gateway.documents.drop_sweep.run()
        assert len(await play.names(play.box)) == 1

    drops(delivered, scenario, document_sweep_seconds=300)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_the_sweep_leaves_alone_what_somebody_holds_a_lease_on(delivered: str) -> None:
    """It could not be deleted: each sweep would copy it again, and many would fill its turn."""

    async def scenario(play: Drops) -> None:
        name = await play.drop(f"{ROUND}/P1/a.pdf")
        lease = await play.box.get_blob_client(name).acquire_lease()
        await play.gateway.documents.drop_sweep.run()
        assert await play.documents() == []
        await lease.release()
        await play.gateway.documents.drop_sweep.run()
        assert len(await play.documents()) == 1
        assert await play.names(play.box) == []

    drops(delivered, scenario, document_sweep_seconds=0)


# Documents whose call has died: taken up once, in the order of acceptance, by whoever comes.


class Desk:
    """Uploads of one tenant, step by step."""

    def __init__(self, stage: Harness) -> None:
        self.stage = stage
        self.gateway = stage.gateway
        self.tenant = stage.sender.tenant
        self.intake = stage.gateway.documents.intake

    async def accept(self, content: bytes, name: str = "a.pdf", worker: str = "P1") -> ImportRecord:
        """An accepted upload whose call has died before the work."""
        return await self.accept_resolved(await self.resolved(name, worker, len(content)), content)

    async def resolved(self, name: str, worker: str, size: int = 6) -> Upload:
        """An upload whose worker was looked up."""
        upload = Upload(worker, ROUND, name, "2026-01-01T00:00:00.000Z", size, "pdf")
        return await self.intake.resolve(self.tenant, upload)

    async def accept_resolved(self, placed: Upload, content: bytes) -> ImportRecord:
        """The same as `accept` for an upload whose worker was looked up."""
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


async def _dead(_record: ImportRecord) -> None:
    raise StorageUnavailableError("the call is dead")


async def accept_undo(desk: Desk, parent: ImportRecord) -> ImportRecord:
    """An accepted undo whose call has died before the work."""
    gateway = desk.gateway
    undoing = Undoing(
        imports=gateway.imports,
        results=Results(gateway.account.tables, gateway.account.blobs, to_thread_if_large),
        intake=gateway.intake,
        dry_runs=gateway.dry_runs,
        offload=to_thread_if_large,
        run_directly=_dead,
        types=["documents"],
    )
    return await undoing.undo(await desk.stage.again(parent))


def test_an_undo_whose_call_is_dead_keeps_its_place_and_happens_once(delivered: str) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.intake.finish(await desk.accept(b"%PDF-1"))
        wrong = await desk.accept(b"%PDF-wrong")
        await desk.intake.finish(wrong)
        undo = await accept_undo(desk, wrong)
        assert await desk.content() == b"%PDF-wrong"
        await desk.gateway.sweep.run()
        assert await desk.content() == b"%PDF-1"
        await desk.stage.forget_end(undo)
        await desk.intake.finish(await desk.stage.again(undo))
        assert await desk.outcome(undo) is Outcome.UPDATED
        assert await desk.content() == b"%PDF-1"
        again = await accept_undo(desk, undo)
        later = await desk.accept(b"%PDF-later")
        await desk.intake.finish(later)
        assert await desk.outcome(again) is Outcome.UPDATED, "the earlier one is done first"
        assert await desk.content() == b"%PDF-later"

    at_desk(delivered, scenario, document_sweep_seconds=0)


async def undo_workers(desk: Desk, parent: ImportRecord) -> ImportRecord:
    """The accepted undo of an import of workers; its messages are on the queue."""
    return await desk.gateway.undoing.undo(await desk.stage.again(parent))


def test_a_worker_that_has_a_document_stays_until_that_is_undone(delivered: str) -> None:
    name = "\u5de5" * 60  # its key is shortened in storage

    async def scenario(desk: Desk) -> None:
        stage = desk.stage
        created = await stage.accept([a_worker(each) for each in ("P0", "P2", name, "P3")])
        await stage.drain()
        uploads = [await desk.accept(b"%PDF-1", "b.pdf", worker) for worker in ("P2", name)]
        for upload in uploads:
            await desk.intake.finish(upload)
        undo = await undo_workers(desk, created)
        await stage.drain()
        assert await stage.codes(undo) == [[], [1105], [1105], []]
        message = (await stage.results(undo))[1].messages[0]
        result = await desk.intake.find(uploads[0])
        assert result is not None
        assert (message.field, message.value) == ("documentId", result.result.key[-1])

        undone = [await accept_undo(desk, upload) for upload in uploads]
        for each in undone:
            await desk.intake.finish(each)
        retry = await desk.gateway.retrying.retry(await stage.again(undo), b"")
        await stage.drain()
        assert await stage.codes(retry) == [[], []]
        # The documents cannot come back before their workers.
        for each in undone:
            again = await accept_undo(desk, each)
            await desk.intake.finish(again)
            assert await stage.codes(again) == [[MessageId.REFERENCE_NOT_FOUND]]

    at_desk(delivered, scenario)


def test_uploads_and_undos_of_their_workers_keep_their_order(delivered: str) -> None:
    async def scenario(desk: Desk) -> None:
        stage = desk.stage
        created = await stage.accept([a_worker("P2"), a_worker("P3"), a_worker("P4")])
        await stage.drain()
        # The call of this upload is dead; the undo waits for it.
        before = await desk.accept(b"%PDF-1", "b.pdf", "P2")
        undo = await undo_workers(desk, created)
        for message in await stage.messages():
            await desk.gateway.chunks.process(message)
        assert len(await stage.waiting()) == 1
        # This upload has found its worker, which the undo will remove.
        after = await desk.accept(b"%PDF-1", "c.pdf", "P3")
        assert await desk.intake.finish(after) is None
        assert await desk.outcome(after) is None
        placed = await desk.resolved("d.pdf", "P4")
        await desk.gateway.sweep.run()
        assert await stage.waiting() == []
        for message in await stage.messages():
            await desk.gateway.chunks.process(message)
        assert await stage.codes(undo) == [[1105], [], []]
        assert await desk.outcome(before) is Outcome.NEW
        await desk.gateway.sweep.run()
        last = await desk.accept_resolved(placed, b"%PDF-1")
        await desk.intake.finish(last)
        for upload in (after, last):
            assert await desk.outcome(upload) is Outcome.FAILED
            assert await stage.codes(upload) == [[DocumentMessageId.WORKER_NOT_FOUND]]
        assert await desk.content() == b"%PDF-1", "there is one document"

    at_desk(delivered, scenario, document_sweep_seconds=0)


def test_an_undo_needs_the_earlier_file_and_retention_keeps_it_from_then_on(
    delivered: str,
) -> None:
    async def scenario(desk: Desk) -> None:
        files, gateway = desk.gateway.account.document_files, desk.gateway

        async def run_retention(days: float) -> None:
            clock = LaterClock(days)
            find = partial(named_files, gateway.account.tables, gateway.imports)
            async for _ in ExpiringFiles(files, find, clock).files(desk.tenant, clock.now()):
                raise AssertionError("nothing is old enough")

        first, second = await desk.accept(b"%PDF-1"), await desk.accept(b"%PDF-2")
        for upload in (first, second):
            await desk.intake.finish(upload)
        await run_retention(2)
        assert [each.is_marked for each in await files.list_files(desk.tenant)].count(True) == 1
        undo = await gateway.undoing.undo(await desk.stage.again(second))
        assert await desk.content() == b"%PDF-1"
        [marked] = [each for each in await files.list_files(desk.tenant) if each.is_marked]
        assert marked.name.endswith(first.import_id)
        await run_retention(0)
        assert not any(each.is_marked for each in await files.list_files(desk.tenant))
        await gateway.account.blobs.delete(DOCUMENT_BLOBS, f"{desk.tenant}/{second.import_id}")
        kept = await gateway.undoing.undo(await desk.stage.again(undo))
        [result] = [row async for row in gateway.reporting.all_results(kept)]
        assert [message.id for message in result.messages] == [1106]
        assert await desk.content() == b"%PDF-1"

    at_desk(delivered, scenario)


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
                listed, after = [], ""
                while True:
                    reading = desk.gateway.documents.reading
                    page = await reading.page(desk.tenant, worker, round_code, after, size)
                    listed += [document["fileName"] for document in page.documents]
                    if page.next_row is None:
                        break
                    assert len(page.documents) == size
                    after = page.next_row
                assert len(listed) == len(set(listed)) == count

    at_desk(delivered, scenario)
