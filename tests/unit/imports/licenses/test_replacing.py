"""Replace: the licenses of an employee are one unit, applied whole or not at all.

See docs/contracts.md#2.
"""

from __future__ import annotations

from typing import Any

import pytest

from shared.imports.licenses.actions import LicenseAction
from tests.unit.imports.licenses.company import (
    FAILED,
    KEYS,
    NEW,
    UNCHANGED,
    UPDATED,
    Company,
    of_employee,
    of_key,
    told,
)

REPLACE = LicenseAction.REPLACE
KEY, OTHER = KEYS[:2]


def _numbers(company: Company) -> list[tuple[str | None, str | None]]:
    return [(each.get("employeeNumber"), each.get("licenseNumber")) for each in company.licenses()]


def test_the_payload_becomes_all_that_the_employee_has() -> None:
    company = Company().holding(
        of_employee("L1"), of_employee("L2"), of_employee("L3"), of_employee("L1", "8")
    )
    rows = [of_employee("L2"), of_employee("L4"), of_employee("L3", notes="x")]
    assert told(company.send(REPLACE, *rows)) == [(UNCHANGED, [1103]), (NEW, []), (UPDATED, [])]
    assert _numbers(company) == [("7", "L2"), ("7", "L3"), ("7", "L4"), ("8", "L1")]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (of_employee("L9", issuedDate="no date"), 1006),
        (of_employee("L9", companyCode="C1", licenseKey="no key"), 1004),
        (of_employee("L9", licenseKey=KEY, serializableLicenseKey=OTHER), 3001),
        (of_employee("L9", documents=[{"content": "?"}]), 3002),
        (of_employee("L5", "8", licenseKey=OTHER) | {"employeeNumber": "7"}, 3008),
    ],
)
def test_one_bad_row_fails_all_rows_of_its_employee(bad: dict[str, Any], code: int) -> None:
    company = Company().holding(of_employee("L1", notes="old"), of_employee("L1", "8"))
    rows = [of_employee("L1"), of_employee("L5"), bad, of_employee("L2", "8")]
    assert told(company.send(REPLACE, *rows)) == [
        (FAILED, [3007]),
        (FAILED, [3007]),
        (FAILED, [code]),
        (NEW, []),
    ]
    assert _numbers(company) == [("7", "L1"), ("8", "L2")]
    assert company.licenses()[0]["notes"] == "old"


def test_what_failed_leaves_nothing_behind() -> None:
    company = Company().holding(of_employee("L1", licenseKey=KEY))
    documents = [{"name": "a", "content": "QEA="}]
    rows = [
        of_key(KEY, employeeNumber="8", documents=documents),
        of_employee("L2", "8", documents=documents),
        of_employee("L3", "8", issuedDate="no date"),
        of_employee("L2", "9"),
    ]
    company.send(REPLACE, *rows)
    assert company.contents == {}
    assert _numbers(company) == [("7", "L1"), ("9", "L2")]
    assert told(company.send(REPLACE, of_employee("L2", "8"))) == [(NEW, [])]


def test_two_employees_in_turns_are_two_units() -> None:
    company = Company().holding(of_employee("L9", "7"), of_employee("L9", "8"))
    rows = [of_employee(f"L{at}", "78"[at % 2]) for at in range(4)]
    assert told(company.send(REPLACE, *rows)) == [(NEW, [])] * 4
    assert _numbers(company) == [("7", "L0"), ("7", "L2"), ("8", "L1"), ("8", "L3")]


def test_divisions_tell_employees_apart() -> None:
    company = Company().holding(of_employee("L1", divisionCode="D1"), of_employee("L1"))
    company.send(REPLACE, of_employee("L2"))
    assert [each.get("divisionCode") for each in company.licenses()] == ["D1", None]


def test_a_license_that_goes_to_another_employee_is_not_removed() -> None:
    company = Company().holding(of_employee("L1", licenseKey=KEY), of_employee("L2"))
    rows = [of_employee("L3", "7"), of_employee("L1", "8", licenseKey=KEY)]
    assert [result.outcome for result in company.send(REPLACE, *rows)] == [NEW, NEW]
    assert _numbers(company) == [("7", "L3"), ("8", "L1")]


