"""Acceptance under lost answers: the number an import gets, and what a caller may rely on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from shared.errors import AcceptanceUnknownError, StorageUnavailableError
from shared.imports.import_type import Options
from shared.imports.planning import Chunk, Span
from shared.services.import_log import ImportLog
from shared.storage.import_records import ImportRecord
from tests.memory_storage import MemoryTables
from tests.model.harness import Fate, Turnstile

RECORD = ImportRecord(
    tenant="tenant",
    number=0,
    import_id="import-a",
    type_name="workers",
    rows=1,
    chunks=(Chunk(0, 0, 1, 1, Span("a", "a")),),
    options=Options(),
    accepted_at="2026-01-01T00:00:00.000Z",
)


async def _accept(turnstile: Turnstile, log: ImportLog, record: ImportRecord, fate: Fate) -> int:
    """Accept a record; the second request, which is the first that writes, meets `fate`."""
    task = turnstile.start(1, lambda: log.accept(record))
    await turnstile.release(task, lambda request: fate if request == 1 else Fate.DONE)
    return (await task).number


def test_an_insert_that_the_sdk_repeats_finds_its_own_number() -> None:
    async def play() -> tuple[int, int]:
        turnstile = Turnstile()
        tables = MemoryTables(turnstile)
        number = await _accept(turnstile, ImportLog(tables), RECORD, Fate.REPEATED)
        records = [row for _, row in tables.tables["Imports"] if row.startswith("n|")]
        return number, len(records)

    assert asyncio.run(play()) == (1, 1)


def test_an_answer_that_is_lost_on_the_way_does_not_refuse_what_is_accepted() -> None:
    async def play() -> tuple[int, int]:
        turnstile = Turnstile()
        tables = MemoryTables(turnstile)
        number = await _accept(turnstile, ImportLog(tables), RECORD, Fate.DONE_WITHOUT_ANSWER)
        records = [row for _, row in tables.tables["Imports"] if row.startswith("n|")]
        return number, len(records)

    assert asyncio.run(play()) == (1, 1)


def test_storage_that_goes_away_in_the_very_moment_leaves_it_open() -> None:
    async def play() -> str:
        turnstile = Turnstile()
        log = ImportLog(MemoryTables(turnstile))
        fates = iter([Fate.DONE, Fate.DONE_WITHOUT_ANSWER, Fate.LOST])
        with pytest.raises(AcceptanceUnknownError) as caught:
            await _released(turnstile, log, fates)
        return caught.value.import_id

    assert asyncio.run(play()) == RECORD.import_id


def test_storage_that_is_away_from_the_start_accepts_nothing() -> None:
    async def play() -> None:
        turnstile = Turnstile()
        log = ImportLog(MemoryTables(turnstile))
        with pytest.raises(StorageUnavailableError) as caught:
            await _released(turnstile, log, iter([Fate.LOST]))
        assert not isinstance(caught.value, AcceptanceUnknownError)

    asyncio.run(play())


async def _released(turnstile: Turnstile, log: ImportLog, fates: Iterator[Fate]) -> ImportRecord:
    """Accept the record; its requests meet these fates in turn."""
    task = turnstile.start(1, lambda: log.accept(RECORD))
    await turnstile.release(task, lambda _: next(fates))
    return await task


def test_two_processes_never_give_one_number_twice() -> None:
    async def play() -> list[int]:
        turnstile = Turnstile()
        tables = MemoryTables(turnstile)
        one, other = ImportLog(tables), ImportLog(tables)
        numbers = []
        for count, log in enumerate((one, other, one, one, other)):
            record = replace(RECORD, import_id=f"import-{count}")
            numbers.append(await _accept(turnstile, log, record, Fate.DONE))
        return numbers

    assert asyncio.run(play()) == [1, 2, 3, 4, 5]
