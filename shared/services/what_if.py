"""Storage as it would be: reads go to the real one, writes stay in memory (CONTRACTS 0, dryRun).

A dry run gives these to the very services that a run uses. So it decides by the same code, meets
what its own rows have done before, and cannot leave a trace: it has nothing to write with.

Conditions of writes are judged as the service would. What has been read through here is known; what
has not, a refused insert for example, is read first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shared.errors import PreconditionFailedError
from shared.services.record_ranges import load_records
from shared.storage.ports import Blobs, Delete, Entity, Insert, Merge, Operation, Tables, Upsert

_END = "\U0010ffff"
"""Sorts behind every row key."""


@dataclass(slots=True)
class _Partition:
    """What is known of a partition: what was written here, and what was seen of the real one.

    `written` has None for a deleted entity. `seen` has the ETags of real entities; between the two
    keys of each of `covered` there is no other one, and none at the keys `absent`.
    """

    written: dict[str, Entity | None] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    covered: list[tuple[str, str]] = field(default_factory=list)

    def knows(self, row: str) -> bool:
        """Whether it is known if there is such an entity."""
        return (
            row in self.written
            or row in self.seen
            or row in self.absent
            or any(first <= row <= last for first, last in self.covered)
        )

    def etag(self, row: str) -> str | None:
        """The ETag of a known entity; None where there is none."""
        if row in self.written:
            entity = self.written[row]
            return None if entity is None else entity.etag
        return self.seen.get(row)


class WhatIfTables:
    """`Tables` whose writes only it can see. For one dry run, and not shared between tasks."""

    def __init__(self, base: Tables) -> None:
        self._base = base
        self._partitions: defaultdict[tuple[str, str], _Partition] = defaultdict(_Partition)
        self._writes = 0

    async def get(self, table: str, partition: str, row: str) -> Entity | None:
        """See `Tables.get`."""
        known = self._partitions[table, partition]
        if row in known.written:
            return known.written[row]
        found = await self._base.get(table, partition, row)
        if found is None:
            known.absent.add(row)
        else:
            known.seen[row] = found.etag
        return found

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
        """See `Tables.query`."""
        known = self._partitions[table, partition]
        begin = max(first, f"{after}\0" if after else "")
        mine = {row: item for row, item in known.written.items() if begin <= row <= (last or _END)}
        wanted = None if most is None else most + len(mine)
        found = await self._base.query(
            table, partition, first, last, after=after, select=select, most=wanted
        )
        end = found[-1].row if wanted is not None and len(found) >= wanted else last or _END
        known.covered.append((begin, end))
        known.seen.update((entity.row, entity.etag) for entity in found)
        merged: dict[str, Entity | None] = {entity.row: entity for entity in found}
        merged |= {row: entity for row, entity in mine.items() if row <= end}
        left = [entity for _, entity in sorted(merged.items()) if entity is not None]
        return left[:most]

    async def write(self, table: str, operation: Operation) -> str:
        """See `Tables.write`."""
        await self.transact(table, [operation])
        entity = operation.entity
        return self._partitions[table, entity.partition].etag(entity.row) or ""

    async def transact(self, table: str, operations: Sequence[Operation]) -> None:
        """See `Tables.transact`."""
        partition = operations[0].entity.partition
        await self._learn(table, partition, operations)
        known = self._partitions[table, partition]
        for operation in operations:
            _check(operation, known.etag(operation.entity.row))
        for operation in operations:
            known.written[operation.entity.row] = await self._left_by(table, operation)

    async def _learn(self, table: str, partition: str, operations: Iterable[Operation]) -> None:
        """Find out what is there, for the operations whose condition asks for it."""
        known = self._partitions[table, partition]
        rows = {each.entity.row for each in operations if not isinstance(each, Upsert)}
        unknown = sorted(row for row in rows if not known.knows(row))
        if unknown:
            await load_records(self, table, partition, unknown, select=())

    async def _left_by(self, table: str, operation: Operation) -> Entity | None:
        if isinstance(operation, Delete):
            return None
        self._writes += 1
        entity = replace(operation.entity, etag=f"what-if-{self._writes}")
        if not isinstance(operation, Merge):
            return entity
        before = await self.get(table, entity.partition, entity.row)
        return replace(entity, values={**(before.values if before else {}), **entity.values})


def _check(operation: Operation, etag: str | None) -> None:
    """Raises PreconditionFailedError where the operation does not fit what is there."""
    if isinstance(operation, Upsert):
        return
    if isinstance(operation, Insert):
        holds = etag is None
    else:
        sent = operation.entity.etag
        holds = etag is not None and sent in ("", etag)
    if not holds:
        raise PreconditionFailedError("another state, as far as a dry run has come")


class WhatIfBlobs:
    """`Blobs` whose writes only it can see."""

    def __init__(self, base: Blobs) -> None:
        self._base = base
        self._written: dict[tuple[str, str], bytes | None] = {}

    @property
    def written(self) -> Mapping[tuple[str, str], bytes | None]:
        """What was written, by container and name; None: deleted."""
        return self._written

    async def put(
        self,
        container: str,
        name: str,
        parts: Iterable[bytes],
        metadata: Mapping[str, str] | None = None,  # noqa: ARG002  (nobody asks a what-if for them)
    ) -> None:
        """See `Blobs.put`."""
        self._written[container, name] = b"".join(parts)

    async def read(
        self, container: str, name: str, start: int = 0, length: int | None = None
    ) -> bytes | None:
        """See `Blobs.read`."""
        if (container, name) not in self._written:
            return await self._base.read(container, name, start, length)
        data = self._written[container, name]
        if data is None:
            return None
        return data[start:] if length is None else data[start : start + length]

    async def delete(self, container: str, name: str) -> None:
        """See `Blobs.delete`."""
        self._written[container, name] = None
