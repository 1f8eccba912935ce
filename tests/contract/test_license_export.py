"""Viventium's export of licenses over HTTP: what is found, JSON and XML, and every refusal.

See docs/contracts.md#2.
"""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
from lxml import etree

from shared.auth.integrations import ReadPermission
from shared.imports.licenses.answer import licenses_xml
from shared.imports.licenses.xml_reader import INPUT, read_license_xml
from tests.builders import Row
from tests.contract.calls import MAX_ROWS, check_refusal
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.tenants import Sender, a_sender

pytestmark = pytest.mark.e2e
XML, COMPANY = "text/xml", "C\u00e9"
KEY = "cb57a803-fb5d-40f1-972a-8f7ee86660a6"
FULL: Row = {
    "licenseKey": KEY,
    "licenseTypeCode": "RN",
    "licenseCertificateCode": "C <&> 1",
    "licenseNumber": "17",
    "issuedDate": "0001-02-03",
    "expirationDate": "2027-12-31",
    "reminder": {
        "isShowingOnDashboard": True,
        "isShowingOnPayStub": False,
        "offset": -3,
        "offsetDirection": "After",
    },
    "notes": "two\nlines",
    "stateCode": "NY",
    "documents": [
        {
            "name": "a.pdf",
            "mimeType": "application/pdf",
            "documentTypeCode": "T",
            "content": base64.b64encode(b"one").decode(),
        }
    ],
    "employeeNumber": "7",
    "employeePersonalId": 5,
    "divisionCode": "D 1",
    "companyCode": COMPANY,
}


def a_license(number: str, **fields: Any) -> Row:
    return {"companyCode": COMPANY, "licenseTypeCode": "RN", "licenseNumber": number, **fields}


def ask(
    gateway: GatewayProcess,
    sender: Sender,
    employee: str | None = None,
    accept: str = "",
    division: str = "D 1",
    query: str = "",
) -> Answer:
    rest = "employee-licenses" if employee is None else f"employees/{quote(employee)}/licenses"
    path = f"/v1/export/companies/{quote(COMPANY)}/divisions/{quote(division)}/{rest}{query}"
    headers = {**sender.headers, **({"Accept": accept} if accept else {})}
    return gateway.call("GET", path, None, headers)


def send(gateway: GatewayProcess, sender: Sender, body: bytes, media_type: str) -> Answer:
    headers = {**sender.headers, "Content-Type": media_type}
    return gateway.call("POST", "/v1/imports/licenses", body, headers)


@pytest.fixture(name="filled", scope="module")
def fixture_filled(storage: str, gateway: GatewayProcess) -> Sender:
    sender = a_sender(storage)
    rows = [
        FULL,
        a_license("1", divisionCode="D 1", employeeNumber="7"),
        a_license("2", divisionCode="D 1", employeeNumber="70"),
        a_license("3", divisionCode="D 1", employeePersonalId=9),
        a_license("4", divisionCode="D 11", employeeNumber="7"),
        a_license("5", employeeNumber="7"),
        {**a_license("6", divisionCode="D 1", employeeNumber="7"), "companyCode": "C2"},
        a_license("8", divisionCode="D 1", employeeNumber="7"),
    ]
    assert send(gateway, sender, json.dumps(rows).encode(), "application/json").status == 200
    deleted = json.dumps([a_license("8", divisionCode="D 1", employeeNumber="7")]).encode()
    headers = {**sender.headers, "Content-Type": "application/json"}
    assert gateway.call("POST", "/v1/imports/licenses/delete", deleted, headers).status == 200
    return sender


