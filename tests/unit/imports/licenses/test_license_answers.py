"""The answer to licenses in the vendor's JSON and XML (docs/contracts.md#2)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from lxml import etree

from shared.imports.licenses.answer import answer_xml, import_answer, refusal_xml
from shared.imports.licenses.xml_reader import OUTPUT
from shared.imports.messages import Message
from shared.imports.results import Outcome, RowResult, failed
from tests.unit.imports.licenses.license_bodies import KEY, golden

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
    results = [result(index, outcome) for index, outcome in enumerate([*Outcome] * 3)]
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


def test_all_errors_of_a_property_stand_together_and_nothing_else_is_told() -> None:
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


def test_what_xml_cannot_hold_is_marked() -> None:
    answer = EMPTY | {"newRecordKeys": [{"index": 0, "key": "<a\0\ud800\ufffe&>"}]}
    texts = list(etree.fromstring(answer_xml(answer)).itertext())
    assert "<a\ufffd\ufffd\ufffd&>" in texts


def test_a_refusal_is_an_error_with_its_message() -> None:
    assert refusal_xml("Send <this>.\0") == (
        b"<Error><Message>Send &lt;this&gt;.\xef\xbf\xbd</Message></Error>"
    )
