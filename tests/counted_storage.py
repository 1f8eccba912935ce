"""Storage in memory that counts requests as the service would see them, for large loads.

Nothing fails or is late here; what storage does under faults is shown elsewhere. A query costs a
request for each thousand entities, a message three: it is sent, fetched and deleted.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from shared.errors import PreconditionFailedError
from shared.storage.ports import MAX_OPERATIONS, Delete, Entity, Insert, Merge, Operation, Upsert

_PAGE = 1_000
_BLOCK = 4 * 1024 * 1024


@dataclass
class Partition:
    """Entities by row key, and the keys in order."""

    entities: dict[str, Entity] = field(default_factory=dict)
    rows: list[str] = field(default_factory=list)


class CountedTables:
    """`Tables` in memory."""

    def __init__(self, requests: Counter[str]) -> None:
        self._requests = requests
        self._partitions: dict[tuple[str, str], Partition] = {}
        self.written: Counter[str] = Counter()
        self.entities_read = 0

    def partition(self, table: str, partition: str) -> Partition:
        return self._partitions.setdefault((table, partition), Partition())

    async def get(self, table: str, partition: str, row: str) -> Entity | None:
        self._requests["get"] += 1
        return self.partition(table, partition).entities.get(row)

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
        content = self.partition(table, partition)
        start = max(
            bisect_left(content.rows, first), bisect_right(content.rows, after) if after else 0
        )
        end = len(content.rows) if last is None else bisect_right(content.rows, last)
        rows = content.rows[start:end][:most]
        self._requests["query"] += max(1, math.ceil(len(rows) / _PAGE))
        self.entities_read += len(rows)
        return [content.entities[row] for row in rows]

    async def write(self, table: str, operation: Operation) -> str:
        self._requests["write"] += 1
        self._apply(table, [operation])
        entity = operation.entity
        stored = self.partition(table, entity.partition).entities.get(entity.row)
        return "" if stored is None else stored.etag

    async def transact(self, table: str, operations: Sequence[Operation]) -> None:
        if len(operations) == 1:
            await self.write(table, operations[0])
            return
        self._requests["transaction"] += 1
        assert len(operations) <= MAX_OPERATIONS
        self._apply(table, operations)

    def _apply(self, table: str, operations: Sequence[Operation]) -> None:
        for operation in operations:
            self._check(table, operation)
        for operation in operations:
            self._carry_out(self.partition(table, operation.entity.partition), operation)
        self.written[table] += len(operations)

    def _check(self, table: str, operation: Operation) -> None:
        entity = operation.entity
        current = self.partition(table, entity.partition).entities.get(entity.row)
        if isinstance(operation, Insert):
            if current is not None:
                raise PreconditionFailedError("exists")
        elif not isinstance(operation, Upsert) and (
            current is None or (entity.etag and entity.etag != current.etag)
        ):
            raise PreconditionFailedError("gone, or another version")

    def _carry_out(self, content: Partition, operation: Operation) -> None:
        entity = operation.entity
        if isinstance(operation, Delete):
            del content.entities[entity.row]
            content.rows.pop(bisect_left(content.rows, entity.row))
            return
        current = content.entities.get(entity.row)
        if current is None:
            insort(content.rows, entity.row)
        values = dict(entity.values)
        if isinstance(operation, Merge) and current is not None:
            values = {**current.values, **values}
        version = f"W/{sum(self.written.values())}"
        content.entities[entity.row] = replace(entity, values=values, etag=version)


class CountedBlobs:
    """`Blobs` in memory."""

    def __init__(self, requests: Counter[str]) -> None:
        self._requests = requests
        self._blobs: dict[tuple[str, str], bytes] = {}

    async def put(
        self,
        container: str,
        name: str,
        parts: Iterable[bytes],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        data = b"".join(parts)
        self._requests["blob"] += 1 + len(data) // _BLOCK
        self._blobs[container, name] = data

    async def read(
        self, container: str, name: str, start: int = 0, length: int | None = None
    ) -> bytes | None:
        self._requests["blob"] += 1
        data = self._blobs.get((container, name))
        return None if data is None else data[start : None if length is None else start + length]

    async def delete(self, container: str, name: str) -> None:
        self._requests["blob"] += 1
        self._blobs.pop((container, name), None)

    async def names_before(self, container: str, prefix: str, moment: datetime) -> list[str]:
        raise NotImplementedError


class CountedQueues:
    """`Queues` in memory; `messages` are in the order in which they were sent."""

    def __init__(self, requests: Counter[str]) -> None:
        self._requests = requests
        self.messages: list[str] = []

    async def send(self, queue: str, text: str, *, delay: int = 0) -> None:
        self._requests["queue"] += 3
        self.messages.append(text)
