"""Which license a row speaks of, replacing all licenses of an employee, and free keys."""

from __future__ import annotations

from typing import Any

import pytest

from shared.imports.licenses.actions import IMPORT_ACTIONS, LicenseAction
from shared.imports.licenses.license_set import LicenseSet, StoredLicense
from shared.imports.licenses.model import Employee
from tests.unit.imports.licenses.company import (
    FAILED,
    KEYS,
    NEW,
    UNCHANGED,
    UPDATED,
    Company,
    of_employee,
    of_key,
    outcomes_of,
)
from tests.unit.imports.licenses.license_bodies import KEY as SAMPLE_KEY

# Which license a row speaks of: by key, by natural key, or a new one.

INSERT, UPDATE, MERGE, OVERRIDE, REPLACE = IMPORT_ACTIONS
DELETE = LicenseAction.DELETE
KEY, OTHER = KEYS[:2]
NO_KEYS = [None, "", "<empty>", "<EMPTY>", "00000000-0000-0000-0000-000000000000", "0" * 32]


def _shown(company: Company, action: LicenseAction, *rows: dict[str, Any]) -> list[str | None]:
    return [result.key[-1] for result in company.send(action, *rows)]


@pytest.mark.parametrize("action", [INSERT, MERGE, OVERRIDE, REPLACE])
def test_an_unknown_key_is_created_with_that_key(action: LicenseAction) -> None:
    company = Company()
    assert outcomes_of(company.send(action, of_employee(licenseKey=KEY))) == [(NEW, [])]
    assert company.only()["licenseKey"] == KEY
    assert "serializableLicenseKey" not in company.only()


@pytest.mark.parametrize("action", [UPDATE, DELETE])
def test_an_unknown_key_is_an_error_if_the_action_needs_a_stored_license(
    action: LicenseAction,
) -> None:
    company = Company().holding(of_employee())
    sent = of_employee(licenseKey=KEY)
    code = 3005 if action is UPDATE else 3006
    [result] = company.send(action, sent)
    assert outcomes_of([result]) == [(FAILED, [code])]
    assert (result.messages[0].field, result.messages[0].value) == ("licenseKey", KEY)
    assert len(company.licenses()) == 1


@pytest.mark.parametrize("field", ["licenseKey", "serializableLicenseKey"])
@pytest.mark.parametrize(
    "text", [KEY, KEY.upper(), f"{{{KEY}}}", f"({KEY})", KEY.replace("-", ""), f" {KEY} "]
)
def test_a_key_is_the_same_in_all_its_forms_under_both_names(field: str, text: str) -> None:
    company = Company().holding(of_employee(licenseKey=KEY))
    assert outcomes_of(company.send(MERGE, {"companyCode": "C1", field: text, "notes": "x"})) == [
        (UPDATED, [])
    ]


def test_a_given_key_decides_alone() -> None:
    company = Company().holding(
        of_employee("L1", licenseKey=KEY), of_employee("L2", licenseKey=OTHER)
    )
    assert outcomes_of(company.send(MERGE, of_employee("L3", employee="9", licenseKey=KEY))) == [
        (UPDATED, [])
    ]
    assert [(each["licenseKey"], each["licenseNumber"]) for each in company.licenses()] == [
        (OTHER, "L2"),
        (KEY, "L3"),
    ]


@pytest.mark.parametrize("text", NO_KEYS)
def test_a_blank_key_lets_the_natural_key_decide(text: str | None) -> None:
    company = Company().holding(of_employee(licenseKey=KEY))
    sent = of_employee(licenseKey=text, serializableLicenseKey=text, notes="x")
    assert _shown(company, OVERRIDE, sent) == [KEY]


def test_a_key_under_one_name_counts_if_the_other_name_is_blank() -> None:
    company = Company().holding(of_employee(licenseKey=KEY))
    sent = of_employee("L9", licenseKey="<empty>", serializableLicenseKey=KEY)
    assert _shown(company, OVERRIDE, sent) == [KEY]


def test_two_different_keys_in_a_row_are_its_error() -> None:
    sent = of_employee(licenseKey=KEY, serializableLicenseKey=OTHER)
    [result] = Company().send(OVERRIDE, sent)
    assert outcomes_of([result]) == [(FAILED, [3001])]
    assert result.messages[0].field == "licenseKey"


