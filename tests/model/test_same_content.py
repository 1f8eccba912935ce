"""allowSameFile=false where the first call fails or dies at any request, or loses any answer.

The repeat comes at once. It goes in where the first call was not accepted, and it is refused with
the first call's import where that was.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from shared.errors import ConflictError, StorageUnavailableError
from shared.imports.import_type import Options
from shared.imports.licenses.definition import LICENSES
from shared.imports.licenses.same_file import ImportedFiles
from shared.services.accept import INLINE_BYTES
from shared.storage import import_records
from tests.memory_storage import MemoryBlobs, MemoryQueues, MemoryTables
from tests.model.harness import (
    TENANT,
    CountedIds,
    Fate,
    ModelClock,
    Step,
    Turnstile,
    make_process,
)

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


async def _play(body: bytes, fault: Fate | None, at: int) -> bool:
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
    while asyncio.run(_play(body, fault, reached)):
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
