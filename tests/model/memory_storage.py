"""Storage in memory for the order model: each request is a step that the scheduler releases.

Not a mock of Azurite: the model's subject is what happens when requests of several handlers, of
several processes, come in any order, are lost, fail, or succeed without their answer arriving.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, auto
from typing import TypeVar

from shared.errors import PreconditionFailedError, StorageUnavailableError
from shared.storage.ports import (
    Delete,
    Entity,
    EntityRange,
    EntitySlice,
    Insert,
    Merge,
    Operation,
    Upsert,
)

_T = TypeVar("_T")

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
    """Where all requests wait."""

    waiting: list[Step] = field(default_factory=list)
    dead: set[int] = field(default_factory=set)

    async def passed(self, work: Callable[[], _T]) -> _T:
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


class MemoryTables:
    """`Tables` in memory; a transaction is all or nothing."""

    def __init__(self, turnstile: Turnstile) -> None:
        self._turnstile = turnstile
        self._etags = itertools.count(1)
        self.tables: defaultdict[str, dict[tuple[str, str], Entity]] = defaultdict(dict)

    async def get(self, table: str, partition: str, row: str) -> Entity | None:
        return await self._turnstile.passed(lambda: self.tables[table].get((partition, row)))

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
        return await self._turnstile.passed(
            lambda: self.in_range(table, partition, first, last, after)[:most]
        )

    def in_range(
        self, table: str, partition: str, first: str = "", last: str | None = None, after: str = ""
    ) -> list[Entity]:
        found = [
            entity
            for (part, row), entity in self.tables[table].items()
            if part == partition and first <= row and row > after and (last is None or row <= last)
        ]
        return sorted(found, key=lambda entity: entity.row)

    async def query_range(
        self, table: str, range_: EntityRange, after: tuple[str, str] | None, most: int
    ) -> EntitySlice:
        return await self._turnstile.passed(lambda: self.slice_of(table, range_, after, most))

    def slice_of(
        self, table: str, range_: EntityRange, after: tuple[str, str] | None, most: int
    ) -> EntitySlice:
        found = sorted(
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
        entities = [self.tables[table][key] for key in found[:most]]
        return EntitySlice(entities, is_last=len(found) <= most)

    async def write(self, table: str, operation: Operation) -> str:
        return await self._turnstile.passed(lambda: self._apply(table, [operation]))

    async def transact(self, table: str, operations: Sequence[Operation]) -> None:
        await self._turnstile.passed(lambda: self._apply(table, operations))

    def _apply(self, table: str, operations: Sequence[Operation]) -> str:
        """Carry out all or none; the ETag of the last one written."""
        keys = [(item.entity.partition, item.entity.row) for item in operations]
        assert len(set(keys)) == len(keys), "an entity twice in one transaction"
        assert len({partition for partition, _ in keys}) == 1, "two partitions in one transaction"
        rows = self.tables[table]
        for key, operation in zip(keys, operations, strict=True):
            _check(operation, rows.get(key))
        for key, operation in zip(keys, operations, strict=True):
            if isinstance(operation, Delete):
                del rows[key]
            else:
                rows[key] = self._written(operation, rows.get(key))
        last = rows.get(keys[-1])
        return "" if last is None else last.etag

    def _written(self, operation: Operation, there: Entity | None) -> Entity:
        entity = operation.entity
        values = dict(entity.values)
        if isinstance(operation, Merge) and there is not None:
            values = {**there.values, **values}
        return replace(entity, values=values, etag=f"W/{next(self._etags)}")


def _check(operation: Operation, there: Entity | None) -> None:
    if isinstance(operation, Upsert):
        return
    if isinstance(operation, Insert):
        if there is not None:
            raise PreconditionFailedError("exists")
        return
    expected = operation.entity.etag
    if there is None or (expected and expected != there.etag):
        raise PreconditionFailedError("gone, or another version")


@dataclass(frozen=True)
class Message:
    """A message on a queue, and how often it was received."""

    queue: str
    text: str
    received: int = 0


class MemoryQueues:
    """`Queues` in memory: without any order, as the service promises none."""

    def __init__(self, turnstile: Turnstile) -> None:
        self._turnstile = turnstile
        self.messages: list[Message] = []

    async def send(self, queue: str, text: str, *, delay: int = 0) -> None:
        await self._turnstile.passed(lambda: self.messages.append(Message(queue, text)))


class MemoryBlobs:
    """`Blobs` in memory."""

    def __init__(self, turnstile: Turnstile) -> None:
        self._turnstile = turnstile
        self._blobs: dict[tuple[str, str], bytes] = {}

    async def put(
        self,
        container: str,
        name: str,
        parts: Iterable[bytes],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        data = b"".join(parts)
        await self._turnstile.passed(lambda: self._blobs.update({(container, name): data}))

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

        return await self._turnstile.passed(cut)

    async def delete(self, container: str, name: str) -> None:
        await self._turnstile.passed(lambda: self._blobs.pop((container, name), None))

    async def names_before(self, container: str, prefix: str, moment: datetime) -> list[str]:
        """No blob here is old."""
        return []