def test_bad_base64_is_its_rows_error_alone() -> None:
    rows = [of_employee("L1", documents=[{"name": "a", "content": "?"}]), of_employee("L2")]
    company = Company()
    assert outcomes_of(company.send(OVERRIDE, *rows)) == [(FAILED, [3002]), (NEW, [])]


@pytest.mark.parametrize("action", [*IMPORT_ACTIONS, DELETE])
@pytest.mark.parametrize("sent", [{}, {"divisionCode": "D1"}, {"employeeNumber": " "}])
def test_neither_key_nor_employee_is_an_error(action: LicenseAction, sent: dict[str, Any]) -> None:
    row = {"companyCode": "C1", "licenseTypeCode": "RN", "licenseNumber": "L1"} | sent
    results = Company().send(action, row)
    assert outcomes_of(results) == [(FAILED, [3003])]
    assert "employeeNumber" in results[0].messages[0].text, "it says what is missing"


@pytest.mark.parametrize(
    "change",
    [
        {"divisionCode": "D1"},
        {"employeeNumber": "8"},
        {"employeeNumber": "07"},
        {"licenseTypeCode": "MD"},
        {"licenseTypeCode": None},
        {"licenseNumber": "L2"},
        {"licenseNumber": "l1"},
        {"licenseNumber": None},
    ],
)
def test_each_part_of_the_natural_key_makes_another_license(change: dict[str, Any]) -> None:
    company = Company().holding(of_employee())
    assert outcomes_of(company.send(OVERRIDE, of_employee(**change))) == [(NEW, [])]
    assert (
        outcomes_of(company.send(OVERRIDE, of_employee(), of_employee(**change)))
        == [(UNCHANGED, [1103])] * 2
    )


@pytest.mark.parametrize("sent", [" L1", "L1\t", "L1"])
def test_parts_of_the_natural_key_are_trimmed(sent: str) -> None:
    company = Company().holding(of_employee("L1"))
    assert outcomes_of(company.send(OVERRIDE, of_employee(sent))) == [(UNCHANGED, [1103])]


def test_parts_of_the_natural_key_are_compared_in_one_unicode_form() -> None:
    company = Company().holding(of_employee("\u00c5"))
    assert outcomes_of(company.send(OVERRIDE, of_employee("A\u030a"))) == [(UNCHANGED, [1103])]


def test_the_number_of_an_employee_goes_before_the_personal_id() -> None:
    company = Company().holding(of_employee(employeePersonalId=5))
    assert outcomes_of(company.send(MERGE, of_employee(employeePersonalId=6))) == [(UPDATED, [])]
    assert company.only()["employeePersonalId"] == 6
    by_id = of_employee(employee=None, employeePersonalId=6)
    assert outcomes_of(company.send(MERGE, by_id)) == [(NEW, [])]


def test_without_a_number_the_personal_id_names_the_employee() -> None:
    for personal_id in (5, -5):
        company = Company()
        sent = of_employee(employee=None, employeePersonalId=personal_id)
        assert outcomes_of(company.send(OVERRIDE, sent)) == [(NEW, [])]
        assert outcomes_of(company.send(OVERRIDE, sent)) == [(UNCHANGED, [1103])]


def test_a_made_key_is_the_same_for_ever_and_another_one_elsewhere() -> None:
    company, again, stranger = Company(), Company(number=7), Company(tenant="other")
    keys = [_shown(each, OVERRIDE, of_employee()) for each in (company, again, stranger)]
    assert keys[0] == keys[1] == [MADE]
    assert keys[2] != keys[0]


MADE = "f2a03ed1-b70d-51b1-8798-ea561207d4ec"
"""Written down, because licenses that are stored would get lost if it changed."""


def test_made_keys_of_different_natural_keys_differ() -> None:
    rows = [
        of_employee("1", "23"),
        of_employee("12", "3"),
        of_employee("1", None, divisionCode="23", employeePersonalId=1),
        of_employee("1", "1", divisionCode="23"),
        of_employee("1", None, employeePersonalId=23),
        of_employee("1", "23", licenseTypeCode=None),
    ]
    company = Company()
    assert len({*_shown(company, OVERRIDE, *rows)}) == len(rows)


