"""Batches in the clear put through the code: read, hashed, classified, answered, applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.imports.authdata.answer import results_of, vendor_answer
from shared.imports.authdata.hashing import Hasher, HashKey
from shared.imports.authdata.model import (
    AuthRecord,
    Employee,
    Formats,
    RecordReader,
    StoredEmployees,
)
from shared.imports.authdata.rules import BatchClassification, BatchOptions, Thresholds, classify
from tests.unit.imports.authdata.reference_model import Person, Raw

OLD, CURRENT = HashKey("k1", b"o" * 32), HashKey("k2", b"c" * 32)
TENANT = "acme"


def a_hasher(*keys: HashKey) -> Hasher:
    return Hasher(keys or (CURRENT, OLD), TENANT)


def read_all(
    employees: Sequence[Any],
    *,
    formats: Mapping[str, str] | None = None,
    allow_no_auth: bool = False,
    keys: Sequence[HashKey] = (),
    before: int = 0,
) -> list[AuthRecord]:
    """The records of a call whose batch has `before` records already."""
    compiled = Formats(formats or {}).compiled()
    reader = RecordReader(a_hasher(*keys), compiled, allow_no_auth=allow_no_auth)
    folded = [{name.lower(): value for name, value in row.items()} for row in employees]
    return [reader.read(before + at, row) for at, row in enumerate(folded)]


def stored_of(people: Mapping[str, Person], key: HashKey = CURRENT) -> StoredEmployees:
    """These people as they are stored, hashed under one key."""
    return all_stored(an_employee(name, person, key) for name, person in people.items())


def all_stored(employees: Iterable[Employee]) -> StoredEmployees:
    """Where these are all employees there are."""
    by_id = {employee.employee_id: employee for employee in employees}
    holders = {
        triple: employee.employee_id
        for employee in by_id.values()
        if (triple := employee.triple) is not None
    }
    return StoredEmployees(by_id, holders, len(by_id))


def an_employee(name: str, person: Person, key: HashKey = CURRENT) -> Employee:
    status, *values = person
    fingerprints = Hasher((key,), TENANT).fingerprints(values)
    if not fingerprints.has_values:
        return Employee(name, status)
    [(key_id, triple)] = fingerprints.by_key
    return Employee(name, status, key_id, triple)


@dataclass(frozen=True)
class Judged:
    """What the code made of a batch."""

    classified: BatchClassification
    answer: dict[str, Any]

    def details(self) -> list[tuple[str, str]]:
        return [(each["Key"], each["Value"]) for each in self.answer["employeeDetails"]]


def judge(
    records: Sequence[AuthRecord], stored: StoredEmployees, thresholds: Thresholds | None = None
) -> Judged:
    classified = classify(records, stored, BatchOptions(thresholds or Thresholds()))
    answer = vendor_answer("id", results_of(classified), classified.exceeded)
    return Judged(classified, answer)


def judge_plain(
    employees: Sequence[Raw],
    people: Mapping[str, Person] | None = None,
    thresholds: Thresholds | None = None,
    **reading: Any,
) -> Judged:
    """A batch of one call against these people."""
    return judge(read_all(employees, **reading), stored_of(people or {}), thresholds)


def applied(classified: BatchClassification, stored: StoredEmployees) -> StoredEmployees:
    """What is stored when the batch has been processed."""
    if classified.exceeded:
        return stored
    writes = [
        classification
        for classification in classified.classifications
        if classification.employee is not None
    ]
    gone = {classification.renamed_from for classification in writes}
    kept_employees = {name: kept for name, kept in stored.employees.items() if name not in gone}
    for classification in writes:
        assert classification.employee is not None
        kept_employees[classification.employee.employee_id] = classification.employee
    return all_stored(kept_employees.values())
