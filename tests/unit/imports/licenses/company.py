"""A company's licenses in memory: imports are applied to them without storage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from shared.imports.import_type import Document
from shared.imports.json_rows import fold_names
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.license_set import LicenseSet
from shared.imports.licenses.model import Employee, employee_of, sent_identity
from shared.imports.licenses.rules import LicenseRules, read_license
from shared.imports.messages import Message
from shared.imports.results import Outcome, RowResult

KEYS = [f"0000000{digit}-0000-4000-8000-000000000000" for digit in range(1, 6)]
TENANT = "tenant"
NEW, UPDATED, UNCHANGED, FAILED = (
    Outcome.NEW,
    Outcome.UPDATED,
    Outcome.UNCHANGED,
    Outcome.FAILED,
)


def of_employee(number: str = "L1", employee: str | None = "7", **fields: Any) -> dict[str, Any]:
    """A row with a natural key; `fields` replace or add."""
    row = {"companyCode": "C1", "licenseTypeCode": "RN", "licenseNumber": number}
    if employee is not None:
        row["employeeNumber"] = employee
    return row | fields


def of_key(key: str, **fields: Any) -> dict[str, Any]:
    """A row with a key and without an employee."""
    return {"companyCode": "C1", "licenseKey": key} | fields


def never_unforeseen(error: Exception) -> Message:
    """No rule may fail for a reason of its own."""
    raise error


def import_on(
    license_set: LicenseSet, action: LicenseAction, number: int = 1, tenant: str = TENANT
) -> LicenseRules:
    """An import that is applied to a license set."""
    return LicenseRules(
        tenant=tenant,
        company="C1",
        action=action,
        number=number,
        import_id=f"import-{number}",
        license_set=license_set,
        describe_error=never_unforeseen,
    )


def employee_in(row: dict[str, Any]) -> Employee:
    """Whom a row names."""
    return employee_of(sent_identity(fold_names(row)))


@dataclass
class Company:
    """The licenses, and the documents' bytes that imports have brought."""

    license_set: LicenseSet = field(default_factory=LicenseSet)
    number: int = 0
    contents: dict[str, bytes] = field(default_factory=dict)
    tenant: str = TENANT

    def send(self, action: LicenseAction, *rows: dict[str, Any]) -> list[RowResult]:
        """The results of an import of these rows, in the order they were sent."""
        self.number += 1
        work = import_on(self.license_set, action, self.number, self.tenant)
        read = [read_license(index, row, action) for index, row in enumerate(rows)]
        for _ in work.apply(read, lambda row: employee_in(rows[row.index])):
            pass
        self.contents |= work.contents
        self.license_set.mark_stored()
        return sorted(work.results.take(), key=lambda result: result.index)

    def holding(self, *rows: dict[str, Any]) -> Company:
        """With these licenses in it."""
        results = self.send(LicenseAction.OVERRIDE, *rows)
        assert [result.outcome for result in results] == [NEW] * len(rows)
        return self

    def licenses(self) -> list[Document]:
        """What is stored, by number, without keys that the gateway made."""
        stored = self.license_set.all_licenses()
        return sorted(
            (each.document or {} for each in stored),
            key=lambda document: (
                document.get("employeeNumber", ""),
                document.get("licenseNumber", ""),
                document["licenseKey"],
            ),
        )

    def only(self) -> Document:
        """The one license that there is."""
        [license_] = self.licenses()
        return license_


def outcomes_of(results: list[RowResult]) -> list[tuple[Outcome, list[int]]]:
    """Outcome and message ids of each row."""
    return [(result.outcome, [message.id for message in result.messages]) for result in results]
