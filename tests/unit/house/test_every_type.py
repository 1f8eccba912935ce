"""What holds for every import type, whichever there are: a new one is walked without a change here.

What needs storage is in `tests/contract/test_every_type.py`.
"""

from __future__ import annotations

import ast
import importlib
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest

from cli.demo import SAMPLES as OF_DEMO
from local_host.indexing import AppFunction
from shared.imports.files.templates import SAMPLES
from shared.imports.import_type import ImportType, OnExisting, Options, RecordRules
from shared.imports.modules import IMPORT_MODULES
from shared.imports.pay_and_bill.contract import PAY_AND_BILL
from shared.imports.registry import (
    IMPORT_TYPES,
    MESSAGE_CATALOGUE,
    TYPE_CATALOGUE,
    types_referring_to,
)
from shared.services.references import References
from shared.web.openapi.document import operations
from shared.web.openapi.operations import Limits
from tests.emulator import settings_for
from tests.unit.house.source_tree import modules

OF_ROWS = [kind for kind in TYPE_CATALOGUE.all if isinstance(kind.rules, RecordRules)]
OF_CONTRACT = [kind for kind in IMPORT_TYPES.values() if kind.contract is PAY_AND_BILL]
every_type = pytest.mark.parametrize("kind", IMPORT_TYPES.values(), ids=lambda kind: kind.name)
every_type_of_rows = pytest.mark.parametrize("kind", OF_ROWS, ids=lambda kind: kind.schema_name)
every_type_of_the_contract = pytest.mark.parametrize(
    "kind", OF_CONTRACT, ids=lambda kind: kind.name
)


def sample_of(kind: ImportType) -> list[dict[str, Any]]:
    text = (SAMPLES / f"{kind.name}.json").read_text("utf-8")
    rows: list[dict[str, Any]] = json.loads(text, parse_float=Decimal)
    return rows


# Messages: whatever the code of a type can say is in the catalogue.


def _ids_said(folder: str) -> Iterator[tuple[str, int]]:
    """The place and the id of every message that the code in a type's folder makes."""
    for module in modules(f"shared/imports/{folder}"):
        names = vars(importlib.import_module(module.name))
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Message", "failed"):
                for each in node.args[:1]:
                    if isinstance(each, ast.Constant) and isinstance(each.value, int):
                        yield f"{module.name}:{node.lineno}", each.value
            elif isinstance(node, ast.keyword) and node.arg == "exists":
                place = f"{module.name}:{node.value.lineno}"
                if isinstance(node.value, ast.Name) and isinstance(names.get(node.value.id), int):
                    yield place, names[node.value.id]


@every_type
def test_every_id_that_a_type_can_say_is_in_the_catalogue(kind: ImportType) -> None:
    unknown = [said for said in _ids_said(kind.name) if said[1] not in MESSAGE_CATALOGUE]
    assert unknown == []
    of_others = {
        entry.id
        for other in TYPE_CATALOGUE.all
        if other.name != kind.name
        for entry in other.messages
    }
    assert [said for said in _ids_said(kind.name) if said[1] in of_others] == []


@every_type_of_rows
def test_the_message_of_an_existing_record_is_one_of_the_type(kind: ImportType) -> None:
    row = kind.record_rules.read(0, sample_of(kind)[0])
    stored = kind.record_rules.decide(row, None, Options()).document
    (message,) = kind.record_rules.decide(row, stored, Options(OnExisting.ERROR)).messages
    assert message.id in {entry.id for entry in kind.messages}
    assert message.field == kind.rules.key_fields[1]


# References: what a row leaves out is that of the stored record.


@every_type_of_rows
def test_a_reference_that_a_row_does_not_repeat_is_known(kind: ImportType) -> None:
    rules = kind.record_rules
    full = max(sample_of(kind), key=len)
    stored = rules.decide(rules.read(0, full), None, Options()).document
    assert stored is not None, "the row of the sample with most fields can be imported"
    references = References(kind, "t")
    fields = [reference.field for reference in kind.references_of(stored)]
    for declared in kind.references:
        assert declared.field.replace("[]", "[0]") in fields, "the sample has every reference"
        assert IMPORT_TYPES[declared.type.name].table == declared.type.table
    for field in fields:
        row = rules.read(0, {name: full[name] for name in full if name != field.partition("[")[0]})
        if not row.is_readable:
            continue  # the field is in every row
        merged = rules.decide(row, stored, Options()).document or stored
        assert field in [each.field for each in kind.references_of(merged)]
        assert field not in [each.field for each in references.find_references(row, merged, stored)]
        repeated = rules.read(0, full)
        assert field in [
            each.field for each in references.find_references(repeated, stored, stored)
        ]


@every_type_of_rows
def test_a_referenced_type_has_the_group_and_the_key_that_are_looked_up(kind: ImportType) -> None:
    for declared in kind.references:
        assert declared.type.rules.key_fields[0] == kind.rules.key_fields[0]
        assert declared.type.name in kind.waits_for
        # An undo finds the records that refer to one by this column.
        assert declared.field in _columns(kind)
        assert {*declared.agrees} <= _columns(declared.type)


@every_type
def test_an_undo_asks_every_type_whose_records_refer_to_others(kind: ImportType) -> None:
    for name in (*kind.waits_for, *kind.belongs_to):
        assert kind.name in types_referring_to(name)
    assert (IMPORT_MODULES[kind.name].referrers is not None) == bool(kind.belongs_to)
    if not isinstance(kind.rules, RecordRules):
        assert not kind.references, "an undo finds only those of records with columns"


def _columns(kind: ImportType) -> set[str]:
    rules = kind.record_rules
    full = rules.decide(rules.read(0, max(sample_of(kind), key=len)), None, Options()).document
    assert full is not None
    return set(rules.columns(full))


# The contract: calls, versions, samples.


@every_type_of_the_contract
def test_a_type_of_pay_and_bill_has_its_call_with_its_versions(
    functions: Mapping[str, AppFunction], kind: ImportType
) -> None:
    assert f"import_{kind.name}" in functions
    described = [
        each
        for each in operations(Limits.of(settings_for("")))
        if each.function == f"import_{kind.name}"
    ]
    (operation,) = described
    (version,) = [each for each in operation.parameters if each.name == "version"]
    numbers = [each.version for each in TYPE_CATALOGUE.versions(kind.name)]
    assert version.schema == {"type": "integer", "enum": numbers, "default": numbers[0]}
    assert IMPORT_MODULES[kind.name].records is not None


@every_type_of_the_contract
def test_the_demo_sends_the_sample_and_knows_which_rows_fail(kind: ImportType) -> None:
    (sample,) = [each for each in OF_DEMO if each.type_name == kind.name]
    references = [
        {name.lower(): value for name, value in row.items()}[kind.rules.key_fields[1].lower()]
        for row in sample_of(kind)
    ]
    assert len(set(references)) == len(references)
    assert sample.made_to_fail <= set(references)
    assert sample.made_to_fail, "the sample shows what a failed row looks like"
