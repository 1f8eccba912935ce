"""Licenses: the fields of the contract, and the answers in JSON and XML (docs/contracts.md#2)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from lxml import etree

from shared.imports.import_type import ReadRow
from shared.imports.licenses.answer import answer_xml, import_answer, refusal_xml
from shared.imports.licenses.model import License, LicenseIdentity
from shared.imports.licenses.xml_reader import OUTPUT
from shared.imports.messages import Message
from shared.imports.model import schema_of
from shared.imports.results import STORED_OUTCOMES, Outcome, RowResult, failed
from shared.imports.row_reader import read_row
from tests.unit.imports.licenses.license_bodies import KEY, a_license, golden, sample_rows

# Licenses have every field of the contract, and nothing else (docs/contracts.md#2).


def names(text: str) -> list[str]:
    return sorted(text.split())


TOP = names(
    "serializableLicenseKey licenseKey licenseTypeCode licenseCertificateCode licenseNumber "
    "issuedDate expirationDate reminder notes stateCode documents employeeNumber "
    "employeePersonalId divisionCode companyCode"
)
REMINDER = names("isShowingOnDashboard isShowingOnPayStub isShowingOnESS offset offsetDirection")
DOCUMENT = names("content name sourcePath mimeType documentTypeCode sha256")


def read(**fields: Any) -> ReadRow:
    return read_row(0, a_license(**fields), License, ("companyCode",))


def faults(row: ReadRow) -> list[tuple[int, str | None]]:
    return [(message.id, message.field) for message in row.messages]


def test_the_fields_are_those_of_the_contract() -> None:
    schema = schema_of(License, "Licenses")
    assert sorted(schema["properties"]) == TOP
    assert sorted(schema["$defs"]["LicenseReminder"]["properties"]) == REMINDER
    assert sorted(schema["$defs"]["LicenseDocument"]["properties"]) == DOCUMENT
    assert schema["required"] == ["companyCode"]


def test_a_deletion_has_the_key_and_the_natural_key() -> None:
    assert sorted(LicenseIdentity.model_fields) == names(
        "companyCode divisionCode employeeNumber employeePersonalId licenseTypeCode "
        "licenseNumber licenseKey serializableLicenseKey"
    )


def test_the_vendors_sample_is_read_as_it_was_sent() -> None:
    for sample in sample_rows():
        row = read_row(0, sample, License, ("companyCode",))
        assert (row.messages, row.values) == ((), sample)


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        KEY.upper(),
        KEY.replace("-", ""),
        f"{{{KEY}}}",
        f"({KEY.upper()})",
        f" {KEY}\n",
    ],
)
def test_a_key_is_read_in_every_usual_form(text: str) -> None:
    row = read(licenseKey=text, serializableLicenseKey=text)
    assert (row.values["licenseKey"], row.values["serializableLicenseKey"]) == (KEY, KEY)


@pytest.mark.parametrize(
    "value",
    [None, "", " ", "<empty>", "<EMPTY>", "0" * 32, "00000000-0000-0000-0000-000000000000"],
)
def test_a_blank_key_counts_as_no_key(value: Any) -> None:
    row = read(licenseKey=value)
    assert (row.messages, row.values["licenseKey"]) == ((), None)


@pytest.mark.parametrize(
    "text", ["key", KEY[:-1], KEY + "0", f"{{{KEY}", f"{KEY}}}", KEY.replace("-", "_"), KEY[:8]]
)
def test_a_text_that_is_not_a_guid_is_not_a_key(text: str) -> None:
    assert faults(read(licenseKey=text)) == [(1004, "licenseKey")]


@pytest.mark.parametrize("text", ["After", "after", "AFTER"])
def test_a_direction_is_read_in_any_case(text: str) -> None:
    assert read(reminder={"offsetDirection": text}).values["reminder"] == {
        "offsetDirection": "After"
    }


def test_another_direction_is_not_allowed() -> None:
    row = read(reminder={"offsetDirection": "Sideways"})
    assert faults(row) == [(1005, "reminder.offsetDirection")]


@pytest.mark.parametrize(
    ("sent", "kept"), [("QEA=", "QEA="), (" QE\r\n\tA= ", "QEA="), ("QEBA", "QEBA")]
)
def test_content_is_kept_without_blanks(sent: str, kept: str) -> None:
    assert read(documents=[{"content": sent}]).values["documents"] == [{"content": kept}]


@pytest.mark.parametrize(
    "text",
    ["QEA", "QEA==", "=QEA", "QE=A", "Q", "QE-_", "QEA=QEA=", "\u0662EA=", "\ud800", "QE\0A"],
)
def test_bad_base64_is_the_rows_error_and_is_not_repeated(text: str) -> None:
    row = read(documents=[{"name": "a"}, {"content": text}])
    assert faults(row) == [(3002, "documents[1].content")]
    assert row.messages[0].value is None


def test_a_license_has_a_hundred_documents_at_most() -> None:
    assert read(documents=[{"name": "a"}] * 100).is_readable
    assert faults(read(documents=[{"name": "a"}] * 101)) == [(1003, "documents")]


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"companyCode": None}, (1001, "companyCode")),
        ({"companyCode": "x" * 201}, (1003, "companyCode")),
        ({"employeePersonalId": "5"}, (1002, "employeePersonalId")),
        ({"employeePersonalId": 2**31}, (1008, "employeePersonalId")),
        ({"issuedDate": "2021-02-29"}, (1006, "issuedDate")),
        ({"reminder": {"offset": True}}, (1002, "reminder.offset")),
        ({"reminder": {"isShowingOnESS": "true"}}, (1002, "reminder.isShowingOnESS")),
        ({"reminder": "daily"}, (1002, "reminder")),
        ({"documents": {}}, (1002, "documents")),
        ({"documents": ["a"]}, (1002, "documents[0]")),
        ({"colour": "red"}, (1007, "colour")),
        ({"documents": [{"size": 1}]}, (1007, "documents[0].size")),
    ],
)
def test_a_bad_value_is_one_fault(fields: dict[str, Any], fault: tuple[int, str]) -> None:
    assert faults(read(**fields)) == [fault]


# The answer to licenses in the vendor's JSON and XML (docs/contracts.md#2).

IMPORT = "5e0a1b52-7a0c-4a51-9a55-0d9b3c4f6a11"
SAMPLE = json.loads(golden("result.json"))
EMPTY = {
    "newRecords": 0,
    "updatedRecords": 0,
    "errors": [],
    "newRecordKeys": [],
    "updatedRecordKeys": [],
    "importKey": "<empty>",
}


def result(index: int, outcome: Outcome, *messages: Message) -> RowResult:
    return RowResult(index, ("C1", "E1", None, KEY), outcome, messages)


def canonical(xml: bytes) -> bytes:
    """The document with prefixes and order of elements as they are, without blanks between."""
    root = etree.fromstring(xml, etree.XMLParser(remove_blank_text=True))
    return etree.tostring(root, method="c14n")


def kinds(value: Any) -> Any:
    """The names and types of an object, of a list those of its first element."""
    match value:
        case dict():
            return {name: kinds(item) for name, item in value.items()}
        case list():
            return [kinds(value[0])]
        case _:
            return type(value)


def test_the_vendors_sample_in_xml_is_the_one_in_json() -> None:
    assert canonical(answer_xml(SAMPLE)) == canonical(golden("result.xml"))


def test_an_answer_has_the_fields_of_the_vendors_sample() -> None:
    answer = import_answer(
        [
            result(0, Outcome.NEW),
            result(1, Outcome.UPDATED),
            failed(2, ("C1", None, None, None), Message(3002, "documents[1].content")),
        ],
        IMPORT,
    )
    assert kinds(answer) == kinds(SAMPLE)
    assert list(answer) == list(SAMPLE)
    assert list(answer["errors"][0]["details"][0]) == list(SAMPLE["errors"][0]["details"][0])


def test_the_vendors_request_on_an_empty_store_is_one_new_and_one_updated() -> None:
    answer = import_answer([result(0, Outcome.NEW), result(1, Outcome.UPDATED)], IMPORT)
    assert answer == {
        "newRecords": 1,
        "updatedRecords": 1,
        "errors": [],
        "newRecordKeys": [{"index": 0, "key": KEY}],
        "updatedRecordKeys": [{"index": 1, "key": KEY}],
        "importKey": IMPORT,
    }


def test_unchanged_ones_count_as_updated_so_that_the_counts_add_up() -> None:
    results = [result(index, outcome) for index, outcome in enumerate([*STORED_OUTCOMES] * 3)]
    answer = import_answer(results, IMPORT)
    counts = answer["newRecords"], answer["updatedRecords"], len(answer["errors"])
    assert (counts, sum(counts)) == ((3, 6, 3), len(results))
    assert [record["index"] for record in answer["updatedRecordKeys"]] == [1, 2, 5, 6, 9, 10]


@pytest.mark.parametrize(
    ("field", "name", "place"),
    [
        ("companyCode", "CompanyCode", None),
        ("reminder.isShowingOnESS", "Reminder.IsShowingOnESS", None),
        ("documents", "Documents", None),
        ("documents[0].content", "Documents.Content", 0),
        ("documents[12]", "Documents", 12),
        (None, "", None),
    ],
)
def test_a_property_is_named_in_dots_and_its_place_in_a_list_apart(
    field: str | None, name: str, place: int | None
) -> None:
    answer = import_answer([failed(4, (None,), Message(1002, field))], None)
    place_told = {} if place is None else {"arrayIndex": place}
    assert answer["errors"] == [
        {
            "index": 4,
            "details": [
                {"propertyName": name, **place_told, "errorMessages": ["Value has the wrong type"]}
            ],
        }
    ]


def test_all_errors_of_a_property_are_one_entry_without_other_messages() -> None:
    messages = (
        Message(1007, "colour"),
        Message(1003, "documents[1].name"),
        Message(3002, "documents[0].content"),
        Message(1004, "documents[1].name"),
        Message(2003, "notes"),
    )
    (error,) = import_answer([failed(0, (None,), *messages)], None)["errors"]
    assert [
        (detail["propertyName"], detail["arrayIndex"], len(detail["errorMessages"]))
        for detail in error["details"]
    ] == [("Documents.Name", 1, 2), ("Documents.Content", 0, 1)]


def test_an_empty_answer_has_empty_elements() -> None:
    assert import_answer([], None) == EMPTY
    root = etree.fromstring(answer_xml(EMPTY))
    assert [etree.QName(child).localname for child in root] == [
        "Errors",
        "ImportKey",
        "NewRecordKeys",
        "NewRecords",
        "UpdatedRecordKeys",
        "UpdatedRecords",
    ]
    assert [len(child) for child in root] == [0, 1, 0, 0, 0, 0]
    assert root.findtext(f"{{{OUTPUT}}}NewRecords") == "0"


def test_the_import_key_is_wrapped() -> None:
    texts = list(etree.fromstring(answer_xml(EMPTY | {"importKey": IMPORT})).itertext())
    assert texts == ["true", IMPORT, "0", "0"]


def test_outside_a_list_there_is_no_array_index() -> None:
    answer = import_answer([failed(0, (None,), Message(1001, "companyCode"))], None)
    assert b"ArrayIndex" not in answer_xml(answer)


def test_a_character_that_xml_cannot_hold_is_marked() -> None:
    answer = EMPTY | {"newRecordKeys": [{"index": 0, "key": "<a\0\ud800\ufffe&>"}]}
    texts = list(etree.fromstring(answer_xml(answer)).itertext())
    assert "<a\ufffd\ufffd\ufffd&>" in texts


def test_a_refusal_is_an_error_with_its_message() -> None:
    assert refusal_xml("Send <this>.\0") == (
        b"<Error><Message>Send &lt;this&gt;.\xef\xbf\xbd</Message></Error>"
    )