def test_a_made_key_that_another_license_has_gives_way_to_a_spare_one() -> None:
    company = Company().holding(of_employee())
    generated_key = company.only()["licenseKey"]
    company.send(MERGE, of_key(generated_key, licenseNumber="L2"))
    [result] = company.send(OVERRIDE, of_employee("L1"))
    assert outcomes_of([result]) == [(NEW, [])]
    assert result.key[-1] not in (None, generated_key)
    assert len({each["licenseKey"] for each in company.licenses()}) == 2
    assert outcomes_of(company.send(OVERRIDE, of_employee("L1"))) == [(UNCHANGED, [1103])]


def test_a_generated_key_in_use_elsewhere_in_the_company_is_replaced() -> None:
    first = Company()
    [generated_key] = _shown(first, OVERRIDE, of_employee())
    assert generated_key is not None
    second = Company()
    second.license_set = type(second.license_set)(used_keys=[generated_key])
    [spare] = _shown(second, OVERRIDE, of_employee())
    assert spare not in (None, generated_key)


def test_a_license_never_takes_the_natural_key_of_another_one() -> None:
    company = Company().holding(of_employee("L1", licenseKey=KEY), of_employee("L2"))
    for action in (UPDATE, MERGE, OVERRIDE):
        assert outcomes_of(
            company.send(action, of_key(KEY, licenseTypeCode="RN", licenseNumber="L2"))
        ) == [(FAILED, [3008])]
    for action in (INSERT, MERGE, OVERRIDE):
        assert outcomes_of(company.send(action, of_employee("L2", licenseKey=OTHER))) == [
            (FAILED, [3008])
        ]
    assert [each["licenseNumber"] for each in company.licenses()] == ["L1", "L2"]


def test_a_natural_key_that_became_free_can_be_taken() -> None:
    company = Company().holding(of_employee("L1", licenseKey=KEY), of_employee("L2"))
    rows = [of_employee("L3", licenseKey=KEY), of_employee("L1", licenseKey=OTHER)]
    assert outcomes_of(company.send(OVERRIDE, *rows)) == [(UPDATED, []), (NEW, [])]


def test_licenses_without_an_employee_differ_by_their_keys_alone() -> None:
    company = Company()
    rows = [of_key(KEY, licenseNumber="L1"), of_key(OTHER, licenseNumber="L1")]
    assert outcomes_of(company.send(OVERRIDE, *rows)) == [(NEW, []), (NEW, [])]
    assert outcomes_of(company.send(MERGE, of_key(KEY, notes="x"))) == [(UPDATED, [])]


def test_a_row_that_is_overwritten_keeps_its_outcome_and_says_so() -> None:
    company = Company()
    rows = [
        of_employee(notes="a"),
        of_employee(notes="a"),
        of_employee(notes="b"),
        of_employee("L2"),
        of_employee(notes="c"),
    ]
    assert outcomes_of(company.send(OVERRIDE, *rows)) == [
        (NEW, [1102]),
        (UNCHANGED, [1103]),
        (UPDATED, [1102]),
        (NEW, []),
        (UPDATED, []),
    ]
    assert outcomes_of(company.send(OVERRIDE, of_employee(notes="c"))) == [(UNCHANGED, [1103])]


def test_a_failing_row_does_not_overwrite() -> None:
    rows = [of_employee(notes="a"), of_employee(notes="b", issuedDate="no date")]
    company = Company()
    assert outcomes_of(company.send(OVERRIDE, *rows)) == [(NEW, []), (FAILED, [1006])]
    assert company.only()["notes"] == "a"


def test_an_unknown_property_is_reported_and_not_stored() -> None:
    company = Company()
    [result] = company.send(OVERRIDE, of_employee(colour="red"))
    assert outcomes_of([result]) == [(NEW, [1007])]
    assert "colour" not in company.only()


def test_a_license_is_deleted_by_its_key_or_by_its_natural_key() -> None:
    for row in (of_key(KEY), of_employee("L1"), of_key(KEY, employeeNumber="9")):
        company = Company().holding(of_employee("L1", licenseKey=KEY), of_employee("L2"))
        [result] = company.send(DELETE, row)
        assert outcomes_of([result]) == [(UPDATED, [])]
        assert result.key == ("C1", None, "7", None, KEY)
        assert [each["licenseNumber"] for each in company.licenses()] == ["L2"]


