"""A row of licenses names all its faults at once, as far as its license can be found."""

from __future__ import annotations

from typing import Any

import pytest

from shared.imports.licenses.actions import LicenseAction
from shared.imports.results import RowResult
from tests.unit.imports.licenses.company import FAILED, KEYS, Company, of_employee, of_key

UNREADABLE: dict[str, Any] = {
    "issuedDate": "soon",
    "reminder": {"offset": "7"},
    "documents": [{"content": "?", "name": "a.pdf"}, {"content": 5}],
}
FIELD_FAULTS = {
    (1006, "issuedDate"),
    (1002, "reminder.offset"),
    (3002, "documents[0].content"),
    (1002, "documents[1].content"),
}


def errors_of(result: RowResult) -> set[tuple[int, str | None]]:
    errors = [(each.id, each.field) for each in result.messages if each.is_error]
    assert len(set(errors)) == len(errors), "a fault was named twice"
    return set(errors)


@pytest.mark.parametrize(
    ("action", "row", "fault"),
    [
        ("Insert", of_employee(), (3004, None)),
        ("Insert", of_key(KEYS[0]), (3004, None)),
        ("Update", of_employee("none"), (3005, None)),
        ("Update", of_key(KEYS[4]), (3005, "licenseKey")),
        ("Override", of_employee("L2", licenseKey=KEYS[0]), (3008, None)),
        ("Merge", of_key(KEYS[0], licenseNumber="L2"), (3008, None)),
        ("Override", {"companyCode": "C1", "divisionCode": "D"}, (3003, None)),
        (
            "Merge",
            of_employee(licenseKey=KEYS[0], serializableLicenseKey=KEYS[1]),
            (3001, "licenseKey"),
        ),
    ],
)
def test_what_is_stored_is_compared_beside_the_faults_of_fields(
    action: str, row: dict[str, Any], fault: tuple[int, str | None]
) -> None:
    company = Company().holding(of_employee(licenseKey=KEYS[0]), of_employee("L2"))
    [alone] = company.send(LicenseAction(action), row)
    assert errors_of(alone) == {fault}
    [result] = company.send(LicenseAction(action), row | UNREADABLE)
    assert result.outcome is FAILED
    assert errors_of(result) == {fault} | FIELD_FAULTS
    assert result.key == alone.key
    assert len(company.licenses()) == 2
    assert company.contents == {}


def test_faults_of_the_stored_licenses_are_named_together() -> None:
    company = Company().holding(of_employee(licenseKey=KEYS[0]), of_employee("L2"))
    both = of_employee("L2", licenseKey=KEYS[0], notes="x" * 250_000)
    [result] = company.send(LicenseAction.INSERT, both)
    assert errors_of(result) == {(3004, None), (3008, None), (1003, None)}


@pytest.mark.parametrize(
    ("unreadable", "field", "fault"),
    [
        ({"licenseKey": "no guid"}, "licenseKey", 1004),
        ({"employeeNumber": 7}, "employeeNumber", 1002),
        ({"licenseTypeCode": "x" * 201}, "licenseTypeCode", 1003),
    ],
)
@pytest.mark.parametrize("action", ["Insert", "Update", "Delete"])
def test_no_license_is_looked_for_by_a_field_that_cannot_be_read(
    action: str, unreadable: dict[str, Any], field: str, fault: int
) -> None:
    company = Company().holding(of_employee())
    [result] = company.send(LicenseAction(action), of_employee() | unreadable)
    assert errors_of(result) == {(fault, field)}


def test_a_row_to_delete_names_a_missing_license_beside_its_fault() -> None:
    row = of_key(KEYS[4], employeeNumber="x" * 201)
    [result] = Company().send(LicenseAction.DELETE, row)
    assert errors_of(result) == {(1003, "employeeNumber"), (3006, "licenseKey")}


def test_a_faulty_row_of_a_replaced_employee_changes_nothing_and_names_everything() -> None:
    company = Company().holding(of_employee("L1"), of_employee("L2", "8", licenseKey=KEYS[1]))
    rows = [of_employee("L3"), of_employee("L2", "8", licenseKey=KEYS[2]) | UNREADABLE]
    good, bad = company.send(LicenseAction.REPLACE, rows[0], rows[1])
    assert (good.outcome, bad.outcome) != (FAILED, FAILED)
    assert errors_of(bad) >= FIELD_FAULTS
    assert [each["licenseNumber"] for each in company.licenses()] == ["L3", "L2"]


def test_all_faults_mended_the_row_goes_in() -> None:
    company = Company().holding(of_employee())
    row = of_employee("L9", **UNREADABLE)
    assert errors_of(company.send(LicenseAction.INSERT, row)[0]) == FIELD_FAULTS
    mended = row | {"issuedDate": "2024-01-01", "reminder": {"offset": 7}, "documents": []}
    assert company.send(LicenseAction.INSERT, mended)[0].outcome is not FAILED
