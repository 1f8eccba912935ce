"""Merging a row into a record: what is kept, cleared or replaced, and which fields changed."""

from __future__ import annotations

import copy
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.imports.import_type import Decision, Document, OnExisting, Options
from shared.imports.merge_rules import FieldChange, changed_fields, decide_merge, merge
from shared.imports.messages import Message
from shared.imports.model import shape_of
from shared.imports.results import Outcome
from shared.imports.row_reader import is_sensitive
from tests.unit.imports.builders import KEY_FIELDS, Item, read_item

# Merging and deciding: what is kept, cleared, replaced, and what counts as no change.

STORED: Document = {
    "GroupRef": "G1",
    "ItemRef": "I1",
    "Name": "lamp",
    "Note": "old",
    "Due": "2021-01-01",
    "Weight": "10",
    "Spot": {"Row": "r", "Shelf": 3},
    "Settings": {"Colour": "red", "Limit": "2.5"},
    "Prices": [{"Code": "a", "Value": "1"}, {"Code": "b"}],
}


def decide(
    stored: Document | None, on_existing: OnExisting = OnExisting.UPDATE, **fields: Any
) -> Decision:
    return decide_merge(
        read_item(**fields),
        stored,
        Options(on_existing),
        model=Item,
        exists=10000,
        review=lambda row, _merged: [Message(2002)] if "Count" in row else [],
        key_fields=KEY_FIELDS,
    )


@pytest.mark.parametrize(
    ("sent", "changed"),
    [
        ({}, {}),
        ({"Note": "new"}, {"Note": "new"}),
        ({"Note": None}, {"Note": None}),
        ({"Note": " "}, {"Note": None}),
        ({"Count": 0}, {"Count": 0}),
        ({"IsOpen": False}, {"IsOpen": False}),
        ({"Weight": Decimal("10.01")}, {"Weight": "10.01"}),
        ({"Spot": {"Row": "s"}}, {"Spot": {"Row": "s"}}),
        ({"Spot": {"Row": "r", "Shelf": None}}, {"Spot": {"Row": "r"}}),
        ({"Spot": None}, {"Spot": None}),
        ({"Spot": {}}, {"Spot": None}),
        ({"Settings": {"Colour": "blue"}}, {"Settings": {"Colour": "blue", "Limit": "2.5"}}),
        ({"Settings": {"Colour": None}}, {"Settings": {"Limit": "2.5"}}),
        ({"Settings": {"Colour": "", "Limit": None}}, {"Settings": None}),
        ({"Settings": None}, {"Settings": None}),
        ({"Prices": [{"Code": "b"}]}, {"Prices": [{"Code": "b"}]}),
        ({"Prices": []}, {"Prices": None}),
        ({"Prices": None}, {"Prices": None}),
    ],
)
def test_a_row_changes_what_it_sends_and_nothing_else(
    sent: dict[str, Any], changed: dict[str, Any]
) -> None:
    before = copy.deepcopy(STORED)
    expected = {k: v for k, v in (STORED | changed).items() if v is not None}
    decision = decide(STORED, **({"Due": "2021-01-01"} | sent))
    assert before == STORED
    if expected == STORED:
        assert decision == Decision(Outcome.UNCHANGED, None, (Message(1103),))
    else:
        assert (decision.outcome, decision.document) == (Outcome.UPDATED, expected)
        assert decide(decision.document, **({"Due": "2021-01-01"} | sent)).outcome is (
            Outcome.UNCHANGED
        )


@pytest.mark.parametrize(
    "sent",
    [
        {"Weight": 10},
        {"Weight": Decimal("10.00")},
        {"Due": "2021-01-01T00:00:00"},
        {"Spot": {"shelf": 3, "row": "r", "Since": None}},
        {"Settings": {}},
        {"Settings": {"Limit": Decimal("2.50")}},
        {"Count": None},
        {"Prices": [{"Code": "a", "Value": Decimal("1.0")}, {"Code": "b", "Value": None}]},
        {"unknown": 5},
    ],
)
def test_a_row_with_equal_values_is_unchanged(sent: dict[str, Any]) -> None:
    row = read_item(**({"Due": "2021-01-01"} | sent))
    assert merge(STORED, row.values, Item) == STORED


