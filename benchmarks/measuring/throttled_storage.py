"""A storage account in memory that throttles as the service does, in virtual time.

Token buckets keep the published targets: entities a second of the account and of a partition,
messages a second of a queue, requests a second of a blob. A request past a target is answered 503
and does nothing. Every answer takes a while. Requests to tables go through the gateway's own
`AzureTables`, with its retries; only they never leave the process.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from shared.errors import StorageBusyError, StorageUnavailableError
from shared.storage.azure_tables import AzureTables
from shared.storage.failures import note_answer, storage_call
from shared.storage.ports import Entity, EntityRange, EntitySlice, Operation, ReceivedMessage
from shared.storage_time import retried, storage_time_now
from tests.memory_storage import MemoryBlobs, MemoryTables

_T = TypeVar("_T")

_OK, _BUSY = 200, 503
_PAGE = 1_000
_BLOCK = 1024 * 1024
# The pauses between the attempts of the blob SDK, as `shared.storage.account` sets them.
_BLOB_PAUSES = (0.75, 0.5)


@dataclass(frozen=True, slots=True)
class Targets:
    """What the service takes in a second, as it is published, and in which time it counts.

    `burst_seconds` is not published: an idle bucket lets the amount of that time pass at once.
    """

    account_entities: float = 20_000
    partition_entities: float = 2_000
    account_messages: float = 20_000
    queue_messages: float = 2_000
    account_blob_requests: float = 20_000
    burst_seconds: float = 0.1


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds: how long storage takes to answer, and the gateway's own work on one processor."""

    request: float = 0.008
    entity: float = 0.000_1
    own_request: float = 0.000_5
    own_entity: float = 0.000_2


Need = tuple[tuple[str, ...], float, float]
"""The name of a bucket, its rate, and how much of it a request takes."""


class Throttle:
    """Token buckets by name."""

    def __init__(self, burst_seconds: float, least_burst: float = 100) -> None:
        """`least_burst`: the largest request, a transaction, must pass an idle bucket."""
        self._burst_seconds = burst_seconds
        self._least_burst = least_burst
        # What is left in a bucket, and when it was filled.
        self._buckets: dict[tuple[str, ...], tuple[float, float]] = {}

    def passes(self, needs: Sequence[Need], now: float) -> bool:
        """Whether all buckets have what a request needs; only then it is taken from them."""
        left: dict[tuple[str, ...], float] = {}
        for name, rate, amount in needs:
            if rate == math.inf:
                continue
            burst = max(self._least_burst, rate * self._burst_seconds)
            before, filled_at = self._buckets.get(name, (burst, now))
            left[name] = min(burst, before + (now - filled_at) * rate) - amount
            # A page may have more entities than a full bucket, which then has to be full.
            if left[name] < min(0, burst - amount):
                return False
        self._buckets |= {name: (amount, now) for name, amount in left.items()}
        return True


