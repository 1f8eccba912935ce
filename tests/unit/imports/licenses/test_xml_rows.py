"""DataContract XML becomes the rows that JSON would have brought (docs/contracts.md#2)."""

from __future__ import annotations

import random
import re
import time
from typing import Any

import pytest

from shared.errors import (
    InvalidRequestError,
    RefusedError,
    TooLargeError,
    UnsupportedPayloadError,
)
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.form_reader import read_license_form
from shared.imports.licenses.model import License
from shared.imports.licenses.rules import read_license
from shared.imports.licenses.xml_reader import CHUNK_BYTES, DATES, INPUT, KEYS, read_license_xml
from shared.imports.model import xml_fault
from shared.imports.row_reader import read_row
from tests.unit.imports.licenses.company import FAILED, NEW, Company, of_employee, outcomes_of
from tests.unit.imports.licenses.license_bodies import (
    CLOSING,
    KEY,
    OPENING,
    ROW_CLOSING,
    ROW_OPENING,
    a_license,
    body_of,
    golden,
    license_xml,
    sample_rows,
)

MARK = "\ufeff"


def rows_of(body: bytes, max_rows: int = 1000) -> list[dict[str, Any]]:
    return list(read_license_xml(body, max_rows))


def row_of(content: str) -> dict[str, Any]:
    (row,) = rows_of(body_of(content.encode()))
    return row


def test_the_vendors_samples_in_json_and_xml_are_the_same_rows() -> None:
    assert rows_of(golden("request.xml")) == sample_rows()


def test_elements_come_in_any_order_under_any_prefix() -> None:
    for seed in range(20):
        body = license_xml(sample_rows(), random.Random(seed))
        assert b"<data:" in body
        assert rows_of(body) == sample_rows()


def test_a_prefix_means_nothing_and_a_namespace_everything() -> None:
    content = (
        f'<x:Notes xmlns:x="{INPUT}">a</x:Notes><i:StateCode xmlns:i="{INPUT}">b</i:StateCode>'
        '<LicenseNumber xmlns="urn:other">c</LicenseNumber><LicenseTypeCode xmlns="">d'
        "</LicenseTypeCode>"
    )
    assert row_of(content) == {
        "notes": "a",
        "stateCode": "b",
        "{urn:other}LicenseNumber": "c",
        "LicenseTypeCode": "d",
    }


@pytest.mark.parametrize(
    ("content", "row"),
    [
        ("<Notes>a</Notes>", {"notes": "a"}),
        ("<Notes/>", {"notes": ""}),
        ("<Notes> a\tb </Notes>", {"notes": " a\tb "}),
        ("<NOTES>a</NOTES>", {"notes": "a"}),
        ('<Notes i:nil="true"/>', {"notes": None}),
        ('<Notes i:nil="1">a</Notes>', {"notes": None}),
        ('<Notes i:nil="false">a</Notes>', {"notes": "a"}),
        ('<Notes nil="true">a</Notes>', {"notes": "a"}),
        ("<Notes>a<!-- b -->c<?d e?>f<![CDATA[<g>&]]>h&lt;&#105;</Notes>", {"notes": "acf<g>&h<i"}),
        ("<Notes><b>c</b></Notes>", {"notes": {"b": "c"}}),
        ("<Colour>red</Colour>", {"Colour": "red"}),
        ("<Documents/>", {"documents": []}),
        ('<Documents i:nil="true"/>', {"documents": None}),
        ("<Documents>a</Documents>", {"documents": "a"}),
        (
            "<Documents><DivisionDocumentSubImportDTO/></Documents>",
            {"documents": [{}]},
        ),
        (
            '<Documents><DivisionDocumentSubImportDTO i:nil="true"/></Documents>',
            {"documents": [None]},
        ),
        ("<Reminder/>", {"reminder": {}}),
        ("<Reminder>a</Reminder>", {"reminder": "a"}),
        ("<Reminder><Offset> -3 </Offset></Reminder>", {"reminder": {"offset": -3}}),
        (
            "<Reminder><IsShowingOnESS>1</IsShowingOnESS><IsShowingOnPayStub>FALSE"
            "</IsShowingOnPayStub></Reminder>",
            {"reminder": {"isShowingOnESS": True, "isShowingOnPayStub": False}},
        ),
        ("<EmployeePersonalId>1.5</EmployeePersonalId>", {"employeePersonalId": "1.5"}),
        ("<EmployeePersonalId/>", {"employeePersonalId": ""}),
        ("<IssuedDate>2021-01-02</IssuedDate>", {"issuedDate": "2021-01-02"}),
        ("<IssuedDate/>", {"issuedDate": ""}),
        ('<IssuedDate i:nil="true"/>', {"issuedDate": None}),
        ("<LicenseKey>" + KEY + "</LicenseKey>", {"licenseKey": KEY}),
        ('<LicenseKey i:nil="true"/>', {"licenseKey": None}),
    ],
)
def test_an_element_is_a_property(content: str, row: dict[str, Any]) -> None:
    assert row_of(content) == row


