"""What the models share: a scheduler of requests, virtual time, and processes of the gateway.

Every request to storage waits at a `Turnstile` until a model releases it, with a `Fate`. So the
requests of several calls and handlers, of several processes, come in any order, are lost, fail, or
succeed without their answer. The processes are those of `shared/app.py` on storage in memory.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any, TypeVar

from shared.app import (
    changed_types,
    compose_chunks,
    compose_dry_runs,
    compose_person_erasure,
    compose_records,
    compose_retrying,
    compose_sweep,
    compose_undoing,
)
from shared.auth.lookups import PARTITION
from shared.clock import Clock
from shared.dependencies import Dependencies
from shared.errors import StorageUnavailableError
from shared.imports.authdata.services import AuthdataServices, compose_authdata
from shared.imports.licenses.definition import LICENSES
from shared.imports.licenses.processor import LicenseProcessor, LicenseUndoProcessor
from shared.process_stop import ProcessStop
from shared.services.accept import ImportAcceptor
from shared.services.changes import ChangeFeed
from shared.services.chunk_messages import ChunkMessage
from shared.services.chunk_processor import ChunkProcessor
from shared.services.import_log import ImportLog
from shared.services.persons.erasure import PersonErasure
from shared.services.records.reading import RecordReader
from shared.services.retry_cancel import Cancelling, Retrying
from shared.services.status import FailedRows, Reporting
from shared.services.sweep import Sweep
from shared.services.undoing import Undoing
from shared.storage.entities import encode
from shared.storage.names import TENANTS
from shared.storage.ports import Entity
from shared.storage.sealing import PLAIN_DIGESTS, DataKeys, RecordDigests
from tests.emulator import settings_for
from tests.memory_storage import CountedRequests, MemoryBlobs, MemoryQueues, MemoryTables

_T = TypeVar("_T")

TENANT = "tenant"
LICENSE_OPERATIONS = 6
"""In one transaction: so few that a handful of licenses takes several."""
ACTOR: ContextVar[int] = ContextVar("ACTOR")
"""Whose request it is: a running handler or call."""


class Fate(Enum):
    """What becomes of a request."""

    DONE = auto()
    LOST = auto()
    DONE_WITHOUT_ANSWER = auto()
    REPEATED = auto()
    """Done, the answer lost, and sent again by the SDK's own retry."""


@dataclass(eq=False)
class Step:
    """A request that waits to be released."""

    actor: int
    released: asyncio.Future[Fate]


@dataclass
class Turnstile:
    """Where all requests wait; a `RequestGate`."""

    waiting: list[Step] = field(default_factory=list)
    dead: set[int] = field(default_factory=set)

    async def passed(self, kind: str, work: Callable[[], _T]) -> _T:
        """Wait to be released, then carry out the request in one go."""
        actor = ACTOR.get()
        if actor in self.dead:
            raise asyncio.CancelledError
        step = Step(actor, asyncio.get_running_loop().create_future())
        self.waiting.append(step)
        try:
            fate = await step.released
        finally:
            if step in self.waiting:
                self.waiting.remove(step)
        if fate is Fate.LOST:
            raise StorageUnavailableError("lost on the way")
        result = work()
        if fate is Fate.DONE_WITHOUT_ANSWER:
            raise StorageUnavailableError("the answer was lost")
        return work() if fate is Fate.REPEATED else result

    def start(self, actor: int, work: Callable[[], Awaitable[_T]]) -> asyncio.Task[_T]:
        """A task whose requests are the actor's."""

        async def act() -> _T:
            ACTOR.set(actor)
            return await work()

        return asyncio.get_running_loop().create_task(act())

    def kill(self, actor: int, task: asyncio.Task[Any]) -> None:
        """The actor's process dies: none of its requests passes any more."""
        self.dead.add(actor)
        task.cancel()

    async def release(
        self, task: asyncio.Future[Any], fate_of: Callable[[int], Fate | None] = lambda _: Fate.DONE
    ) -> int:
        """Let requests pass, one after another, until a task has ended; how many there were.

        `fate_of` is asked with the number of the request, from 0; None kills its actor before it.
        """
        count = 0
        while not task.done():
            await asyncio.sleep(0)
            if not self.waiting:
                continue
            step = self.waiting.pop(0)
            fate = fate_of(count)
            count += 1
            if fate is None:
                self.dead.add(step.actor)
                task.cancel()
            else:
                step.released.set_result(fate)
        return count


class _VirtualSelector(selectors.SelectSelector):
    """Does not wait for the time to pass, but lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += max(0.0, timeout or 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only when everybody waits; `time()` is in seconds from 0."""

    def __init__(self) -> None:
        self._virtual = _VirtualSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def run_at_once(main: Coroutine[Any, Any, _T]) -> _T:
    """`asyncio.run` in virtual time: sleeping costs nothing."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class _LoopSelector(selectors.SelectSelector):
    """Asks the system only where the loop has nothing to do: a model has no sockets."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return [] if timeout == 0 else super().select(timeout)


class ModelLoop(asyncio.SelectorEventLoop):
    """The event loop of a model, most of whose turns move a single task."""

    _ready: list[object]

    def __init__(self) -> None:
        super().__init__(_LoopSelector())

    async def turn(self, most: int) -> None:
        """Let the other tasks go on `most` times, or until none of them can."""
        for _ in range(most):
            await asyncio.sleep(0)
            if not self._ready:
                return


