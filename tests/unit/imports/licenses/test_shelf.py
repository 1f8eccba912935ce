"""The shelf: which keys are free."""

from __future__ import annotations

from shared.imports.licenses.license_set import LicenseSet, StoredLicense
from shared.imports.licenses.model import Employee
from tests.unit.imports.licenses.license_bodies import KEY

ELSEWHERE = "5b1f3c52-7a39-4d0e-9c55-0f3f0a4f8d10"
HELD = StoredLicense(KEY, Employee(number="7"), {"companyCode": "C1", "employeeNumber": "7"}, 1)


def test_a_key_is_free_once_its_license_is_removed_whoever_knows_that_it_was_taken() -> None:
    shelf = LicenseSet([HELD], taken=[KEY, ELSEWHERE])
    assert shelf.is_taken(KEY)
    shelf.remove(KEY, 2)
    assert not shelf.is_taken(KEY)
    assert shelf.is_taken(ELSEWHERE)


def test_a_removal_that_is_undone_takes_the_key_again() -> None:
    shelf = LicenseSet([HELD], taken=[KEY])
    mark = shelf.mark()
    shelf.remove(KEY, 2)
    shelf.go_back(mark)
    assert shelf.is_taken(KEY)
    assert [*shelf.changes()] == []


def test_a_license_that_comes_back_under_its_key_is_no_new_one_to_the_company() -> None:
    shelf = LicenseSet([HELD])
    shelf.remove(KEY, 2)
    shelf.settle()
    shelf.put(KEY, {"companyCode": "C1", "employeeNumber": "8"}, 2)
    [change] = shelf.changes()
    assert change.is_reused
