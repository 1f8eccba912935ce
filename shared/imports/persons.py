"""A person as the import types know one, and the internal import type of an erasure.

A person has no id of its own here. It is named by a worker, by the employee of licenses, by the id
of an employee of authentication data, or by several of these.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from shared.imports.import_type import Contract, ImportType, Rules


class IdentityKind(StrEnum):
    """By what a person is named."""

    # EmployerRef, PersonnelRef.
    WORKER = "worker"
    # companyCode, divisionCode or "", employeeNumber.
    LICENSE_EMPLOYEE = "license employee"
    # companyCode, divisionCode or "", employeePersonalId.
    LICENSE_PERSONAL_ID = "license personal id"
    # employeeId.
    EMPLOYEE_ID = "employee id"


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """One name of a person."""

    kind: IdentityKind
    parts: tuple[str, ...]

    def pack(self) -> list[str]:
        """As a JSON list."""
        return [self.kind.value, *self.parts]

    @classmethod
    def unpack(cls, packed: Sequence[str]) -> Identity:
        """The inverse of `pack`. Raises ValueError."""
        return cls(IdentityKind(packed[0]), tuple(map(str, packed[1:])))


# The fields of rows that name a person or a record of one, in lower case.
REFERENCE_FIELDS: Final = frozenset(
    (
        *("personnelref", "externalworkerref", "assignmentref", "placementref", "timesheetnumber"),
        *("employeenumber", "employeepersonalid", "licensekey", "employeeid", "workerexternalid"),
    )
)

# The group and the reference of a record.
RecordName = tuple[str, str]


@dataclass(slots=True)
class PersonKeys:
    """Everything by which records, rows and results name a person.

    A search adds to it: the references of the person's records, and former ones. `owned` are the
    records of the person by type, `related` those of others that have been the person's.
    """

    workers: set[tuple[str, str]] = field(default_factory=set)
    external_refs: set[str] = field(default_factory=set)
    license_employees: set[tuple[str, str, str]] = field(default_factory=set)
    license_personal_ids: set[tuple[str, str, str]] = field(default_factory=set)
    employee_ids: set[str] = field(default_factory=set)
    # The names of the triples of authentication values.
    triples: set[str] = field(default_factory=set)
    owned: defaultdict[str, set[RecordName]] = field(default_factory=lambda: defaultdict(set))
    related: defaultdict[str, set[RecordName]] = field(default_factory=lambda: defaultdict(set))

    @classmethod
    def of(cls, identities: Sequence[Identity]) -> PersonKeys:
        """The keys that these identities are."""
        keys = cls()
        for identity in identities:
            parts = identity.parts
            match identity.kind:
                case IdentityKind.WORKER:
                    keys.workers.add((parts[0], parts[1]))
                case IdentityKind.LICENSE_EMPLOYEE:
                    keys.license_employees.add((parts[0], parts[1], parts[2]))
                case IdentityKind.LICENSE_PERSONAL_ID:
                    keys.license_personal_ids.add((parts[0], parts[1], parts[2]))
                case IdentityKind.EMPLOYEE_ID:
                    keys.employee_ids.add(parts[0])
        return keys

    def identities(self) -> Iterator[Identity]:
        """The inverse of `of`, with the names that a search has found."""
        for kind, names in (
            (IdentityKind.WORKER, self.workers),
            (IdentityKind.LICENSE_EMPLOYEE, self.license_employees),
            (IdentityKind.LICENSE_PERSONAL_ID, self.license_personal_ids),
            (IdentityKind.EMPLOYEE_ID, ((name,) for name in self.employee_ids)),
        ):
            yield from (Identity(kind, parts) for parts in sorted(names))

    @property
    def personnel_refs(self) -> set[str]:
        """The PersonnelRefs, without their employers."""
        return {personnel for _, personnel in self.workers}

    def texts(self) -> Iterator[str]:
        """Every text that names the person, for a search in what is not parsed."""
        yield from self.personnel_refs
        yield from self.external_refs
        for _, _, name in (*self.license_employees, *self.license_personal_ids):
            yield name
        yield from self.employee_ids
        yield from self.triples
        for names in self.owned.values():
            for _, reference in names:
                yield reference


# The erasure of a person is an import of one row, so it has a place in the order of acceptance.
ERASURE_KEY: Final = "person"


def _load_rules() -> Rules:
    return Rules(
        key_fields=(ERASURE_KEY,),
        record_id_fields=(ERASURE_KEY,),
        identify=lambda _row: None,
        json_schema=dict,
        shown=lambda row: {name: row[name] for name in (ERASURE_KEY,) if name in row},
    )


PERSON_ERASURE: Final = ImportType(
    name="person-erasure",
    version=1,
    table="Persons",
    load_rules=_load_rules,
    contract=Contract("Gateway"),
    has_queues=False,
    keeps_rows=False,
    has_schema=False,
    holds_back_all=True,
)
