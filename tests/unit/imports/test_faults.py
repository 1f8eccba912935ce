"""From pydantic's errors to the catalogue: the table is complete and nothing in it is dead."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from shared.imports.messages import CATALOGUE
from shared.imports.model import shape_of
from shared.imports.row_reader import FAULTS, as_sent, dotted, message_from_error
from tests.unit.imports.builders import Item, an_item, without

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
}
TRIED_ELSEWHERE = {"string_pattern_mismatch", "too_short", "not_base64", "not_in_xml"}


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
def test_a_date_that_is_no_string_is_told_the_form_of_dates(value: Any, sent: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Item.model_validate(an_item(Due=value))
    text = message_from_error(caught.value.errors()[0], shape_of(Item)).text
    assert f"send YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS as a string, {sent}" in text
