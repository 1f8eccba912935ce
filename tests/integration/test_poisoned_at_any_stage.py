"""A chunk that fails too often ends its own rows and nothing else: every type, every stage."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import pytest

from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.import_type import ImportType
from shared.imports.json_rows import read_row_texts
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.definition import LICENSES
from shared.imports.registry import IMPORT_TYPES
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_messages import ChunkMessage, messages_for
from shared.services.results import Payloads
from shared.storage.import_records import ImportRecord
from tests.builders import Row, a_worker, body_of
from tests.contract.test_pay_and_bill import an_assignment
from tests.integration.authdata_stage import AuthdataStage, an_employee
from tests.integration.license_stage import a_row
from tests.integration.stage import Harness, play

pytestmark = pytest.mark.integration
CHUNK, ROWS, POISONED = 10, 30, 1
_SERIAL = itertools.count()
QUEUED = [kind for kind in IMPORT_TYPES.values() if kind.has_queues]


@dataclass(frozen=True)
class Play:
    """Imports of one type in three chunks each, always of the same 30 records."""

    stage: Harness
    kind: ImportType

    async def accept(self) -> ImportRecord:
        """An import whose messages got lost."""
        record = await self._accepted()
        assert [chunk.rows for chunk in record.chunks] == [CHUNK] * 3
        await self.stage.messages()
        return record

    async def _accepted(self) -> ImportRecord:
        gateway, caller = self.stage.gateway, self.stage.sender.caller
        changed = f"T{next(_SERIAL)}"
        rows = [_row_of(self.kind, at, changed) for at in range(ROWS)]
        if self.kind is AUTHDATA:
            desk = AuthdataStage(gateway, self.stage.pump, caller.tenant)
            return await desk.begin((await desk.stage(rows)).file_log_id)
        planned = await gateway.intake.read(self.kind, caller.tenant, body_of(rows))
        options = replace(caller.options, action=LicenseAction.MERGE.value)
        draft = gateway.intake.draft(self.kind, caller.tenant, planned, options)
        return await gateway.intake.accept_planned(self.kind, draft, planned)

    async def poison(self, record: ImportRecord) -> None:
        """As after five tries, and once more, since a message may come twice."""
        for _ in range(2):
            await self.stage.gateway.chunks.end_as_failed(_message(record, POISONED))

    async def run(self, *records: ImportRecord) -> None:
        """Deliver every chunk of these imports, and what is sent until all have ended."""
        for record in records:
            await self.process(record, 0, 1, 2)
        await self.stage.drain()

    async def process(self, record: ImportRecord, *chunks: int) -> None:
        for chunk in chunks:
            await self.stage.gateway.chunks.process(_message(record, chunk))

    async def codes(self, record: ImportRecord) -> tuple[set[int], set[int]]:
        """The ids of the errors of the poisoned chunk, and of the other chunks."""
        assert not (await self.stage.again(record)).is_open
        lines = await Payloads(self.stage.gateway.account.blobs).lines(record, POISONED)
        mine = {index for index, _ in read_row_texts(lines)}
        results = await self.stage.results(record)
        assert len(results) == ROWS
        poisoned, others = (
            {
                message.id
                for index, row in results.items()
                if (index in mine) is is_poisoned
                for message in row.messages
                if message.is_error
            }
            for is_poisoned in (True, False)
        )
        return poisoned, others

    async def has_gone_in(self, record: ImportRecord) -> bool:
        """Whether every row of an import that was not poisoned was committed."""
        return not any(await self.codes(record))


def _row_of(kind: ImportType, at: int, changed: str) -> Row:
    """Record number `at`; what it says besides its key is new in each import."""
    match kind.name:
        case WORKERS.name:
            return a_worker(f"P{at:03d}", Title=changed)
        case ASSIGNMENTS.name:
            return an_assignment(f"A{at:03d}", "P000", JobTitle=changed)
        case LICENSES.name:
            return a_row(f"L{at:03d}", f"{at:03d}", companyCode=f"C{at // CHUNK}", notes=changed)
        case _:
            return an_employee(f"e{at:03d}", status=changed)


def _message(record: ImportRecord, chunk: int) -> ChunkMessage:
    [message] = messages_for(record, [], [chunk])
    return replace(message, looks_back=True)


async def _nothing_done(play: Play) -> ImportRecord:
    record = await play.accept()
    await play.poison(record)
    await play.run(record)
    return record


async def _others_done(play: Play) -> ImportRecord:
    record = await play.accept()
    await play.process(record, 0, 2)
    await play.poison(record)
    return record


async def _messages_lost(play: Play) -> ImportRecord:
    record = await play.accept()
    await play.poison(record)
    await play.stage.gateway.sweep.run()
    await play.stage.drain()
    return record


async def _held_back(play: Play) -> ImportRecord:
    before = await play.accept()
    record = await play.accept()
    await play.poison(record)
    await play.run(before, record)
    assert await play.has_gone_in(before)
    return record


async def _noted_as_waiting(play: Play) -> ImportRecord:
    before = await play.accept()
    record = await play.accept()
    await play.process(record, 0, 1, 2)
    assert await play.stage.waiting()
    await play.poison(record)
    await play.run(before)
    assert await play.stage.waiting() == []
    return record


async def _between_two(play: Play) -> ImportRecord:
    before, record, later = [await play.accept() for _ in range(3)]
    await play.process(later, 0, 1, 2)
    await play.process(before, 0, 1, 2)
    await play.stage.messages()
    await play.poison(record)
    await play.run(record)
    assert await play.has_gone_in(before)
    assert await play.has_gone_in(later)
    return record


async def _committed(play: Play) -> ImportRecord:
    record = await play.accept()
    await play.run(record)
    await play.stage.forget_end(record)
    await play.poison(record)
    await play.run(record)
    return record


async def _not_closed(play: Play) -> ImportRecord:
    record = await play.accept()
    await play.run(record)
    await play.stage.forget_closing(record)
    await play.poison(record)
    return record


async def _ended(play: Play) -> ImportRecord:
    record = await play.accept()
    await play.run(record)
    await play.poison(record)
    return record


FAILED = [_nothing_done, _others_done, _messages_lost, _held_back, _noted_as_waiting, _between_two]
KEPT = [_committed, _not_closed, _ended]


@pytest.mark.parametrize("kind", QUEUED, ids=lambda kind: kind.name)
def test_a_poisoned_chunk_ends_its_own_rows_only(delivered: str, kind: ImportType) -> None:
    async def scenario(stage: Harness) -> None:
        play = Play(stage, kind)
        if kind is ASSIGNMENTS:
            await stage.accept([a_worker("P000")])
            await stage.drain()
        for at_stage in [*FAILED, *KEPT]:
            record = await at_stage(play)
            poisoned, others = await play.codes(record)
            assert not others, at_stage
            assert poisoned == ({9001} if at_stage in FAILED else set()), at_stage
        assert await play.has_gone_in(await _ended(play)), "nothing keeps the records closed"

    play(delivered, scenario, chunk_rows=CHUNK, sweep_after_seconds=0)
