"""Storage in memory, for the models and for loads whose requests are counted.

Not a mock of Azurite: it keeps what the ports promise (conditions, transactions that are all or
nothing, order of row keys) and hands every request to a `RequestGate`. The gate of the models holds
requests back, loses them or their answers; `CountedRequests` lets all pass and counts them as the
service would.
"""

from __future__ import annotations

import itertools
import math
import zlib
from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, TypeVar

from shared.errors import PreconditionFailedError
from shared.services.early_polls import EARLY_POLL
from shared.storage.ports import (
    MAX_OPERATIONS,
    Delete,
    Entity,
    EntityRange,
    EntitySlice,
    Insert,
    Merge,
    Operation,
    Tables,
    Upsert,
)

_T = TypeVar("_T")
_PAGE = 1_000
_BLOCK = 4 * 1024 * 1024


class RequestGate(Protocol):
    """Where every request passes."""

    async def passed(self, kind: str, work: Callable[[], _T]) -> _T:
        """The result of `work`, which carries out the request in one go."""


class CountedRequests:
    """Lets every request pass and counts it in `counts`, by its kind.

    A query costs a request for each thousand entities, a blob one for each block, a message three:
    it is sent, fetched and deleted.
    """

    def __init__(self, counts: Counter[str] | None = None) -> None:
        self.counts: Counter[str] = Counter() if counts is None else counts

    async def passed(self, kind: str, work: Callable[[], _T]) -> _T:
        result = work()
        cost = 3 if kind == "queue" else 1
        if kind == "query" and isinstance(result, list):
            cost = max(1, math.ceil(len(result) / _PAGE))
        if kind == "put" and isinstance(result, int):
            cost += result // _BLOCK
        self.counts[kind] += cost
        return result


class MemoryTables:
    """`Tables` in memory; `tables` are its entities by table and by partition and row."""

    def __init__(self, gate: RequestGate | None = None) -> None:
        self._gate = gate or CountedRequests()
        self._etags = itertools.count(1)
        # The row keys of each partition, in order.
        self._rows: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self.tables: defaultdict[str, dict[tuple[str, str], Entity]] = defaultdict(dict)
        self.written: Counter[str] = Counter()
        self.entities_read = 0

    async def get(self, table: str, partition: str, row: str) -> Entity | None:
        return await self._gate.passed("get", lambda: self.tables[table].get((partition, row)))

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
        entities = await self._gate.passed(
            "query", lambda: self.in_range(table, partition, first, last, after, most)
        )
        self.entities_read += len(entities)
        return entities

    def in_range(
        self,
        table: str,
        partition: str,
        first: str = "",
        last: str | None = None,
        after: str = "",
        most: int | None = None,
    ) -> list[Entity]:
        """What a query would find, without a request."""
        rows = self._rows[table, partition]
        start = max(bisect_left(rows, first), bisect_right(rows, after) if after else 0)
        end = len(rows) if last is None else bisect_right(rows, last)
        entities = self.tables[table]
        return [entities[partition, row] for row in rows[start:end][:most]]

    async def query_range(
        self, table: str, range_: EntityRange, after: tuple[str, str] | None, most: int
    ) -> EntitySlice:
        return await self._gate.passed("query", lambda: self.slice_of(table, range_, after, most))

    def slice_of(
        self, table: str, range_: EntityRange, after: tuple[str, str] | None, most: int
    ) -> EntitySlice:
        """What that query would find, without a request."""
        selected = sorted(
            key
            for key, entity in self.tables[table].items()
            if range_.contains(*key)
            and (after is None or key > after)
            and (range_.equal is None or entity.values.get(range_.equal[0]) == range_.equal[1])
            and all(
                isinstance(value := entity.values.get(name), int)
                and least <= value <= (value if most_allowed is None else most_allowed)
                for name, least, most_allowed in range_.between
            )
        )
        entities = [self.tables[table][key] for key in selected[:most]]
        return EntitySlice(entities, is_last=len(selected) <= most)

    async def write(self, table: str, operation: Operation) -> str:
        return await self._gate.passed("write", lambda: self._apply(table, [operation]))

    async def transact(self, table: str, operations: Sequence[Operation]) -> None:
        assert len(operations) <= MAX_OPERATIONS
        kind = "write" if len(operations) == 1 else "transaction"
        await self._gate.passed(kind, lambda: self._apply(table, operations))

    def place(self, table: str, entity: Entity) -> None:
        """Put an entity there, unless there is one, without a request."""
        if (entity.partition, entity.row) not in self.tables[table]:
            self._apply(table, [Insert(entity)])

    def _apply(self, table: str, operations: Sequence[Operation]) -> str:
        """Carry out all or none; the ETag of the last one written."""
        keys = [(item.entity.partition, item.entity.row) for item in operations]
        assert len(set(keys)) == len(keys), "an entity twice in one transaction"
        assert len({partition for partition, _ in keys}) == 1, "two partitions in one transaction"
        entities = self.tables[table]
        for key, operation in zip(keys, operations, strict=True):
            _check_condition(operation, entities.get(key))
        rows = self._rows[table, keys[0][0]]
        for key, operation in zip(keys, operations, strict=True):
            if isinstance(operation, Delete):
                del entities[key]
                rows.pop(bisect_left(rows, key[1]))
                continue
            if key not in entities:
                insort(rows, key[1])
            entities[key] = self._written(operation, entities.get(key))
        self.written[table] += len(operations)
        last = entities.get(keys[-1])
        return "" if last is None else last.etag

    def _written(self, operation: Operation, stored: Entity | None) -> Entity:
        entity = operation.entity
        values = dict(entity.values)
        if isinstance(operation, Merge) and stored is not None:
            values = {**stored.values, **values}
        return replace(entity, values=values, etag=f"W/{next(self._etags)}")