def test_a_license_that_comes_from_an_employee_who_is_not_in_the_payload() -> None:
    company = Company().holding(of_employee("L1", "8", licenseKey=KEY), of_employee("L2", "8"))
    assert told(company.send(REPLACE, of_employee("L1", "7", licenseKey=KEY))) == [(UPDATED, [])]
    assert _numbers(company) == [("7", "L1"), ("8", "L2")]


def test_a_key_that_two_employees_of_the_payload_give_ends_with_the_later_one() -> None:
    rows = [of_employee("L1", "7", licenseKey=KEY), of_employee("L1", "8", licenseKey=KEY)]
    company = Company()
    assert told(company.send(REPLACE, *rows)) == [(NEW, [1102]), (UPDATED, [])]
    assert _numbers(company) == [("8", "L1")]


def test_a_later_unit_that_fails_takes_nothing_from_an_earlier_one() -> None:
    rows = [
        of_employee("L1", "7", licenseKey=KEY),
        of_employee("L1", "8", licenseKey=KEY),
        of_employee("L2", "8", issuedDate="no date"),
    ]
    company = Company()
    assert told(company.send(REPLACE, *rows)) == [(NEW, []), (FAILED, [3007]), (FAILED, [1006])]
    assert _numbers(company) == [("7", "L1")]


def test_a_row_with_a_key_alone_belongs_to_the_employee_of_its_license() -> None:
    company = Company().holding(of_employee("L1", licenseKey=KEY), of_employee("L2"))
    assert told(company.send(REPLACE, of_key(KEY, notes="x"))) == [(UPDATED, [])]
    assert _numbers(company) == [("7", None)]


def test_a_bad_row_with_a_key_alone_fails_the_employee_of_its_license() -> None:
    company = Company().holding(of_employee("L1", licenseKey=KEY), of_employee("L2"))
    rows = [of_employee("L3"), of_key(KEY, notes=5)]
    assert told(company.send(REPLACE, *rows)) == [(FAILED, [3007]), (FAILED, [1002])]
    assert _numbers(company) == [("7", "L1"), ("7", "L2")]


def test_a_row_of_nobody_stands_by_itself() -> None:
    company = Company().holding(of_key(KEYS[2], licenseNumber="L1"))
    rows = [of_key(KEY, licenseNumber="L1"), of_key(OTHER, notes=5), of_key(KEYS[3])]
    assert [result.outcome for result in company.send(REPLACE, *rows)] == [NEW, FAILED, NEW]
    assert len(company.licenses()) == 3


def test_licenses_get_other_keys_by_being_replaced() -> None:
    company = Company().holding(of_employee("L1"), of_employee("L2"))
    rows = [of_employee("L1", licenseKey=KEY), of_employee("L2", licenseKey=OTHER)]
    assert told(company.send(REPLACE, *rows)) == [(NEW, []), (NEW, [])]
    assert [each["licenseKey"] for each in company.licenses()] == [KEY, OTHER]


def test_a_license_that_the_payload_names_is_not_replaced_by_another_row() -> None:
    company = Company().holding(of_employee("L1", licenseKey=KEY))
    rows = [of_employee("L2", licenseKey=KEY), of_employee("L2", licenseKey=OTHER)]
    assert told(company.send(REPLACE, *rows)) == [(FAILED, [3007]), (FAILED, [3008])]
    rows = [of_employee("L1", licenseKey=OTHER), of_key(KEY, employeeNumber="7")]
    assert told(company.send(REPLACE, *rows)) == [(FAILED, [3008]), (FAILED, [3007])]


def test_equal_rows_of_an_employee_are_one_license() -> None:
    company = Company()
    rows = [of_employee(notes="a"), of_employee(notes="b")]
    assert told(company.send(REPLACE, *rows)) == [(NEW, [1102]), (UPDATED, [])]


def test_again_it_changes_nothing() -> None:
    rows = [of_employee("L1"), of_employee("L2"), of_employee("L1", "8")]
    company = Company().holding(*rows)
    assert told(company.send(REPLACE, *rows)) == [(UNCHANGED, [1103])] * 3
