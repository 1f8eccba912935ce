"""Uploads among imports and undos of workers and erasures, in any order, with deaths at any write.

Each step of a run is one thing that some process does. The rule that it checks: at the end every
document has its worker, whatever was undone or erased, and every import has ended.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest

from shared.errors import ConflictError, GoneError, PreconditionFailedError
from shared.imports.documents.definition import DOCUMENTS
from shared.imports.documents.model import Upload
from shared.imports.documents.processor import DocumentProcessor, blob_of, key_of
from shared.imports.documents.store import WorkerSearch
from shared.imports.import_type import Options
from shared.imports.persons import PERSON_ERASURE, Identity, IdentityKind
from shared.imports.planning import Chunk, Span
from shared.imports.results import Outcome
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_messages import ChunkMessage
from shared.services.undo_processor import RecordUndoProcessor
from shared.storage.business_records import from_entity, partition_of, row_of, sort_key_of
from shared.storage.entities import encode
from shared.storage.import_records import ImportRecord
from shared.storage.names import DOCUMENT_BLOBS
from shared.storage.record_indexes import NameIndex
from tests.builders import a_worker
from tests.model.harness import TENANT, Process
from tests.unit.test_person_erasure import Stage
from tests.unit.test_tenant_erasure import KilledError

PERSONS = ("P0", "P1")
SEEDS = 60


class Run:
    """A run of one seed. `seen` counts what has happened."""

    def __init__(self, seed: int, seen: Counter[str], stage: Stage) -> None:
        self.random = Random(seed)
        self.seen = seen
        self.stage = stage
        self.placed: list[Upload] = []
        self.uploads: list[ImportRecord] = []
        self.workers: list[ImportRecord] = []

    async def play(self) -> None:
        steps = (
            *(self.import_workers, self.resolve, self.resolve, self.accept, self.accept),
            *(self.work, self.work, self.work, self.undo_workers, self.undo_upload, self.erase),
        )
        for _ in range(40):
            step = self.random.choice(steps)
            if self.random.random() < 0.3:
                self.stage.requests.left = self.random.randrange(6)
                self.stage.requests.is_carried_out = self.random.random() < 0.5
            try:
                with suppress(ConflictError, GoneError):
                    await step()
            except KilledError:
                self.seen["deaths"] += 1
            self.stage.requests.left = None
        await self.finish()
        await self.check()

    async def import_workers(self) -> None:
        rows = [a_worker(each) for each in PERSONS if self.random.random() < 0.7]
        if rows:
            self.workers.append(await self.stage.accept(WORKERS, rows))

    async def resolve(self) -> None:
        """A call looks for its worker; it goes on some steps later."""
        reference = self.random.choice(PERSONS)
        tables = self.stage.tables
        found = await WorkerSearch(tables, NameIndex(tables)).find(TENANT, reference)
        name = self.random.choice(("a.pdf", "b.pdf"))
        if found:
            upload = Upload(reference, "R", name, "2026-01-01T00:00:00Z", 1, "pdf", found[0])
            self.placed.append(upload)

    async def accept(self) -> None:
        if not self.placed:
            return
        upload = self.placed.pop(self.random.randrange(len(self.placed)))
        record = await self.accept_upload(upload)
        if self.random.random() < 0.6:
            await self.stage.process().chunks.process_directly(record)

    async def accept_upload(self, upload: Upload) -> ImportRecord:
        """An upload that was accepted, and not worked on."""
        import_id, line = self.stage.ids.new(), upload.to_line()
        await self.stage.blobs.put(DOCUMENT_BLOBS, blob_of(TENANT, import_id), [b"x"])
        key = sort_key_of(key_of(TENANT, upload.document_id(TENANT)))
        record = ImportRecord(
            tenant=TENANT,
            number=0,
            import_id=import_id,
            type_name=DOCUMENTS.name,
            rows=1,
            chunks=(Chunk(0, 0, len(line), 1, Span(key, key, frozenset({key}))),),
            options=Options(),
            accepted_at="2026-01-01T00:00:00.000Z",
            inline=line.decode(),
        )
        record = await self.stage.process().imports.accept(record)
        self.uploads.append(record)
        return record

    async def work(self) -> None:
        """A handler gets a message, or the sweep works on an import without queues."""
        queue = self.stage.queues.messages
        if queue and self.random.random() < 0.7:
            message = queue.pop(self.random.randrange(len(queue)))
            try:
                await self.stage.process().chunks.process(ChunkMessage.from_text(message.text))
            except KilledError:
                queue.append(message)
                raise
            return
        without_queues = await self.without_queues()
        if without_queues:
            await self.stage.process().chunks.process(self.random.choice(without_queues))

    async def without_queues(self) -> list[ChunkMessage]:
        process = self.stage.process()
        return [
            ChunkMessage(TENANT, each.number, each.import_id, 0)
            for each in await process.imports.open_of(TENANT)
            if each.type_name in (DOCUMENTS.name, PERSON_ERASURE.name) and not each.is_barrier
        ]

    async def undo_workers(self) -> None:
        await self.undo(self.workers)

    async def undo_upload(self) -> None:
        await self.undo(self.uploads)

    async def undo(self, records: list[ImportRecord]) -> None:
        if not records:
            return
        process = self.stage.process()
        parent = await process.imports.read(TENANT, self.random.choice(records).number)
        assert parent is not None
        records.append(await process.undoing.undo(parent))
        self.seen["undos"] += 1

    async def erase(self) -> None:
        process = self.stage.process()
        person = Identity(IdentityKind.WORKER, ("E1", self.random.choice(PERSONS)))
        with suppress(PreconditionFailedError):
            record = await process.erasure.accept(TENANT, [person])
            self.seen["erasures"] += 1
            message = ChunkMessage(TENANT, record.number, record.import_id, 0)
            await process.chunks.process(message)

    async def finish(self) -> None:
        """Nobody dies any more; the sweep does what is left."""
        for _ in range(40):
            await self.stage.drain()
            for message in await self.without_queues():
                await self.stage.process().chunks.process(message)
            self.stage.clock.seconds += 120
            await self.stage.process().sweep.run()
            await self.stage.drain()
            if not await self.stage.process().imports.open_of(TENANT):
                return
        raise AssertionError("imports are open for ever")

    async def check(self) -> None:
        tables = self.stage.tables
        for entity in await tables.query(DOCUMENTS.table, encode(TENANT), "r|", "r|~"):
            document = from_entity(entity).document
            if document is None:
                continue
            self.seen["documents"] += 1
            place = partition_of(TENANT, document["EmployerRef"]), row_of(document["PersonnelRef"])
            worker = await tables.get(WORKERS.table, *place)
            assert worker is not None, "the document of a worker that is not there"
            assert not worker.flag("Deleted"), "the document of a worker that is gone"
        for record in self.uploads:
            for _, outcome, codes in await self.stage.outcomes(record):
                self.seen[f"{outcome} {codes}"] += 1


def play(stage: type[Stage] = Stage) -> Counter[str]:
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        asyncio.run(Run(seed, seen, stage()).play())
    return seen


def test_every_document_has_its_worker_whatever_is_undone_and_erased() -> None:
    seen = play()
    for what in ("deaths", "undos", "erasures", "documents", f"{Outcome.FAILED} [4010]"):
        assert seen[what] > 0, seen


async def _held_back_uploads() -> tuple[Run, list[ImportRecord]]:
    """Two uploads of one document, behind an undo of the workers' last import that is open."""
    run = Run(0, Counter(), Stage())
    for surname in ("One", "Two"):
        rows = [a_worker(each, Surname=surname) for each in PERSONS]
        run.workers.append(await run.stage.import_rows(WORKERS, rows))
    process = run.stage.process()
    parent = await process.imports.read(TENANT, run.workers[-1].number)
    assert parent is not None
    await process.undoing.undo(parent)
    while not run.placed:
        await run.resolve()
    return run, [await run.accept_upload(run.placed[0]) for _ in range(2)]


