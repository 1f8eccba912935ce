"""importAction as a matrix, unset values of .NET clients, and documents of a license."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from shared.errors import InvalidRequestError
from shared.imports.import_type import Document
from shared.imports.json_rows import line_of
from shared.imports.licenses.actions import IMPORT_ACTIONS, LicenseAction, import_action
from shared.imports.licenses.attachments import blobs_of, content_bytes, exported_documents
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
    outcomes_of,
)
from tests.unit.imports.licenses.license_bodies import body_of

# importAction as a matrix: absent, null, blank and present, on a stored license and on none.

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
    for sent, expected in (({name: new}, new), (ABSENT, None), ({name: None}, None)):
        company = Company()
        [result] = company.send(action, of_employee(**sent))
        if action is UPDATE:
            assert outcomes_of([result]) == [(FAILED, [3005])]
            assert company.licenses() == []
        else:
            assert outcomes_of([result]) == [(NEW, [])]
            assert company.only().get(name) == expected


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
    for sent, expected, messages in cases:
        company = Company().holding(of_employee(**{name: old}))
        assert outcomes_of(company.send(action, of_employee(**sent))) == [messages]
        assert company.only().get(name) == expected


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("action", REPLACING)
def test_a_plain_field_that_is_absent_is_replaced_by_nothing(
    action: LicenseAction, name: str
) -> None:
    old, new = PLAIN[name]
    for sent, expected, messages in (
        (ABSENT, None, (UPDATED, [])),
        ({name: None}, None, (UPDATED, [])),
        ({name: ""}, None, (UPDATED, [])),
        ({name: new}, new, (UPDATED, [])),
        ({name: old}, old, (UNCHANGED, [1103])),
    ):
        company = Company().holding(of_employee(**{name: old}))
        assert outcomes_of(company.send(action, of_employee(**sent))) == [messages]
        assert company.only().get(name) == expected


@pytest.mark.parametrize("sent", [ABSENT, {"notes": None}, {"notes": "new"}, {"notes": "old"}])
def test_insert_of_a_stored_license_fails_and_changes_nothing(sent: dict[str, Any]) -> None:
    company = Company().holding(of_employee(notes="old"))
    assert outcomes_of(company.send(INSERT, of_employee(**sent))) == [(FAILED, [3004])]
    assert company.only()["notes"] == "old"


@pytest.mark.parametrize("name", REMINDER)
@pytest.mark.parametrize("action", KEEPING)
def test_a_reminder_merges_property_by_property(action: LicenseAction, name: str) -> None:
    changed = {name: REMINDER[name]}
    without = {each: value for each, value in ALL_SET.items() if each != name}
    for sent, expected in (
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
        assert company.only().get("reminder") == expected


@pytest.mark.parametrize("name", REMINDER)
@pytest.mark.parametrize("action", REPLACING)
def test_a_reminder_is_replaced_whole(action: LicenseAction, name: str) -> None:
    changed = {name: REMINDER[name]}
    for sent, expected in (
        (ABSENT, None),
        ({"reminder": {}}, None),
        ({"reminder": changed}, changed),
        ({"reminder": {name: None}}, None),
        ({"reminder": None}, None),
    ):
        company = Company().holding(of_employee(reminder=ALL_SET))
        assert outcomes_of(company.send(action, of_employee(**sent))) == [(UPDATED, [])]
        assert company.only().get("reminder") == expected


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
    for sent, expected in (
        ({}, stored),
        ({"licenseNumber": "L2"}, stored | {"licenseNumber": "L2"}),
        ({"divisionCode": "D2"}, stored | {"divisionCode": "D2"}),
        ({"employeeNumber": "8"}, stored | {"employeeNumber": "8"}),
    ):
        company = Company().holding(stored)
        key = company.only()["licenseKey"]
        company.send(action, {"companyCode": "C1", "licenseKey": key} | sent)
        assert company.only() == expected | {"licenseKey": key}
    company = Company().holding(stored)
    key = company.only()["licenseKey"]
    company.send(action, {"companyCode": "C1", "licenseKey": key, "licenseTypeCode": None})
    assert "licenseTypeCode" in company.only()
    company.send(action, {"companyCode": "C1", "licenseKey": key, "licenseTypeCode": ""})
    assert "licenseTypeCode" not in company.only()


@pytest.mark.parametrize("action", REPLACING)
def test_a_row_without_an_employee_keeps_the_employee_of_the_license(
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
def test_a_row_with_a_division_alone_names_no_employee(action: LicenseAction) -> None:
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
def test_a_clearing_value_removes_the_employee_of_the_license(
    action: LicenseAction,
) -> None:
    company = Company().holding(of_employee(divisionCode="D1"))
    key = company.only()["licenseKey"]
    nothing = "" if action in KEEPING else None
    cleared_employee = dict.fromkeys(
        ("divisionCode", "employeeNumber", "employeePersonalId"), nothing
    )
    company.send(
        action, {"companyCode": "C1", "licenseKey": key, "licenseNumber": "L1"} | cleared_employee
    )
    assert not company.only().keys() & cleared_employee.keys()


def test_an_action_is_named_in_any_case_and_an_unknown_one_lists_them() -> None:
    assert import_action("overRIDE") is OVERRIDE
    assert import_action(" merge ") is MERGE
    for text in ("", "Upsert", "Delete"):
        with pytest.raises(InvalidRequestError, match="Insert, Update, Merge, Override, Replace"):
            import_action(text)


# What a .NET client sends for what it has not set, and what clears (docs/licenses.md).

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


@pytest.mark.parametrize(("name", "value"), CASES)
@pytest.mark.parametrize("action", KEEPING)
def test_an_unset_value_keeps_the_stored_one(action: LicenseAction, name: str, value: Any) -> None:
    company = Company().holding(of_employee(licenseKey=KEY, **FULL))
    before = company.only()
    is_key = name.endswith("Key")
    row = of_employee(divisionCode="D1") if is_key else of_key(KEY)
    for spelling in (name, name.upper()):
        assert outcomes_of(company.send(action, row | {spelling: value})) == [(UNCHANGED, [1103])]
    assert company.only() == before


@pytest.mark.parametrize("name", [*FULL])
@pytest.mark.parametrize("action", KEEPING)
def test_an_empty_text_clears(action: LicenseAction, name: str) -> None:
    company = Company().holding(of_employee(licenseKey=KEY, **FULL))
    assert outcomes_of(company.send(action, of_key(KEY, **{name: ""}))) == [(UPDATED, [])]
    assert name not in company.only()


@pytest.mark.parametrize("action", KEEPING)
def test_an_empty_text_clears_within_a_reminder(action: LicenseAction) -> None:
    company = Company().holding(of_employee(licenseKey=KEY, **FULL))
    sent = {"offset": "", "offsetDirection": None}
    assert outcomes_of(company.send(action, of_key(KEY, reminder=sent))) == [(UPDATED, [])]
    assert company.only()["reminder"] == {"isShowingOnDashboard": True, "offsetDirection": "After"}


@pytest.mark.parametrize(("name", "value"), [case for case in CASES if not case[0].endswith("Key")])
@pytest.mark.parametrize("action", [LicenseAction.OVERRIDE, LicenseAction.REPLACE])
def test_an_unset_value_is_removed_by_an_override(
    action: LicenseAction, name: str, value: Any
) -> None:
    absent, unset = (Company().holding(of_employee(**FULL)) for _ in range(2))
    row = {key: sent for key, sent in of_employee(**FULL).items() if key != name}
    results = [absent.send(action, row), unset.send(action, row | {name: value})]
    assert outcomes_of(results[0]) == outcomes_of(results[1])
    assert absent.licenses() == unset.licenses()


@pytest.mark.parametrize("value", [None, 0])
def test_a_row_without_a_number_and_with_an_unset_personal_id_names_no_employee(value: Any) -> None:
    row = of_employee(employee=None, employeePersonalId=value)
    assert outcomes_of(Company().send(LicenseAction.MERGE, row)) == [(FAILED, [3003])]
    lines = line_of(0, '{"companyCode":"C1","employeePersonalId":0}')
    [company] = read_company_lines("tenant", lines, LicenseAction.MERGE).companies
    assert not company.rows[0].employee.is_named


@pytest.mark.parametrize("action", [*KEEPING, LicenseAction.OVERRIDE])
def test_a_row_with_a_key_and_no_employee_keeps_the_employee_of_the_license(
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


def test_unset_dotnet_values_in_xml_count_as_unset() -> None:
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
    assert outcomes_of(company.send(LicenseAction.MERGE, identified)) == [(UNCHANGED, [1103])]


def test_a_form_with_a_zero_id_names_no_employee() -> None:
    [row] = read_license_form(b"[0].companyCode=C1&[0].employeePersonalId=0", 10)
    assert outcomes_of(Company().send(LicenseAction.OVERRIDE, row)) == [(FAILED, [3003])]


def test_a_part_of_a_date_that_is_zero_is_no_date() -> None:
    row = of_employee(issuedDate="0000-01-02")
    assert outcomes_of(Company().send(LicenseAction.OVERRIDE, row)) == [(FAILED, [1006])]
    assert outcomes_of(Company().send(LicenseAction.OVERRIDE, of_employee())) == [(NEW, [])]


# Documents of a license: by identity, with their bytes apart (docs/contracts.md#2).


def doc(name: str | None, data: bytes | None = b"1", **fields: Any) -> dict[str, Any]:
    """A document as it is sent."""
    document = {} if name is None else {"name": name}
    if data is not None:
        document["content"] = base64.b64encode(data).decode()
    return document | fields


def _bytes(company: Company) -> dict[str | None, bytes | None]:
    """The bytes of each document of the one license, by name."""
    return {
        each.get("name"): company.contents.get(each.get("blob", "")) for each in _documents(company)
    }


def _documents(company: Company) -> list[Document]:
    stored: list[Document] = company.only().get("documents", [])
    return stored


def _with(*documents: dict[str, Any]) -> Company:
    return Company().holding(of_employee(documents=list(documents)))


def test_a_license_stores_all_of_a_document_but_its_bytes() -> None:
    described = {"sourcePath": "C:\\a", "mimeType": "odd", "documentTypeCode": "T"}
    company = _with(doc("a.pdf", b"bytes", **described))
    [stored] = _documents(company)
    blob = stored.pop("blob")
    assert stored == {
        "name": "a.pdf",
        **described,
        "sha256": hashlib.sha256(b"bytes").hexdigest(),
        "length": 5,
    }
    assert company.contents == {blob: b"bytes"}


def test_the_last_of_equal_documents_counts() -> None:
    company = _with(doc("a", b"1"), doc("b", b"2"), doc("a", b"3"))
    assert _bytes(company) == {"a": b"3", "b": b"2"}
    assert sorted(company.contents.values()) == [b"2", b"3"]


@pytest.mark.parametrize(
    "other",
    [doc("A"), doc("a "), doc("a", documentTypeCode="T"), doc(None), doc(None, mimeType="x")],
)
def test_another_name_or_type_is_another_document(other: dict[str, Any]) -> None:
    assert len(_documents(_with(doc("a"), other))) == 2


def test_name_and_type_may_be_missing() -> None:
    company = _with(doc(None, b"1"), {"name": " ", "content": "Mg=="})
    assert _bytes(company) == {None: b"2"}


@pytest.mark.parametrize("action", KEEPING)
def test_documents_are_added_and_replaced_by_identity(action: LicenseAction) -> None:
    company = _with(doc("a", b"1"), doc("b", b"2"))
    sent = of_employee(documents=[doc("b", b"3"), doc("c", b"4")])
    assert outcomes_of(company.send(action, sent)) == [(UPDATED, [])]
    assert _bytes(company) == {"a": b"1", "b": b"3", "c": b"4"}


@pytest.mark.parametrize("action", REPLACING)
def test_documents_are_set(action: LicenseAction) -> None:
    company = _with(doc("a", b"1"), doc("b", b"2"))
    company.send(action, of_employee(documents=[doc("b", b"3"), doc("c", b"4")]))
    assert _bytes(company) == {"b": b"3", "c": b"4"}


@pytest.mark.parametrize(
    ("action", "sent", "expected"),
    [
        *((action, {}, ["a"]) for action in KEEPING),
        *((action, {"documents": []}, ["a"]) for action in KEEPING),
        *((action, {"documents": None}, ["a"]) for action in KEEPING),
        *((action, {"documents": " "}, []) for action in KEEPING),
        *((action, {}, []) for action in REPLACING),
        *((action, {"documents": []}, []) for action in REPLACING),
        *((action, {"documents": None}, []) for action in REPLACING),
    ],
)
def test_no_documents_an_empty_list_and_null(
    action: LicenseAction, sent: dict[str, Any], expected: list[str]
) -> None:
    company = _with(doc("a"))
    company.send(action, of_employee(**sent))
    assert [each["name"] for each in _documents(company)] == expected
    assert ("documents" in company.only()) is bool(expected)


@pytest.mark.parametrize("action", [*KEEPING, *REPLACING])
def test_the_same_bytes_again_change_nothing_and_keep_their_blob(action: LicenseAction) -> None:
    company = _with(doc("a", b"1"))
    before = company.only()
    assert outcomes_of(company.send(action, of_employee(documents=[doc("a", b"1")]))) == [
        (UNCHANGED, [1103])
    ]
    assert company.only() == before
    changed = of_employee(notes="x", documents=[doc("a", b"1", sourcePath="p")])
    assert outcomes_of(company.send(action, changed)) == [(UPDATED, [])]
    assert blobs_of(_documents(company)) == blobs_of(before["documents"])
    assert len(company.contents) == 1


@pytest.mark.parametrize("action", [*KEEPING, *REPLACING])
def test_other_bytes_get_a_blob_of_their_own(action: LicenseAction) -> None:
    company = _with(doc("a", b"1"))
    [before] = _documents(company)
    company.send(action, of_employee(documents=[doc("a", b"2")]))
    company.send(action, of_employee(documents=[doc("a", b"1")]))
    [after] = _documents(company)
    assert after["sha256"] == before["sha256"]
    assert after["blob"] != before["blob"]
    assert len(company.contents) == 3


def test_a_blob_belongs_to_one_document() -> None:
    company = _with(doc("a", b"1"), doc("b", b"1"))
    assert len(blobs_of(_documents(company))) == 2


@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": " "}])
@pytest.mark.parametrize("action", KEEPING)
def test_without_content_a_document_keeps_its_bytes_where_what_is_absent_is_kept(
    action: LicenseAction, content: dict[str, Any]
) -> None:
    company = _with(doc("a", b"1", mimeType="x", sourcePath="p"))
    company.send(action, of_employee(documents=[{"name": "a", "mimeType": "y", **content}]))
    [stored] = _documents(company)
    assert (stored["mimeType"], "sourcePath" in stored) == ("y", False)
    assert _bytes(company) == {"a": b"1"}


@pytest.mark.parametrize("action", REPLACING)
def test_without_content_a_document_loses_its_bytes_where_the_list_is_set(
    action: LicenseAction,
) -> None:
    company = _with(doc("a", b"1"))
    company.send(action, of_employee(documents=[{"name": "a"}]))
    assert _documents(company) == [{"name": "a"}]


@pytest.mark.parametrize("action", [*KEEPING, *REPLACING])
def test_what_was_read_back_can_be_sent_again_and_keeps_its_bytes(action: LicenseAction) -> None:
    company = _with(doc("a", b"1", sourcePath="p"), doc("b", b"2"), doc("c", None))
    before = company.only()
    sent = {**before, "documents": exported_documents(before["documents"])}
    assert [set(each) & {"content", "blob", "length"} for each in sent["documents"]] == [set()] * 3
    assert outcomes_of(company.send(action, sent)) == [(UNCHANGED, [1103])]
    assert company.only() == before


@pytest.mark.parametrize("action", REPLACING)
def test_the_digest_of_other_bytes_keeps_none(action: LicenseAction) -> None:
    company = _with(doc("a", b"1"))
    other = hashlib.sha256(b"2").hexdigest()
    company.send(action, of_employee(documents=[{"name": "a", "sha256": other}]))
    assert _documents(company) == [{"name": "a"}]


@pytest.mark.parametrize("action", [INSERT, MERGE, OVERRIDE, REPLACE])
def test_a_document_may_come_without_content(action: LicenseAction) -> None:
    company = Company()
    company.send(action, of_employee(documents=[doc("a", None), doc("b", b"")]))
    assert _documents(company) == [{"name": "a"}, {"name": "b"}]


def test_rows_of_one_license_file_their_documents_one_after_another() -> None:
    company = Company()
    rows = [
        of_employee(documents=[doc("a", b"1")]),
        of_employee(documents=[doc("a", b"2"), doc("b", b"3")]),
        of_employee(documents=[doc("b", b"4")]),
    ]
    company.send(MERGE, *rows)
    assert _bytes(company) == {"a": b"2", "b": b"4"}


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 100])
def test_the_size_of_a_document_is_that_of_its_bytes(length: int) -> None:
    text = base64.encodebytes(b"x" * length).decode()
    for content in (text, text.replace("\n", ""), text.replace("\n", "\r\n\t ")):
        assert content_bytes([{"content": content}, {"name": "a"}, 5]) == length


@pytest.mark.parametrize("documents", [None, {}, "x", [None], [{"content": 5}], [["content"]]])
def test_a_license_without_documents_has_no_document_size(documents: object) -> None:
    assert content_bytes(documents) == 0