def numbers(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return sorted(each["licenseNumber"] for each in answer.json)


def test_the_licenses_of_a_division_or_an_employee(gateway: GatewayProcess, filled: Sender) -> None:
    assert numbers(ask(gateway, filled)) == ["1", "17", "2", "3"]
    assert numbers(ask(gateway, filled, "7")) == ["1", "17"]
    assert numbers(ask(gateway, filled, "70")) == ["2"]
    assert numbers(ask(gateway, filled, "8")) == []
    assert numbers(ask(gateway, filled, division="D 11")) == ["4"]
    assert numbers(ask(gateway, filled, division="D")) == []
    # Vendors' addresses pass over what they do not know.
    assert numbers(ask(gateway, filled, query="?page=2")) == ["1", "17", "2", "3"]


def test_a_license_has_the_shape_of_the_import(gateway: GatewayProcess, filled: Sender) -> None:
    [exported] = [each for each in ask(gateway, filled, "7").json if each["licenseKey"] == KEY]
    [document] = exported.pop("documents")
    assert {*document} == {"name", "mimeType", "documentTypeCode", "sha256"}
    assert exported.pop("serializableLicenseKey") == KEY
    assert exported == {name: value for name, value in FULL.items() if name != "documents"}


def test_xml_says_the_same_as_json(gateway: GatewayProcess, filled: Sender) -> None:
    in_json = ask(gateway, filled).json
    answer = ask(gateway, filled, accept=XML)
    assert answer.headers["content-type"].startswith(XML)
    assert list(read_license_xml(answer.body, 10)) == in_json
    names = [etree.QName(each).localname for each in etree.fromstring(answer.body)[0]]
    own_names = ["CompanyCode", "DivisionCode", "EmployeeNumber", "EmployeePersonalId"]
    assert names[:3] == own_names[:3]
    rest = [name for name in names if name not in own_names]
    assert rest == sorted(rest)
    assert list(read_license_xml(licenses_xml([]), 10)) == []
    assert INPUT.encode() in licenses_xml([])


@pytest.mark.parametrize("media_type", ["application/json", XML])
def test_what_is_exported_is_imported_again_and_changes_nothing(
    gateway: GatewayProcess, filled: Sender, media_type: str
) -> None:
    before = ask(gateway, filled).json
    exported = ask(gateway, filled, accept=media_type).body
    answer = send(gateway, filled, exported, media_type)
    assert answer.status == 200
    rows = gateway.get(f"/api/imports/{answer.import_id}", filled).json["rows"]
    assert (rows["unchanged"], rows["total"]) == (4, 4)
    assert ask(gateway, filled).json == before


def test_refusals(gateway: GatewayProcess, filled: Sender, storage: str) -> None:
    none = a_sender(storage, filled.tenant, read=ReadPermission.NONE)
    check_refusal(ask(gateway, none), 403, "may not read records")
    check_refusal(ask(gateway, filled, accept="image/png"), 406)
    check_refusal(ask(gateway, filled, "x" * 201), 400, "employeeNumber must have 1 to 200")
    check_refusal(ask(gateway, filled, query="?dryRun=true"), 400, "dry run")
    assert gateway.call("GET", "/v1/export/companies/C/divisions/D/employee-licenses").status == 401
    in_xml = ask(gateway, none, accept=XML)
    assert (in_xml.status, in_xml.body[:7]) == (403, b"<Error>")


def test_more_licenses_than_one_answer_holds_are_refused(
    gateway: GatewayProcess, sender: Sender
) -> None:
    def send_rows(rows: list[Row], path: str = "/v1/imports/licenses") -> None:
        headers = {"Content-Type": "application/json", **sender.headers}
        answer = gateway.call("POST", path, json.dumps(rows).encode(), headers)
        assert (answer.status, answer.json["errors"]) == (200, [])

    most = [
        a_license(f"{at:03d}", divisionCode="D 1", employeeNumber="7") for at in range(MAX_ROWS)
    ]
    one_more = [a_license("x", divisionCode="D 1", employeeNumber="8")]
    send_rows(most)
    assert len(numbers(ask(gateway, sender))) == MAX_ROWS
    send_rows(one_more)
    refused = ask(gateway, sender), ask(gateway, sender, accept=XML)
    message = check_refusal(refused[0], 413, f"({MAX_ROWS}, or ")
    assert (refused[1].status, refused[1].body[:7]) == (413, b"<Error>")
    # Both ways that the message names have the licenses.
    assert "ask for one employee" in message
    assert "/api/records/licenses?companyCode=" in message
    assert len(numbers(ask(gateway, sender, "7"))) == MAX_ROWS
    records = f"/api/records/licenses?companyCode={quote(COMPANY)}&pageSize=1000"
    assert len(gateway.get(records, sender).json["items"]) == MAX_ROWS + 1
    send_rows(one_more, "/v1/imports/licenses/delete")
    assert len(numbers(ask(gateway, sender))) == MAX_ROWS


@pytest.mark.parametrize(
    ("media_type", "nothing"), [("application/json", b"[]"), (XML, licenses_xml([]))]
)
def test_another_tenant_finds_no_license_at_the_same_address(
    gateway: GatewayProcess, filled: Sender, storage: str, media_type: str, nothing: bytes
) -> None:
    other = a_sender(storage)
    for employee in (None, "7", "nobody"):
        answer = ask(gateway, other, employee, media_type)
        assert (answer.status, answer.body) == (200, nothing)
    assert ask(gateway, filled, "7", media_type).body != nothing
