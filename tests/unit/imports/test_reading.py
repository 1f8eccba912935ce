"""Reading rows: names, paths, blanks, unknown properties, secrets, and hostile rows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.imports.import_type import RowKey
from shared.imports.results import MAX_MESSAGES
from shared.imports.row_reader import read_key, read_row
from tests.unit.imports.builders import KEY_FIELDS, Item, an_item, read_item, without


def faults(**fields: Any) -> list[tuple[int, str | None, str | None]]:
    return [(item.id, item.field, item.value) for item in read_item(**fields).messages]


def test_names_match_in_any_case_at_every_level() -> None:
    row = {
        "GROUPREF": "G1",
        "itemref": "I1",
        "due": "2021-01-01",
        "spot": {"ROW": "r", "shelf": 3},
        "PRICES": [{"code": "c", "VALUE": 1}],
    }
    read = read_row(4, row, Item, KEY_FIELDS)
    assert read.messages == ()
    assert read.index == 4
    assert read.values == {
        "GroupRef": "G1",
        "ItemRef": "I1",
        "Due": "2021-01-01",
        "Spot": {"Row": "r", "Shelf": 3},
        "Prices": [{"Code": "c", "Value": "1"}],
    }


def test_unknown_properties_are_reported_as_sent_and_not_kept() -> None:
    read = read_item(
        extra=1, spot={"ROW": "r", "Colour": "x"}, prices=[{"Code": "a"}, {"Code": "b", "?": 0}]
    )
    assert [(item.id, item.field, item.value) for item in read.messages] == [
        (1007, "extra", None),
        (1007, "Spot.Colour", None),
        (1007, "Prices[1].?", None),
    ]
    assert read.is_readable
    assert read.values["Spot"] == {"Row": "r"}
    assert "extra" not in read.values


@pytest.mark.parametrize("blank", [None, "", " ", "\t\u3000\n"])
@pytest.mark.parametrize("field", ["Note", "Due", "Count", "IsOpen", "Weight", "Spot", "Prices"])
def test_null_and_blank_clear(field: str, blank: str | None) -> None:
    read = read_item(**{field: blank})
    assert read.messages == ()
    assert read.values[field] is None


@pytest.mark.parametrize("blank", [None, "", " "])
@pytest.mark.parametrize("field", ["GroupRef", "ItemRef", "Name"])
def test_null_and_blank_are_a_fault_where_null_is_not_allowed(
    field: str, blank: str | None
) -> None:
    assert faults(**{field: blank}) == [(1001, field, None)]


def test_a_missing_field_is_one_fault_even_where_null_is_allowed() -> None:
    read = read_row(0, {}, Item, KEY_FIELDS)
    assert [(item.id, item.field) for item in read.messages] == [
        (1001, "GroupRef"),
        (1001, "ItemRef"),
        (1001, "Due"),
    ]


def test_a_whole_object_comes_without_its_blanks_and_an_empty_one_clears() -> None:
    assert read_item(Spot={"Row": "r", "Shelf": None}).values["Spot"] == {"Row": "r"}
    assert read_item(Spot={"Row": " "}).values["Spot"] is None
    assert read_item(Spot={}).values["Spot"] is None
    assert read_item(Prices=[]).values["Prices"] is None
    assert read_item(Prices=[{"Code": "a", "Value": ""}]).values["Prices"] == [{"Code": "a"}]


def test_a_merging_object_keeps_its_blanks_as_clearings() -> None:
    settings = read_item(Settings={"Colour": "", "Limit": 5}).values["Settings"]
    assert settings == {"Colour": None, "Limit": "5"}


def test_every_fault_of_a_row_is_said() -> None:
    assert faults(
        Count=True, Spot={"Since": "never"}, Prices=[{"Code": "a"}, {"Value": "x"}, None], extra=1
    ) == [
        (1002, "Count", "true"),
        (1006, "Spot.Since", "never"),
        (1001, "Prices[1].Code", None),
        (1002, "Prices[1].Value", "x"),
        (1001, "Prices[2]", None),
        (1007, "extra", None),
    ]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"Settings": {"Pin": 4711}}, "Settings.Pin"),
        ({"Settings": "4711"}, "Settings"),
        ({"Secret": {"Number": 4711}}, "Secret.Number"),
        ({"Secret": 4711}, "Secret"),
    ],
)
def test_a_sensitive_value_is_never_shown(fields: dict[str, Any], path: str) -> None:
    read = read_item(**fields)
    assert [(item.id, item.field, item.value) for item in read.messages] == [(1002, path, None)]
    assert "4711" not in repr(read.messages)


def test_a_row_with_more_faults_than_are_kept_says_how_many_more() -> None:
    read = read_item(Count="x", **{f"extra{number}": number for number in range(100_000)})
    assert len(read.messages) < MAX_MESSAGES
    assert read.messages[0].id == 1002
    shown = len(read.messages) - 1
    more = 100_001 - shown
    assert read.messages[-1].detail == f"and {more} more messages that are left out"


def test_a_list_that_is_too_long_is_not_read_to_its_end() -> None:
    prices = [{"Code": "a", "extra": 1}] * 1_000_000
    expected = [(1003, "Prices"), *[(1007, f"Prices[{place}].extra") for place in range(4)]]
    assert [(id_, path) for id_, path, _ in faults(Prices=prices)] == expected


def test_names_of_any_length_and_content_can_be_reported() -> None:
    read = read_item(**{"x" * 1_000_000: 1, "\ud800": 1, "": 1})
    paths = [message.field or "" for message in read.messages]
    assert max(map(len, paths)) <= 200
    assert "\n".join(paths).encode("utf-8")


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ((" G1 ", "I1"), ("G1", "I1")),
        ((None, "I1"), (None, "I1")),
        ((" ", 7), (None, None)),
        (("x" * 61, "I1"), ("x" * 61, "I1")),
    ],
)
def test_a_failed_row_shows_what_it_has_of_a_key(
    key: tuple[Any, Any], shown: tuple[str | None, ...]
) -> None:
    assert read_item(GroupRef=key[0], ItemRef=key[1], Count="x").key == shown


def test_an_absent_key_has_no_value() -> None:
    assert read_row(0, without(an_item(), "ItemRef"), Item, KEY_FIELDS).key == ("G1", None)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(st.characters())
    | st.from_regex(r"\s*[a-z\u0300-\u0310]{0,70}\s*", fullmatch=True),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@settings(deadline=None, max_examples=50)
@given(json_values, json_values)
def test_a_row_has_a_key_exactly_where_its_key_fields_have_no_fault(group: Any, item: Any) -> None:
    key = read_key({"groupref": group, "itemref": item}, "groupref", "itemref")
    read = read_item(GroupRef=group, ItemRef=item)
    assert (key is not None) == read.is_readable
    if key is not None:
        assert key == RowKey(*[part or "" for part in read.key])
