"""What lies in storage after imports: entities counted and read, apart from the gateway's services.

Only the mapping of entities is the product's; what is asked for, and how it is judged, is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azure.data.tables import TableServiceClient

from shared.imports.import_type import Document
from shared.imports.results import STORED_OUTCOMES, RowResult
from shared.storage import business_records, import_records, result_records
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Entity


@dataclass(frozen=True)
class Books:
    """The tables of one storage account, read through the plain SDK."""

    storage: str

    def entities(self, table: str, query: str) -> list[Entity]:
        """The entities of a table that an OData filter finds."""
        with TableServiceClient.from_connection_string(self.storage) as service:
            items = service.get_table_client(table).query_entities(query)
            return [_entity(item) for item in items]

    def workers(self, tenant: str) -> dict[tuple[str, str], Document]:
        """The stored workers of a tenant by partition and row key; no tombstones."""
        entities = self.entities(
            "Workers", f"{_tenant(tenant)} and RowKey ge 'r|' and RowKey lt 'r}}'"
        )
        documents = {
            (item.partition, item.row): business_records.from_entity(item).document
            for item in entities
        }
        assert len(documents) == len(entities)
        return {key: document for key, document in documents.items() if document is not None}

    def imports(self, tenant: str) -> list[ImportRecord]:
        """The tenant's imports in order of acceptance."""
        query = f"PartitionKey eq '{tenant}' and RowKey ge 'n|' and RowKey lt 'n}}'"
        records = [import_records.from_entity(item) for item in self.entities("Imports", query)]
        return sorted(records, key=lambda record: record.number)

    def open_imports(self, tenant: str) -> int:
        """How many open-import entities a tenant has."""
        query = f"PartitionKey eq '{tenant}' and RowKey ge 'open|' and RowKey lt 'open}}'"
        return len(self.entities("Imports", query))

    def result_records(self, import_id: str) -> int:
        """How many chunks of an import have a result."""
        return len(self.entities("ImportResults", f"PartitionKey eq '{import_id}'"))

    def results(self, record: ImportRecord) -> dict[int, RowResult]:
        """The result of each row by its index; fails where a row has none or two (I1)."""
        rows: list[RowResult] = []
        entities = self.entities("ImportResults", f"PartitionKey eq '{record.import_id}'")
        assert len(entities) == len(record.chunks), "a chunk without a result"
        for item in entities:
            rows.extend(result_records.rows_of(result_records.from_entity(item).data))
        assert sorted(row.index for row in rows) == list(range(record.rows)), "I1"
        return {row.index: row for row in rows}


def check_counts(record: ImportRecord, results: Mapping[int, RowResult]) -> None:
    """I2: the counts of an ended import are those of its rows."""
    outcomes = [result.outcome for result in results.values()]
    counts = record.counts
    counted = (counts.new, counts.updated, counts.unchanged, counts.failed)
    assert counted == tuple(outcomes.count(outcome) for outcome in STORED_OUTCOMES), "I2"
    assert counts.done == record.rows, "I2"
    codes = {message.id for result in results.values() for message in result.messages}
    assert 9001 not in codes, "no chunk of these tests is poisoned"
    assert 9002 not in codes or record.is_cancelled, "the import was not cancelled"


def _tenant(tenant: str) -> str:
    return f"PartitionKey ge '{tenant}|' and PartitionKey lt '{tenant}}}'"


def _entity(item: Any) -> Entity:
    values = {
        name: getattr(value, "value", value)
        for name, value in item.items()
        if name not in ("PartitionKey", "RowKey")
    }
    return Entity(item["PartitionKey"], item["RowKey"], values)
