"""The JSON Schema of an import type, from its model."""

from __future__ import annotations

from typing import Any

import pytest

from shared.imports.schema import DIALECT, schema_of
from shared.imports.workers.rules import RULES
from tests.unit.imports.builders import Item


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return RULES.json_schema()


def test_the_workers_schema_says_what_it_is(schema: dict[str, Any]) -> None:
    assert (schema["$schema"], schema["title"]) == (DIALECT, "Workers v1")
    assert schema["required"] == ["EmployerRef", "PersonnelRef"]
    assert "$id" not in schema


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("PersonnelRef", {"type": "string", "pattern": r"\S", "maxLength": 60}),
        ("Surname", {"type": "string", "pattern": r"\S", "maxLength": 1048576}),
        ("Gender", {"type": ["integer", "null"], "minimum": -(2**31), "maximum": 2**31 - 1}),
        ("IsExpat", {"type": ["boolean", "null"]}),
        ("WorkerAddress", {"anyOf": [{"$ref": "#/$defs/Address"}, {"type": "null"}]}),
    ],
)
def test_a_field_has_type_limits_and_nothing_else(
    schema: dict[str, Any], field: str, expected: dict[str, Any]
) -> None:
    assert schema["properties"][field] == expected


def test_patterns_are_the_ones_that_are_checked(schema: dict[str, Any]) -> None:
    bank = schema["$defs"]["BankDetails"]["properties"]
    assert bank["BankSortCode"] == {"type": ["string", "null"], "pattern": "^[0-9]{6}$"}
    assert bank["BankAccountName"]["maxLength"] == 30


def test_every_object_is_open(schema: dict[str, Any]) -> None:
    for item in (schema, *schema["$defs"].values()):
        assert item["type"] == "object"
        assert item["additionalProperties"] is True


def test_amounts_lists_and_choices_have_schemas_too() -> None:
    properties = schema_of(Item, "Items v1")["properties"]
    assert properties["Weight"] == {"type": ["number", "null"]}
    assert properties["Prices"]["items"] == {"$ref": "#/$defs/Price"}
    assert properties["Prices"]["type"] == ["array", "null"]
    assert properties["Kind"] == {"type": ["string", "null"], "enum": ["A", "B", None]}
