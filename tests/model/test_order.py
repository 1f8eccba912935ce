"""The order of imports holds under every interleaving that the model can think of.

`ORDER_MODEL_RUNS` sets how many seeds are played, `ORDER_MODEL_FIRST` the first of them: a failure
names its seed, and the same seed plays the same run. `test_changes.py` plays and judges as many
runs with a reader of the feed of changes, and those of licenses.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from shared.errors import AcceptanceUnknownError, StorageUnavailableError
from shared.imports.import_type import Options
from shared.imports.pay_and_bill.contract import PAY_AND_BILL
from shared.imports.planning import Chunk, Span
from shared.imports.registry import TYPE_CATALOGUE
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_processor import HoldBack
from shared.services.import_log import ImportLog
from shared.storage.import_records import ImportRecord
from tests.memory_storage import MemoryQueues, MemoryTables
from tests.model.harness import TENANT, Fate, Turnstile, run_model
from tests.model.judging import judge
from tests.model.simulation import Simulation, UnsweptSimulation

RUNS = int(os.environ.get("ORDER_MODEL_RUNS", "600"))
FIRST = int(os.environ.get("ORDER_MODEL_FIRST", "0"))


async def _play(world: Simulation) -> Simulation:
    await world.play()
    return world


@pytest.mark.timeout(120 + RUNS)
def test_imports_leave_what_one_after_another_would_have_left() -> None:
    seen: Counter[str] = Counter()
    for seed in range(FIRST, FIRST + RUNS // 2):
        world = run_model(_play(Simulation(seed)))
        try:
            judge(world)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        seen += world.seen
    assert {"crash", "straggler", "fault", "cancel", "retry"} <= set(seen), "the model must disturb"
    if RUNS >= 600:  # the sample of `dev.py check` is too small for what is rare
        _check_rare_events(seen)


def _check_rare_events(seen: Counter[str]) -> None:
    assert {"repair", "partial retry", "retry of a retry"} <= set(seen)
    assert "former values" in seen, "records must be changed by a second import"
    assert {kind.schema_name for kind in TYPE_CATALOGUE.all if kind.contract is PAY_AND_BILL} <= {
        *seen
    }
    kinds = {"updated", "new", "1104", "1105"}
    assert {"undo of an undo", "retry of an undo", *(f"undo {each}" for each in kinds)} <= set(seen)


@pytest.mark.timeout(120 + RUNS)
def test_no_import_needs_the_sweep_where_every_call_has_sent_its_messages() -> None:
    seen: Counter[str] = Counter()
    for seed in range(FIRST, FIRST + RUNS // 3):
        try:
            world = run_model(_play(UnsweptSimulation(seed)))
            judge(world)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        seen += world.seen
    assert {"crash", "straggler", "fault", "cancel", "retry"} <= set(seen), "the model must disturb"


# Acceptance under lost answers: the number an import gets, and what a caller may rely on.


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
    """Accept a record; the third request, the first that writes the import, meets `fate`."""
    task = turnstile.start(1, lambda: log.accept(record))
    await turnstile.release(task, lambda request: fate if request == 2 else Fate.DONE)
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
        fates = iter([Fate.DONE, Fate.DONE, Fate.DONE_WITHOUT_ANSWER, Fate.LOST])
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


# A fault while earlier imports are looked up: no chunk may conclude that there are none.


CHUNKS = tuple(Chunk(number, 0, 0, 1, Span("a", "z")) for number in range(3))
FIRST_IMPORT = ImportRecord(TENANT, 0, "import-1", WORKERS.name, 3, CHUNKS, Options(), "2026-01-01")


def test_where_the_open_imports_cannot_be_read_no_chunk_may_start() -> None:
    async def play() -> None:
        turnstile = Turnstile()
        imports = ImportLog(MemoryTables(turnstile))
        hold_back = HoldBack(imports, MemoryQueues(turnstile), 8)

        async def accept_two() -> ImportRecord:
            await imports.accept(FIRST_IMPORT)
            return await imports.accept(replace(FIRST_IMPORT, import_id="import-2"))

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
