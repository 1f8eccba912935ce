"""Table storage in which there is nothing, for refusals that end at a missing record."""

from __future__ import annotations

from collections.abc import Sequence

from shared.storage.ports import Entity, Operation


class NoTables:
    """`Tables` without any entity; nothing can be written."""

    async def get(self, table: str, partition: str, row: str) -> Entity | None:
        return None

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
        return []

    async def write(self, table: str, operation: Operation) -> str:
        raise NotImplementedError

    async def transact(self, table: str, operations: Sequence[Operation]) -> None:
        raise NotImplementedError
