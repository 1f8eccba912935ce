"""Calls with one Idempotency-Key under every kind of misfortune: one import, one answer.

The real services on storage in memory, several processes, in virtual time: calls die anywhere, are
so slow that others take over, and go on then; requests are lost, or their answers. In the end a
call without misfortune is made.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from shared.errors import (
    ConflictError,
    InvalidRequestError,
    KeyReusedError,
    RefusedError,
    StorageUnavailableError,
)
from shared.imports.import_type import Options
from shared.imports.licenses.definition import LICENSES
from shared.imports.licenses.store import ImportedFiles
from shared.imports.planning import Chunk, Span
from shared.process_stop import ProcessStop
from shared.services.accept import INLINE_BYTES
from shared.services.idempotency import IdempotencyKeys, IdempotencyStore, KeyedCall
from shared.services.import_log import ImportLog
from shared.storage import import_records
from shared.storage.idempotency_records import KeptAnswer
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Entity
from shared.web.idempotency import KeyedAnswer, answer_keyed
from tests.memory_storage import MemoryBlobs, MemoryQueues, MemoryTables
from tests.model.harness import (
    TENANT,
    CountedIds,
    Fate,
    LoopClock,
    ModelClock,
    Step,
    Turnstile,
    make_process,
    run_at_once,
    run_here,
)

RUNS = int(os.environ.get("REPEAT_MODEL_RUNS", "150"))
KEY = "key"
TAKE_OVER_SECONDS = 5.0
PROCESSES = 2
FREEZE_SECONDS = 12.0


@dataclass
class Process:
    """What one process has for itself."""

    imports: ImportLog
    idempotency: IdempotencyKeys


@dataclass
class Work:
    """A `RepeatableWork` that has an import accepted and waits for its end."""

    imports: ImportLog
    content: str
    is_refused: bool
    seconds: float
    slowness: float = 0.0

    async def run(self, import_id: str, *, is_repeat: bool) -> KeptAnswer:
        await asyncio.sleep(self.slowness)
        if self.is_refused:
            raise InvalidRequestError("not like that")
        record = await self.imports.find(TENANT, import_id) if is_repeat else None
        if record is None:
            record = await self.imports.accept(_draft(import_id, self.content))
        end = LoopClock().elapsed() + self.seconds
        while LoopClock().elapsed() < end:
            await asyncio.sleep(0.5)
            with suppress(StorageUnavailableError):
                stored = await self.imports.find(TENANT, import_id)
                if stored is not None and not stored.is_open:
                    return _answer(stored)
        return _answer(record)

    async def find(self, import_id: str) -> ImportRecord | None:
        return await self.imports.find(TENANT, import_id)

    async def answer_found(self, record: ImportRecord) -> KeptAnswer:
        return _answer(record)


@dataclass
class World:
    """One run."""

    pick: random.Random
    turnstile: Turnstile = field(default_factory=Turnstile)
    answers: list[KeyedAnswer] = field(default_factory=list)
    refused: list[RefusedError] = field(default_factory=list)
    frozen: dict[int, float] = field(default_factory=dict)
    cut_off: dict[int, int] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tables = MemoryTables(self.turnstile)
        blobs, ids = MemoryBlobs(self.turnstile), CountedIds()
        self.processes = [
            Process(
                ImportLog(self.tables),
                IdempotencyKeys(
                    store=IdempotencyStore(self.tables, blobs, ids, run_here),
                    clock=LoopClock(),
                    ids=ids,
                    stop=ProcessStop(),
                    keep_seconds=1e6,
                    take_over_seconds=TAKE_OVER_SECONDS,
                ),
            )
            for _ in range(PROCESSES)
        ]
        self.tasks: dict[int, asyncio.Task[None]] = {}

    @property
    def records(self) -> list[Entity]:
        return self.tables.in_range("Imports", TENANT, "n|", "n|~")

    def call(
        self,
        content: str,
        *,
        is_refused: bool = False,
        seconds: float = 1e5,
        slowness: float = 0.0,
    ) -> None:
        """Begin a call, at one of the processes."""
        actor = len(self.tasks)
        process = self.pick.choice(self.processes)
        work = Work(process.imports, content, is_refused, seconds, slowness)

        async def run() -> None:
            try:
                call = KeyedCall(TENANT, KEY, (content,))
                self.answers.append(await answer_keyed(process.idempotency, call, work))
            except RefusedError as error:
                self.refused.append(error)
            except StorageUnavailableError:
                pass

        self.tasks[actor] = self.turnstile.start(actor, run)

    async def go_on(self, *, has_misfortune: bool) -> None:
        """Release requests in any order until every call has ended."""
        while any(not task.done() for task in self.tasks.values()):
            for _ in range(4):
                await asyncio.sleep(0)
            self._look_at_the_answer()
            now = LoopClock().elapsed()
            if has_misfortune:
                self._strike(now)
            ready = [
                step
                for step in self.turnstile.waiting
                if self.frozen.get(step.actor, 0.0) <= now and not step.released.done()
            ]
            if self.pick.random() < 0.05:
                self._end_an_import()
            if ready and self.pick.random() < 0.9:
                step = self.pick.choice(ready)
                fate = self._fate(step.actor) if has_misfortune else Fate.DONE
                step.released.set_result(fate)
            else:
                await asyncio.sleep(0.1)

    def _strike(self, now: float) -> None:
        running = [actor for actor, task in self.tasks.items() if not task.done()]
        if not running:
            return
        actor = self.pick.choice(running)
        chance = self.pick.random()
        if chance < 0.01:
            self.turnstile.kill(actor, self.tasks[actor])
        elif chance < 0.03:
            self.frozen[actor] = now + self.pick.uniform(0, FREEZE_SECONDS)
        elif chance < 0.04:
            self.cut_off[actor] = self.pick.randrange(2, 6)

    def _fate(self, actor: int) -> Fate:
        """What becomes of a request; who is cut off gets no answers for a while."""
        if self.cut_off.get(actor, 0) > 0:
            self.cut_off[actor] -= 1
            return self.pick.choice((Fate.LOST, Fate.DONE_WITHOUT_ANSWER))
        others = (Fate.LOST, Fate.DONE_WITHOUT_ANSWER, Fate.REPEATED)
        return self.pick.choice(others) if self.pick.random() < 0.04 else Fate.DONE

    def _look_at_the_answer(self) -> None:
        for record in self.tables.in_range("Idempotency", TENANT):
            if "Status" in record.values:
                self.statuses.append(record.number("Status"))

    def _end_an_import(self) -> None:
        rows = self.tables.tables["Imports"]
        for key, entity in rows.items():
            if key[1].startswith("n|") and not entity.text("EndedAt"):
                rows[key] = replace(entity, values={**entity.values, "EndedAt": "then"})
                return


def _draft(import_id: str, content: str) -> ImportRecord:
    chunk = Chunk(0, 0, 1, 1, Span("a", "a"))
    return ImportRecord(
        TENANT, 0, import_id, "workers", 1, (chunk,), Options(), "2026-01-01", inline=content
    )


def _answer(record: ImportRecord) -> KeptAnswer:
    status = 202 if record.is_open else 200
    return KeptAnswer(status, {"X-Import-Id": record.import_id}, "text/plain", b"said")


def _play_calls(seed: int, *contents: str, is_refused: bool = False) -> World:
    """Some calls at once, with misfortune; then one without, of the content that the key has."""

    async def play() -> World:
        world = World(random.Random(seed))
        for _ in range(world.pick.randrange(2, 6)):
            content = world.pick.choice(contents)
            seconds = world.pick.choice([1.0, 1e5])
            world.call(content, is_refused=is_refused, seconds=seconds)
        await world.go_on(has_misfortune=True)
        world.frozen.clear()
        bound = world.tables.in_range("Idempotency", TENANT)
        last = bound[0].text("Fingerprint") if bound else contents[0]
        world.call(last, is_refused=is_refused)
        await world.go_on(has_misfortune=False)
        return world

    return run_at_once(play())


@pytest.mark.parametrize("batch", range(5))
def test_all_calls_with_one_key_are_one_import_and_one_answer(batch: int) -> None:
    for seed in range(batch * RUNS // 5, (batch + 1) * RUNS // 5):
        world = _play_calls(seed, "content")
        [record] = world.records
        assert world.answers, seed
        named = {answered.answer.headers["X-Import-Id"] for answered in world.answers}
        assert named == {record.text("ImportId")}, seed
        assert {answered.import_id for answered in world.answers} == named, seed
        assert not world.refused, seed
        [key_entity] = world.tables.in_range("Idempotency", TENANT)
        assert set(world.statuses) == {key_entity.number("Status")}, seed
        assert world.answers[-1].answer.status == key_entity.number("Status"), seed


def test_a_refusal_is_everybodys_and_leaves_nothing() -> None:
    for seed in range(RUNS // 5):
        world = _play_calls(seed, "content", is_refused=True)
        assert not world.records, seed
        assert not world.answers, seed
        assert {type(error) for error in world.refused} == {InvalidRequestError}, seed
        assert not world.tables.in_range("Idempotency", TENANT), seed


@pytest.mark.parametrize("is_first_refused", [True, False])
def test_of_a_slow_call_and_its_successor_one_is_refused_and_the_key_stays(
    is_first_refused: bool,
) -> None:
    async def play() -> World:
        world = World(random.Random(1))
        slow = 2 * TAKE_OVER_SECONDS
        world.call("content", is_refused=is_first_refused, seconds=1.0, slowness=slow)
        other = asyncio.create_task(world.go_on(has_misfortune=False))
        await asyncio.sleep(1)
        slow = 2 * TAKE_OVER_SECONDS if not is_first_refused else 0.0
        world.call("content", is_refused=not is_first_refused, seconds=1.0, slowness=slow)
        await other
        world.call("content", seconds=1.0)
        await world.go_on(has_misfortune=False)
        return world

    world = run_at_once(play())
    [record] = world.records
    assert {answered.import_id for answered in world.answers} == {record.text("ImportId")}
    assert len(world.refused) == (1 if is_first_refused else 0)


def test_of_two_contents_under_one_key_one_is_imported() -> None:
    for seed in range(RUNS // 3):
        world = _play_calls(seed, "one", "other")
        [record] = world.records
        assert all(isinstance(error, KeyReusedError) for error in world.refused), seed
        [key_entity] = world.tables.in_range("Idempotency", TENANT)
        assert record.text("Lines0") == key_entity.text("Fingerprint"), seed


# allowSameFile=false where the first call fails or dies at any request, or loses any answer.
#
# The repeat comes at once. It goes in where the first call was not accepted, and it is refused with
# the first call's import where that was.


SMALL = json.dumps([{"companyCode": "C1", "employeeNumber": "1", "notes": "x"}]).encode()
LARGE = json.dumps([{"companyCode": "C1", "notes": "x" * INLINE_BYTES}]).encode()
"""Its payload is a blob of its own, written before the record."""
_MOST_REQUESTS = 40


@dataclass
class Desk:
    """Calls of one tenant, each in a process of its own."""

    turnstile: Turnstile = field(default_factory=Turnstile)

    def __post_init__(self) -> None:
        self.tables = MemoryTables(self.turnstile)
        self._clock, self._ids = ModelClock(), CountedIds()
        self._storage = MemoryBlobs(self.turnstile), MemoryQueues(self.turnstile)

    def start(self, actor: int, body: bytes, import_id: str) -> asyncio.Task[str]:
        """A call, in a process of its own."""
        return self.turnstile.start(actor, lambda: self._send(body, import_id))

    async def _send(self, body: bytes, import_id: str) -> str:
        """What the call of the endpoint does: the id of the accepted import."""
        blobs, queues = self._storage
        process = make_process(
            self.tables, blobs, queues, self._clock, self._ids, chunk_rows=100, handler_seconds=40
        )
        planned = await process.intake.read(LICENSES, TENANT, body)
        draft = process.intake.draft(LICENSES, TENANT, planned, Options(), import_id)
        name = hashlib.sha256(body).hexdigest()
        draft = replace(draft, body_hash=name)
        check = partial(ImportedFiles(process.imports).check, TENANT, (name,), import_id)
        await check()
        record = await process.intake.accept_planned(LICENSES, draft, planned, check)
        return record.import_id

    def accepted(self) -> list[str]:
        """The ids of the imports that there are."""
        return [
            entity.text("ImportId")
            for (_, row), entity in sorted(self.tables.tables["Imports"].items(), reverse=True)
            if row.startswith("n|")
        ]


async def _is_reached(body: bytes, fault: Fate | None, at: int) -> bool:
    """Whether the first call made so many requests that the fault came."""
    desk = Desk()
    first = desk.start(1, body, "first")
    count = await desk.turnstile.release(
        first, lambda request: fault if request == at else Fate.DONE
    )
    with suppress(StorageUnavailableError, asyncio.CancelledError):
        await first
    was_accepted = desk.accepted() == ["first"]
    second = desk.start(2, body, "second")
    await desk.turnstile.release(second)
    if was_accepted:
        with pytest.raises(ConflictError, match="import first"):
            await second
    else:
        assert await second == "second"
    assert desk.accepted() == (["first"] if was_accepted else ["second"])
    return count > at


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("fault", [Fate.LOST, Fate.DONE_WITHOUT_ANSWER, Fate.REPEATED, None])
def test_the_repeat_of_a_call_that_failed_anywhere_works_at_once(
    body: bytes, fault: Fate | None
) -> None:
    reached = 0
    while asyncio.run(_is_reached(body, fault, reached)):
        reached += 1
        assert reached < _MOST_REQUESTS
    assert reached >= 4, "the fault came at every request of the call"


def test_a_call_that_storage_leaves_without_any_answer_blocks_no_repeat() -> None:
    async def play() -> None:
        for begin in range(4):
            desk = Desk()
            first = desk.start(1, SMALL, "first")
            fate = lambda request, begin=begin: Fate.DONE if request < begin else Fate.LOST  # noqa: E731
            await desk.turnstile.release(first, fate)
            with pytest.raises(StorageUnavailableError):
                await first
            second = desk.start(2, SMALL, "second")
            await desk.turnstile.release(second)
            assert await second == "second"

    asyncio.run(play())


async def _race(seed: int) -> None:
    """Three calls at once, in any order, with faults: the content goes in once."""
    desk, pick = Desk(), random.Random(seed)
    tasks = {actor: desk.start(actor, SMALL, f"call-{actor}") for actor in (1, 2, 3)}
    waiting = desk.turnstile.waiting
    while not all(task.done() for task in tasks.values()):
        await asyncio.sleep(0)
        if not waiting:
            continue
        step: Step = waiting.pop(pick.randrange(len(waiting)))
        fates = [Fate.DONE] * 12 + [Fate.LOST, Fate.DONE_WITHOUT_ANSWER, Fate.REPEATED]
        step.released.set_result(pick.choice(fates))
    accepted = desk.accepted()
    assert len(accepted) <= 1, f"seed {seed}: the content went in {len(accepted)} times"
    for actor, task in tasks.items():
        error = task.exception()
        if error is None:
            assert accepted == [f"call-{actor}"], f"seed {seed}"
        elif isinstance(error, ConflictError):
            assert accepted, f"seed {seed}: refused, and nothing went in"
            assert accepted[0] in str(error), f"seed {seed}"
        else:
            assert isinstance(error, StorageUnavailableError), f"seed {seed}: {error!r}"


def test_of_calls_at_once_one_goes_in_whatever_fails() -> None:
    for seed in range(300):
        asyncio.run(_race(seed))


def test_a_record_without_a_kept_hash_is_found_by_none() -> None:
    first, last = import_records.file_range("licenses", "a" * 64)
    row = import_records.file_row("licenses", "a" * 64, 7)
    assert first <= row <= last
    assert import_records.number_of_file(row) == 7
    assert not first <= import_records.file_row("licenses", "b" * 64, 7) <= last
