"""The JSON Schema of an import type, and versions of a type side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.errors import InvalidRequestError, UnknownMessageTypeError
from shared.imports.import_type import ImportType, Options
from shared.imports.model import DIALECT, schema_of
from shared.imports.pay_and_bill.http import version_in_query
from shared.imports.pay_and_bill.openapi import import_operation
from shared.imports.planning import Chunk
from shared.imports.registry import IMPORT_TYPES, TYPE_CATALOGUE, Catalogue
from shared.imports.workers.definition import WORKERS
from shared.imports.workers.rules import MEANINGS, RULES
from shared.storage.import_records import ImportRecord, acceptance_operations, from_entity
from shared.web.openapi.schemas import row_schemas
from tests.unit.imports.builders import Item

# The JSON Schema of an import type, from its model.


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
    published = dict(schema["properties"][field])
    assert published.pop("description") == MEANINGS["Worker"][field]
    assert published == expected


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


@pytest.mark.parametrize(
    "meanings", [{"Item": {"Noet": "A note."}}, {"Ittem": {"Note": "A note."}}]
)
def test_a_description_of_a_field_that_does_not_exist_is_refused(
    meanings: dict[str, dict[str, str]],
) -> None:
    with pytest.raises(ValueError, match=r"without a model|has no"):
        schema_of(Item, "Items v1", meanings)


# Versions of an import type side by side: found by name and version (shared/imports/catalogue).

FIRST = replace(WORKERS, name="timesheets", version=2, table="Timesheets")
SECOND = replace(FIRST, version=3)
CHUNKS = (Chunk(0, 0, 0, 1, None),)
BOTH = Catalogue((SECOND, WORKERS, FIRST))


def test_a_type_is_found_by_name_and_version() -> None:
    assert BOTH.find("timesheets", 2) is FIRST
    assert BOTH.find("timesheets", 3) is SECOND
    assert BOTH.find("timesheets", 1) is None
    assert BOTH.find("placements") is None
    assert BOTH.versions("timesheets") == (FIRST, SECOND)


def test_without_a_version_it_is_the_lowest() -> None:
    assert BOTH.find("timesheets") is FIRST
    assert BOTH.lowest["timesheets"] is FIRST
    assert list(BOTH.lowest) == ["timesheets", "workers"]


@pytest.mark.parametrize("name", IMPORT_TYPES)
def test_every_type_is_in_the_catalogue_with_its_version(name: str) -> None:
    kind = IMPORT_TYPES[name]
    assert TYPE_CATALOGUE.find(name, kind.version) is kind
    assert TYPE_CATALOGUE.versions(name)[0] is kind


@pytest.mark.parametrize(
    "other",
    [SECOND, replace(SECOND, version=4, table="Others"), replace(SECOND, version=4, route="/x")],
    ids=["twice", "another table", "another address"],
)
def test_versions_share_name_table_and_address(other: ImportType) -> None:
    with pytest.raises(ValueError, match="timesheets"):
        Catalogue((FIRST, SECOND, other))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, FIRST),
        ({"version": "2"}, FIRST),
        ({"version": "3"}, SECOND),
        ({"version": "03"}, SECOND),
    ],
)
def test_the_version_of_a_query(query: dict[str, str], expected: ImportType) -> None:
    assert version_in_query(BOTH, "timesheets", query) is expected


@pytest.mark.parametrize("text", ["", "x", "-2", "2.0", " 2", "\u0662", "2" * 101])
def test_a_version_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="2 or 3"):
        version_in_query(BOTH, "timesheets", {"version": text})


@pytest.mark.parametrize("text", ["0", "1", "4", "9" * 100])
def test_an_unknown_version_is_refused_with_the_known_versions(text: str) -> None:
    with pytest.raises(UnknownMessageTypeError, match="timesheets has the versions 2 and 3"):
        version_in_query(BOTH, "timesheets", {"version": text})
    with pytest.raises(UnknownMessageTypeError, match="workers has version 1"):
        version_in_query(BOTH, "workers", {"version": text if text != "1" else "2"})


def test_each_version_has_a_schema_of_its_own() -> None:
    assert [kind.schema_name for kind in BOTH.versions("timesheets")] == [
        "timesheets.v2.schema",
        "timesheets.v3.schema",
    ]
    components = row_schemas(BOTH.all)
    assert {"timesheets.v2", "timesheets.v3", "workers"} <= components.keys()
    assert "timesheets.v3.Address" in components


def test_the_published_operation_names_all_versions_and_the_lowest_as_default() -> None:
    operation = import_operation(BOTH.versions("timesheets"), 10)
    [version] = [item for item in operation.parameters if item.name == "version"]
    assert version.schema == {"type": "integer", "enum": [2, 3], "default": 2}
    assert operation.body is not None
    items = operation.body.media["application/json"]["items"]
    assert [each["$ref"].rpartition("/")[2] for each in items["anyOf"]] == [
        "timesheets.v2",
        "timesheets.v3",
    ]


@pytest.mark.parametrize(("stored", "is_broken"), [({}, False), ({"TypeVersion": 2}, True)])
def test_an_import_keeps_its_version(stored: dict[str, int], is_broken: bool) -> None:
    """One of before versions were kept is the first; a version that is gone cannot be worked on."""
    record = ImportRecord("T", 1, "import-1", "workers", 1, CHUNKS, Options(), "2026-01-01")
    [entity] = [
        operation.entity
        for operation in acceptance_operations(record)
        if "Type" in operation.entity.values
    ]
    assert entity.values["TypeVersion"] == 1
    values = {name: value for name, value in entity.values.items() if name != "TypeVersion"}
    read = from_entity(replace(entity, values=values | stored))
    assert (read.type_version, read.is_broken) == (stored.get("TypeVersion", 1), is_broken)