async def take_turns(most: int) -> None:
    """See `ModelLoop.turn`."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ModelLoop)
    await loop.turn(most)


def run_model(main: Coroutine[Any, Any, _T]) -> _T:
    """`asyncio.run` on a `ModelLoop`."""
    with asyncio.Runner(loop_factory=ModelLoop) as runner:
        return runner.run(main)


class ModelClock:
    """Time that passes when the scheduler says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.elapsed())

    def elapsed(self) -> float:
        return self.seconds


class LoopClock(ModelClock):
    """The time of the virtual loop."""

    def elapsed(self) -> float:
        return asyncio.get_running_loop().time()


class CountedIds:
    """Ids in order, so that a run can be repeated."""

    def __init__(self) -> None:
        self._count = 0

    def new(self) -> str:
        self._count += 1
        return f"import-{self._count:04d}"


async def run_here(size: int, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """`Offload` without threads: an interleaving must be repeatable."""
    return work(*args, **kwargs)


@dataclass
class Process:
    """One process of the gateway: services that share nothing with the other one's."""

    imports: ImportLog
    intake: ImportAcceptor
    chunks: ChunkProcessor
    sweep: Sweep
    cancelling: Cancelling
    failed_rows: FailedRows
    retrying: Retrying
    undoing: Undoing
    authdata: AuthdataServices
    changes: ChangeFeed
    erasure: PersonErasure
    reporting: Reporting
    records: RecordReader


_SETTINGS = settings_for(
    "nothing connects to it",
    max_rows=1_000,
    chunk_bytes=100_000,
    cache_seconds=10**9,
    sweep_after_seconds=60,
    document_sweep_seconds=60,
    imports_at_once=8,
)


class _MemoryDataKeys(DataKeys):
    """Storage in memory is not sealed, so the digests of records are plain."""

    def __init__(self, tables: MemoryTables, clock: Clock, digests: RecordDigests) -> None:
        super().__init__(tables, _SETTINGS.data_keys, clock, _SETTINGS.cache_seconds)
        self._made_digests = digests

    def digests(self, tenant: str) -> RecordDigests:
        """See `DataKeys.digests`."""
        return self._made_digests


def make_process(
    tables: MemoryTables,
    blobs: MemoryBlobs,
    queues: MemoryQueues,
    clock: Clock,
    ids: CountedIds,
    *,
    digests: RecordDigests = PLAIN_DIGESTS,
    **settings: Any,
) -> Process:
    """A process on that storage; `settings` by the names of `Settings`."""
    tables.place(TENANTS, Entity(PARTITION, encode(TENANT), {"name": TENANT}))
    dependencies = Dependencies.from_storage(
        replace(_SETTINGS, **settings),
        tables,
        blobs,
        queues,
        clock,
        ProcessStop(),
        ids=ids,
        offload=run_here,
        data_keys=_MemoryDataKeys(tables, clock, digests),
    )
    authdata = compose_authdata(dependencies)
    licenses, license_undo = (
        processor(
            tables=tables, blobs=blobs, clock=clock, offload=run_here, operations=LICENSE_OPERATIONS
        )
        for processor in (LicenseProcessor, LicenseUndoProcessor)
    )
    chunks = compose_chunks(
        dependencies, authdata, {LICENSES.name: licenses}, {LICENSES.name: license_undo}
    )
    failed_rows = FailedRows(dependencies.reporting, dependencies.payloads)
    return Process(
        imports=dependencies.imports,
        intake=dependencies.intake,
        chunks=chunks,
        # Every open import must be found by the note of its tenant.
        sweep=compose_sweep(dependencies, chunks, unmarked_per_run=0),
        cancelling=Cancelling(dependencies.imports, dependencies.accepted, queues, clock),
        failed_rows=failed_rows,
        retrying=compose_retrying(dependencies, failed_rows, authdata, chunks),
        undoing=compose_undoing(dependencies, chunks, compose_dry_runs(dependencies)),
        authdata=authdata,
        changes=ChangeFeed(dependencies.imports, dependencies.results, changed_types),
        erasure=compose_person_erasure(dependencies),
        reporting=dependencies.reporting,
        records=compose_records(dependencies),
    )


class CountedProcess:
    """A process on storage in memory, whose requests are counted by kind in `requests`."""

    def __init__(self, **settings: Any) -> None:
        requests = CountedRequests()
        self.requests = requests.counts
        self.tables = MemoryTables(requests)
        self.queues = MemoryQueues(requests)
        self.process = make_process(
            self.tables,
            MemoryBlobs(requests),
            self.queues,
            ModelClock(),
            CountedIds(),
            handler_seconds=300,
            **settings,
        )

    async def process_message(self) -> ChunkMessage:
        """Process the message that was sent first."""
        message = ChunkMessage.from_text(self.queues.messages.pop(0).text)
        await self.process.chunks.process(message)
        return message

    async def process_all(self) -> int:
        """Process messages until there are none; returns how many there were."""
        count = 0
        while self.queues.messages:
            await self.process_message()
            count += 1
        assert await self.process.imports.open_of(TENANT) == []
        return count