def test_the_end_of_an_undo_stores_the_uploads_that_it_has_held_back() -> None:
    async def scenario() -> None:
        run, uploads = await _held_back_uploads()
        for record in uploads:
            assert await run.stage.process().chunks.process_directly(record) is None
        await run.stage.drain()
        outcomes = [(await run.stage.outcomes(record))[0][1] for record in uploads]
        assert outcomes == [Outcome.NEW, Outcome.UPDATED]

    asyncio.run(scenario())


def test_an_upload_does_not_pass_an_earlier_one_that_was_left_to_the_sweep() -> None:
    async def scenario() -> None:
        run, uploads = await _held_back_uploads()
        process = run.stage.process()
        process_earlier = process.chunks.process

        async def undo_ends_now(message: ChunkMessage) -> None:
            """The earlier upload still finds the undo open, and the later one does not any more."""
            await process_earlier(message)
            messages, run.stage.queues.messages = run.stage.queues.messages, []
            for each in messages:
                other = run.stage.process()
                other.chunks._on_ended = None  # it dies when the import has ended
                await other.chunks.process(ChunkMessage.from_text(each.text))

        process.chunks.process = undo_ends_now  # type: ignore[method-assign]
        assert await process.chunks.process_directly(uploads[1]) is None
        await run.finish()
        outcomes = [(await run.stage.outcomes(record))[0][1] for record in uploads]
        assert outcomes == [Outcome.NEW, Outcome.UPDATED]

    asyncio.run(scenario())


class _Forgetful(DocumentProcessor):
    async def _has_worker(self, record: ImportRecord, worker: object) -> bool:
        del record, worker
        return True


class UploadsTrustTheirCall(Stage):
    """An upload does not look for its worker again."""

    def process(self) -> Process:
        process = super().process()
        usual = process.chunks._processors
        old = usual._special[DOCUMENTS.name]
        assert isinstance(old, DocumentProcessor)
        new = _Forgetful(old._tables, old._imports, old._clock, old._run_earlier)
        process.chunks._processors = usual.with_more({DOCUMENTS.name: new})
        return process


class UndosDoNotAskDocuments(Stage):
    """An undo removes a worker that has a document."""

    def process(self) -> Process:
        process = super().process()
        undo = process.chunks._processors._undo
        assert isinstance(undo, RecordUndoProcessor)
        undo._context = replace(undo._context, referrers={})
        return process


@pytest.mark.parametrize("broken", [UploadsTrustTheirCall, UndosDoNotAskDocuments])
def test_a_rule_that_is_broken_on_purpose_is_found(broken: type[Stage]) -> None:
    with pytest.raises(AssertionError, match="the document of a worker"):
        play(broken)
