"""The JSON Schema of an import type, from its model."""

from __future__ import annotations

from typing import Any

import pytest

from shared.imports.assignments import meanings as of_assignments
from shared.imports.import_type import ImportType
from shared.imports.licenses import meanings as of_licenses
from shared.imports.licenses.model import LicenseIdentity
from shared.imports.model import DIALECT, schema_of
from shared.imports.registry import TYPE_CATALOGUE
from shared.imports.workers import meanings as of_workers
from shared.imports.workers.meanings import MEANINGS
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
def test_a_field_has_type_limits_a_description_and_nothing_else(
    schema: dict[str, Any], field: str, expected: dict[str, Any]
) -> None:
    found = dict(schema["properties"][field])
    assert found.pop("description") == MEANINGS["Worker"][field]
    assert found == expected


def test_patterns_are_the_ones_that_are_checked(schema: dict[str, Any]) -> None:
    bank = schema["$defs"]["BankDetails"]["properties"]
    assert bank["BankSortCode"] == {
        "type": ["string", "null"],
        "pattern": "^[0-9]{6}$",
        "description": MEANINGS["BankDetails"]["BankSortCode"],
    }
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


PUBLISHED = [kind for kind in TYPE_CATALOGUE.all if kind.has_schema]


@pytest.mark.parametrize("kind", PUBLISHED, ids=lambda kind: kind.schema_name)
def test_every_field_of_a_published_schema_says_what_it_means(kind: ImportType) -> None:
    schema = kind.rules.json_schema()
    for item in (schema, *schema.get("$defs", {}).values()):
        for name, field in item["properties"].items():
            text = field.get("description", "")
            assert text.endswith("."), name
            assert text[0].isupper() or text.startswith(name), name


def test_no_meaning_is_of_a_field_that_there_is_not() -> None:
    described = {
        **of_workers.MEANINGS,
        **of_assignments.MEANINGS,
        **of_licenses.MEANINGS,
    }
    schemas = [kind.rules.json_schema() for kind in PUBLISHED]
    schemas.append(schema_of(LicenseIdentity, "LicenseIdentity"))
    known: dict[str, set[str]] = {}
    for schema in schemas:
        for name, definition in schema.get("$defs", {}).items():
            known[name] = set(definition["properties"])
        known[OWNERS.get(schema["title"], schema["title"])] = set(schema["properties"])
    assert {name: set(fields) for name, fields in described.items()} == {
        name: known[name] for name in described
    }


OWNERS = {"Workers v1": "Worker", "Assignments v1": "Assignment", "Licenses v1": "License"}
