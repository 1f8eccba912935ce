"""`Tables` on Azure Table storage: the SDK, and our own encoder for transactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from azure.core import MatchConditions
from azure.data.tables import EdmType, EntityProperty, UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient

from shared.errors import PreconditionFailedError
from shared.storage.failures import translated
from shared.storage.table_batches import TableBatches
from shared.storage.tables import (
    Delete,
    Entity,
    Insert,
    Merge,
    Operation,
    Replace,
    Upsert,
    Value,
)

_INT32 = range(-(2**31), 2**31)
_PAGE = 1000
_KEYS = ("PartitionKey", "RowKey")


class AzureTables:
    """The port `shared.storage.tables.Tables` on a table service."""

    def __init__(self, service: TableServiceClient, batches: TableBatches) -> None:
        self._service = service
        self._batches = batches
        self._clients: dict[str, TableClient] = {}

    def _table(self, name: str) -> TableClient:
        if name not in self._clients:
            self._clients[name] = self._service.get_table_client(name)
        return self._clients[name]

    async def get(self, table: str, partition: str, row: str) -> Entity | None:
        """See `Tables.get`."""
        try:
            with translated():
                found = await self._table(table).get_entity(partition, row)
        except PreconditionFailedError:
            return None
        return _from_sdk(found)

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
        """See `Tables.query`. Follows continuation tokens, also behind an empty page."""
        columns = None if select is None else [*_KEYS, *select]
        size = _PAGE if most is None else min(most, _PAGE)
        found: list[Entity] = []
        with translated():
            pages = self._table(table).query_entities(
                _filter(partition, first, last, after), select=columns, results_per_page=size
            )
            async for entity in pages:
                found.append(_from_sdk(entity))
                if len(found) == most:
                    break
        return found

    async def flagged(
        self, table: str, partition: str, first: str, last: str, flag: str, select: Sequence[str]
    ) -> list[Entity]:
        """See `SearchableTables.flagged`."""
        wanted = f"{_filter(partition, first, last, '')} and {flag} eq true"
        with translated():
            found = self._table(table).query_entities(wanted, select=[*_KEYS, *select])
            return [_from_sdk(entity) async for entity in found]

    async def write(self, table: str, operation: Operation) -> str:
        """See `Tables.write`."""
        client = self._table(table)
        entity = operation.entity
        with translated():
            if isinstance(operation, Delete):
                await client.delete_entity(entity.partition, entity.row, **_condition(operation))
                return ""
            if isinstance(operation, Insert):
                answer = await client.create_entity(_to_sdk(entity))
            elif isinstance(operation, Upsert):
                answer = await client.upsert_entity(_to_sdk(entity), UpdateMode.REPLACE)
            else:
                answer = await client.update_entity(
                    _to_sdk(entity), _mode(operation), **_condition(operation)
                )
            return str(answer.get("etag", ""))

    async def transact(self, table: str, operations: Sequence[Operation]) -> None:
        """See `Tables.transact`. One operation goes as a plain write, which is cheaper."""
        if len(operations) == 1:
            await self.write(table, operations[0])
            return
        await self._batches.transact(table, operations)


def _mode(operation: Replace | Merge) -> UpdateMode:
    return UpdateMode.MERGE if isinstance(operation, Merge) else UpdateMode.REPLACE


def _condition(operation: Replace | Merge | Delete) -> dict[str, Any]:
    etag = operation.entity.etag
    if etag:
        return {"etag": etag, "match_condition": MatchConditions.IfNotModified}
    if isinstance(operation, Replace):
        raise ValueError("a Replace needs the ETag that was read")
    return {}


def _filter(partition: str, first: str, last: str | None, after: str) -> str:
    """An OData filter."""
    parts = [f"PartitionKey eq {_literal(partition)}"]
    if first:
        parts.append(f"RowKey ge {_literal(first)}")
    if after:
        parts.append(f"RowKey gt {_literal(after)}")
    if last is not None:
        parts.append(f"RowKey le {_literal(last)}")
    return " and ".join(parts)


def _literal(key: str) -> str:
    """A key in quotes; our own hold none (`shared.storage.keys`), a message might."""
    return "'" + key.replace("'", "''") + "'"


def _to_sdk(entity: Entity) -> dict[str, Any]:
    values: dict[str, Any] = {"PartitionKey": entity.partition, "RowKey": entity.row}
    for name, value in entity.values.items():
        if type(value) is int and value not in _INT32:
            values[name] = EntityProperty(value, EdmType.INT64)
        else:
            values[name] = value
    return values


def _from_sdk(found: Mapping[str, Any]) -> Entity:
    values: dict[str, Value] = {}
    for name, value in found.items():
        if name not in _KEYS:
            values[name] = value.value if isinstance(value, EntityProperty) else value
    metadata = getattr(found, "metadata", {})
    return Entity(found["PartitionKey"], found["RowKey"], values, str(metadata.get("etag", "")))