class Processor:
    """The processor of one process of the gateway: it does one thing after another."""

    def __init__(self) -> None:
        self._free_at = 0.0
        self.seconds = 0.0

    async def work(self, seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        self._free_at = max(now, self._free_at) + seconds
        self.seconds += seconds
        await asyncio.sleep(self._free_at - now)


@dataclass(slots=True)
class StoredMessage:
    """A message on a queue; `received` is its dequeue count."""

    text: str
    visible_at: float
    expires_at: float = math.inf
    received: int = 0


class ThrottledAccount:
    """The account, which all processes share.

    `requests` and `busy` count all requests and those that were answered 503, by kind; `written`
    counts the entities that were written, by table, and `writes` has the time and the number of
    each write.
    """

    def __init__(
        self, targets: Targets | None = None, times: Times | None = None, seed: int = 1
    ) -> None:
        self.targets = targets or Targets()
        self.times = times or Times()
        self.tables = MemoryTables()
        self.stored_blobs: dict[tuple[str, str], bytes] = {}
        self.messages: defaultdict[str, deque[StoredMessage]] = defaultdict(deque)
        self.requests: Counter[str] = Counter()
        self.busy: Counter[str] = Counter()
        self.written: Counter[str] = Counter()
        self.writes: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
        self._throttle = Throttle(self.targets.burst_seconds)
        self._random = random.Random(seed)

    async def answer(
        self,
        processor: Processor,
        kind: str,
        needs: Callable[[], Sequence[Need]],
        work: Callable[[], Awaitable[_T]],
        *,
        entities: int = 1,
        size: int = 0,
    ) -> _T:
        """One request: the gateway's work, the way to storage, and 503 or what `work` returns.

        `entities` and `size` (in bytes) say how long it takes. Raises StorageUnavailableError.
        """
        times = self.times
        async with storage_call(storage_time_now().longest_try):
            await processor.work(times.own_request + times.own_entity * entities)
            seconds = times.request + times.entity * entities
            await asyncio.sleep(seconds * self._random.uniform(0.7, 1.3))
            self.requests[kind] += 1
            if not self._throttle.passes(needs(), asyncio.get_running_loop().time()):
                self.busy[kind] += 1
                note_answer(_BUSY, 0)
                raise StorageBusyError(f"storage answered {_BUSY}")
            result = await work()
            note_answer(_OK, size)
            return result

    def of_entities(self, table: str, partition: str, entities: int) -> Sequence[Need]:
        """What a request for so many entities of one partition takes."""
        return (
            (("tables",), self.targets.account_entities, entities),
            ((table, partition), self.targets.partition_entities, entities),
        )

    def of_message(self, queue: str) -> Sequence[Need]:
        """What a request to a queue takes, also one that finds nothing."""
        return (
            (("queues",), self.targets.account_messages, 1),
            (("queue", queue), self.targets.queue_messages, 1),
        )

    async def apply(self, table: str, operations: Sequence[Operation]) -> str:
        """Write these entities, as one transaction if they are several."""
        etag = ""
        if len(operations) == 1:
            etag = await self.tables.write(table, operations[0])
        else:
            await self.tables.transact(table, operations)
        self.written[table] += len(operations)
        self.writes[table].append((asyncio.get_running_loop().time(), len(operations)))
        return etag


class ThrottledTables(AzureTables):
    """`AzureTables` of one process, whose requests go to the account in memory."""

    def __init__(self, account: ThrottledAccount, processor: Processor) -> None:
        super().__init__(None, _Transactions(account, processor))  # type: ignore[arg-type]
        self._account = account
        self._processor = processor

    async def get(self, table: str, partition: str, row: str) -> Entity | None:
        """See `Tables.get`."""
        stored = self._account.tables
        return await retried(
            lambda: self._account.answer(
                self._processor,
                "get",
                lambda: self._account.of_entities(table, partition, 1),
                lambda: stored.get(table, partition, row),
            )
        )

    async def query(
        self,
        table: str,
        partition: str,
        first: str = "",
        last: str | None = None,
        *,
        after: str = "",
        select: Sequence[str] | None = None,
        most: int | None = None,
    ) -> list[Entity]:
        """See `Tables.query`. A request for each page of up to 1,000 entities."""
        entities: list[Entity] = []
        while True:
            size = _PAGE if most is None else min(most - len(entities), _PAGE)
            page = await self._page(table, partition, (first, last, after, select, size))
            entities += page
            if len(page) < size or len(entities) == most:
                return entities
            after = page[-1].row

    async def _page(
        self,
        table: str,
        partition: str,
        range_: tuple[str, str | None, str, Sequence[str] | None, int],
    ) -> list[Entity]:
        first, last, after, select, most = range_
        stored = self._account.tables

        def needs() -> Sequence[Need]:
            found = stored.in_range(table, partition, first, last, after, most)
            return self._account.of_entities(table, partition, max(1, len(found)))

        return await retried(
            lambda: self._account.answer(
                self._processor,
                "query",
                needs,
                lambda: stored.query(
                    table, partition, first, last, after=after, select=select, most=most
                ),
            )
        )

    async def query_range(
        self, table: str, range_: EntityRange, after: tuple[str, str] | None, most: int
    ) -> EntitySlice:
        """See `RangeTables.query_range`. What it reads counts for the account only."""
        stored = self._account.tables

        def needs() -> Sequence[Need]:
            found = len(stored.slice_of(table, range_, after, most).entities)
            return self._account.of_entities(table, "", max(1, found))[:1]

        return await retried(
            lambda: self._account.answer(
                self._processor,
                "query",
                needs,
                lambda: stored.query_range(table, range_, after, most),
            )
        )

    async def _write(self, table: str, operation: Operation) -> str:
        return await self._account.answer(
            self._processor,
            "write",
            lambda: self._account.of_entities(table, operation.entity.partition, 1),
            lambda: self._account.apply(table, [operation]),
            size=bytes_of([operation]),
        )


class _Transactions:
    """In place of `TableRequests`."""

    def __init__(self, account: ThrottledAccount, processor: Processor) -> None:
        self._account = account
        self._processor = processor

    async def transact(self, table: str, operations: Sequence[Operation]) -> None:
        count = len(operations)
        partition = operations[0].entity.partition
        await self._account.answer(
            self._processor,
            "transaction",
            lambda: self._account.of_entities(table, partition, count),
            lambda: self._account.apply(table, operations),
            entities=count,
            size=bytes_of(operations),
        )


def bytes_of(operations: Sequence[Operation]) -> int:
    """About the size of these entities."""
    values = (value for each in operations for value in each.entity.values.values())
    return sum(len(value) if isinstance(value, str | bytes) else 8 for value in values)


class ThrottledBlobs(MemoryBlobs):
    """The blobs of the account, as one process reaches them. The SDK repeats what is answered 503.

    The rows of a chunk are read with one request, as `shared.storage.account` sets it.
    A target of a single blob is not kept: the blob of an import is read by at most as many chunks
    as the share of one import lets run.
    """

    def __init__(self, account: ThrottledAccount, processor: Processor) -> None:
        super().__init__(self)
        self._account = account
        self._processor = processor
        self._blobs = account.stored_blobs

    async def put(
        self,
        container: str,
        name: str,
        parts: Iterable[bytes],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """See `Blobs.put`. A request for each block, and one that joins them."""
        data = b"".join(parts)
        for _ in range(math.ceil(len(data) / _BLOCK) if len(data) > _BLOCK else 0):
            await self.passed("put", lambda: None)
        await super().put(container, name, [data], metadata)

    async def passed(self, kind: str, work: Callable[[], _T]) -> _T:
        """See `RequestGate`."""

        async def done() -> _T:
            return work()

        needs = ((("blobs",), self._account.targets.account_blob_requests, 1.0),)
        for pause in _BLOB_PAUSES:
            try:
                return await self._account.answer(self._processor, kind, lambda: needs, done)
            except StorageUnavailableError:
                await asyncio.sleep(pause)
        return await self._account.answer(self._processor, kind, lambda: needs, done)


class ThrottledQueues:
    """The queues of the account, as one process and its host reach them."""

    def __init__(self, account: ThrottledAccount, processor: Processor) -> None:
        self._account = account
        self._processor = processor

    async def send(self, queue: str, text: str, *, delay: int = 0, expires: int = -1) -> None:
        """See `Queues.send`."""

        async def put() -> None:
            now = asyncio.get_running_loop().time()
            expires_at = math.inf if expires < 0 else now + expires
            self._account.messages[queue].append(StoredMessage(text, now + delay, expires_at))

        await retried(lambda: self._request("queue", queue, put))

    async def receive(self, queue: str, most: int, hidden: int) -> list[ReceivedMessage]:
        """See `ReceivingQueues.receive`. The handle is the stored message."""
        now = asyncio.get_running_loop().time
        messages = self._account.messages[queue]

        async def take() -> list[ReceivedMessage]:
            while messages and messages[0].expires_at <= now():
                messages.popleft()
            found = [each for each in messages if each.visible_at <= now()][:most]
            for message in found:
                message.visible_at = now() + hidden
                message.received += 1
            return [ReceivedMessage(message.text, message) for message in found]

        kind = "queue" if any(each.visible_at <= now() for each in messages) else "poll"
        return await self._request(kind, queue, take)

    async def delete(self, queue: str, message: ReceivedMessage) -> None:
        """See `ReceivingQueues.delete`."""

        async def remove() -> None:
            messages = self._account.messages[queue]
            if message.handle in messages:
                messages.remove(message.handle)

        await self._request("queue", queue, remove)

    async def _request(self, kind: str, queue: str, work: Callable[[], Awaitable[_T]]) -> _T:
        return await self._account.answer(
            self._processor, kind, lambda: self._account.of_message(queue), work
        )
