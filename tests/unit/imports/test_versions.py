"""Versions of an import type side by side: found by name and version (shared/imports/catalogue)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.errors import InvalidRequestError, UnknownMessageTypeError
from shared.imports.import_type import ImportType, Options
from shared.imports.pay_and_bill.http import version_in_query
from shared.imports.pay_and_bill.openapi import import_operation
from shared.imports.planning import Chunk
from shared.imports.registry import IMPORT_TYPES, TYPE_CATALOGUE, Catalogue
from shared.imports.workers.definition import WORKERS
from shared.storage.import_records import ImportRecord, acceptance, from_entity
from shared.web.openapi.row_schemas import row_schemas

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
    ("query", "found"),
    [
        ({}, FIRST),
        ({"version": "2"}, FIRST),
        ({"version": "3"}, SECOND),
        ({"version": "03"}, SECOND),
    ],
)
def test_the_version_of_a_query(query: dict[str, str], found: ImportType) -> None:
    assert version_in_query(BOTH, "timesheets", query) is found


@pytest.mark.parametrize("text", ["", "x", "-2", "2.0", " 2", "\u0662", "2" * 101])
def test_a_version_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="2 or 3"):
        version_in_query(BOTH, "timesheets", {"version": text})


@pytest.mark.parametrize("text", ["0", "1", "4", "9" * 100])
def test_an_unknown_version_is_refused_with_those_that_there_are(text: str) -> None:
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
        operation.entity for operation in acceptance(record) if "Type" in operation.entity.values
    ]
    assert entity.values["TypeVersion"] == 1
    values = {name: value for name, value in entity.values.items() if name != "TypeVersion"}
    read = from_entity(replace(entity, values=values | stored))
    assert (read.type_version, read.is_broken) == (stored.get("TypeVersion", 1), is_broken)
