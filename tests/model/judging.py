"""What must hold when a run of the order model has ended: I1 to I4 of docs/design.md#invariants.

The judge is a reference of its own: rows one after another, in order of acceptance, by the rules of
the type alone; rows that ended as 9001, 9002 or 1101 count as not sent. Which rows of a retry are
as they were sent is found out here anew, by comparing them with the rows that failed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shared.imports.authdata.model import Employee as AuthEmployee
from shared.imports.former_values import (
    NOTHING_FORMER,
    FormerRecord,
    FormerState,
    FormerValues,
    unpack_former,
)
from shared.imports.import_type import Document, ReadRow, Reference
from shared.imports.json_rows import fold_names, read_lines
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.attachments import blobs_of
from shared.imports.licenses.license_set import LicenseSet, StoredLicense, as_tombstone
from shared.imports.licenses.model import Employee, employee_of, natural_key, sent_identity
from shared.imports.licenses.rules import LicenseRules, read_license
from shared.imports.licenses.store import license_from_entity, owner_from_entity
from shared.imports.licenses.undo import LicenseUndo, UndoneRow, read_undone_row
from shared.imports.messages import Message
from shared.imports.registry import IMPORT_TYPES, import_type, types_of_table
from shared.imports.results import STORED_OUTCOMES, Outcome, RowResult, rows_in
from shared.services.undo_rules import is_reversed
from shared.storage import business_records, import_records, result_records
from shared.storage.import_records import ImportRecord
from shared.storage.names import LICENSE_DOCUMENTS
from shared.storage.ports import Entity
from tests.memory_storage import MemoryTables
from tests.model.harness import TENANT
from tests.model.simulation import Simulation

POISONED, CANCELLED = 9001, 9002
ENDED = {POISONED, CANCELLED}
OVERTAKEN = 1101
Key = tuple[str, ...]
"""Import type, group and reference."""


@dataclass
class Course:
    """The imports up to one of them: what they left, who wrote it, how their rows ended.

    `former` is what a record was before its last import, None where there was none, and `created`
    the import that created it. `undoes` has the import that an undo, or a retry of one, undoes.
    `sent_by` is the number of the import that brought the row as it is, by import and index.
    `parents` and `taken` say of a retry whose rows it takes up, and which by its own; `repaired`
    are the failed rows that retries brought in.
    """

    documents: dict[Key, Document] = field(default_factory=dict)
    writers: dict[Key, int] = field(default_factory=dict)
    former: dict[Key, tuple[Document, int, int] | None] = field(default_factory=dict)
    created: dict[Key, int] = field(default_factory=dict)
    undoes: dict[int, int] = field(default_factory=dict)
    results: dict[int, dict[int, RowResult]] = field(default_factory=dict)
    failed: dict[int, list[tuple[int, dict[str, Any]]]] = field(default_factory=dict)
    sent_by: dict[tuple[int, int], int] = field(default_factory=dict)
    parents: dict[int, int] = field(default_factory=dict)
    taken: dict[int, list[int]] = field(default_factory=dict)
    repaired: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))

    def above(self, number: int) -> set[int]:
        """The imports of which an import is a retry, or a retry of a retry."""
        ancestors: set[int] = set()
        while number in self.parents:
            number = self.parents[number]
            ancestors.add(number)
        return ancestors

    def places_above(self, number: int, index: int) -> Iterator[tuple[int, int]]:
        """The row itself, and the rows of the imports above that it takes up."""
        yield number, index
        while number in self.parents:
            index, number = self.taken[number][index], self.parents[number]
            yield number, index

    def is_in(self, number: int, index: int) -> bool:
        """Whether a retry of the import, or of one above it, brought the failed row in."""
        above = self.places_above(number, index)
        return any(place in self.repaired[each] for each, place in above)


def judge(world: Simulation) -> None:
    """Raises AssertionError with the seed and what is wrong."""
    records = records_of(world.tables)
    assert [record.number for record in records] == list(range(1, len(records) + 1)), "numbers"
    course = Course()
    for record in records:
        results = results_of(world.tables, record)
        judge_counts(record, results)
        judge_ends(world, record)
        _judge_kinship(world, record, course)
        if record.is_undo:
            _judge_rows_of_undo(world, record, course)
            _follow_undo(world, record, results, course)
        else:
            _follow(record, results, course)
        course.results[record.number] = results
        _repair(record, results, course)
        course.failed[record.number] = [
            (index, row) for index, row in _rows(record) if results[index].outcome is Outcome.FAILED
        ]
    judge_stored(world.tables, course.documents)
    _judge_former(world, {record.number: record.import_id for record in records}, course)
    _judge_repairs(world, records, course)
    for number in world.repaired:
        for index, _ in course.failed[number]:
            assert course.is_in(number, index), f"a retry of import {number} was refused"


def _rows(record: ImportRecord) -> list[tuple[int, dict[str, Any]]]:
    return sorted(read_lines(record.inline.encode()), key=lambda pair: pair[0])


def _judge_kinship(world: Simulation, record: ImportRecord, course: Course) -> None:
    """A retry has rows of its parent that failed, in their order; some are corrected.

    Of all that failed only those are left out that other retries brought in.
    """
    rows = _rows(record)
    if not record.parent.number:
        course.sent_by.update({(record.number, index): record.number for index, _ in rows})
        return
    parent = record.parent.number
    course.parents[record.number] = parent
    failed = dict(course.failed[parent])
    link_row = import_records.child_row(parent, record.number)
    [entity] = world.tables.in_range("Imports", TENANT, link_row, link_row)
    taken = list(rows_in(import_records.retry_link(entity).rows))
    course.taken[record.number] = taken
    world.seen["retry of a retry"] += parent in course.parents
    world.seen["partial retry"] += len(taken) < len(failed)
    assert len(rows) == len(taken) > 0, "a retry with a row too many or too few"
    for index in failed.keys() - set(taken):
        assert course.is_in(parent, index), "a retry leaves out a row that is still out"
    for (index, row), was in zip(rows, taken, strict=True):
        sent = failed[was]
        first = course.sent_by[parent, was]
        course.sent_by[record.number, index] = first if row == sent else record.number


def _repair(record: ImportRecord, results: dict[int, RowResult], course: Course) -> None:
    """A row that goes in repairs the failed rows of the imports above that it takes up."""
    for index, result in results.items():
        if result.outcome is not Outcome.FAILED:
            _, *above = course.places_above(record.number, index)
            for number, place in above:
                course.repaired[number].add(place)


def _judge_repairs(world: Simulation, records: Sequence[ImportRecord], course: Course) -> None:
    """What retries say that they brought in is what they brought in."""
    reported: defaultdict[int, int] = defaultdict(int)
    for entity in world.tables.in_range("Imports", TENANT, "child|", "child|~"):
        link = import_records.retry_link(entity)
        reported[link.ancestor] |= link.repaired
    for record in records:
        repaired = set(rows_in(reported[record.number]))
        assert repaired == course.repaired[record.number], f"repairs of import {record.number}"
        assert len(repaired) <= record.counts.failed
        world.seen["repair"] += bool(repaired)


def records_of(tables: MemoryTables) -> list[ImportRecord]:
    """The imports, in order of acceptance."""
    entities = tables.in_range("Imports", TENANT, *import_records.RECORDS)
    return sorted((import_records.from_entity(item) for item in entities), key=lambda r: r.number)


def results_of(tables: MemoryTables, record: ImportRecord) -> dict[int, RowResult]:
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


def judge_counts(record: ImportRecord, results: dict[int, RowResult]) -> None:
    """I2: new + updated + unchanged + failed = rows, and the record says so."""
    counts = record.counts
    assert counts.done == record.rows, "I2: counts do not add up"
    outcomes = [result.outcome for result in results.values()]
    counted = (counts.new, counts.updated, counts.unchanged, counts.failed)
    assert counted == tuple(outcomes.count(outcome) for outcome in STORED_OUTCOMES), (
        "I2: counts are wrong"
    )


def judge_ends(world: Simulation, record: ImportRecord) -> None:
    """I1: only a poisoned chunk has a row with 9001, only a cancelled import one with 9002.

    What becomes of another import is no reason to fail a row.
    """
    for item in world.tables.in_range("ImportResults", record.import_id):
        chunk = result_records.chunk_of(item.row)
        stored = result_records.from_entity(item)
        codes = {
            message.id for row in result_records.rows_of(stored.data) for message in row.messages
        }
        where = f"import {record.number} chunk {chunk}"
        if POISONED in codes:
            is_poisoned = (record.import_id, chunk) in world.poisoned
            assert is_poisoned, f"I1: {where} was not poisoned and has a row with 9001"
        if CANCELLED in codes:
            assert record.is_cancelled, f"I1: {where} was not cancelled and has a row with 9002"


def _follow(record: ImportRecord, results: dict[int, RowResult], course: Course) -> None:
    """I3, I4: each row does to the record what it reports."""
    kind = import_type(record.type_name, record.type_version)
    rules = kind.record_rules
    documents, before = course.documents, dict(course.writers)
    last_effect: dict[Key, int] = {}
    for index, row in _rows(record):
        result = results[index]
        codes = {message.id for message in result.messages}
        if codes & ENDED:
            continue
        place = rules.identify(fold_names(row))
        key = (record.type_name, place.group, place.reference) if place else ()
        origin, writer = course.sent_by[record.number, index], before.get(key, 0)
        is_overtaken = origin < writer and origin not in course.above(writer)
        assert (OVERTAKEN in codes) is is_overtaken, f"1101: import {record.number} row {index}"
        if is_overtaken:
            assert result.outcome is Outcome.FAILED, "1101 of a row that did not fail"
            continue
        read = rules.read(index, row)
        if not read.is_readable:
            assert result.outcome is Outcome.FAILED, "I4: an unreadable row did not fail"
            continue
        decision = rules.decide(read, documents.get(key), record.options)
        expected = decision.outcome
        if expected.took_effect and not _is_known(kind.references_of(read.values), documents):
            assert 2001 in codes, "I4: a missing record was not missed"
            expected = Outcome.FAILED
        assert result.outcome is expected, (
            f"I4: import {record.number} row {index} says {result.outcome}, in order {expected}"
        )
        if expected.took_effect and decision.document is not None:
            if course.writers.get(key, 0) != record.number:
                is_there = key in documents
                course.former[key] = _present(course, key)
                if not is_there:
                    course.created[key] = record.number
            documents[key] = decision.document
            course.writers[key] = record.number
            if key in last_effect:
                overwritten = results[last_effect[key]]
                assert 1102 in {message.id for message in overwritten.messages}, "1102 is missing"
            last_effect[key] = index


def _present(course: Course, key: Key) -> tuple[Document, int, int] | None:
    """What a record is, who wrote it and who created it."""
    if key not in course.documents:
        return None
    return course.documents[key], course.writers[key], course.created[key]


# The reference of an undo knows nothing of stamps, former values and waits: it undoes one import
# after another, from what each record was before.


def _judge_rows_of_undo(world: Simulation, record: ImportRecord, course: Course) -> None:
    """An undo has a row for each row that took effect, in their order; none is undone twice."""
    undone = record.undoes.number
    course.undoes[record.number] = undone
    if record.parent.number:
        world.seen["retry of an undo"] += 1
        assert course.undoes[record.parent.number] == undone, "a retry undoes another import"
        return
    others = [each for each in course.undoes if course.undoes[each] == undone]
    assert set(others) <= {record.number}, f"import {undone} is undone twice"
    effective = [
        index
        for index, result in sorted(course.results[undone].items())
        if result.outcome is not Outcome.FAILED and result.outcome is not Outcome.UNCHANGED
    ]
    assert [row["index"] for _, row in _rows(record)] == effective, "other rows are undone"
    assert list(rows_in(record.undone_rows)) == effective


def _follow_undo(
    world: Simulation, record: ImportRecord, results: dict[int, RowResult], course: Course
) -> None:
    """I3, I4: each row puts its record back, or says why not."""
    rules = import_type(record.type_name).record_rules
    expected: dict[Key, tuple[Outcome, int, bool]] = {}
    for index, row in _rows(record):
        result = results[index]
        codes = {message.id for message in result.messages}
        if codes & ENDED:
            continue
        place = rules.identify(fold_names(row))
        assert place is not None
        key = (record.type_name, place.group, place.reference)
        if key not in expected:
            expected[key] = _undo_record(record, key, course)
        outcome, code, is_removed = expected[key]
        world.seen[f"undo {code or outcome.value}"] += 1
        told = result.outcome, codes or {0}, bool(result.removed)
        assert told == (outcome, {code}, is_removed), (
            f"I4: undo {record.number} row {index} says {told}, in order {expected[key]}"
        )


def _undo_record(record: ImportRecord, key: Key, course: Course) -> tuple[Outcome, int, bool]:
    """Put a record back; the outcome, the message id, and whether the record was removed."""
    undone = record.undoes.number
    writer = course.writers[key]
    if course.undoes.get(writer) == undone:
        return Outcome.UNCHANGED, 1103, False
    if writer != undone:
        return Outcome.FAILED, 1104, False
    before, present = course.former[key], course.documents.get(key)
    kind = import_type(record.type_name)
    if before is None:
        referring = (
            reference
            for (name, _, _), document in course.documents.items()
            for reference in import_type(name).references_of(document)
        )
        if any((kind.table, *key[1:]) == (r.table, r.group, r.reference) for r in referring):
            return Outcome.FAILED, 1105, False
    else:
        known = [] if present is None else kind.references_of(present)
        new = [each for each in kind.references_of(before[0]) if each not in known]
        if not _is_known(new, course.documents):
            return Outcome.FAILED, 2001, False
    course.former[key] = _present(course, key)
    course.writers[key] = record.number
    course.documents.pop(key, None)
    if before is not None:
        course.documents[key], _, course.created[key] = before
    return Outcome.NEW if present is None else Outcome.UPDATED, 0, before is None


def _is_known(references: Sequence[Reference], documents: dict[Key, Document]) -> bool:
    return all(
        (kind.name, each.group, each.reference) in documents
        for each in references
        for kind in types_of_table(each.table)
    )


def stored_employees(tables: MemoryTables) -> dict[str, Document]:
    """The employees by id; each has its own look-up and no combination of values is there twice."""
    documents: dict[str, Document] = {}
    lookups = 0
    for (_, row), entity in tables.tables["AuthData"].items():
        lookups += row.startswith("x|")
        document = business_records.from_entity(entity).document if row.startswith("r|") else None
        if document is not None:
            documents[document["employeeId"]] = document
    triples = {AuthEmployee.from_document(document).values for document in documents.values()}
    assert len(triples) == len(documents), "two employees with the same values"
    assert lookups == len(documents), "a look-up is missing or left over"
    return documents


def judge_stored(tables: MemoryTables, documents: dict[Key, Document]) -> None:
    """I4: what is stored is what one after another would have left, look-ups included."""
    for kind in IMPORT_TYPES.values():
        stored: dict[tuple[str, str], Document] = {}
        lookups: set[tuple[str, str]] = set()
        for (partition, row), entity in tables.tables[kind.table].items():
            if row.startswith("r|") and (document := _document(entity)) is not None:
                stored[partition, row] = document
            elif row.startswith("x|"):
                lookups.add((partition, row))
        expected = {
            (
                business_records.partition_of(TENANT, group),
                business_records.row_of(reference),
            ): document
            for (name, group, reference), document in documents.items()
            if name == kind.name
        }
        assert stored == expected, f"I4: what is stored of {kind.name} differs"
        assert lookups == {
            (partition, f"x|{name}|{row.removeprefix('r|')}")
            for (partition, row), document in expected.items()
            for name in kind.record_rules.lookups(document)
        }, "a look-up is missing or left over"
        listed = {row for part, row in tables.tables[kind.table] if part == TENANT}
        groups = {f"g|{group}" for name, group, _ in documents if name == kind.name}
        assert groups <= listed, "a group is not listed"


def _judge_former(world: Simulation, ids: dict[int, str], course: Course) -> None:
    """Every record keeps what it was before its last import, and names the imports."""
    for key, number in course.writers.items():
        name, group, reference = key
        place = (business_records.partition_of(TENANT, group), business_records.row_of(reference))
        stored = business_records.from_entity(world.tables.tables[IMPORT_TYPES[name].table][place])
        where = f"former values of {reference} before import {number}"
        assert (stored.stamp.number, stored.stamp.import_id) == (number, ids[number]), where
        assert stored.created_by == course.created[key], where
        assert stored.created_import_id == ids[stored.created_by], where
        before = course.former[key]
        if before is None:
            assert stored.former == NOTHING_FORMER, f"{where}: there was none"
            continue
        assert isinstance(stored.former, FormerValues), where
        former = unpack_former(stored.former, b"", stored.document, stored.created)
        assert list(former.document.items()) == list(before[0].items()), f"{where}: another one"
        assert (former.number, former.import_id) == (before[1], ids[before[1]]), where
        assert former.created_by == before[2], where
        world.seen["former values"] += 1


def _document(entity: Entity) -> dict[str, Any] | None:
    return business_records.from_entity(entity).document


# What must hold when a run with licenses has ended: I1 to I4 of docs/design.md#invariants.
#
# The reference applies the rows of each import, in order of acceptance, to one shelf of the whole
# company; rows that ended as 9001 or 9002 count as not sent.


def judge_licenses(world: Simulation) -> None:
    """Raises AssertionError with what is wrong."""
    license_set = LicenseSet()
    passed_through: list[StoredLicense] = []
    retries: defaultdict[int, set[int]] = defaultdict(set)
    before: dict[int, dict[str, StoredLicense]] = {}
    results: dict[int, dict[int, RowResult]] = {}
    writers: dict[str, int] = {}
    ids: dict[int, str] = {}
    for read in records_of(world.tables):
        before[read.number] = {each.key: each for each in license_set.all_licenses()}
        ids[read.number] = read.import_id
        for ancestor in read.lineage:
            retries[ancestor.number].add(read.number)
        known = {
            number: frozenset(later)
            for number, later in retries.items()
            if number in read.origins.numbers
        }
        record = replace(read, origins=replace(read.origins, retries=known))
        results[record.number] = results_of(world.tables, record)
        judge_counts(record, results[record.number])
        judge_ends(world, record)
        if record.is_undo:
            _follow_license_undo(world, record, results, license_set, before, writers)
        else:
            _follow_licenses(record, results[record.number], license_set, passed_through)
        after = {each.key: each for each in license_set.all_licenses()}
        keys = before[record.number].keys() | after.keys()
        changed = [key for key in keys if before[record.number].get(key) != after.get(key)]
        writers |= dict.fromkeys(changed, record.number)
    judge_stored_licenses(world, license_set)
    _judge_former_licenses(world, before, ids)


def _follow_license_undo(
    world: Simulation,
    record: ImportRecord,
    results: dict[int, dict[int, RowResult]],
    license_set: LicenseSet,
    before: dict[int, dict[str, StoredLicense]],
    writers: dict[str, int],
) -> None:
    """I3, I4: each row of an undo puts back what was there before the import that it undoes.

    What was there comes from the reference itself, and not from what a license keeps.
    """
    undone, result = record.undoes.number, results[record.number]
    rows: list[UndoneRow] = []
    for index, line in _rows(record):
        row = read_undone_row(index, line)
        was = results[undone][line["index"]]
        own = {was.key[-1]} if was.outcome.took_effect else set()
        assert own | {*was.removed, *was.restored}, "a row that did nothing is undone"
        assert (row.key, set(row.license_keys)) == (was.key, own | {*was.removed, *was.restored})
        if not ENDED & {message.id for message in result[index].messages}:
            rows.append(row)
    stored = license_set.all_licenses()
    present = {each.key: each for each in stored}
    for key, number in writers.items():
        gone = before[number].get(key)
        if key not in present and gone is not None:
            stored.append(replace(as_tombstone(gone, number), former=NOTHING_FORMER))
    former: dict[tuple[str, Employee], tuple[FormerState, FormerRecord | None]] = {}
    for each in stored:
        was_there = before[undone].get(each.key)
        if was_there is None or was_there.document is None:
            former[each.key, each.employee] = (FormerState.NONE, None)
        else:
            kept = FormerRecord(was_there.document, was_there.number, "", "", *was_there.created)
            former[each.key, each.employee] = (FormerState.KEPT, kept)
    work = LicenseUndo(
        undoes=undone,
        number=record.number,
        import_id=record.import_id,
        stored=stored,
        former=former,
        is_own=lambda number: number == record.number or is_reversed(record, number),
        is_replace=record.options.action == LicenseAction.REPLACE,
        license_set=license_set,
    )
    for _ in work.apply(rows):
        pass
    for expected in work.results.take():
        given = result[expected.index]
        assert _essence(given) == _essence(expected), (
            f"I4: undo {record.number} row {expected.index} says {given}, in order {expected}"
        )
        world.seen["kept by an undo"] += expected.outcome is Outcome.FAILED
        world.seen["reversed"] += expected.outcome is not Outcome.FAILED
        world.seen["restored"] += bool(expected.restored)
    license_set.mark_stored()


def _essence(result: RowResult) -> tuple[object, ...]:
    codes = [message.id for message in result.messages]
    return result.outcome, result.key, set(result.removed), set(result.restored), codes


def _follow_licenses(
    record: ImportRecord,
    results: dict[int, RowResult],
    license_set: LicenseSet,
    passed_through: list[StoredLicense],
) -> None:
    """I3, I4: each row does what it reports.

    `passed_through` are the places that a license came to and left within one import. Whether such
    a place has a tombstone depends on where the transactions of that import were cut, so a retried
    row that finds one there may say 1101, and may also go in.
    """
    rows: list[ReadRow] = []
    whose: dict[int, Employee] = {}
    action = LicenseAction(record.options.action)
    for index, row in sorted(read_lines(record.inline.encode())):
        identity = sent_identity(fold_names(row))
        if ENDED & {message.id for message in results[index].messages}:
            continue
        if "companyCode" not in identity:
            assert results[index].outcome is Outcome.FAILED, "I4: a row without a company went in"
            continue
        rows.append(read_license(index, row, action))
        whose[index] = employee_of(identity)
    work = LicenseRules(
        tenant=TENANT,
        company="C1",
        action=action,
        number=record.number,
        import_id=record.import_id,
        license_set=license_set,
        describe_error=_never_unforeseen,
        is_overtaken=record.origins.is_overtaken,
    )
    for sent in rows:
        is_overtaken = OVERTAKEN in {message.id for message in results[sent.index].messages}
        # Where the license is there, its own number decides.
        if is_overtaken and not any(_is_about(sent, each) for each in license_set.all_licenses()):
            for tombstone in passed_through:
                if _is_about(sent, tombstone) and record.origins.is_overtaken(
                    sent.index, tombstone.number
                ):
                    license_set.add_stored(tombstone)
    before = {(each.key, each.employee) for each in license_set.all_licenses()}
    seen: dict[tuple[str, Employee], StoredLicense] = {}
    for _ in work.apply(rows, lambda row: whose[row.index]):
        seen |= {(each.key, each.employee): each for each in license_set.all_licenses()}
    after = {(each.key, each.employee) for each in license_set.all_licenses()}
    passed_through += [
        as_tombstone(each, record.number)
        for place, each in seen.items()
        if place not in before | after
    ]
    for expected in work.results.take():
        told = results[expected.index]
        assert (told.outcome, told.key, told.removed) == (
            expected.outcome,
            expected.key,
            expected.removed,
        ), (
            f"I4: import {record.number} ({action}) row {told.index} says {told}, "
            f"in order {expected}"
        )
    license_set.mark_stored()


def _is_about(row: ReadRow, found: StoredLicense) -> bool:
    """Whether the row would find the license, or the one that has left that place."""
    if row.values.get("licenseKey") is not None:
        return bool(row.values["licenseKey"] == found.key)
    natural = natural_key(row.values)
    return natural is not None and natural == natural_key(
        found.document or found.tombstone_fields or {}
    )


def _never_unforeseen(error: Exception) -> Message:
    raise error


def _judge_former_licenses(
    world: Simulation, before: dict[int, dict[str, StoredLicense]], ids: dict[int, str]
) -> None:
    """A stored license keeps what it was before the import that wrote it last.

    `before` are the licenses before an import, by its number and their keys. A license that an
    import removed and brought to another place is new there; its tombstone has what it was.
    """
    entities = world.tables.tables["Licenses"].values()
    licenses = [license_from_entity(each) for each in entities if each.row.startswith("r|")]
    stored = {(each.key, each.employee): each for each in licenses}
    for place, license_ in stored.items():
        key, employee = place
        was = before[license_.number].get(key)
        where = f"former values of {place} before import {license_.number}"
        assert license_.import_id == ids[license_.number], where
        assert isinstance(license_.former, FormerValues), where
        is_gone = license_.document is None
        if license_.former.state is FormerState.NONE:
            if was is not None and not (is_gone and was.employee != employee):
                tombstone = stored[key, was.employee]
                assert was.employee != employee, f"{where}: there was one"
                assert (tombstone.document, tombstone.number) == (None, license_.number), where
            continue
        former = unpack_former(license_.former, b"", license_.document, license_.created)
        assert was is not None, f"{where}: there was none"
        assert not is_gone or was.employee == employee, f"{where}: it was not there"
        assert list(former.document.items()) == list((was.document or {}).items()), where
        assert (former.number, former.import_id) == (was.number, ids[was.number]), where
        world.seen["former values"] += 1
        world.seen["former values of a tombstone"] += is_gone
        world.seen["former values of a moved license"] += was.employee != employee


def judge_stored_licenses(world: Simulation, license_set: LicenseSet) -> None:
    """I4: licenses, keys and blobs are those that one after another would have left."""
    licenses: list[StoredLicense] = []
    owners: dict[str, Employee] = {}
    for (partition, row), entity in world.tables.tables["Licenses"].items():
        if row.startswith("r|"):
            licenses.append(license_from_entity(entity))
        elif row.startswith("k|"):
            owner = owner_from_entity(entity)
            if not owner.is_gone:
                owners[row.removeprefix("k|")] = employee_of(owner.fields)
        assert partition in (f"{TENANT}|C1", TENANT)
    live = {each.key: each for each in licenses if each.document is not None}
    expected = {each.key: each for each in license_set.all_licenses()}
    documents = {key: each.document for key, each in live.items()}
    assert documents == {key: each.document for key, each in expected.items()}, "I4: stored differs"
    assert owners == {key: each.employee for key, each in expected.items()}, "owners differ"
    natural = [natural_key(each.document or {}) for each in live.values()]
    named = [key for key in natural if key is not None]
    assert len(set(named)) == len(named), "two licenses with one natural key"
    in_use = {
        f"{TENANT}/{name}"
        for each in live.values()
        for name in blobs_of((each.document or {}).get("documents", []))
    }
    there = {name for container, name in world.blobs.names() if container == LICENSE_DOCUMENTS}
    assert in_use <= there, "the blob of a document is missing"
    formers = [
        unpack_former(each.former, b"", each.document, each.created)
        for each in licenses
        if isinstance(each.former, FormerValues) and each.former.state is FormerState.KEPT
    ]
    may_come_back = {
        f"{TENANT}/{name}"
        for former in formers
        for name in blobs_of(former.document.get("documents", []))
    }
    assert may_come_back <= there, "a blob that an undo may bring back is missing"
