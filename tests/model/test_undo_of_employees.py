"""An undo of authentication data leaves what was there before, whatever happens meanwhile.

Batches of few employees whose ids and values meet, in chunks of one to three rows. Then the last
import is undone by several handlers at once: requests come in any order, handlers die, messages
come twice. What was there before comes back, and what a later import has changed stays.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from functools import partial
from typing import Any

from shared.errors import ConflictError, StorageUnavailableError
from shared.imports.authdata.model import BatchCall, Employee
from shared.imports.results import Outcome, RowResult
from shared.services.chunk_messages import ChunkMessage
from shared.storage import business_records, result_records
from shared.storage.import_records import ImportRecord
from tests.memory_storage import MemoryBlobs, MemoryQueues, MemoryTables
from tests.model.harness import (
    TENANT,
    CountedIds,
    Fate,
    ModelClock,
    Process,
    Turnstile,
    make_process,
)
from tests.model.judging import stored_employees

SEEDS = 100
State = dict[str, tuple[Any, ...]]


class World:
    """One tenant, and two processes on its storage."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.turnstile = Turnstile()
        self.tables, self.blobs = MemoryTables(self.turnstile), MemoryBlobs(self.turnstile)
        self.queues = MemoryQueues(self.turnstile)
        ids, clock = CountedIds(), ModelClock()
        rows = self.random.choice([1, 2, 3])
        self.processes = [
            make_process(self.tables, self.blobs, self.queues, clock, ids, chunk_rows=rows)
            for _ in range(2)
        ]
        self._actors = 0

    async def do(self, work: Any) -> Any:
        """Something that nothing disturbs."""
        self._actors += 1
        task = self.turnstile.start(self._actors, work)
        await self.turnstile.release(task)
        return task.result()

    async def import_employees(self) -> ImportRecord | None:
        """A batch of some employees, staged and processed."""
        process, pick = self.processes[0], self.random
        rows = [
            {
                "employeeid": pick.choice("ABCDE"),
                "employeestatus": pick.choice([None, "on", "off"]),
                "authvalue1": pick.choice(["1", "2", "3", "4", "5"]),
            }
            for _ in range(pick.randint(1, 4))
        ]
        call = BatchCall(
            file_log_id=None, validate=True, allow_no_auth=False, commit=True, rows=rows
        )
        staging, processing = process.authdata.staging, process.authdata.processing
        staged = await self.do(lambda: staging.stage(TENANT, call, str(pick.random())))
        record: ImportRecord | None = await self.do(
            lambda: processing.begin(TENANT, staged.file_log_id)
        )
        if record is not None:
            await self.finish(record, is_disturbed=False)
        return record

    async def finish(self, record: ImportRecord, *, is_disturbed: bool) -> None:
        """Process the messages of an import until it has ended."""
        process = self.processes[0]
        while (await self.do(lambda: process.imports.read(TENANT, record.number))).is_open:
            messages = [
                ChunkMessage(TENANT, record.number, record.import_id, chunk.number)
                for chunk in record.chunks
            ]
            if is_disturbed:
                await self._deliver_at_once(messages + messages[:1])
            else:
                for message in messages:
                    await self.do(partial(process.chunks.process, message))
        self.queues.messages.clear()

    async def _deliver_at_once(self, messages: list[ChunkMessage]) -> None:
        tasks: dict[int, asyncio.Task[None]] = {}
        for message in messages:
            self._actors += 1
            process: Process = self.random.choice(self.processes)
            work = partial(process.chunks.process, message)
            tasks[self._actors] = self.turnstile.start(self._actors, work)
        while not all(task.done() for task in tasks.values()):
            await asyncio.sleep(0)
            if not self.turnstile.waiting:
                continue
            step = self.turnstile.waiting.pop(self.random.randrange(len(self.turnstile.waiting)))
            if self.random.random() < 0.02:
                self.turnstile.kill(step.actor, tasks[step.actor])
            elif not step.released.done():
                fates = [Fate.LOST, Fate.DONE_WITHOUT_ANSWER, Fate.REPEATED]
                is_faulty = self.random.random() < 0.02
                step.released.set_result(self.random.choice(fates) if is_faulty else Fate.DONE)
        for task in tasks.values():
            if not task.cancelled() and (error := task.exception()) is not None:
                assert isinstance(error, StorageUnavailableError), error

    def employees(self) -> State:
        """Status and hashed values of each employee, by id."""
        found = map(Employee.from_document, stored_employees(self.tables).values())
        return {employee.employee_id: (employee.status, *employee.values) for employee in found}

    def results(self, record: ImportRecord) -> list[RowResult]:
        return [
            row
            for item in self.tables.in_range("ImportResults", record.import_id)
            for row in result_records.rows_of(result_records.from_entity(item).data)
        ]


def changed_by(world: World, record: ImportRecord) -> set[str]:
    """The ids that an import has changed."""
    rows = [row for row in world.results(record) if row.outcome.took_effect]
    return {name for row in rows for name in (row.key[0], *row.removed, *row.restored) if name}


async def play(seed: int, seen: Counter[str]) -> None:
    world = World(seed)
    for _ in range(world.random.randint(1, 3)):
        await world.import_employees()
    before = world.employees()
    parent = await world.import_employees()
    assert parent is not None
    touched = changed_by(world, parent)
    later: set[str] = set()
    if world.random.random() < 0.5:
        other = await world.import_employees()
        later = set() if other is None else changed_by(world, other)
    present = world.employees()
    undo = await accept_undo(world, parent)
    if undo is None:
        assert not touched
        return
    assert {chunk.span for chunk in undo.chunks} == {business_records.tenant_span(TENANT)}
    await world.finish(undo, is_disturbed=True)
    after = world.employees()
    failed = [row for row in world.results(undo) if row.outcome is Outcome.FAILED]
    kept = {name for name in later if present.get(name) == after.get(name)}
    assert kept == later, "what a later import has changed stays"
    codes = {message.id for row in failed for message in row.messages}
    assert codes <= {1104}, codes
    reversed_ids = changed_by(world, undo)
    for name in reversed_ids:
        assert after.get(name) == before.get(name), f"{name} is not what it was"
    for name in present.keys() | after.keys():
        assert name in reversed_ids or present.get(name) == after.get(name)
    if not later:
        assert not failed, failed
        assert after == before
    seen["undone"] += 1
    seen["kept"] += bool(failed)
    seen["renamed"] += any(row.restored for row in world.results(undo))
    again = await accept_undo(world, undo)
    if again is not None:
        await world.finish(again, is_disturbed=True)
        assert world.employees() == present, "an undo is undone"
        seen["undone again"] += 1


async def accept_undo(world: World, parent: ImportRecord) -> ImportRecord | None:
    undoing, imports = world.processes[0].undoing, world.processes[0].imports
    current = await world.do(lambda: imports.read(TENANT, parent.number))
    try:
        record: ImportRecord = await world.do(lambda: undoing.undo(current))
    except ConflictError:
        return None
    return record


def test_an_undo_leaves_the_employees_that_were_there_before() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        try:
            asyncio.run(play(seed, seen))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    assert min(seen[each] for each in ("undone", "kept", "renamed", "undone again")) > 5, seen