@pytest.mark.parametrize(
    ("parts", "value", "is_date"),
    [
        ("<Year>1</Year><Month>2</Month><Day>3</Day>", "0001-02-03", True),
        ("<Day> 03 </Day><Month>12</Month><Year>2021</Year>", "2021-12-03", True),
        ("<Year>2021</Year><Month>2</Month><Day>29</Day>", "2021-02-29", False),
        ("<Year>2021</Year><Month>2</Month>", "2021-02-00", False),
        ("<Year>-1</Year><Month>2</Month><Day>3</Day>", "00-1-02-03", False),
        ("<Year>20210</Year><Month>2</Month><Day>3</Day>", "20210-02-03", False),
        ("<Years>2021</Years>", {f"{{{DATES}}}Years": "2021"}, False),
    ],
)
def test_a_date_is_its_year_month_and_day(parts: str, value: Any, is_date: bool) -> None:
    content = f"<CompanyCode>C</CompanyCode><IssuedDate>{within(DATES, parts)}</IssuedDate>"
    row = row_of(content)
    assert row["issuedDate"] == value
    assert read_row(0, row, License, ("companyCode",)).is_readable is is_date


@pytest.mark.parametrize(
    ("parts", "value"),
    [
        (f"<_hasValue>true</_hasValue><_value>{KEY}</_value>", KEY),
        (f"<_value>{KEY}</_value><_hasValue>1</_hasValue>", KEY),
        (f"<_value>{KEY}</_value>", KEY),
        (f"<_hasValue>false</_hasValue><_value>{KEY}</_value>", None),
        (f"<_hasValue> 0 </_hasValue><_value>{KEY}</_value>", None),
        ("<_hasValue>true</_hasValue>", None),
        ("", None),
    ],
)
def test_a_key_is_read_from_its_wrapper_element(parts: str, value: str | None) -> None:
    wrapped = within(KEYS, f"<_entityKey>{parts}</_entityKey>")
    assert row_of(f"<LicenseKey>{wrapped}</LicenseKey>") == {"licenseKey": value}


def test_another_wrapper_element_is_not_a_key() -> None:
    row = row_of(f"<CompanyCode>C</CompanyCode><LicenseKey><_value>{KEY}</_value></LicenseKey>")
    read = read_row(0, row, License, ("companyCode",))
    assert [(message.id, message.field) for message in read.messages] == [(1002, "licenseKey")]


def test_a_value_that_cannot_be_converted_fails_its_row() -> None:
    content = (
        "<CompanyCode>C</CompanyCode><EmployeePersonalId>x</EmployeePersonalId><Reminder>"
        "<Offset>99999999999999999999999</Offset><IsShowingOnESS>yes</IsShowingOnESS></Reminder>"
        "<Documents><Document/></Documents>"
    )
    read = read_row(0, row_of(content), License, ("companyCode",))
    assert {(message.id, message.field) for message in read.messages} == {
        (1002, "employeePersonalId"),
        (1002, "reminder.offset"),
        (1002, "reminder.isShowingOnESS"),
        (1002, "documents"),
        (1007, "documents.Document"),
    }


def test_there_may_be_no_rows() -> None:
    assert rows_of(OPENING + CLOSING) == []
    assert rows_of(OPENING + b" \n " + CLOSING) == []


@pytest.mark.parametrize("size", [CHUNK_BYTES - 60, CHUNK_BYTES, 3 * CHUNK_BYTES + 7])
def test_rows_of_any_size_come_in_order(size: int) -> None:
    rows = [a_license(notes=f"{place}" + "x" * size) for place in range(5)] * 3
    assert rows_of(license_xml(rows)) == rows