def _check_condition(operation: Operation, stored: Entity | None) -> None:
    if isinstance(operation, Upsert):
        return
    if isinstance(operation, Insert):
        if stored is not None:
            raise PreconditionFailedError("exists")
        return
    expected = operation.entity.etag
    if stored is None or (expected and expected != stored.etag):
        raise PreconditionFailedError("gone, or another version")


class MemoryBlobs:
    """`ListedBlobs` in memory."""

    def __init__(self, gate: RequestGate | None = None) -> None:
        self._gate = gate or CountedRequests()
        self._blobs: dict[tuple[str, str], bytes] = {}

    async def put(
        self,
        container: str,
        name: str,
        parts: Iterable[bytes],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        data = b"".join(parts)

        def write() -> int:
            self._blobs[container, name] = data
            return len(data)

        await self._gate.passed("put", write)

    def names(self) -> list[tuple[str, str]]:
        """Container and name of every blob."""
        return list(self._blobs)

    async def read(
        self, container: str, name: str, start: int = 0, length: int | None = None
    ) -> bytes | None:
        def cut() -> bytes | None:
            data = self._blobs.get((container, name))
            end = None if length is None else start + length
            return None if data is None else data[start:end]

        return await self._gate.passed("blob", cut)

    async def touch(self, container: str, name: str) -> bool:
        return await self._gate.passed("blob", lambda: (container, name) in self._blobs)

    async def read_whole(self, container: str, name: str) -> tuple[bytes, str] | None:
        data = await self.read(container, name)
        return None if data is None else (data, str(zlib.crc32(data)))

    async def replace(self, container: str, name: str, parts: Iterable[bytes], etag: str) -> None:
        new = b"".join(parts)

        def write() -> int:
            data = self._blobs.get((container, name))
            if data is None or str(zlib.crc32(data)) != etag:
                raise PreconditionFailedError("gone, or another version")
            self._blobs[container, name] = new
            return len(new)

        await self._gate.passed("put", write)

    async def delete(self, container: str, name: str) -> None:
        await self._gate.passed("blob", lambda: self._blobs.pop((container, name), None))

    async def names_before(self, container: str, prefix: str, moment: datetime) -> list[str]:
        """No blob here is old."""
        return []


@dataclass(frozen=True)
class Message:
    """A message on a queue, and how often it was received."""

    queue: str
    text: str
    received: int = 0


class MemoryQueues:
    """`Queues` in memory; `messages` are in the order in which they were sent.

    Requests for early polls are kept apart, since the queue triggers drop them.
    """

    def __init__(self, gate: RequestGate | None = None) -> None:
        self._gate = gate or CountedRequests()
        self.messages: list[Message] = []
        self.early_polls: list[Message] = []

    async def send(self, queue: str, text: str, *, delay: int = 0, expires: int = -1) -> None:
        messages = self.early_polls if text == EARLY_POLL else self.messages
        await self._gate.passed("queue", lambda: messages.append(Message(queue, text)))


class ForwardingTables:
    """Tables before other tables: everything is passed on, but for what a subclass overrides."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    async def get(self, table: str, partition: str, row: str) -> Entity | None:
        return await self.tables.get(table, partition, row)

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
        return await self.tables.query(
            table, partition, first, last, after=after, select=select, most=most
        )

    async def write(self, table: str, operation: Operation) -> str:
        return await self.tables.write(table, operation)

    async def transact(self, table: str, operations: Sequence[Operation]) -> None:
        await self.tables.transact(table, operations)
