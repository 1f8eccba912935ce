"""What must hold when a run with licenses has ended: I1 to I4 of docs/design.md#invariants.

The reference applies the rows of each import, in order of acceptance, to one shelf of the whole
company; rows that ended as 9001 or 9002 count as not sent.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from shared.imports.former_values import FormerState, FormerValues, unpack_former
from shared.imports.import_type import ReadRow
from shared.imports.json_rows import fold_names, read_lines
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.attachments import blobs_of
from shared.imports.licenses.license_set import LicenseSet, StoredLicense, as_tombstone
from shared.imports.licenses.model import Employee, employee_of, natural_key, sent_identity
from shared.imports.licenses.rules import LicenseRules, read_license
from shared.imports.messages import Message
from shared.imports.results import Outcome, RowResult
from shared.storage.import_records import ImportRecord
from shared.storage.license_records import held_from_entity, owner_of
from shared.storage.names import LICENSE_DOCUMENTS
from tests.model.judging import ENDED, OVERTAKEN, judge_counts, judge_ends, records_of, results_of
from tests.model.processes import TENANT
from tests.model.simulation import Simulation


def judge_licenses(world: Simulation) -> None:
    """Raises AssertionError with what is wrong."""
    shelf = LicenseSet()
    passed_through: list[StoredLicense] = []
    retries: defaultdict[int, set[int]] = defaultdict(set)
    before: dict[int, dict[str, StoredLicense]] = {}
    ids: dict[int, str] = {}
    for read in records_of(world.tables):
        before[read.number] = {each.key: each for each in shelf.all_held()}
        ids[read.number] = read.import_id
        for ancestor in read.lineage:
            retries[ancestor.number].add(read.number)
        known = {number: frozenset(later) for number, later in retries.items()}
        record = replace(read, origins=replace(read.origins, retries=known))
        results = results_of(world.tables, record)
        judge_counts(record, results)
        judge_ends(world, record)
        _follow(record, results, shelf, passed_through)
    _judge_stored(world, shelf)
    _judge_former(world, before, ids)


def _follow(
    record: ImportRecord,
    results: dict[int, RowResult],
    shelf: LicenseSet,
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
        shelf=shelf,
        unforeseen=_never_unforeseen,
        is_overtaken=record.origins.is_overtaken,
    )
    for sent in rows:
        if OVERTAKEN in {message.id for message in results[sent.index].messages}:
            for tombstone in passed_through:
                if _is_about(sent, tombstone) and record.origins.is_overtaken(
                    sent.index, tombstone.number
                ):
                    shelf.fill(tombstone)
    before = {(each.key, each.employee) for each in shelf.all_held()}
    seen: dict[tuple[str, Employee], StoredLicense] = {}
    for _ in work.steps(rows, lambda row: whose[row.index]):
        seen |= {(each.key, each.employee): each for each in shelf.all_held()}
    after = {(each.key, each.employee) for each in shelf.all_held()}
    passed_through += [
        as_tombstone(each, record.number)
        for place, each in seen.items()
        if place not in before | after
    ]
    for expected in work.pending.take():
        told = results[expected.index]
        assert (told.outcome, told.key, told.removed) == (
            expected.outcome,
            expected.key,
            expected.removed,
        ), (
            f"I4: import {record.number} ({action}) row {told.index} says {told}, "
            f"in order {expected}"
        )
    shelf.settle()


def _is_about(row: ReadRow, tombstone: StoredLicense) -> bool:
    """Whether the row would find the license that has left that place."""
    if row.values.get("licenseKey") is not None:
        return bool(row.values["licenseKey"] == tombstone.key)
    natural = natural_key(row.values)
    return natural is not None and natural == natural_key(tombstone.remains or {})


def _never_unforeseen(error: Exception) -> Message:
    raise error


def _judge_former(
    world: Simulation, before: dict[int, dict[str, StoredLicense]], ids: dict[int, str]
) -> None:
    """What is stored of a license keeps what it was before the import that wrote it last.

    `before` are the licenses before an import, by its number and their keys. A license that an
    import removed and brought to another place is new there; its tombstone has what it was.
    """
    entities = world.tables.tables["Licenses"].values()
    licenses = [held_from_entity(each) for each in entities if each.row.startswith("r|")]
    stored = {(each.key, each.employee): each for each in licenses}
    for place, found in stored.items():
        key, employee = place
        was = before[found.number].get(key)
        where = f"former values of {place} before import {found.number}"
        assert found.import_id == ids[found.number], where
        assert isinstance(found.former, FormerValues), where
        is_gone = found.document is None
        if found.former.state is FormerState.NONE:
            if was is not None and not (is_gone and was.employee != employee):
                left = stored[key, was.employee]
                assert was.employee != employee, f"{where}: there was one"
                assert (left.document, left.number) == (None, found.number), where
            continue
        former = unpack_former(found.former, b"", found.document, found.created)
        assert was is not None, f"{where}: there was none"
        assert not is_gone or was.employee == employee, f"{where}: it was not there"
        assert list(former.document.items()) == list((was.document or {}).items()), where
        assert (former.number, former.import_id) == (was.number, ids[was.number]), where
        world.seen["former values"] += 1
        world.seen["former values of a tombstone"] += is_gone
        world.seen["former values of a moved license"] += was.employee != employee


def _judge_stored(world: Simulation, shelf: LicenseSet) -> None:
    """I4: licenses, keys and blobs are those that one after another would have left."""
    held: list[StoredLicense] = []
    owners: dict[str, Employee] = {}
    for (partition, row), entity in world.tables.tables["Licenses"].items():
        if row.startswith("r|"):
            held.append(held_from_entity(entity))
        elif row.startswith("k|"):
            owner = owner_of(entity)
            if not owner.is_gone:
                owners[row.removeprefix("k|")] = employee_of(owner.fields)
        assert partition in (f"{TENANT}|C1", TENANT)
    live = {each.key: each for each in held if each.document is not None}
    expected = {each.key: each for each in shelf.all_held()}
    found = {key: each.document for key, each in live.items()}
    assert found == {key: each.document for key, each in expected.items()}, "I4: stored differs"
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