def test_a_file_of_thirty_megabytes_is_accepted() -> None:
    content = "QEBA" * 8_000_000
    assert rows_of(license_xml([a_license(documents=[{"content": content}])])) == [
        a_license(documents=[{"content": content}])
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"[]",
        b"text",
        b"<",
        b"<a>",
        b"<a/>",
        b"<!-- only -->",
        b"<!-- open",
        b"<?open",
        OPENING,
        OPENING + ROW_OPENING,
        OPENING + ROW_OPENING + CLOSING,
        OPENING + CLOSING + OPENING + CLOSING,
        OPENING + CLOSING + b"text",
        OPENING + b"text" + CLOSING,
        OPENING + b"<Other/>" + CLOSING,
        OPENING + b'<EmployeeLicenseImportDTO xmlns="urn:other"/>' + CLOSING,
        OPENING + b"<Other/>" + ROW_OPENING + ROW_CLOSING + CLOSING,
        OPENING + ROW_OPENING + ROW_CLOSING + b"<Other/>" + CLOSING,
        OPENING + ROW_OPENING + ROW_CLOSING + b"text" + CLOSING,
        OPENING + ROW_OPENING + ROW_CLOSING + b"text" + ROW_OPENING + ROW_CLOSING + CLOSING,
        OPENING.replace(b"Integration", b"integration") + CLOSING,
        OPENING.replace(b"Import", b"Export") + CLOSING.replace(b"Import", b"Export"),
        b"<ArrayOfEmployeeLicenseImportDTO/>",
        ROW_OPENING.replace(b">", f' xmlns="{INPUT}">'.encode()) + ROW_CLOSING,
        body_of(b"<Notes>a</Notes>text"),
        body_of(b"text<Notes>a</Notes>"),
        body_of(b"<Notes>a</Notes><Notes>b</Notes>"),
        body_of(b"<Notes>a</Notes><notes>b</notes>"),
        body_of(b"<Notes>\xff</Notes>"),
        body_of(b"<Notes>\0</Notes>"),
        body_of(b"<Notes>&#0;</Notes>"),
        body_of(b"<Notes>&#xD800;</Notes>"),
        body_of(b"<Notes>\xed\xa0\x80</Notes>"),
        body_of(b"<Notes>&nbsp;</Notes>"),
        body_of(b"&nbsp;<Notes/>"),
        body_of(b"<Notes/>", b"<Notes>&nbsp;</Notes>", b"<Notes/>"),
        body_of(b"<Notes>&</Notes>"),
        body_of(b"<x:Notes/>"),
        body_of(b'<Notes a="1" a="2"/>'),
        body_of(b"<a>" * 40 + b"</a>" * 40),
    ],
)
def test_a_root_that_is_not_an_array_of_licenses_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        rows_of(body)
    assert "Notes" not in caught.value.message


def test_a_row_that_is_nil_is_no_object() -> None:
    with pytest.raises(UnsupportedPayloadError):
        rows_of(OPENING + b'<EmployeeLicenseImportDTO i:nil="true"/>' + CLOSING)


def test_an_element_of_a_rows_name_inside_a_row_is_no_row() -> None:
    assert rows_of(body_of(b"<Notes>" + ROW_OPENING + ROW_CLOSING + b"</Notes>", b"")) == [
        {"notes": {"EmployeeLicenseImportDTO": ""}},
        {},
    ]


def test_too_many_rows_are_refused_with_the_limit() -> None:
    body = license_xml([a_license()] * 5)
    assert len(rows_of(body, 5)) == 5
    with pytest.raises(TooLargeError, match="5 rows and the limit is 4"):
        rows_of(body, 4)
    with pytest.raises(InvalidRequestError):
        rows_of(body[:-1], 4)


def test_the_refusal_of_malformed_xml_names_the_place() -> None:
    with pytest.raises(InvalidRequestError, match=r"\(line 3, column [0-9]+\)"):
        rows_of(OPENING + b"\n\n<secret></wrong>")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(MARK.encode() + golden("request.xml"), id="UTF-8 with its mark"),
        pytest.param((MARK + golden("request.xml").decode()).encode("utf-16-le"), id="UTF-16-LE"),
        pytest.param((MARK + golden("request.xml").decode()).encode("utf-16-be"), id="UTF-16-BE"),
        pytest.param(b'<?xml version="1.0"?>' + golden("request.xml"), id="declared"),
        pytest.param(
            b"<?xml version='1.0' encoding='UTF-8' standalone='yes'?>\n<!-- a -->\n<?b c?>"
            + golden("request.xml"),
            id="prolog",
        ),
        pytest.param(
            (
                MARK + '<?xml version="1.0" encoding="utf-16"?>' + golden("request.xml").decode()
            ).encode("utf-16-le"),
            id="declared UTF-16",
        ),
    ],
)
def test_utf_8_and_utf_16_with_a_byte_order_mark_are_accepted(body: bytes) -> None:
    assert rows_of(body) == sample_rows()


@pytest.mark.parametrize(
    "body",
    [
        b'<?xml version="1.0" encoding="latin-1"?>' + golden("request.xml"),
        b'<?xml version="1.0" encoding="utf-16"?>' + golden("request.xml"),
        b'<?xml version="1.0" encoding="utf-7"?>' + golden("request.xml"),
        golden("request.xml").decode().encode("utf-16-le"),
        (MARK + golden("request.xml").decode()).encode("utf-32-le"),
        (MARK + golden("request.xml").decode()).encode("utf-16-le")[:-1],
        MARK.encode() * 2 + b"<!DOCTYPE a>" + golden("request.xml"),
    ],
)
def test_other_encodings_are_refused(body: bytes) -> None:
    with pytest.raises(RefusedError):
        rows_of(body)


