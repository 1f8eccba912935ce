"""A character that XML 1.0 does not have fails its row and no other (docs/licenses.md)."""

from __future__ import annotations

import time
from typing import Any

import pytest

from shared.errors import InvalidRequestError
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.form_reader import read_license_form
from shared.imports.licenses.xml_reader import INPUT, read_license_xml
from shared.imports.model import xml_fault
from tests.unit.imports.licenses.company import FAILED, NEW, Company, of_employee, told
from tests.unit.imports.licenses.license_bodies import CLOSING, OPENING, body_of

NOT_IN_XML = 1004
MARKED = "\x01\x02\x0b\x0c\x1f\ufffe\uffff"


def rows_of(body: bytes) -> list[dict[str, Any]]:
    return list(read_license_xml(body, 1000))


def notes_of(content: bytes) -> Any:
    (row,) = rows_of(body_of(b"<Notes>" + content + b"</Notes>"))
    return row["notes"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a&#x1;b", "a\x01b"),
        (b"a&#1;b", "a\x01b"),
        (b"&#x0001;&#xB;&#12;&#x1F;&#31;", "\x01\x0b\x0c\x1f\x1f"),
        (b"&#xFFFE;&#65535;&#xfFfF;", "\ufffe\uffff\uffff"),
        (b"a\x01b\x1f", "a\x01b\x1f"),
        ("\ufffe\ufdd0".encode() + b"&#xFDD0;&#x1;", "\ufffe\ufdd0\ufdd0\x01"),
        (b"&#9;&#xA;&#xD;&#xE9;&#x1F600;", "\t\n\r\xe9\U0001f600"),
        (b"<![CDATA[&#x1;]]>", "&#x1;"),
        (b"<![CDATA[&#x1;]]>&#x2;", "&#x1;\x02"),
        (b"a<!-- &#x1; -->b&#x1;", "ab\x01"),
        (b"a<?p &#x1; ?>b&#x1;", "ab\x01"),
        (b"&amp;#x1;", "&#x1;"),
        (b"&#xFDD0;A", "\ufdd0A"),
    ],
)
def test_the_text_is_what_the_client_wrote(content: bytes, text: str) -> None:
    marked = "".join(xml_fault(each) if each in MARKED else each for each in text)
    assert notes_of(content) == marked


@pytest.mark.parametrize(
    "content",
    [
        b"<Not\x01es>a</Notes>",
        b"<Notes &#x1;/>",
        b"<Notes>&#x1</Notes>",
        b"<Notes>&#x110000;</Notes>",
        b"<Notes>&#x1;\0</Notes>",
        b"<Notes>&#x1;&#0;</Notes>",
        b"<Notes>&#x1;&#xD800;&#57343;</Notes>",
        b"<Notes>&#x;</Notes>",
        b"<Notes>&x1;</Notes>",
    ],
)
def test_what_is_no_xml_for_any_other_reason_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="well-formed"):
        rows_of(body_of(content))


def test_such_a_character_between_rows_is_refused() -> None:
    with pytest.raises(InvalidRequestError):
        rows_of(OPENING + b"&#x1;" + CLOSING)


def test_namespaces_stay_strict() -> None:
    with pytest.raises(InvalidRequestError):
        rows_of(body_of(f'<Notes xmlns="{INPUT}&#x1;">a</Notes>'.encode()))
    [row] = rows_of(body_of(f'<Notes xmlns="{INPUT}x">&#x1;</Notes>'.encode()))
    assert row == {f"{{{INPUT}x}}Notes": xml_fault("\x01")}


def test_the_row_fails_and_the_others_go_in() -> None:
    content = b"".join(
        b"<EmployeeLicenseImportDTO><CompanyCode>C1</CompanyCode><EmployeeNumber>7</EmployeeNumber>"
        b"<LicenseNumber>%s</LicenseNumber></EmployeeLicenseImportDTO>" % number
        for number in (b"L1", b"L&#x1;2", b"L3")
    )
    results = Company().send(LicenseAction.OVERRIDE, *rows_of(OPENING + content + CLOSING))
    assert told(results) == [(NEW, []), (FAILED, [NOT_IN_XML, 2003]), (NEW, [])]
    assert results[1].messages[0].field == "licenseNumber"


@pytest.mark.parametrize(
    ("element", "field"),
    [
        (b"<Notes>&#x1;a</Notes>", "notes"),
        (b"<notes>a&#xFFFF;</notes>", "notes"),
        (b"<DivisionCode>7&#x2;</DivisionCode>", "divisionCode"),
        (
            b"<Documents><DivisionDocumentSubImportDTO/><DivisionDocumentSubImportDTO>"
            b"<Name>a&#x1;</Name></DivisionDocumentSubImportDTO></Documents>",
            "documents[1].name",
        ),
    ],
)
def test_the_message_names_the_field(element: bytes, field: str) -> None:
    identity = b"<CompanyCode>C1</CompanyCode><EmployeeNumber>7</EmployeeNumber>"
    results = Company().send(LicenseAction.OVERRIDE, *rows_of(body_of(identity + element)))
    errors = [said for said in results[0].messages if said.is_error]
    assert [(said.id, said.field) for said in errors] == [(NOT_IN_XML, field)]


def test_json_and_forms_have_such_characters() -> None:
    [row] = read_license_form(b"[0].companyCode=C1&[0].employeeNumber=7&[0].notes=%01", 10)
    rows = row, of_employee(notes="a\x01\ufffe\ufdd0")
    assert told(Company().send(LicenseAction.OVERRIDE, *rows)) == [(NEW, []), (NEW, [])]


@pytest.mark.parametrize(
    "piece",
    [b"&#x1;", b"\x01", b"<![CDATA[", b"<!--", b"<?", b"&#0000", b"&#", "\ufdd0".encode()],
)
def test_the_cost_is_linear(piece: bytes) -> None:
    body = body_of(b"<Notes>&#x1;" + piece * (2_000_000 // len(piece)))
    started = time.process_time()
    with pytest.raises(InvalidRequestError):
        rows_of(body)
    assert time.process_time() - started < 2
