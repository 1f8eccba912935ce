"""What retention reads and writes of imports: a summary of each, and the marks of what has gone.

A record first says that its payload or its results have expired, so that readers are told so (410)
while the rest goes; the record itself goes last, with its index and kinship entities.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import UnreadableDataError
from shared.storage import import_records as records
from shared.storage.import_records import ImportRecord
from shared.storage.tables import Delete, Entity, Merge, Operation, Value

SUMMARY_COLUMNS = (
    "ImportId",
    "EndedAt",
    "PayloadExpiredAt",
    "ResultsExpiredAt",
    "FirstOrigin",
)


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """An import as retention sees it. Times are ISO text, "" where it has not happened.

    `first_origin` is the lowest number that a row of it is compared with: that of the first import
    that brought such a row, its own where it is no retry.
    """

    tenant: str
    number: int
    import_id: str
    ended_at: str
    has_payload: bool
    has_results: bool
    first_origin: int

    def ended_before(self, moment: str) -> bool:
        """Whether it ended before that moment (ISO text)."""
        return bool(self.ended_at) and self.ended_at < moment


def summary_from_entity(entity: Entity) -> ImportSummary:
    """The summary that these columns of a record make."""
    number = records.number_of(entity.row)
    return ImportSummary(
        tenant=entity.partition,
        number=number,
        import_id=entity.text("ImportId"),
        ended_at=entity.text("EndedAt"),
        has_payload=not entity.text("PayloadExpiredAt"),
        has_results=not entity.text("ResultsExpiredAt"),
        first_origin=_first_origin(entity) or number,
    )


def _first_origin(entity: Entity) -> int:
    """The lowest origin of a retry; 1, which keeps every tombstone, where it cannot be read."""
    try:
        return entity.number("FirstOrigin")
    except UnreadableDataError:
        return 1


def without_payload(entity: Entity, now: str) -> Operation:
    """The write that takes the lines of a small payload out of a record, given as it was read."""
    lines = dict.fromkeys((name for name in entity.values if _holds_lines(name)), "")
    values: dict[str, Value] = {"PayloadExpiredAt": now, **lines}
    return Merge(Entity(entity.partition, entity.row, values))


def without_results(summary: ImportSummary, now: str) -> Operation:
    """The write that says that the results of an import have expired."""
    row = records.record_row(summary.number)
    return Merge(Entity(summary.tenant, row, {"ResultsExpiredAt": now}))


def removal(record: ImportRecord) -> list[Operation]:
    """The transaction that removes the record of an ended import; it fails where it is gone."""
    rows = [records.record_row(record.number), records.index_row(record.import_id)]
    rows += [records.child_row(ancestor.number, record.number) for ancestor in record.lineage]
    if record.body_hash:
        rows.append(records.file_row(record.type_name, record.body_hash, record.number))
    return [Delete(Entity(record.tenant, row, {})) for row in rows]


def _holds_lines(name: str) -> bool:
    return name.startswith("Lines") and name.removeprefix("Lines").isdigit()
