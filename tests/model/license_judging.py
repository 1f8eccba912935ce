"""What must hold when a run with licenses has ended: I1 to I4 of docs/design.md#invariants.

The reference applies the rows of each import, in order of acceptance, to one shelf of the whole
company; rows that ended as 9001 or 9002 count as not sent.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from shared.imports.import_type import ReadRow
from shared.imports.json_rows import fold_names, read_lines
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.attachments import blobs_of
from shared.imports.licenses.license_set import LicenseSet, StoredLicense, as_tombstone
from shared.imports.licenses.model import Employee, employee_of, natural_key, sent_identity
from shared.imports.licenses.rules import LicenseRules, read_license
from shared.imports.licenses.store import license_from_entity, owner_from_entity
from shared.imports.messages import Message
from shared.imports.results import Outcome, RowResult
from shared.storage.import_records import ImportRecord
from shared.storage.names import LICENSE_DOCUMENTS
from tests.model.harness import TENANT
from tests.model.judging import ENDED, OVERTAKEN, judge_counts, judge_ends, records_of, results_of
from tests.model.simulation import Simulation


def judge_licenses(world: Simulation) -> None:
    """Raises AssertionError with what is wrong."""
    license_set = LicenseSet()
    passed_through: list[StoredLicense] = []
    retries: defaultdict[int, set[int]] = defaultdict(set)
    for read in records_of(world.tables):
        for ancestor in read.lineage:
            retries[ancestor.number].add(read.number)
        known = {number: frozenset(later) for number, later in retries.items()}
        record = replace(read, origins=replace(read.origins, retries=known))
        results = results_of(world.tables, record)
        judge_counts(record, results)
        judge_ends(world, record)
        _follow(record, results, license_set, passed_through)
    _judge_stored(world, license_set)


def _follow(
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
        if OVERTAKEN in {message.id for message in results[sent.index].messages}:
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
        assert (told.outcome, told.key) == (expected.outcome, expected.key), (
            f"I4: import {record.number} ({action}) row {told.index} says {told}, "
            f"in order {expected}"
        )
    license_set.mark_stored()


def _is_about(row: ReadRow, tombstone: StoredLicense) -> bool:
    """Whether the row would find the license that has left that place."""
    if row.values.get("licenseKey") is not None:
        return bool(row.values["licenseKey"] == tombstone.key)
    natural = natural_key(row.values)
    return natural is not None and natural == natural_key(tombstone.tombstone_fields or {})


def _never_unforeseen(error: Exception) -> Message:
    raise error


def _judge_stored(world: Simulation, license_set: LicenseSet) -> None:
    """I4: licenses, keys and blobs are those that one after another would have left."""
    held: list[StoredLicense] = []
    owners: dict[str, Employee] = {}
    for (partition, row), entity in world.tables.tables["Licenses"].items():
        if row.startswith("r|"):
            held.append(license_from_entity(entity))
        elif row.startswith("k|"):
            owner = owner_from_entity(entity)
            if not owner.is_gone:
                owners[row.removeprefix("k|")] = employee_of(owner.fields)
        assert partition in (f"{TENANT}|C1", TENANT)
    live = {each.key: each for each in held if each.document is not None}
    expected = {each.key: each for each in license_set.all_licenses()}
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