def within(namespace: str, elements: str) -> str:
    """The elements under a prefix for that namespace."""
    prefixed = re.sub(r"<(/?)", r"<\1p:", elements)
    return re.sub(r"<p:([A-Za-z_]+)", rf'<p:\1 xmlns:p="{namespace}"', prefixed)


@pytest.mark.parametrize(
    ("content", "field", "problem"),
    [
        (
            "<ExpirationDate><Year>2027</Year><Month>2</Month><Day>3</Day></ExpirationDate>",
            "expirationDate",
            f"in XML the elements Year, Month and Day of the namespace {DATES}",
        ),
        (
            '<IssuedDate xmlns:d="urn:d"><d:Year>2027</d:Year></IssuedDate>',
            "issuedDate",
            f"in XML the elements Year, Month and Day of the namespace {DATES}",
        ),
        (
            f"<LicenseKey><_entityKey><_value>{KEY}</_value></_entityKey></LicenseKey>",
            "licenseKey",
            f"in XML _value within _entityKey, both of the namespace {KEYS}",
        ),
        ("<Reminder>soon</Reminder>", "reminder", f"in XML its elements in the namespace {INPUT}"),
        (
            "<Documents><Document><Name>a</Name></Document></Documents>",
            "documents",
            f"in XML DivisionDocumentSubImportDTO elements of the namespace {INPUT}",
        ),
        (
            "<Notes><b>a</b></Notes>",
            "notes",
            "a string is expected, or in XML an element without others in it",
        ),
        (
            "<Reminder><Offset><b>1</b></Offset></Reminder>",
            "reminder.offset",
            "in XML an element without others in it",
        ),
        (
            f'<ExpirationDate xmlns:d="{DATES}"><d:Year>2027</d:Year></ExpirationDate>',
            "expirationDate",
            "there is no such day; send one that exists",
        ),
    ],
)
def test_an_unreadable_element_is_reported_with_the_xml_form_it_needs(
    content: str, field: str, problem: str
) -> None:
    row = row_of(f"<CompanyCode>C</CompanyCode><EmployeeNumber>1</EmployeeNumber>{content}")
    [message] = [
        each for each in read_license(0, row, LicenseAction.OVERRIDE).messages if each.is_error
    ]
    assert message.field == field
    assert problem in message.text
    assert "was sent" not in message.text, "XML has no objects and strings"


# A character that XML 1.0 does not have fails its row and no other (docs/licenses.md).

NOT_IN_XML = 1004
MARKED = "\x01\x02\x0b\x0c\x1f\ufffe\uffff"


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
def test_xml_that_is_malformed_for_any_other_reason_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="well-formed"):
        rows_of(body_of(content))


def test_a_character_not_in_xml_between_rows_is_refused() -> None:
    with pytest.raises(InvalidRequestError):
        rows_of(OPENING + b"&#x1;" + CLOSING)


def test_namespaces_stay_strict() -> None:
    with pytest.raises(InvalidRequestError):
        rows_of(body_of(f'<Notes xmlns="{INPUT}&#x1;">a</Notes>'.encode()))
    [row] = rows_of(body_of(f'<Notes xmlns="{INPUT}x">&#x1;</Notes>'.encode()))
    assert row == {f"{{{INPUT}x}}Notes": xml_fault("\x01")}


def test_a_row_with_a_character_not_in_xml_fails_alone() -> None:
    content = b"".join(
        b"<EmployeeLicenseImportDTO><CompanyCode>C1</CompanyCode><EmployeeNumber>7</EmployeeNumber>"
        b"<LicenseNumber>%s</LicenseNumber></EmployeeLicenseImportDTO>" % number
        for number in (b"L1", b"L&#x1;2", b"L3")
    )
    results = Company().send(LicenseAction.OVERRIDE, *rows_of(OPENING + content + CLOSING))
    assert outcomes_of(results) == [(NEW, []), (FAILED, [NOT_IN_XML, 2003]), (NEW, [])]
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
    errors = [message for message in results[0].messages if message.is_error]
    assert [(message.id, message.field) for message in errors] == [(NOT_IN_XML, field)]


def test_json_and_forms_have_such_characters() -> None:
    [row] = read_license_form(b"[0].companyCode=C1&[0].employeeNumber=7&[0].notes=%01", 10)
    rows = row, of_employee(notes="a\x01\ufffe\ufdd0")
    assert outcomes_of(Company().send(LicenseAction.OVERRIDE, *rows)) == [(NEW, []), (NEW, [])]


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
