"""A fault while earlier imports are looked up: no chunk may conclude that there are none."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from shared.errors import StorageUnavailableError
from shared.imports.import_type import Options
from shared.imports.planning import Chunk, Span
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_processor import HoldBack
from shared.services.import_log import ImportLog
from shared.storage.import_records import ImportRecord
from tests.model.memory_storage import ACTOR, Fate, MemoryQueues, MemoryTables, Turnstile
from tests.model.processes import TENANT

CHUNKS = tuple(Chunk(number, 0, 0, 1, Span("a", "z")) for number in range(3))
FIRST = ImportRecord(TENANT, 0, "import-1", WORKERS.name, 3, CHUNKS, Options(), "2026-01-01")


def test_where_the_open_imports_cannot_be_read_no_chunk_may_start() -> None:
    async def play() -> None:
        ACTOR.set(1)
        turnstile = Turnstile()
        imports = ImportLog(MemoryTables(turnstile))
        hold_back = HoldBack(imports, MemoryQueues(turnstile), 8)
        releasing = asyncio.create_task(_release(turnstile, fates := [Fate.DONE] * 20))
        await imports.accept(FIRST)
        second = await imports.accept(replace(FIRST, import_id="import-2"))
        fates[:] = [Fate.LOST] + [Fate.DONE] * 100
        earlier = hold_back.earlier(second)
        found = await asyncio.gather(
            *(hold_back.waits(second, chunk.number, earlier) for chunk in CHUNKS),
            return_exceptions=True,
        )
        releasing.cancel()
        may_start = [each for each in found if each is False]
        assert not may_start, "it overtakes the first import"
        assert any(isinstance(each, StorageUnavailableError) for each in found)

    asyncio.run(play())


async def _release(turnstile: Turnstile, fates: list[Fate]) -> None:
    """Let every request pass, one after another; the first fate is the next one's."""
    while True:
        await asyncio.sleep(0)
        if turnstile.waiting:
            step = turnstile.waiting.pop(0)
            step.released.set_result(fates.pop(0))