def test_a_license_is_deleted_once() -> None:
    company = Company().holding(of_employee(licenseKey=KEY))
    rows = [of_employee(), of_employee(), of_key(KEY)]
    assert outcomes_of(company.send(DELETE, *rows)) == [
        (UPDATED, []),
        (FAILED, [3006]),
        (FAILED, [3006]),
    ]
    assert company.licenses() == []


def test_a_deletion_looks_at_nothing_but_the_identity() -> None:
    company = Company().holding(of_employee())
    row = of_employee(notes=5, documents="x")
    assert outcomes_of(company.send(DELETE, row)) == [(UPDATED, [1007, 1007])]


def test_a_deleted_license_comes_back_as_new_with_its_old_key() -> None:
    company = Company().holding(of_employee())
    old_key = company.only()["licenseKey"]
    company.send(DELETE, of_employee())
    assert _shown(company, OVERRIDE, of_employee()) == [old_key]


# Replace: the licenses of an employee are one unit, applied whole or not at all.


def _numbers(company: Company) -> list[tuple[str | None, str | None]]:
    return [(each.get("employeeNumber"), each.get("licenseNumber")) for each in company.licenses()]


def test_the_payload_becomes_all_that_the_employee_has() -> None:
    company = Company().holding(
        of_employee("L1"), of_employee("L2"), of_employee("L3"), of_employee("L1", "8")
    )
    rows = [of_employee("L2"), of_employee("L4"), of_employee("L3", notes="x")]
    assert outcomes_of(company.send(REPLACE, *rows)) == [
        (UNCHANGED, [1103]),
        (NEW, []),
        (UPDATED, []),
    ]
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
    assert outcomes_of(company.send(REPLACE, *rows)) == [
        (FAILED, [3007]),
        (FAILED, [3007]),
        (FAILED, [code]),
        (NEW, []),
    ]
    assert _numbers(company) == [("7", "L1"), ("8", "L2")]
    assert company.licenses()[0]["notes"] == "old"


def test_a_failed_row_changes_nothing() -> None:
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
    assert outcomes_of(company.send(REPLACE, of_employee("L2", "8"))) == [(NEW, [])]


def test_two_employees_in_turns_are_two_units() -> None:
    company = Company().holding(of_employee("L9", "7"), of_employee("L9", "8"))
    rows = [of_employee(f"L{at}", "78"[at % 2]) for at in range(4)]
    assert outcomes_of(company.send(REPLACE, *rows)) == [(NEW, [])] * 4
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


def test_a_license_moves_from_an_employee_who_is_not_in_the_payload() -> None:
    company = Company().holding(of_employee("L1", "8", licenseKey=KEY), of_employee("L2", "8"))
    assert outcomes_of(company.send(REPLACE, of_employee("L1", "7", licenseKey=KEY))) == [
        (UPDATED, [])
    ]
    assert _numbers(company) == [("7", "L1"), ("8", "L2")]


def test_a_key_that_two_employees_of_the_payload_give_ends_with_the_later_one() -> None:
    rows = [of_employee("L1", "7", licenseKey=KEY), of_employee("L1", "8", licenseKey=KEY)]
    company = Company()
    assert outcomes_of(company.send(REPLACE, *rows)) == [(NEW, [1102]), (UPDATED, [])]
    assert _numbers(company) == [("8", "L1")]


def test_a_later_group_that_fails_does_not_undo_an_earlier_one() -> None:
    rows = [
        of_employee("L1", "7", licenseKey=KEY),
        of_employee("L1", "8", licenseKey=KEY),
        of_employee("L2", "8", issuedDate="no date"),
    ]
    company = Company()
    assert outcomes_of(company.send(REPLACE, *rows)) == [
        (NEW, []),
        (FAILED, [3007]),
        (FAILED, [1006]),
    ]
    assert _numbers(company) == [("7", "L1")]


def test_a_row_with_a_key_alone_belongs_to_the_employee_of_its_license() -> None:
    company = Company().holding(of_employee("L1", licenseKey=KEY), of_employee("L2"))
    assert outcomes_of(company.send(REPLACE, of_key(KEY, notes="x"))) == [(UPDATED, [])]
    assert _numbers(company) == [("7", None)]


