"""What a row changes, field by field; secret values are masked."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from shared.imports.field_diff import FieldChange, changed_fields
from shared.imports.import_type import Document
from shared.imports.model import shape_of
from shared.imports.row_reader import is_sensitive
from tests.unit.imports.builders import Item

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


def test_only_what_differs_is_told() -> None:
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
def test_nothing_changes_exactly_where_nothing_differs(
    before: Document | None, after: Document | None
) -> None:
    told = changes(before, after)
    assert all(change.before != change.after for change in told if change.before != "***")
    assert changes(before, before) == ()
    back = {change.field for change in changes(after, before)}
    assert back == {change.field for change in told}
