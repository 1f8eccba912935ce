"""What a .NET client sends for what it has not set, and what clears (docs/licenses.md)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.imports.json_rows import line_of
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.form_reader import read_license_form
from shared.imports.licenses.processor import read_company_lines
from shared.imports.licenses.xml_reader import DATES, KEYS, read_license_xml
from tests.unit.imports.licenses.company import (
    FAILED,
    NEW,
    UNCHANGED,
    UPDATED,
    Company,
    of_employee,
    of_key,
    told,
)
from tests.unit.imports.licenses.license_bodies import body_of

KEY = "0000000a-0000-4000-8000-000000000000"
FULL: dict[str, Any] = {
    "divisionCode": "D1",
    "licenseCertificateCode": "A",
    "issuedDate": "2020-01-02",
    "expirationDate": "2021-01-02",
    "notes": "old",
    "stateCode": "NY",
    "employeePersonalId": 5,
    "reminder": {"isShowingOnDashboard": True, "offset": 5, "offsetDirection": "After"},
    "documents": [{"name": "a.pdf", "content": "QEA="}],
}
SILENT: dict[str, list[Any]] = {
    "divisionCode": [None],
    "licenseCertificateCode": [None],
    "issuedDate": [None, "0000-00-00", "0000-00-00T00:00:00", "0/0/0"],
    "expirationDate": [None, "0000-00-00"],
    "notes": [None],
    "stateCode": [None],
    "employeePersonalId": [None, 0],
    "reminder": [None, {}, {"offset": None, "isShowingOnDashboard": None}],
    "documents": [None, []],
    "licenseKey": [None, "<empty>", "00000000-0000-0000-0000-000000000000"],
    "serializableLicenseKey": [None, "<empty>", "00000000000000000000000000000000"],
}
CASES = [(name, value) for name, values in SILENT.items() for value in values]
KEEPING = (LicenseAction.UPDATE, LicenseAction.MERGE)


@pytest.mark.parametrize(("name", "value"), CASES)
@pytest.mark.parametrize("action", KEEPING)
def test_what_is_not_set_keeps_what_is_stored(action: LicenseAction, name: str, value: Any) -> None:
    company = Company().holding(of_employee(licenseKey=KEY, **FULL))
    before = company.only()
    is_key = name.endswith("Key")
    row = of_employee(divisionCode="D1") if is_key else of_key(KEY)
    for spelling in (name, name.upper()):
        assert told(company.send(action, row | {spelling: value})) == [(UNCHANGED, [1103])]
    assert company.only() == before


@pytest.mark.parametrize("name", [*FULL])
@pytest.mark.parametrize("action", KEEPING)
def test_an_empty_text_clears(action: LicenseAction, name: str) -> None:
    company = Company().holding(of_employee(licenseKey=KEY, **FULL))
    assert told(company.send(action, of_key(KEY, **{name: ""}))) == [(UPDATED, [])]
    assert name not in company.only()


@pytest.mark.parametrize("action", KEEPING)
def test_an_empty_text_clears_within_a_reminder(action: LicenseAction) -> None:
    company = Company().holding(of_employee(licenseKey=KEY, **FULL))
    sent = {"offset": "", "offsetDirection": None}
    assert told(company.send(action, of_key(KEY, reminder=sent))) == [(UPDATED, [])]
    assert company.only()["reminder"] == {"isShowingOnDashboard": True, "offsetDirection": "After"}


@pytest.mark.parametrize(("name", "value"), [case for case in CASES if not case[0].endswith("Key")])
@pytest.mark.parametrize("action", [LicenseAction.OVERRIDE, LicenseAction.REPLACE])
def test_what_is_not_set_is_not_there_after_an_override(
    action: LicenseAction, name: str, value: Any
) -> None:
    absent, unset = (Company().holding(of_employee(**FULL)) for _ in range(2))
    row = {key: sent for key, sent in of_employee(**FULL).items() if key != name}
    results = [absent.send(action, row), unset.send(action, row | {name: value})]
    assert told(results[0]) == told(results[1])
    assert absent.licenses() == unset.licenses()


@pytest.mark.parametrize("value", [None, 0])
def test_a_row_without_a_number_and_with_an_unset_personal_id_names_nobody(value: Any) -> None:
    row = of_employee(employee=None, employeePersonalId=value)
    assert told(Company().send(LicenseAction.MERGE, row)) == [(FAILED, [3003])]
    lines = line_of(0, '{"companyCode":"C1","employeePersonalId":0}')
    [company] = read_company_lines("tenant", lines, LicenseAction.MERGE).companies
    assert not company.rows[0].employee.is_named


@pytest.mark.parametrize("action", [*KEEPING, LicenseAction.OVERRIDE])
def test_a_row_of_a_key_leaves_a_license_with_its_employee_where_nobody_is_set(
    action: LicenseAction,
) -> None:
    company = Company().holding(of_employee(licenseKey=KEY))
    unset: dict[str, Any] = {"employeePersonalId": 0}
    if action in KEEPING:
        unset |= {"employeeNumber": None, "divisionCode": None}
    company.send(action, of_key(KEY, notes="new", **unset))
    assert company.only()["employeeNumber"] == "7"
    line = line_of(0, json.dumps(of_key(KEY, **unset)))
    [lines] = read_company_lines("tenant", line, action).companies
    assert lines.rows[0].sent == {}


def test_dotnet_values_of_xml_that_were_not_set_are_none() -> None:
    date = "".join(f"<d:{part}>0</d:{part}>" for part in ("Day", "Month", "Year"))
    key = (
        "<k:_entityKey><k:_hasValue>false</k:_hasValue>"
        "<k:_value>00000000-0000-0000-0000-000000000000</k:_value></k:_entityKey>"
    )
    content = (
        '<CompanyCode>C1</CompanyCode><Notes i:nil="true"/>'
        f'<EmployeePersonalId>0</EmployeePersonalId><IssuedDate xmlns:d="{DATES}">{date}'
        f'</IssuedDate><LicenseKey xmlns:k="{KEYS}">{key}</LicenseKey>'
        "<SerializableLicenseKey>00000000-0000-0000-0000-000000000000</SerializableLicenseKey>"
    )
    [row] = read_license_xml(body_of(content.encode()), 10)
    company = Company().holding(of_employee(licenseKey=KEY, **FULL))
    identified = row | {"divisionCode": "D1", "employeeNumber": "7"}
    identified |= {"licenseTypeCode": "RN", "licenseNumber": "L1"}
    assert told(company.send(LicenseAction.MERGE, identified)) == [(UNCHANGED, [1103])]


def test_a_form_with_a_zero_id_names_nobody() -> None:
    [row] = read_license_form(b"[0].companyCode=C1&[0].employeePersonalId=0", 10)
    assert told(Company().send(LicenseAction.OVERRIDE, row)) == [(FAILED, [3003])]


def test_a_part_of_a_date_that_is_zero_is_no_date() -> None:
    row = of_employee(issuedDate="0000-01-02")
    assert told(Company().send(LicenseAction.OVERRIDE, row)) == [(FAILED, [1006])]
    assert told(Company().send(LicenseAction.OVERRIDE, of_employee())) == [(NEW, [])]
