"""Rows and a small model for the tests of the import rules, and rows that hypothesis generates."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from hypothesis import strategies as st
from pydantic import Field, StringConstraints

from shared.imports.import_type import Decision, Document, OnExisting, Options, ReadRow, RecordRules
from shared.imports.model import (
    NOT_BLANK,
    Amount,
    CalendarDate,
    FieldShape,
    Flag,
    Mark,
    MergeKind,
    Moment,
    Record,
    Reference,
    Shape,
    Text,
    WholeNumber,
    decimal,
    items,
    reference,
)
from shared.imports.row_reader import read_row, usable_reference

# Rows and a small model for the tests of the import rules.

KEY_FIELDS = ("GroupRef", "ItemRef")


class Place(Record):
    """A nested object that is one value."""

    merge_kind = MergeKind.WHOLE

    Row: Text | None = None
    Shelf: WholeNumber | None = None
    Since: CalendarDate | None = None


class Preferences(Record):
    """A nested object that merges per property."""

    merge_kind = MergeKind.PER_PROPERTY

    Colour: Text | None = None
    Limit: Amount | None = None
    Pin: Annotated[Text | None, Mark.SENSITIVE] = None


class Price(Record):
    """An element of a list."""

    Code: Text
    Value: Amount | None = None
    From: CalendarDate | None = None


class Vault(Record):
    """A nested object without a value that may be shown."""

    merge_kind = MergeKind.WHOLE
    is_sensitive = True

    Number: Text | None = None


class Item(Record):
    """A record with every kind of field that import types have."""

    GroupRef: Reference
    ItemRef: Reference
    Due: CalendarDate | None
    Name: Annotated[Text, Mark.IN_RECORD] = ""
    Note: Text | None = None
    Code: Annotated[Text, StringConstraints(min_length=2, max_length=4)] | None = None
    Kind: Literal["A", "B"] | None = None
    Count: WholeNumber | None = None
    IsOpen: Flag | None = None
    Weight: Amount | None = None
    Spot: Place | None = None
    Settings: Preferences | None = None
    Secret: Vault | None = None
    Prices: Annotated[list[Price], Field(min_length=0, max_length=3)] | None = None
    Fee: Annotated[str, decimal(least=0, most=10, places=2)] | None = None
    At: Moment | None = None
    ShortRef: Annotated[str, reference(3)] | None = None
    Offers: Annotated[list[Price], items(3, least=1, unique="Code")] | None = None


def an_item(**fields: Any) -> dict[str, Any]:
    """A row that is readable as it stands; `fields` replace or add."""
    return {"GroupRef": "G1", "ItemRef": "I1", "Due": None} | fields


def read_item(**fields: Any) -> ReadRow:
    """That row, read."""
    return read_row(0, an_item(**fields), Item, KEY_FIELDS)


def a_worker(**fields: Any) -> dict[str, Any]:
    """The smallest worker there is; `fields` replace or add."""
    return {"EmployerRef": "ER1", "PersonnelRef": "P1", "Surname": "Marsh"} | fields


def an_assignment(**fields: Any) -> dict[str, Any]:
    """The smallest assignment there is, of that worker; `fields` replace or add."""
    return {
        "EmployerRef": "ER1",
        "AssignmentRef": "A1",
        "ClientRef": "C1",
        "PersonnelRef": "P1",
        "DivisionRef": "DIV1",
        "DepartmentRef": "DEPT1",
        "StartDate": "2024-03-04",
        "ExpectedEndDate": None,
        "ActualEndDate": None,
    } | fields


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    """The row without these fields."""
    return {name: value for name, value in row.items() if name not in names}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON file, as the gateway reads them."""
    rows: list[dict[str, Any]] = json.loads(path.read_text("utf-8"), parse_float=Decimal)
    return rows


def decide(
    rules: RecordRules,
    row: dict[str, Any],
    stored: Document | None = None,
    on_existing: OnExisting = OnExisting.UPDATE,
) -> Decision:
    """What the rules decide about a readable row."""
    result = rules.read(0, row)
    assert result.is_readable, result.messages
    return rules.decide(result, stored, Options(on_existing))


# Rows that hypothesis makes from an import type's shape or schema.

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(), max_size=20)
    | st.dates().map(str)
    | st.sampled_from(["", " ", "\0", "\ud800", "123456", "12345678", "x" * 61, 10**400])
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


def spelled(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from([name, name.lower(), name.upper()])


def objects_of(shape: Shape) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that often have the names of the shape, with any value."""
    names = st.sampled_from(sorted(shape.fields)).flatmap(spelled) | st.text(max_size=5)
    kinds = {(field.is_list, id(field.nested)): field for field in shape.fields.values()}
    nested = [_held_by(field) for field in kinds.values() if field.nested is not None]
    return st.dictionaries(names, st.one_of(anything, *nested), max_size=12)


def _held_by(field: FieldShape) -> st.SearchStrategy[Any]:
    assert field.nested is not None
    inner = objects_of(field.nested)
    return st.lists(inner, max_size=3) if field.is_list else inner


def good_rows(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Rows without a fault, but for the top level's required fields, which are left out."""
    return _good_objects(
        schema | {"required": []}, schema.get("$defs", {}), schema.get("required", [])
    )


def _good_objects(
    schema: dict[str, Any], definitions: dict[str, Any], left_out: list[str]
) -> st.SearchStrategy[dict[str, Any]]:
    """Objects in which each property is absent (where it may be), null, or of its type."""
    values = {
        name: _good_values(item, definitions)
        for name, item in schema["properties"].items()
        if name not in left_out
    }
    required = schema.get("required", [])
    return st.fixed_dictionaries({name: values.pop(name) for name in required}, optional=values)


def _good_values(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "anyOf" in schema:
        return st.none() | _good_values(schema["anyOf"][0], definitions)
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _good_objects(definitions[name], definitions, [])
    kinds = schema["type"]
    kind = kinds[0] if isinstance(kinds, list) else kinds
    values = _scalars(kind, schema) if kind != "array" else _lists(schema, definitions)
    return st.none() | values if "null" in kinds else values


def _lists(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    least = schema.get("minItems", 0)
    items = _good_values(schema["items"], definitions)
    return st.lists(items, min_size=least, max_size=min(schema.get("maxItems", 3), least + 3))


_TEXTS = st.characters(exclude_categories=["Cs"])


def _scalars(kind: str, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from([value for value in schema["enum"] if value is not None])
    pattern = schema.get("pattern", "")
    if "[0-9]{4}" in pattern:
        return st.dates().map(str) | st.datetimes().map(lambda time: time.isoformat()[:19])
    if pattern and pattern != NOT_BLANK:
        return st.from_regex(pattern, fullmatch=True, alphabet=_TEXTS).filter(_is_clear)
    if kind == "number":
        low, high = schema.get("minimum", -1000), schema.get("maximum", 1000)
        places = 2 if "multipleOf" in schema else 3
        return st.integers(low, high) | st.decimals(low, high, places=places)
    texts = st.text(_TEXTS, max_size=min(8, schema.get("maxLength", 8)))
    return {
        "string": texts.filter(_is_clear) if pattern else texts,
        "integer": st.integers(-5, 5),
        "boolean": st.booleans(),
    }[kind]


def _is_clear(text: str) -> bool:
    """Whether a text is not blank, so that it clears nothing."""
    return usable_reference(text) is not None
