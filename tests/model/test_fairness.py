"""How much of large imports and downloads comes between the steps of another tenant's one-row call.

The real services on storage in memory that carries out one request at a time, in virtual time. So
the requests of others that a call waits behind are counted exactly, and do not depend on how busy
the machine is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import pytest

from shared.auth.callers import Caller
from shared.auth.integrations import Integration
from shared.imports.files.formats import FileFormat, ReadOptions, reader_of
from shared.imports.json_rows import Reader, read_payload
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_messages import ChunkMessage
from shared.services.records.reading import RecordRequest
from shared.storage.names import IMPORTS
from tests.builders import a_worker, body_of, workers
from tests.memory_storage import MemoryBlobs, MemoryQueues, MemoryTables, Message
from tests.model.harness import CountedIds, LoopClock, make_process, run_at_once

_T = TypeVar("_T")

OWNER: ContextVar[str] = ContextVar("OWNER", default="")
"""The tenant whose request it is."""
AT_ONCE: Final = 4
"""Messages of a queue that a process works on at a time (host.json)."""
SECONDS: Final = {"transaction": 0.04, "query": 0.02, "put": 0.04}
"""How long storage takes for large work; 4 ms for any other request."""


@dataclass
class OneAtATime:
    """A `RequestGate`: one request after the other, in the order of arrival; `owners` of all."""

    owners: list[str]
    free: asyncio.Lock

    async def passed(self, kind: str, work: Callable[[], _T]) -> _T:
        owner = OWNER.get()
        async with self.free:
            await asyncio.sleep(0.004 if owner == "small" else SECONDS.get(kind, 0.004))
            self.owners.append(owner)
            return work()


class BusyProcess:
    """One process that works on the queues and on calls of several tenants."""

    def __init__(self) -> None:
        self.gate = OneAtATime([], asyncio.Lock())
        self.queues = MemoryQueues(self.gate)
        self.tables = MemoryTables(self.gate)
        self.call_ended = asyncio.Event()
        self.process = make_process(
            self.tables,
            MemoryBlobs(self.gate),
            self.queues,
            LoopClock(),
            CountedIds(),
            max_rows=10_000,
            chunk_rows=500,
            chunk_bytes=4 * 1024 * 1024,
            handler_seconds=300,
        )

    async def send(self, tenant: str, body: bytes, reader: Reader = read_payload) -> None:
        OWNER.set(tenant)
        caller = Caller(tenant, "S", "S", Integration(tenant, "S", "S"))
        assert await self.process.intake.accept(WORKERS, caller, body, reader=reader)

    async def listen(self, queue: str) -> None:
        """Process the messages of a queue until cancelled."""
        running: set[asyncio.Task[None]] = set()
        while True:
            for message in [each for each in self.queues.messages if each.queue == queue]:
                if len(running) < AT_ONCE:
                    self.queues.messages.remove(message)
                    running.add(asyncio.create_task(self.handle(message)))
            await asyncio.sleep(0.01)
            running = {task for task in running if not task.done()}

    async def handle(self, message: Message) -> None:
        """Process the chunk of a message."""
        chunk = ChunkMessage.from_text(message.text)
        OWNER.set(chunk.tenant)
        await self.process.chunks.process(chunk)
        if chunk.tenant == "small":
            self.call_ended.set()

    def is_importing(self, tenant: str) -> bool:
        """Whether an import of the tenant is open; not a request."""
        return bool(self.tables.in_range(IMPORTS, tenant, "open|", "open|~"))

    async def export(self, tenant: str) -> None:
        """Download the records of a tenant again and again until cancelled."""
        OWNER.set(tenant)
        while True:
            await self.process.records.page("workers", RecordRequest(tenant), 10_000)

    async def call(self, number: int) -> int:
        """A call with one row, to the end of its import; how many requests of others it met."""
        first = len(self.gate.owners)
        self.call_ended.clear()
        await self.send("small", body_of([a_worker(f"P{number}")]))
        await self.call_ended.wait()
        return sum(owner != "small" for owner in self.gate.owners[first:])


def _csv(rows: list[dict[str, Any]]) -> bytes:
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    return "\n".join(lines).encode()


async def _requests_between(rows: int) -> list[int]:
    """The requests of others that each call met, during imports of so many rows."""
    busy = BusyProcess()
    many = workers(rows)
    await busy.send("exporting", body_of(workers(1_000)))
    while busy.queues.messages:
        await busy.handle(busy.queues.messages.pop(0))
    listening = [
        asyncio.create_task(busy.listen(queue)) for queue in (WORKERS.queue, WORKERS.bulk_queue)
    ]
    await busy.call(0)
    csv_reader = reader_of(FileFormat.CSV, WORKERS.rules, ReadOptions())
    exporting = asyncio.create_task(busy.export("exporting"))
    sending = [
        asyncio.create_task(busy.send("json", json.dumps(many).encode())),
        asyncio.create_task(busy.send("csv", _csv(many), csv_reader)),
    ]
    found: list[int] = []
    while not all(task.done() for task in sending) or any(map(busy.is_importing, ("json", "csv"))):
        found.append(await busy.call(len(found) + 1))
        await asyncio.sleep(0.1)
    for task in (*listening, exporting):
        task.cancel()
    return found


@pytest.mark.parametrize("rows", [1_500, 4_000])
def test_few_requests_of_large_work_come_between_the_steps_of_a_one_row_call(rows: int) -> None:
    """A call takes eight requests itself. Without turns it was up to 43, and 5 on average."""
    beside = run_at_once(_requests_between(rows))
    assert len(beside) > 10
    assert max(beside) <= 12, beside
    assert sum(beside) / len(beside) <= 3, beside