def test_a_bad_row_with_a_key_alone_fails_the_employee_of_its_license() -> None:
    company = Company().holding(of_employee("L1", licenseKey=KEY), of_employee("L2"))
    rows = [of_employee("L3"), of_key(KEY, notes=5)]
    assert outcomes_of(company.send(REPLACE, *rows)) == [(FAILED, [3007]), (FAILED, [1002])]
    assert _numbers(company) == [("7", "L1"), ("7", "L2")]


def test_a_row_without_an_employee_is_a_group_of_its_own() -> None:
    company = Company().holding(of_key(KEYS[2], licenseNumber="L1"))
    rows = [of_key(KEY, licenseNumber="L1"), of_key(OTHER, notes=5), of_key(KEYS[3])]
    assert [result.outcome for result in company.send(REPLACE, *rows)] == [NEW, FAILED, NEW]
    assert len(company.licenses()) == 3


def test_licenses_get_other_keys_by_being_replaced() -> None:
    company = Company().holding(of_employee("L1"), of_employee("L2"))
    rows = [of_employee("L1", licenseKey=KEY), of_employee("L2", licenseKey=OTHER)]
    assert outcomes_of(company.send(REPLACE, *rows)) == [(NEW, []), (NEW, [])]
    assert [each["licenseKey"] for each in company.licenses()] == [KEY, OTHER]


def test_a_license_that_the_payload_names_is_not_replaced_by_another_row() -> None:
    company = Company().holding(of_employee("L1", licenseKey=KEY))
    rows = [of_employee("L2", licenseKey=KEY), of_employee("L2", licenseKey=OTHER)]
    assert outcomes_of(company.send(REPLACE, *rows)) == [(FAILED, [3007]), (FAILED, [3008])]
    rows = [of_employee("L1", licenseKey=OTHER), of_key(KEY, employeeNumber="7")]
    assert outcomes_of(company.send(REPLACE, *rows)) == [(FAILED, [3008]), (FAILED, [3007])]


def test_equal_rows_of_an_employee_are_one_license() -> None:
    company = Company()
    rows = [of_employee(notes="a"), of_employee(notes="b")]
    assert outcomes_of(company.send(REPLACE, *rows)) == [(NEW, [1102]), (UPDATED, [])]


def test_again_it_changes_nothing() -> None:
    rows = [of_employee("L1"), of_employee("L2"), of_employee("L1", "8")]
    company = Company().holding(*rows)
    assert outcomes_of(company.send(REPLACE, *rows)) == [(UNCHANGED, [1103])] * 3


# The license set knows which keys are free.

ELSEWHERE = "5b1f3c52-7a39-4d0e-9c55-0f3f0a4f8d10"
HELD = StoredLicense(
    SAMPLE_KEY, Employee(number="7"), {"companyCode": "C1", "employeeNumber": "7"}, 1
)


def test_a_key_is_free_after_its_license_is_removed() -> None:
    license_set = LicenseSet([HELD], used_keys=[SAMPLE_KEY, ELSEWHERE])
    assert license_set.is_key_used(SAMPLE_KEY)
    license_set.remove(SAMPLE_KEY, 2)
    assert not license_set.is_key_used(SAMPLE_KEY)
    assert license_set.is_key_used(ELSEWHERE)


def test_a_removal_that_is_undone_reserves_the_key_again() -> None:
    license_set = LicenseSet([HELD], used_keys=[SAMPLE_KEY])
    savepoint = license_set.savepoint()
    license_set.remove(SAMPLE_KEY, 2)
    license_set.roll_back(savepoint)
    assert license_set.is_key_used(SAMPLE_KEY)
    assert [*license_set.changes()] == []


def test_a_license_that_comes_back_under_its_key_is_no_new_one_to_the_company() -> None:
    license_set = LicenseSet([HELD])
    license_set.remove(SAMPLE_KEY, 2)
    license_set.mark_stored()
    license_set.put(SAMPLE_KEY, {"companyCode": "C1", "employeeNumber": "8"}, 2)
    [change] = license_set.changes()
    assert change.is_reused