def test_the_first_row_of_a_record_makes_it() -> None:
    decision = decide(None, Name="lamp", Note=None, Settings={"Colour": None})
    assert decision == Decision(
        Outcome.NEW, {"GroupRef": "G1", "ItemRef": "I1", "Name": "lamp"}, ()
    )


def test_a_record_without_a_field_that_all_have_is_refused() -> None:
    decision = decide(None)
    assert (decision.outcome, decision.document) == (Outcome.FAILED, None)
    assert decision.messages == (Message(1001, "Name"),)


def test_an_existing_record_is_an_error_if_the_integration_refuses_it() -> None:
    decision = decide(STORED, OnExisting.ERROR)
    assert (decision.outcome, decision.document) == (Outcome.FAILED, None)
    assert decision.messages == (Message(10000, "ItemRef", "I1"),)
    assert decide(None, OnExisting.ERROR, Name="lamp").outcome is Outcome.NEW


def test_warnings_of_the_review_come_with_the_decision() -> None:
    assert decide(None, Name="lamp", Count=1).messages == (Message(2002),)
    assert decide(None, Count=1).messages == (Message(1001, "Name"), Message(2002))


# What a row changes, field by field; secret values are masked.

changes = partial(changed_fields, is_sensitive=lambda path: is_sensitive(path, shape_of(Item)))
values = st.recursive(
    st.none() | st.integers() | st.sampled_from(["a", "b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["Name", "Note", "Spot"]), inner, max_size=3)
    ),
    max_leaves=6,
)
documents = st.none() | st.dictionaries(st.sampled_from(["Name", "Note", "Spot"]), values)


def test_a_new_record_has_every_value_from_nothing() -> None:
    after: Document = {"Name": "n", "Spot": {"Row": "1"}, "Prices": [{"Code": "A", "Value": "1.0"}]}
    assert changes(None, after) == (
        FieldChange("Name", None, "n"),
        FieldChange("Spot.Row", None, "1"),
        FieldChange("Prices[0].Code", None, "A"),
        FieldChange("Prices[0].Value", None, "1.0"),
    )


def test_only_fields_that_differ_are_reported() -> None:
    before: Document = {"Name": "n", "Spot": {"Row": "1", "Shelf": 2}, "Prices": [{"Code": "A"}]}
    after: Document = {"Name": "n", "Spot": {"Row": "1", "Shelf": 3}}
    assert changes(before, after) == (
        FieldChange("Spot.Shelf", 2, 3),
        FieldChange("Prices[0].Code", "A", None),
    )


def test_a_secret_value_is_masked_and_a_missing_one_is_not() -> None:
    before: Document = {"Settings": {"Pin": "1234", "Colour": "red"}}
    after: Document = {"Settings": {"Pin": "4321", "Colour": "blue"}, "Secret": {"Number": "7"}}
    assert changes(before, after) == (
        FieldChange("Settings.Pin", "***", "***"),
        FieldChange("Settings.Colour", "red", "blue"),
        FieldChange("Secret.Number", None, "***"),
    )


def test_a_value_that_the_model_does_not_know_is_masked() -> None:
    assert changes({}, {"Other": 1}) == (FieldChange("Other", None, "***"),)


@given(documents, documents)
def test_equal_documents_and_no_others_have_no_changes(
    before: Document | None, after: Document | None
) -> None:
    listed_changes = changes(before, after)
    assert all(change.before != change.after for change in listed_changes if change.before != "***")
    assert changes(before, before) == ()
    back = {change.field for change in changes(after, before)}
    assert back == {change.field for change in listed_changes}
