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
from tests.memory_storage import MemoryQueues, MemoryTables
from tests.model.harness import TENANT, Fate, Turnstile

CHUNKS = tuple(Chunk(number, 0, 0, 1, Span("a", "z")) for number in range(3))
FIRST = ImportRecord(TENANT, 0, "import-1", WORKERS.name, 3, CHUNKS, Options(), "2026-01-01")


def test_where_the_open_imports_cannot_be_read_no_chunk_may_start() -> None:
    async def play() -> None:
        turnstile = Turnstile()
        imports = ImportLog(MemoryTables(turnstile))
        hold_back = HoldBack(imports, MemoryQueues(turnstile), 8)

        async def accept_two() -> ImportRecord:
            await imports.accept(FIRST)
            return await imports.accept(replace(FIRST, import_id="import-2"))

        accepting = turnstile.start(1, accept_two)
        await turnstile.release(accepting)
        second = accepting.result()

        async def ask_for_each_chunk() -> list[bool | BaseException]:
            earlier = hold_back.earlier(second)
            return await asyncio.gather(
                *(hold_back.waits(second, chunk.number, earlier) for chunk in CHUNKS),
                return_exceptions=True,
            )

        asking = turnstile.start(1, ask_for_each_chunk)
        await turnstile.release(asking, lambda request: Fate.DONE if request else Fate.LOST)
        answers = asking.result()
        may_start = [each for each in answers if each is False]
        assert not may_start, "it overtakes the first import"
        assert any(isinstance(each, StorageUnavailableError) for each in answers)

    asyncio.run(play())
