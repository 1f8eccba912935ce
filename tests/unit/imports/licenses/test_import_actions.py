"""importAction as a matrix: absent, null, blank and present, on a stored license and on none."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import InvalidRequestError
from shared.imports.licenses.actions import IMPORT_ACTIONS, LicenseAction, import_action
from tests.unit.imports.licenses.company import (
    FAILED,
    NEW,
    UNCHANGED,
    UPDATED,
    Company,
    of_employee,
    told,
)

INSERT, UPDATE, MERGE, OVERRIDE, REPLACE = IMPORT_ACTIONS
KEEPING = (UPDATE, MERGE)
REPLACING = (OVERRIDE, REPLACE)
ABSENT: dict[str, Any] = {}
PLAIN: dict[str, tuple[Any, Any]] = {
    "licenseCertificateCode": ("A", "B"),
    "issuedDate": ("2020-01-02", "2021-02-03"),
    "expirationDate": ("2020-01-02", "2021-02-03"),
    "notes": ("old", "new"),
    "stateCode": ("NY", "CA"),
    "employeePersonalId": (5, 6),
}
ALL_SET = {
    "isShowingOnDashboard": True,
    "isShowingOnPayStub": True,
    "isShowingOnESS": True,
    "offset": 5,
    "offsetDirection": "After",
}
REMINDER = {
    "isShowingOnDashboard": False,
    "isShowingOnPayStub": False,
    "isShowingOnESS": False,
    "offset": 6,
    "offsetDirection": "Before",
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("action", [INSERT, *KEEPING, *REPLACING])
def test_a_plain_field_of_a_license_that_is_not_stored(action: LicenseAction, name: str) -> None:
    _, new = PLAIN[name]
    for sent, left in (({name: new}, new), (ABSENT, None), ({name: None}, None)):
        company = Company()
        [result] = company.send(action, of_employee(**sent))
        if action is UPDATE:
            assert told([result]) == [(FAILED, [3005])]
            assert company.licenses() == []
        else:
            assert told([result]) == [(NEW, [])]
            assert company.only().get(name) == left


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("action", KEEPING)
def test_a_plain_field_that_is_absent_is_kept(action: LicenseAction, name: str) -> None:
    old, new = PLAIN[name]
    cases: list[tuple[dict[str, Any], Any, Any]] = [
        (ABSENT, old, (UNCHANGED, [1103])),
        ({name: None}, old, (UNCHANGED, [1103])),
        ({name: ""}, None, (UPDATED, [])),
        ({name: new}, new, (UPDATED, [])),
        ({name: old}, old, (UNCHANGED, [1103])),
    ]
    if isinstance(old, str):
        cases.append(({name: " \t"}, None, (UPDATED, [])))
    for sent, left, said in cases:
        company = Company().holding(of_employee(**{name: old}))
        assert told(company.send(action, of_employee(**sent))) == [said]
        assert company.only().get(name) == left


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("action", REPLACING)
def test_a_plain_field_that_is_absent_is_replaced_by_nothing(
    action: LicenseAction, name: str
) -> None:
    old, new = PLAIN[name]
    for sent, left, said in (
        (ABSENT, None, (UPDATED, [])),
        ({name: None}, None, (UPDATED, [])),
        ({name: ""}, None, (UPDATED, [])),
        ({name: new}, new, (UPDATED, [])),
        ({name: old}, old, (UNCHANGED, [1103])),
    ):
        company = Company().holding(of_employee(**{name: old}))
        assert told(company.send(action, of_employee(**sent))) == [said]
        assert company.only().get(name) == left


@pytest.mark.parametrize("sent", [ABSENT, {"notes": None}, {"notes": "new"}, {"notes": "old"}])
def test_insert_of_a_stored_license_fails_and_changes_nothing(sent: dict[str, Any]) -> None:
    company = Company().holding(of_employee(notes="old"))
    assert told(company.send(INSERT, of_employee(**sent))) == [(FAILED, [3004])]
    assert company.only()["notes"] == "old"


@pytest.mark.parametrize("name", REMINDER)
@pytest.mark.parametrize("action", KEEPING)
def test_a_reminder_merges_property_by_property(action: LicenseAction, name: str) -> None:
    changed = {name: REMINDER[name]}
    without = {each: value for each, value in ALL_SET.items() if each != name}
    for sent, left in (
        (ABSENT, ALL_SET),
        ({"reminder": {}}, ALL_SET),
        ({"reminder": changed}, ALL_SET | changed),
        ({"reminder": {name: None}}, ALL_SET),
        ({"reminder": {name: ""}}, without),
        ({"reminder": None}, ALL_SET),
        ({"reminder": ""}, None),
    ):
        company = Company().holding(of_employee(reminder=ALL_SET))
        company.send(action, of_employee(**sent))
        assert company.only().get("reminder") == left


@pytest.mark.parametrize("name", REMINDER)
@pytest.mark.parametrize("action", REPLACING)
def test_a_reminder_is_replaced_whole(action: LicenseAction, name: str) -> None:
    changed = {name: REMINDER[name]}
    for sent, left in (
        (ABSENT, None),
        ({"reminder": {}}, None),
        ({"reminder": changed}, changed),
        ({"reminder": {name: None}}, None),
        ({"reminder": None}, None),
    ):
        company = Company().holding(of_employee(reminder=ALL_SET))
        assert told(company.send(action, of_employee(**sent))) == [(UPDATED, [])]
        assert company.only().get("reminder") == left


def test_a_reminder_whose_last_property_is_cleared_is_gone() -> None:
    company = Company().holding(of_employee(reminder={"offset": 5}))
    company.send(MERGE, of_employee(reminder={"offset": ""}))
    assert "reminder" not in company.only()


@pytest.mark.parametrize("action", [INSERT, MERGE, OVERRIDE, REPLACE])
def test_a_new_license_is_stored_as_it_was_sent(action: LicenseAction) -> None:
    sent = of_employee(
        reminder=ALL_SET,
        divisionCode="D1",
        **{name: new for name, (_, new) in PLAIN.items()},
    )
    company = Company()
    [result] = company.send(action, sent)
    assert company.only() == sent | {"licenseKey": result.key[-1]}


@pytest.mark.parametrize("action", KEEPING)
def test_what_identifies_a_license_merges_too_where_its_key_is_given(
    action: LicenseAction,
) -> None:
    stored = of_employee(divisionCode="D1")
    for sent, left in (
        ({}, stored),
        ({"licenseNumber": "L2"}, stored | {"licenseNumber": "L2"}),
        ({"divisionCode": "D2"}, stored | {"divisionCode": "D2"}),
        ({"employeeNumber": "8"}, stored | {"employeeNumber": "8"}),
    ):
        company = Company().holding(stored)
        key = company.only()["licenseKey"]
        company.send(action, {"companyCode": "C1", "licenseKey": key} | sent)
        assert company.only() == left | {"licenseKey": key}
    company = Company().holding(stored)
    key = company.only()["licenseKey"]
    company.send(action, {"companyCode": "C1", "licenseKey": key, "licenseTypeCode": None})
    assert "licenseTypeCode" in company.only()
    company.send(action, {"companyCode": "C1", "licenseKey": key, "licenseTypeCode": ""})
    assert "licenseTypeCode" not in company.only()


@pytest.mark.parametrize("action", REPLACING)
def test_a_row_that_names_nobody_leaves_the_license_with_its_employee(
    action: LicenseAction,
) -> None:
    stored = of_employee(divisionCode="D1", notes="old")
    company = Company().holding(stored)
    key = company.only()["licenseKey"]
    company.send(action, {"companyCode": "C1", "licenseKey": key, "licenseNumber": "L2"})
    assert company.only() == {
        "companyCode": "C1",
        "licenseKey": key,
        "divisionCode": "D1",
        "employeeNumber": "7",
        "licenseNumber": "L2",
    }


@pytest.mark.parametrize("action", REPLACING)
def test_a_row_that_names_a_division_alone_names_nobody(action: LicenseAction) -> None:
    company = Company().holding(of_employee(divisionCode="D1"))
    key = company.only()["licenseKey"]
    company.send(action, {"companyCode": "C1", "licenseKey": key, "divisionCode": "D2"})
    assert company.only() == {
        "companyCode": "C1",
        "licenseKey": key,
        "divisionCode": "D2",
        "employeeNumber": "7",
    }


@pytest.mark.parametrize("action", [*KEEPING, *REPLACING])
def test_a_value_that_clears_takes_the_license_away_from_its_employee(
    action: LicenseAction,
) -> None:
    company = Company().holding(of_employee(divisionCode="D1"))
    key = company.only()["licenseKey"]
    nothing = "" if action in KEEPING else None
    nobody = dict.fromkeys(("divisionCode", "employeeNumber", "employeePersonalId"), nothing)
    company.send(action, {"companyCode": "C1", "licenseKey": key, "licenseNumber": "L1"} | nobody)
    assert not company.only().keys() & nobody.keys()


def test_an_action_is_named_in_any_case_and_an_unknown_one_lists_them() -> None:
    assert import_action("overRIDE") is OVERRIDE
    assert import_action(" merge ") is MERGE
    for text in ("", "Upsert", "Delete"):
        with pytest.raises(InvalidRequestError, match="Insert, Update, Merge, Override, Replace"):
            import_action(text)
