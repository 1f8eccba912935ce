"""What holds for every import type whose rows are one record each (docs/contracts.md#1)."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema_rs import validator_for

from shared.imports.files.columns import known_paths, path_of
from shared.imports.import_type import OnExisting, Options, RecordRules, RowKey
from shared.imports.model import shape_of
from shared.imports.registry import TYPE_CATALOGUE
from shared.imports.results import MAX_MESSAGES, Outcome, RowResult, pack_result
from shared.imports.text_checks import is_blank
from tests.unit.house.source_tree import ROOT
from tests.unit.imports.builders import decide, good_rows, objects_of, read_rows
from tests.unit.imports.row_types import ASSIGNMENTS, ROW_TYPES, WORKERS, ModelFields, RowType

WRONG_TYPES: dict[str, tuple[Any, ...]] = {
    "text": (1, Decimal("1.0"), True, {}, []),
    "whole": ("1", Decimal("1.0"), True, {}, []),
    "number": ("1", True, 1.5, {}, []),
    "flag": ("true", 0, Decimal(1), {}, []),
    "object": ("x", 1, False, []),
    "list": ("x", 1, False, {}),
}
ANY_ROWS = {kind.id: objects_of(shape_of(kind.model)) for kind in ROW_TYPES}
VALIDATORS = {kind.id: validator_for(kind.rules.json_schema()) for kind in ROW_TYPES}
GOOD_ROWS = {kind.id: good_rows(kind.rules.json_schema()) for kind in ROW_TYPES}

every_type = pytest.mark.parametrize("kind", ROW_TYPES, ids=lambda kind: kind.id)
every_model = pytest.mark.parametrize(
    "fields",
    [fields for kind in ROW_TYPES for fields in kind.models],
    ids=lambda fields: fields.model.__name__,
)


@every_model
def test_a_model_has_the_fields_of_the_contract_and_no_other(fields: ModelFields) -> None:
    assert set(fields.model.model_fields) == fields.names


@every_model
def test_only_required_fields_may_not_be_null(fields: ModelFields) -> None:
    shape = shape_of(fields.model).fields
    assert {name for name, field in shape.items() if not field.is_nullable} == fields.not_null


@every_type
@pytest.mark.parametrize("mask", ["***", "***567C", " ***567C"])
def test_a_mask_is_refused_by_every_field_that_is_shown_masked(kind: RowType, mask: str) -> None:
    sensitive = [
        path
        for path in known_paths(kind.rules.json_schema())
        if kind.rules.is_sensitive(path_of(path))
    ]
    assert bool(sensitive) is bool(shape_of(kind.model).sensitive)
    for path in sensitive:
        read = kind.rules.read(0, kind.row_with(path, mask))
        assert [(each.id, each.field, each.value) for each in read.messages] == [(1004, path, None)]


def test_a_mask_is_refused_beside_the_other_faults_of_a_row() -> None:
    row = WORKERS.make_row(
        Gender="x",
        Surname="***",
        PrimaryBankDetails={"BankSortCode": "***", "BankRef": "***", "IBAN": 5},
        SecondaryBankDetails="***",
    )
    read = WORKERS.rules.read(0, row)
    assert sorted((each.id, each.field) for each in read.messages) == [
        (1002, "Gender"),
        (1002, "PrimaryBankDetails.IBAN"),
        (1002, "SecondaryBankDetails"),
        (1004, "PrimaryBankDetails.BankRef"),
        (1004, "PrimaryBankDetails.BankSortCode"),
    ]
    assert read.values["PrimaryBankDetails"] is None
    assert read.values["Surname"] == "***"


@pytest.mark.parametrize(
    ("kind", "json_type", "path"),
    [
        pytest.param(kind, *path, id=f"{kind.id}-{path[0]}-{path[1]}")
        for kind in ROW_TYPES
        for fields in kind.models
        for path in fields.paths
    ],
)
def test_a_field_takes_its_own_type_only(kind: RowType, json_type: str, path: str) -> None:
    for value in WRONG_TYPES[json_type]:
        assert kind.messages_of(kind.row_with(path, value)) == [(1002, path)], value


CODE, SPLIT = "ConsultantSplits[0].ConsultantRef", "ConsultantSplits[0].Split"


@pytest.mark.parametrize(
    ("kind", "path", "good", "bad", "message"),
    [
        (
            WORKERS,
            "PrimaryBankDetails.BankSortCode",
            ["000000", "123456"],
            ["12345", "1234567"],
            1004,
        ),
        (WORKERS, "SecondaryBankDetails.BankSortCode", [], ["12345\n", "123456\n", "12 456"], 1004),
        (
            WORKERS,
            "SecondaryBankDetails.BankSortCode",
            [],
            ["\u0661" * 6, "12-34-56", "\ud800"],
            1004,
        ),
        (
            WORKERS,
            "PrimaryBankDetails.BankAccountNumber",
            ["1" * 8, "1" * 9, "1" * 10],
            ["1" * 7],
            1004,
        ),
        (WORKERS, "SecondaryBankDetails.BankAccountNumber", [], ["1" * 11, "1" * 8 + "\n"], 1004),
        (
            WORKERS,
            "PrimaryBankDetails.BankAccountName",
            ["x" * 30, "\u00fc" * 30],
            ["x" * 31],
            1003,
        ),
        (WORKERS, "ExternalWorkerRef", [" 007 ", "x" * 60], ["x" * 61], 1003),
        (WORKERS, "DateOfBirth", ["1899-12-31"], ["31.12.1999"], 1006),
        (WORKERS, "Gender", [2**31 - 1], [2**31], 1008),
        (
            ASSIGNMENTS,
            CODE,
            ["C", "CONS 2", "1" * 10, "\u00dc-/"],
            ["jmb", "A*", "A?", "(A", "A)"],
            1004,
        ),
        (ASSIGNMENTS, CODE, [], ["1" * 11, "CONSULTANTe", "\ud800"], 1004),
        (
            ASSIGNMENTS,
            SPLIT,
            [0, 100, Decimal("0.0"), Decimal("100.00"), Decimal("33.3333")],
            [-1, 101],
            1008,
        ),
        (ASSIGNMENTS, SPLIT, [], [Decimal("-0.01"), Decimal("100.0001"), 10**40], 1008),
        (ASSIGNMENTS, "Rates[0].PayRate", [0, -5, Decimal("10.123456")], [10**40], 1008),
        (ASSIGNMENTS, "Rates[0].SequenceNumber", [-1, 2**31 - 1], [2**31], 1008),
        (ASSIGNMENTS, "Rates[0].RateEffectiveDate", ["2024-02-29"], ["2023-02-29"], 1006),
        (ASSIGNMENTS, "AssignmentRef", [" 007 ", "x" * 60], ["x" * 61], 1003),
        (ASSIGNMENTS, "PersonnelRef", [" 007 ", "x" * 60], ["x" * 61], 1003),
        (ASSIGNMENTS, "ClientRef", ["x" * 61], [], 1003),
        (ASSIGNMENTS, "StartDate", ["1899-12-31"], ["31.12.1999"], 1006),
        (ASSIGNMENTS, "DeliveryAddressNumber", [2**31 - 1], [2**31], 1008),
    ],
)
def test_a_text_has_its_form_and_a_number_its_limits(
    kind: RowType, path: str, good: list[Any], bad: list[Any], message: int
) -> None:
    for value in good:
        assert kind.messages_of(kind.row_with(path, value)) == [], value
    for value in bad:
        assert kind.messages_of(kind.row_with(path, value)) == [(message, path)], value


@every_type
def test_the_samples_show_every_kind_of_row(kind: RowType) -> None:
    outcomes = []
    for index, row in enumerate(read_rows(ROOT / "samples" / f"{kind.name}.json")):
        result = kind.rules.read(index, row)
        outcome = Outcome.FAILED
        messages = result.messages
        if result.is_readable:
            decision = kind.rules.decide(result, None, Options())
            outcome, messages = decision.outcome, (*messages, *decision.messages)
        outcomes.append((outcome.value, sorted({message.id for message in messages})))
    assert outcomes == [*kind.sample]


@every_type
def test_an_existing_record_is_an_error_if_the_integration_refuses_it(kind: RowType) -> None:
    row = kind.make_row()
    stored = decide(kind.rules, row).document
    decision = decide(kind.rules, row, stored, OnExisting.ERROR)
    assert (decision.outcome, decision.document) == (Outcome.FAILED, None)
    (message,) = decision.messages
    assert (message.id, message.field, message.value) == (kind.exists_message, *kind.key)


@pytest.mark.parametrize(
    ("kind", "row", "key"),
    [
        (WORKERS, {"employerref": " ER1 ", "personnelref": "001"}, RowKey("ER1", "001")),
        (WORKERS, {"employerref": "e", "personnelref": "E\u0301"}, RowKey("e", "\u00c9")),
        (WORKERS, {"employerref": "ER1"}, None),
        (WORKERS, {"employerref": "ER1", "personnelref": 1}, None),
        (WORKERS, {"employerref": " ", "personnelref": "P1"}, None),
        (WORKERS, {"employerref": None, "personnelref": "P1"}, None),
        (WORKERS, {"employerref": "x" * 61, "personnelref": "P1"}, None),
        (WORKERS, {"employerref": "\ud800", "personnelref": "P1"}, None),
        (WORKERS, {"EmployerRef": "ER1", "PersonnelRef": "P1"}, None),
        (ASSIGNMENTS, {"employerref": " ER1 ", "assignmentref": "001"}, RowKey("ER1", "001")),
        (ASSIGNMENTS, {"employerref": "e", "assignmentref": "E\u0301"}, RowKey("e", "\u00c9")),
        (ASSIGNMENTS, {"employerref": "ER1", "personnelref": "P1"}, None),
        (ASSIGNMENTS, {"employerref": "ER1", "assignmentref": 1}, None),
        (ASSIGNMENTS, {"employerref": "x" * 61, "assignmentref": "A1"}, None),
    ],
)
def test_the_key_is_known_before_the_row_is_read(
    kind: RowType, row: dict[str, Any], key: RowKey | None
) -> None:
    assert kind.rules.identify(row) == key


@every_type
@settings(deadline=None, max_examples=20)
@given(st.data())
def test_any_row_ends_with_messages(kind: RowType, data: st.DataObject) -> None:
    row = data.draw(ANY_ROWS[kind.id])
    result = kind.rules.read(3, row)
    key = kind.rules.identify({name.lower(): value for name, value in row.items()})
    folded = {name.lower() for name in row}
    if len(folded) == len(row) and key is None:
        assert not result.is_readable
    assert len(result.messages) <= MAX_MESSAGES
    packed = pack_result(RowResult(3, result.key, Outcome.FAILED, result.messages))
    assert json.dumps(packed, ensure_ascii=False).encode("utf-8")
    assert all(message.text for message in result.messages)


@every_type
@settings(deadline=None, max_examples=50)
@given(st.data())
def test_a_row_applied_twice_is_unchanged_the_second_time(
    kind: RowType, data: st.DataObject
) -> None:
    rules, stored = kind.rules, None
    name, value = kind.key
    for _ in range(2):
        row = _completed(kind, data.draw(GOOD_ROWS[kind.id]))
        VALIDATORS[kind.id].validate(json.loads(json.dumps(row, default=float)))
        result = rules.read(0, row)
        assert result.is_readable, result.messages
        decision = rules.decide(result, stored, Options())
        assert decision.outcome in (Outcome.NEW, Outcome.UPDATED, Outcome.UNCHANGED)
        stored = decision.document or stored
        assert stored is not None
        assert json.loads(json.dumps(stored)) == stored
        again = rules.decide(result, stored, Options())
        assert (again.outcome, again.document) == (Outcome.UNCHANGED, None)
        assert rules.columns(stored)[name] == value
        assert len(rules.lookups(stored)) <= 1
        references = [item.reference for item in kind.definition.references_of(stored)]
        assert set(kind.references) <= {*references}
        assert all(item.value for item in rules.listed(stored))


def _completed(kind: RowType, fields: dict[str, Any]) -> dict[str, Any]:
    """The smallest row with these fields, and one at least of those of which it needs one."""
    smallest = kind.make_row()
    row = smallest | fields
    for names in kind.model.needs_one_of:
        if not any(row.get(name) and not is_blank(str(row[name])) for name in names):
            row |= {name: value for name, value in smallest.items() if name in names}
    return row


def test_every_type_of_rows_has_its_table_of_fields() -> None:
    kinds = [kind for kind in TYPE_CATALOGUE.all if isinstance(kind.rules, RecordRules)]
    in_catalogue = [(kind.name, kind.version) for kind in kinds]
    assert sorted(in_catalogue) == sorted((kind.name, kind.version) for kind in ROW_TYPES)
