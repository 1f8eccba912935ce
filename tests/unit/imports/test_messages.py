"""The message catalogue, messages for the errors of pydantic, and messages in groups."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.imports.licenses.model import NOT_BASE64
from shared.imports.messages import (
    DETAILED,
    CatalogueEntry,
    Message,
    MessageId,
    Severity,
    bounded,
    declare_messages,
    existing_record_message,
)
from shared.imports.model import FAULTS, declare_fault, shape_of
from shared.imports.registry import MESSAGE_CATALOGUE as CATALOGUE
from shared.imports.registry import TYPE_CATALOGUE
from shared.imports.results import (
    MAX_CHUNK_MESSAGES,
    MAX_INDEXES,
    MessageGroups,
    Outcome,
    RowResult,
    cap_messages,
)
from shared.imports.row_reader import as_sent, dotted, message_from_error
from tests.unit.imports.builders import Item, an_item, without

# The message catalogue (docs/contracts.md#6) and how messages travel.

SEVERITIES = {
    Severity.ERROR: {
        *range(1001, 1007),
        *(1008, 1101, 2001),
        *range(1104, 1107),
        *range(3001, 3009),
        *range(4001, 4019),
        *range(5001, 5007),
        *(9001, 9002, 10000, 10001),
    },
    Severity.WARNING: {2002, 2003},
    Severity.INFO: {1007, 1102, 1103, *range(5101, 5106)},
}


@pytest.mark.parametrize("severity", Severity)
def test_the_catalogue_has_the_ids_of_the_contract(severity: Severity) -> None:
    ids = {entry.id for entry in CATALOGUE.values() if entry.severity is severity}
    assert ids >= SEVERITIES[severity]


def test_every_message_belongs_to_one_type_or_to_none() -> None:
    by_name = {kind.name: kind.messages for kind in TYPE_CATALOGUE.all}
    ids = [*MessageId, *(entry.id for entries in by_name.values() for entry in entries)]
    assert sorted(ids) == sorted(CATALOGUE), "a definition without its messages, or one in two"
    assert all(id_ == entry.id for id_, entry in CATALOGUE.items())


@pytest.mark.parametrize(
    "entry",
    [
        existing_record_message(10000, "Somebody", "vendor"),
        existing_record_message(19999, "Worker", "vendor"),
        replace(CATALOGUE[10000], severity=Severity.WARNING),
    ],
    ids=["an id with two texts", "a text with two ids", "an id with two severities"],
)
def test_a_message_is_declared_once(entry: CatalogueEntry) -> None:
    with pytest.raises(ValueError, match=r"of another message|is declared twice"):
        declare_messages(entry)
    assert declare_messages(CATALOGUE[10000]) == (CATALOGUE[10000],), "the same entry again"


def test_a_message_with_an_id_of_the_enum_is_stored_and_shown_as_its_number() -> None:
    message = Message(MessageId.CHANGED_BY_LATER_IMPORT)
    assert json.dumps(message.pack()) == "[1101]"
    assert json.dumps({message.id: message.id}) == '{"1101": 1101}'
    assert f"{message.id} {message.id!s}" == "1101 1101"
    assert message == Message.unpack([1101])
    assert len({message, Message(1101)}) == 1


@pytest.mark.parametrize(
    ("id_", "words"),
    [
        (1001, "Required field missing or empty"),
        (10000, "Worker already exists in the system"),
    ],
)
def test_the_vendors_words_are_kept(id_: int, words: str) -> None:
    assert Message(id_, "Surname").text == words
    assert CATALOGUE[id_].source == "vendor"


def test_every_message_says_what_to_do_and_has_its_source() -> None:
    for entry in CATALOGUE.values():
        assert entry.text
        assert entry.advice.endswith(".")
        assert entry.source == "vendor" or entry.source.startswith("docs/contracts.md#")


def test_every_message_id_has_a_text_of_its_own() -> None:
    assert len({entry.text for entry in CATALOGUE.values()}) == len(CATALOGUE)


def test_a_detail_makes_the_sentence_specific() -> None:
    assert Message(2003, "IBAN", detail="too short").text == "Value looks wrong: too short"


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=str)
def test_a_message_without_a_detail_says_what_to_do(entry: CatalogueEntry) -> None:
    text = Message(entry.id).text
    if entry.is_verbatim or entry.id in DETAILED or not entry.asks_for_something:
        assert text == entry.text
    else:
        assert text.lower() == f"{entry.text}: {entry.advice}".lower().rstrip(".")


def test_too_many_messages_end_with_how_many_more_there_were() -> None:
    messages = [Message(2002), Message(2003), Message(1007)]
    assert bounded(messages, 3) == tuple(messages)
    assert bounded(messages, 2) == (
        Message(2002),
        Message(2003, detail="and 2 more messages that are left out"),
    )
    more = "and 6 more messages that are left out"
    assert bounded(messages, 3, dropped=5)[-1] == Message(1007, detail=more)


texts = st.none() | st.text()


@given(st.builds(Message, st.sampled_from(sorted(CATALOGUE)), texts, texts, texts))
def test_packing_loses_nothing(message: Message) -> None:
    packed = message.pack()
    assert Message.unpack(packed) == message
    assert packed[-1] is not None


# From pydantic's errors to the catalogue: the table is complete and nothing in it is dead.

EXAMPLES: dict[str, dict[str, Any]] = {
    "missing": without(an_item(), "ItemRef"),
    "string_type": an_item(Note=5),
    "int_type": an_item(Count="5"),
    "bool_type": an_item(IsOpen=1),
    "model_type": an_item(Spot=[]),
    "list_type": an_item(Prices={}),
    "not_a_number": an_item(Weight="5"),
    "reference_length": an_item(ItemRef="x" * 61),
    "string_too_long": an_item(Code="abcde"),
    "string_too_short": an_item(Code="a"),
    "too_long": an_item(Prices=[{"Code": "a"}] * 4),
    "string_unicode": an_item(Note="\ud800"),
    "not_unicode": an_item(ItemRef="\ud800"),
    "literal_error": an_item(Kind="C"),
    "not_a_date": an_item(Due="today"),
    "greater_than_equal": an_item(Count=-(2**40)),
    "less_than_equal": an_item(Count=2**40),
    "amount_range": an_item(Weight=10**40),
    "too_many_places": an_item(Fee=Decimal("1.005")),
    "too_short": an_item(Offers=[]),
}
TRIED_ELSEWHERE = {"string_pattern_mismatch", NOT_BASE64, "not_in_xml"}


def test_every_line_of_the_table_has_an_example() -> None:
    assert set(FAULTS) == set(EXAMPLES) | TRIED_ELSEWHERE


@pytest.mark.parametrize("error_type", EXAMPLES)
def test_pydantic_still_calls_it_so(error_type: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Item.model_validate(EXAMPLES[error_type])
    (detail,) = caught.value.errors()
    assert detail["type"] == error_type
    message = message_from_error(detail, shape_of(Item))
    assert message.id == FAULTS[error_type][0]
    assert message.id in CATALOGUE
    assert "{" not in message.text


def test_a_fault_is_declared_once() -> None:
    with pytest.raises(ValueError, match="declared twice"):
        declare_fault(NOT_BASE64, 1002)


def test_an_error_that_the_table_does_not_know_is_a_wrong_type() -> None:
    detail = {"type": "never_heard_of", "loc": ("Note",), "input": 5}
    assert message_from_error(detail, shape_of(Item)).id == 1002


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("abc", "abc"),
        (True, "true"),
        (False, "false"),
        (12, "12"),
        (Decimal("1.50"), "1.50"),
        pytest.param(10**5000, None, id="too long to print"),
        ({}, None),
        (["a"], None),
        (None, None),
        pytest.param("x" * 500, "x" * 200, id="long"),
        ("a\ud800b", "a?b"),
    ],
)
def test_a_value_is_shown_as_its_json_text(value: Any, text: str | None) -> None:
    assert as_sent(value) == text


def test_paths_are_dotted_and_lists_are_counted_from_zero() -> None:
    assert dotted(("Prices", 1, "Code")) == "Prices[1].Code"


@pytest.mark.parametrize(
    ("sent", "advice"),
    [
        ("01/05/1980", "send YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS"),
        ("today", "send YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS"),
        ("19800501", "send YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS"),
        ("1980-5-1", "send YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS"),
        ("0000-00-00", "there is no such day"),
        ("2023-02-30", "there is no such day; send one that exists"),
        ("2023-02-30T00:00:00", "there is no such day; send one that exists"),
        ("44197", "a spreadsheet's number of a day; format the cell as a date, send YYYY-MM-DD"),
        ("44197.5", "a spreadsheet's number of a day"),
        ("1980-05-01 00:00:00", "write a T between the date and the time"),
        ("1980-05-01T24:00:00", "send YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS"),
    ],
)
def test_a_text_that_is_no_date_is_shown_with_the_form_that_is_expected(
    sent: str, advice: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Item.model_validate(an_item(Due=sent))
    message = message_from_error(caught.value.errors()[0], shape_of(Item))
    assert (message.id, message.value) == (1006, sent)
    assert message.text.startswith("Value is not a calendar date: ")
    assert advice in message.text


@pytest.mark.parametrize(
    ("value", "sent"), [(20260131, "a number"), (True, "true or false"), ([], "a list"), ({}, "an")]
)
def test_the_message_for_a_date_that_is_no_string_shows_the_form_of_dates(
    value: Any, sent: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Item.model_validate(an_item(Due=value))
    text = message_from_error(caught.value.errors()[0], shape_of(Item)).text
    assert f"send YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS as a string, {sent}" in text


# Messages in groups, and which messages rows keep where there are very many.

ERROR, WARNING, INFO = Message(1002, "Gender"), Message(2002, "EndDate"), Message(1007, "Odd")


def test_the_first_indexes_are_the_lowest_whatever_the_order_of_the_rows() -> None:
    rows = [RowResult(at, ("K",), Outcome.NEW, (INFO, WARNING)) for at in range(100)]
    random.Random(1).shuffle(rows)
    groups = MessageGroups()
    groups.add(rows[:50])
    groups.add(rows[50:])
    assert [(each.id, each.field_name, each.count, each.indexes) for each in groups.sorted()] == [
        (2002, "EndDate", 100, list(range(MAX_INDEXES))),
        (1007, "Odd", 100, list(range(MAX_INDEXES))),
    ]


def test_a_row_with_two_messages_of_a_group_is_named_once() -> None:
    groups = MessageGroups()
    groups.add([RowResult(3, ("K",), Outcome.FAILED, (ERROR, ERROR, INFO))], Severity.ERROR)
    [group] = groups.sorted()
    assert (group.count, group.indexes) == (2, [3])


def test_rows_past_the_cap_of_a_chunk_keep_a_message_of_each_severity() -> None:
    full = RowResult(0, ("K",), Outcome.NEW, (INFO,) * MAX_CHUNK_MESSAGES)
    late = RowResult(1, ("K",), Outcome.FAILED, (WARNING, INFO, ERROR, INFO, WARNING, ERROR))
    capped, short = cap_messages([full, late])
    assert capped == full
    assert short.messages == (WARNING, INFO, ERROR)
