"""What must hold when a run of the order model has ended: I1 to I4 of DESIGN 6.

The judge is a reference of its own: rows one after another, in order of acceptance, by the rules of
the type alone; rows that ended as 9001 or 9002 count as not sent.
"""

from __future__ import annotations

from typing import Any

from shared.imports.definition import Document
from shared.imports.outcomes import Outcome, RowResult
from shared.imports.payload import read_lines
from shared.imports.workers.definition import WORKERS
from shared.storage import import_records, result_records, stored_records
from shared.storage.import_records import ImportRecord
from shared.storage.tables import Entity
from tests.model.memory_storage import MemoryTables
from tests.model.simulation import TENANT, Simulation

NOT_SENT = {9001, 9002}


def judge(world: Simulation) -> None:
    """Raises AssertionError with the seed and what is wrong."""
    records = _records(world.tables)
    assert [record.number for record in records] == list(range(1, len(records) + 1)), "numbers"
    documents: dict[tuple[str, str], Document] = {}
    for record in records:
        results = _results(world.tables, record)
        _judge_counts(record, results)
        _follow(record, results, documents)
    _judge_stored(world.tables, documents)


def _records(tables: MemoryTables) -> list[ImportRecord]:
    found = tables.in_range("Imports", TENANT, *import_records.RECORDS)
    return sorted((import_records.from_entity(item) for item in found), key=lambda r: r.number)


def _results(tables: MemoryTables, record: ImportRecord) -> dict[int, RowResult]:
    """I1: every chunk has one result, every row one outcome."""
    stored = [
        result_records.from_entity(item)
        for item in tables.in_range("ImportResults", record.import_id)
    ]
    assert len(stored) == len(record.chunks), "I1: a chunk without a result"
    rows = [row for result in stored for row in result_records.rows_of(result.data)]
    indexes = sorted(row.index for row in rows)
    assert indexes == list(range(record.rows)), "I1: a row without an outcome, or with two"
    return {row.index: row for row in rows}


def _judge_counts(record: ImportRecord, results: dict[int, RowResult]) -> None:
    """I2: new + updated + unchanged + failed = rows, and the record says so."""
    counts = record.counts
    assert counts.done == record.rows, "I2: counts do not add up"
    outcomes = [result.outcome for result in results.values()]
    told = (counts.new, counts.updated, counts.unchanged, counts.failed)
    assert told == tuple(outcomes.count(outcome) for outcome in Outcome), "I2: counts are wrong"


def _follow(
    record: ImportRecord,
    results: dict[int, RowResult],
    documents: dict[tuple[str, str], Document],
) -> None:
    """I3, I4: each row does to the record what it reports."""
    last_effect: dict[tuple[str, str], int] = {}
    for index, row in sorted(read_lines(record.inline.encode())):
        result = results[index]
        codes = {message.id for message in result.messages}
        if codes & NOT_SENT:
            continue
        read = WORKERS.rules.read(index, row)
        if not read.is_readable:
            assert result.outcome is Outcome.FAILED, "I4: an unreadable row did not fail"
            continue
        key = (row["EmployerRef"], row["PersonnelRef"])
        decision = WORKERS.rules.decide(read, documents.get(key), record.options)
        assert result.outcome is decision.outcome, (
            f"I4: import {record.number} row {index} says {result.outcome}, "
            f"in order it is {decision.outcome}"
        )
        if decision.outcome.took_effect and decision.document is not None:
            documents[key] = decision.document
            if key in last_effect:
                before = results[last_effect[key]]
                assert 1102 in {message.id for message in before.messages}, "1102 is missing"
            last_effect[key] = index


def _judge_stored(tables: MemoryTables, documents: dict[tuple[str, str], Document]) -> None:
    """I4: what is stored is what one after another would have left, look-ups included."""
    stored: dict[tuple[str, str], Document] = {}
    lookups: set[tuple[str, str]] = set()
    for (partition, row), entity in tables.tables["Workers"].items():
        if row.startswith("r|") and (document := _document(entity)) is not None:
            stored[partition, row] = document
        elif row.startswith("x|"):
            lookups.add((partition, row))
    expected = {
        (stored_records.partition_of(TENANT, group), stored_records.row_of(reference)): document
        for (group, reference), document in documents.items()
    }
    assert stored == expected, "I4: what is stored differs"
    listed = {row for part, row in tables.tables["Workers"] if part == TENANT}
    assert {f"g|{group}" for group, _ in documents} <= listed, "a group is not listed"
    assert lookups == {
        (partition, f"x|{name}|{row.removeprefix('r|')}")
        for (partition, row), document in expected.items()
        for name in WORKERS.rules.lookups(document)
    }, "a look-up is missing or left over"


def _document(entity: Entity) -> dict[str, Any] | None:
    return stored_records.from_entity(entity).document
