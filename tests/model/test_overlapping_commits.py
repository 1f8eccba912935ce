"""Transactions of one chunk run two at a time, and slices of large imports are decided in turn.

The committer and the whole pipeline on storage in memory, in virtual time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import pytest

from shared.auth.callers import Caller
from shared.auth.integrations import Integration
from shared.errors import StorageUnavailableError
from shared.imports.import_type import ReadRow
from shared.imports.results import Outcome, RowResult
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_messages import ChunkMessage
from shared.services.record_processor import RecordCommitter
from shared.services.row_processor import HandlerTimeUpError, KeyRows, RecordOutcome
from shared.storage.business_records import RecordKey, StoredRecord
from shared.storage.ports import Entity, Insert, Operation
from tests.builders import workers
from tests.memory_storage import MemoryBlobs, MemoryQueues, MemoryTables
from tests.model.harness import (
    TENANT,
    CountedIds,
    LoopClock,
    make_process,
    run_at_once,
    run_here,
)

_T = TypeVar("_T")
SECONDS = 0.01
CALLER = Caller(TENANT, "S", "S", Integration(TENANT, "S", "S"))


class SlowRequests:
    """Each request takes some time. `running` are the transactions that have not ended."""

    def __init__(self, fails: int = 0) -> None:
        """The transaction of that number, from 1, takes half of it and fails."""
        self._fails = fails
        self.begun = self.ended = self.running = self.most = 0

    async def passed(self, kind: str, work: Callable[[], _T]) -> _T:
        if kind != "transaction":
            await asyncio.sleep(SECONDS)
            return work()
        self.begun += 1
        is_failure = self.begun == self._fails
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(SECONDS / 2 if is_failure else SECONDS)
            if is_failure:
                raise StorageUnavailableError("the test")
            return work()
        finally:
            self.running -= 1
            self.ended += 1


def keys(count: int) -> list[KeyRows]:
    rows = (ReadRow(at, ("E", f"{at:03d}"), {}, ()) for at in range(count))
    return [KeyRows(RecordKey("t|E", f"r|{row.index:03d}"), (row,)) for row in rows]


def insert(rows: KeyRows, stored: StoredRecord | None) -> RecordOutcome:
    """Insert each record that is not stored, with a look-up."""
    assert stored is None
    entities = (Entity(rows.key.partition, f"{rows.key.row}{end}", {}) for end in ("", "x"))
    result = RowResult(rows.rows[0].index, rows.rows[0].key, Outcome.NEW)
    return RecordOutcome((result,), tuple(map(Insert, entities)))


def committer(
    requests: SlowRequests, before_commit: Callable[[], Awaitable[bool | None]], at_once: int = 2
) -> RecordCommitter:
    return RecordCommitter(
        MemoryTables(requests),
        MemoryBlobs(requests),
        "Records",
        insert,
        before_commit,
        "import",
        run_here,
        1,
        at_once=at_once,
    )


async def go_on() -> None:
    return None


async def one_at_a_time() -> bool:
    return True


@pytest.mark.parametrize(
    ("before_commit", "at_once", "most"), [(go_on, 2, 2), (go_on, 1, 1), (one_at_a_time, 2, 1)]
)
def test_so_many_transactions_run_at_a_time(
    before_commit: Callable[[], Awaitable[bool | None]], at_once: int, most: int
) -> None:
    requests = SlowRequests()
    results = run_at_once(committer(requests, before_commit, at_once).commit(keys(250)))
    assert sorted(result.index for result in results) == list(range(250))
    assert (requests.begun, requests.most) == (5, most)


@pytest.mark.parametrize("fails", [1, 2, 3])
def test_no_transaction_runs_any_more_after_one_has_failed(fails: int) -> None:
    async def scenario(requests: SlowRequests) -> None:
        with pytest.raises(StorageUnavailableError):
            await committer(requests, go_on).commit(keys(250))
        assert requests.running == 0
        begun = requests.begun
        await asyncio.sleep(10 * SECONDS)
        assert requests.begun == begun < 5

    run_at_once(scenario(SlowRequests(fails)))


def test_transactions_that_run_are_awaited_when_the_time_is_up() -> None:
    async def scenario() -> None:
        requests = SlowRequests()

        async def time_is_up() -> None:
            if requests.begun == 2:
                raise HandlerTimeUpError

        with pytest.raises(HandlerTimeUpError):
            await committer(requests, time_is_up).commit(keys(250))
        assert (requests.begun, requests.ended, requests.running) == (2, 2, 0)

    run_at_once(scenario())


def test_a_cancelled_handler_leaves_no_transaction_behind() -> None:
    async def scenario() -> None:
        requests = SlowRequests()
        handler = asyncio.create_task(committer(requests, go_on).commit(keys(250)))
        await asyncio.sleep(1.5 * SECONDS)
        assert requests.running == 2
        handler.cancel()
        with pytest.raises(asyncio.CancelledError):
            await handler
        assert (requests.begun, requests.running) == (2, 0)
        assert len(asyncio.all_tasks()) == 1

    run_at_once(scenario())


class WatchedTables(MemoryTables):
    """`order` has each read and each write of workers, as it begins."""

    def __init__(self, requests: SlowRequests) -> None:
        super().__init__(requests)
        self.order: list[str] = []

    async def query(self, table: str, partition: str, *args: Any, **kwargs: Any) -> list[Entity]:
        if table == WORKERS.table and partition != TENANT:
            self.order.append("read")
        return await super().query(table, partition, *args, **kwargs)

    async def transact(self, table: str, operations: Sequence[Operation]) -> None:
        if table == WORKERS.table and operations[0].entity.partition != TENANT:
            self.order.append("write")
        await super().transact(table, operations)


def test_records_are_written_before_the_last_handler_has_read_its_own() -> None:
    """Four handlers with a slice each, of ten employers."""

    async def scenario() -> None:
        requests = SlowRequests()
        tables, blobs, queues = WatchedTables(requests), MemoryBlobs(requests), MemoryQueues()
        limits: dict[str, Any] = {"max_rows": 1_000, "chunk_rows": 1_000, "chunk_bytes": 10**7}
        process = make_process(tables, blobs, queues, LoopClock(), CountedIds(), **limits)
        await process.intake.accept(WORKERS, CALLER, json.dumps(workers(1_000)).encode())
        messages = [ChunkMessage.from_text(message.text) for message in queues.messages]
        assert len(messages) == 4
        await asyncio.gather(*map(process.chunks.process, messages))
        assert await process.imports.open_of(TENANT) == []
        last_read = len(tables.order) - 1 - tables.order[::-1].index("read")
        assert tables.order[:last_read].count("write") >= 4, tables.order

    run_at_once(scenario())
