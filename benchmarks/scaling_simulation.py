"""The pipeline on storage that throttles, with any number of workers, for the bench `scaling`.

The gateway's own acceptance, chunk handlers, closing, sweep and poison handling run in one process
on an account in memory (`measuring.throttled_storage`), in virtual time: a wait takes none. Only
the host is imitated, which receives messages, gives failed ones back and moves those that failed
too often. So a run depends on nothing but its seed. docs/scaling.md says what is not modelled.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.measuring.throttled_storage import (
    Processor,
    Targets,
    ThrottledAccount,
    ThrottledBlobs,
    ThrottledQueues,
    ThrottledTables,
)
from shared.app import compose_chunks, compose_sweep
from shared.auth.callers import Caller
from shared.auth.integrations import Integration
from shared.auth.lookups import PARTITION
from shared.dependencies import Dependencies
from shared.errors import StorageUnavailableError
from shared.imports.authdata.services import compose_authdata
from shared.imports.workers.definition import WORKERS
from shared.process_stop import ProcessStop
from shared.services.chunk_messages import ChunkMessage
from shared.services.early_polls import EARLY_POLL
from shared.services.import_log import ImportLog
from shared.services.poisoned_chunks import PoisonedChunks, poison_queue
from shared.settings import Settings
from shared.storage.entities import encode
from shared.storage.import_records import ImportRecord
from shared.storage.names import TENANTS
from shared.storage.ports import Entity, ReceivedMessage
from shared.storage_time import BACKGROUND_SECONDS, CALL_SECONDS, storage_time
from tests.builders import a_full_worker, a_worker
from tests.emulator import settings_for
from tests.model.harness import CountedIds, LoopClock, run_at_once, run_here

# The host, as host.json sets it.
HANDLERS = 4
_LEASE_SECONDS = 600
_SHORTEST_POLL, _LONGEST_POLL = 0.1, 1.0
_TRIES = 5
_HIDDEN_SECONDS = 30
_TIMER_SECONDS = 30

_QUEUES = (WORKERS.queue, WORKERS.bulk_queue)
# So that there are chunks for many handlers without millions of rows; the default is 1,000.
_CHUNK_ROWS = 250
_CALLER_REPEATS_SECONDS = 2
_MOST_SECONDS = 3_600


@dataclass(frozen=True, slots=True)
class Load:
    """Imports of new workers: `callers` of each tenant send `calls` one after the other."""

    name: str
    tenants: int
    employers: int
    rows: int
    callers: int = 1
    calls: int = 1
    # Workers with all fields of the vendor's sample instead of small ones.
    is_full: bool = False

    @property
    def all_rows(self) -> int:
        return self.tenants * self.callers * self.calls * self.rows


LOADS = (
    Load("one employer", tenants=1, employers=1, rows=16_000),
    Load("ten employers of one tenant", tenants=1, employers=10, rows=24_000),
    Load("eight tenants of ten employers", tenants=8, employers=10, rows=5_000),
    Load("calls with one row, 64 tenants", tenants=64, employers=1, rows=1, callers=2, calls=6),
)


@dataclass(frozen=True, slots=True)
class Growth:
    """What one load did with so many workers, which are handlers at work at the same time.

    `rows_per_second` is that between the first and the last tenth of what was written, so that
    neither the start nor the last chunks count; `seconds` is until the last import had ended.
    `came_back` are the messages whose handler failed, `refused` the calls that were answered 503,
    and `lost` the rows that did not end as new.
    """

    workers: int
    rows_per_second: float
    seconds: float
    entities_per_row: float
    requests_per_row: float
    busy: int
    came_back: int
    refused: int
    lost: int


class _Process:
    """One process of the gateway, with the host that starts its handlers."""

    def __init__(self, account: ThrottledAccount, settings: Settings, ids: CountedIds) -> None:
        processor = Processor()
        self._queues = ThrottledQueues(account, processor)
        dependencies = Dependencies.from_storage(
            settings,
            ThrottledTables(account, processor),
            ThrottledBlobs(account, processor),
            self._queues,
            LoopClock(),
            ProcessStop(),
            ids=ids,
            offload=run_here,
        )
        self.intake = dependencies.intake
        self._chunks = compose_chunks(dependencies, compose_authdata(dependencies))
        self._sweep = compose_sweep(dependencies, self._chunks)
        self._poisoned = PoisonedChunks(self._queues, _QUEUES, self._chunks.end_as_failed)
        self.came_back = 0

    async def listen(self, queue: str, handlers: int) -> None:
        """Receive messages of a queue in batches, at most so many at work at once."""
        batch = max(1, handlers // 2)
        pause = _SHORTEST_POLL
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                if len(running) > handlers - batch:
                    _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    continue
                try:
                    found = await self._queues.receive(queue, batch, _LEASE_SECONDS)
                except StorageUnavailableError:
                    found = []
                if found:
                    pause = _SHORTEST_POLL
                    running |= {asyncio.create_task(self._handle(queue, each)) for each in found}
                else:
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_POLL)
        finally:
            for task in running:
                task.cancel()

    async def _handle(self, queue: str, message: ReceivedMessage) -> None:
        try:
            with storage_time(BACKGROUND_SECONDS):
                if message.text != EARLY_POLL:
                    await self._chunks.process(ChunkMessage.from_text(message.text))
        except StorageUnavailableError:
            self.came_back += 1
            stored = message.handle
            if stored.received < _TRIES:
                stored.visible_at = asyncio.get_running_loop().time() + _HIDDEN_SECONDS
                return
            await _at_last(lambda: self._queues.send(poison_queue(queue), message.text))
        await _at_last(lambda: self._queues.delete(queue, message))

    async def keep_up(self) -> None:
        """The housekeeping timer: poison queues and the sweep."""
        while True:
            await asyncio.sleep(_TIMER_SECONDS)
            for work in (self._poisoned.run, self._sweep.run):
                with storage_time(BACKGROUND_SECONDS):
                    await _at_last(work)


async def _at_last(work: Callable[[], Awaitable[None]]) -> None:
    """Do what the host repeats until it succeeds."""
    while True:
        try:
            return await work()
        except StorageUnavailableError:
            await asyncio.sleep(1)


class _Callers:
    """The callers of a load, who repeat a call that is answered 503."""

    def __init__(self, load: Load, processes: Sequence[_Process], log: ImportLog) -> None:
        self._load = load
        self._processes = processes
        self._log = log
        self.accepted: list[ImportRecord] = []
        self.refused = 0

    async def send_all(self) -> None:
        await asyncio.gather(
            *(
                self._send(tenant, number)
                for tenant in range(self._load.tenants)
                for number in range(self._load.callers)
            )
        )

    async def _send(self, tenant: int, number: int) -> None:
        intake = self._processes[(tenant + number) % len(self._processes)].intake
        name = tenant_name(tenant)
        caller = Caller(name, "S", "S", Integration(name, "S", "S"))
        for call in range(self._load.calls):
            place = f"{number}-{call}"
            body = json.dumps(self._rows(place)).encode()
            record: ImportRecord | None = None
            while record is None:
                try:
                    with storage_time(CALL_SECONDS):
                        record = await intake.accept(WORKERS, caller, body, f"{name}-{place}")
                except StorageUnavailableError:
                    self.refused += 1
                    await asyncio.sleep(_CALLER_REPEATS_SECONDS)
            self.accepted.append(record)
            while (stored := await self._log.read(name, record.number)) and stored.is_open:
                await asyncio.sleep(0.05)
                assert asyncio.get_running_loop().time() < _MOST_SECONDS, "an import does not end"

    def _rows(self, place: str) -> list[dict[str, Any]]:
        load = self._load
        rows = (a_full_worker(at, "") if load.is_full else a_worker("") for at in range(load.rows))
        return [
            row
            | {
                "EmployerRef": f"E{at % load.employers}",
                "PersonnelRef": f"W{place}-{at}",
                "ExternalWorkerRef": f"X{place}-{at}",
            }
            for at, row in enumerate(rows)
        ]


def tenant_name(number: int) -> str:
    return f"tenant{number}"


def simulate(
    load: Load,
    workers: int,
    account: ThrottledAccount | None = None,
    chunk_rows: int = _CHUNK_ROWS,
) -> Growth:
    """Import a load with so many workers, into a new account by default."""
    random.seed(1)
    account = account or ThrottledAccount()
    return run_at_once(_simulated(load, workers, account, chunk_rows))


def count_requests(rows: int = 10_000) -> Counter[str]:
    """The requests of a first load of full workers of ten employers, by kind, never throttled."""
    account = ThrottledAccount(Targets(*(math.inf,) * 5))
    load = Load("", tenants=1, employers=10, rows=rows, is_full=True)
    growth = simulate(load, HANDLERS, account, chunk_rows=1_000)
    assert growth.lost == growth.busy == 0, growth
    return _done(account)


async def _simulated(
    load: Load, workers: int, account: ThrottledAccount, chunk_rows: int
) -> Growth:
    settings = settings_for(
        "nothing connects to it", max_rows=10**6, chunk_rows=chunk_rows, cache_seconds=10**9
    )
    ids = CountedIds()
    handlers = min(workers, HANDLERS)
    processes = [_Process(account, settings, ids) for _ in range(workers // handlers)]
    for number in range(load.tenants):
        name = tenant_name(number)
        account.tables.place(TENANTS, Entity(PARTITION, encode(name), {"name": name}))
    running = [
        asyncio.create_task(process.listen(queue, handlers))
        for process in processes
        for queue in _QUEUES
    ]
    running.append(asyncio.create_task(processes[0].keep_up()))
    log = ImportLog(account.tables)
    callers = _Callers(load, processes, log)
    await callers.send_all()
    seconds = asyncio.get_running_loop().time()
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    counts = [(await log.progress(each.import_id)).counts for each in callers.accepted]
    return Growth(
        workers=workers,
        rows_per_second=load.all_rows * _middle_rate(account.writes[WORKERS.table]),
        seconds=seconds,
        entities_per_row=account.written.total() / load.all_rows,
        requests_per_row=sum(_done(account).values()) / load.all_rows,
        busy=account.busy.total(),
        came_back=sum(process.came_back for process in processes),
        refused=callers.refused,
        lost=load.all_rows - sum(each.new for each in counts),
    )


def _done(account: ThrottledAccount) -> Counter[str]:
    """The requests that were not answered 503, without polls of empty queues."""
    done = account.requests - account.busy
    del done["poll"]
    return done


def _middle_rate(writes: Sequence[tuple[float, int]]) -> float:
    """The part of all entities that is written in a second, without the first and last tenth."""
    total = sum(count for _, count in writes)
    written, begun, first = 0, 0.0, 0
    for time, count in writes:
        written += count
        if written < total / 10:
            begun, first = time, written
        if written >= total * 9 / 10:
            return (written - first) / total / max(time - begun, 0.001)
    return 0.0
