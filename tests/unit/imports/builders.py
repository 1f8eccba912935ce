"""Rows and a small model for the tests of the import rules."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from shared.imports.import_type import ReadRow
from shared.imports.model import (
    Amount,
    CalendarDate,
    Flag,
    Mark,
    MergeKind,
    Record,
    Reference,
    Text,
    WholeNumber,
)
from shared.imports.row_reader import read_row

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
