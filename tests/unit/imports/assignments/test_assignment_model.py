"""Assignments v1 has every field of the contract, and nothing else (docs/contracts.md#1)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from shared.imports.assignments.model import (
    MAX_RATES,
    MAX_SPLITS,
    Assignment,
    ConsultantSplit,
    CustomerFields,
    OnlineSettings,
    Rate,
)
from shared.imports.assignments.rules import RULES
from shared.imports.model import MergeKind, shape_of
from tests.unit.imports.builders import an_assignment, without


def names(text: str) -> list[str]:
    return text.split()


NOT_NULL = names(
    "EmployerRef AssignmentRef ClientRef PersonnelRef DivisionRef DepartmentRef StartDate"
)
IN_EVERY_ROW = names("ExpectedEndDate ActualEndDate")
REFERENCES = names("EmployerRef AssignmentRef PersonnelRef")
TEXTS = names(
    "ClientRef DivisionRef DepartmentRef JobTitle WorkLocation PurchaseOrderNumber BookedBy "
    "BookedById RateFrequency JobCategoryRef CostCentre ReportToClientRef InvoiceToClientRef "
    "ReportsToId ContactName Notes SalesTaxArea ComparatorTitle ComparatorRef EndReason "
    "AssignmentType TimesheetFrequency ContractRefPrimaryContract ExternalNotes SupplierContact "
    "SecondaryContract"
)
DATES = names("StartDate ExpectedEndDate ActualEndDate")
WHOLE = names("InvoiceAddressNumber DeliveryAddressNumber")
NUMBERS = names("HolOverrideWeeks HolOverrideHourPerc PrevAWRWeeks AWRQualificationWeeks")
FLAGS = names(
    "IsIncludedOnMarginReport IsCancelled IsManualInterpretation IsEIRDirectClient "
    "IsOPWIPSApplicable"
)
ONLINE_TEXTS = names(
    "WorkflowDescription GroupCode ConsultantSTiUserLogon TimesheetAuthoriserUserRef "
    "EscalationTypeOverride"
)
CUSTOMER_TEXTS = [f"CustomerDefinedField{number}" for number in (1, 2, 5, 6, 7, 8)]
CUSTOMER_NUMBERS = names("CustomerDefinedField3 CustomerDefinedField4")
RATE_TEXTS = names(
    "RateType RateCode BillingTaxCode RateDescription RateFrequency BillingGroup ReceiptOption "
    "PayrollTaxCode"
)
RATE_DATES = names("RateEffectiveDate RateExpiryDate")
RATE_NUMBERS = names("PayRate BillRate PayAmount BillAmount")
RATE_FLAGS = names("IsDefaultRate IsAWRable IsPensionable")
OBJECTS = names("OnlineOptions CustomerDefinedFields")
LISTS = names("ConsultantSplits Rates")

A_SPLIT = {"ConsultantRef": "JMB", "Split": 100}
A_RATE = {"RateCode": "STD"}
ELEMENTS: dict[str, dict[str, Any]] = {"ConsultantSplits": A_SPLIT, "Rates": A_RATE}


def test_the_fields_are_the_contracts() -> None:
    simple = {*REFERENCES, *TEXTS, *DATES, *WHOLE, *NUMBERS, *FLAGS}
    assert set(Assignment.model_fields) == simple | {*OBJECTS, *LISTS}
    online = {*ONLINE_TEXTS, "STiTimesheetType", "IsOnlineExpenseAllowed"}
    assert set(OnlineSettings.model_fields) == online
    assert set(CustomerFields.model_fields) == {*CUSTOMER_TEXTS, *CUSTOMER_NUMBERS}
    assert set(ConsultantSplit.model_fields) == {"ConsultantRef", "Split"}
    rate = {*RATE_TEXTS, *RATE_DATES, *RATE_NUMBERS, *RATE_FLAGS, "SequenceNumber"}
    assert set(Rate.model_fields) == rate


def test_options_and_customer_fields_merge_and_lists_do_not() -> None:
    shape = shape_of(Assignment)
    assert set(shape.merging) == {*OBJECTS}
    kinds = {name: shape.nested[name].merge_kind for name in OBJECTS}
    assert kinds == dict.fromkeys(OBJECTS, MergeKind.PER_PROPERTY)
    assert {name for name, field in shape.fields.items() if field.is_list} == {*LISTS}


def test_what_may_be_null() -> None:
    expected: dict[Any, set[str]] = {
        Assignment: {*NOT_NULL},
        OnlineSettings: set(),
        CustomerFields: set(),
        ConsultantSplit: {"ConsultantRef", "Split"},
        Rate: {"RateCode"},
    }
    for model, not_null in expected.items():
        fields = shape_of(model).fields
        assert {name for name, field in fields.items() if not field.is_nullable} == not_null


def faults(row: dict[str, Any]) -> list[tuple[int, str | None]]:
    return [(message.id, message.field) for message in RULES.read(0, row).messages]


@pytest.mark.parametrize("name", NOT_NULL)
def test_a_field_in_every_row_is_needed(name: str) -> None:
    assert faults(without(an_assignment(), name)) == [(1001, name)]
    for blank in (None, "", " \t"):
        assert faults(an_assignment(**{name: blank})) == [(1001, name)]


@pytest.mark.parametrize("name", IN_EVERY_ROW)
def test_an_open_end_is_null_and_not_left_out(name: str) -> None:
    assert faults(without(an_assignment(), name)) == [(1001, name)]
    for blank in (None, "", " \t"):
        read_row = RULES.read(0, an_assignment(**{name: blank}))
        assert read_row.messages == ()
        assert read_row.values[name] is None
    assert RULES.read(0, an_assignment(**{name: "2025-01-01"})).values[name] == "2025-01-01"


@pytest.mark.parametrize("name", sorted(set(Assignment.model_fields) - {*NOT_NULL, *IN_EVERY_ROW}))
def test_every_other_field_may_be_left_out_or_cleared(name: str) -> None:
    assert name not in RULES.read(0, an_assignment()).values
    for blank in (None, "", " \t"):
        read_row = RULES.read(0, an_assignment(**{name: blank}))
        assert read_row.messages == ()
        assert read_row.values[name] is None


@pytest.mark.parametrize(
    ("parent", "name"), [("ConsultantSplits", name) for name in A_SPLIT] + [("Rates", "RateCode")]
)
def test_an_element_needs_its_required_fields(parent: str, name: str) -> None:
    path = f"{parent}[1].{name}"
    good = ELEMENTS[parent]
    assert faults(an_assignment(**{parent: [good, without(good, name)]})) == [(1001, path)]
    for blank in (None, "", " "):
        assert faults(an_assignment(**{parent: [good, good | {name: blank}]})) == [(1001, path)]


@pytest.mark.parametrize("name", sorted(set(Rate.model_fields) - {"RateCode"}))
def test_any_other_field_of_a_rate_may_be_blank(name: str) -> None:
    for blank in (None, "", " "):
        read_row = RULES.read(0, an_assignment(Rates=[A_RATE | {name: blank}]))
        assert read_row.messages == ()
        assert read_row.values["Rates"] == [A_RATE]


def placed(path: str, value: Any) -> dict[str, Any]:
    outer, _, inner = path.partition(".")
    if outer.endswith("[0]"):
        name = outer.removesuffix("[0]")
        return an_assignment(**{name: [ELEMENTS[name] | {inner: value} if inner else value]})
    return an_assignment(**{outer: {inner: value} if inner else value})


def under(parent: str, *names: str) -> list[str]:
    return [f"{parent}.{name}" for name in names]


PATHS = {
    "text": [
        *TEXTS,
        *REFERENCES,
        *DATES,
        *under("OnlineOptions", *ONLINE_TEXTS),
        *under("CustomerDefinedFields", *CUSTOMER_TEXTS),
        *under("ConsultantSplits[0]", "ConsultantRef"),
        *under("Rates[0]", *RATE_TEXTS, *RATE_DATES),
    ],
    "whole": [*WHOLE, "OnlineOptions.STiTimesheetType", "Rates[0].SequenceNumber"],
    "number": [
        *NUMBERS,
        *under("CustomerDefinedFields", *CUSTOMER_NUMBERS),
        *under("Rates[0]", *RATE_NUMBERS),
        "ConsultantSplits[0].Split",
    ],
    "flag": [*FLAGS, "OnlineOptions.IsOnlineExpenseAllowed", *under("Rates[0]", *RATE_FLAGS)],
    "object": [*OBJECTS, "ConsultantSplits[0]", "Rates[0]"],
    "list": LISTS,
}
STRANGERS: dict[str, tuple[Any, ...]] = {
    "text": (1, Decimal("1.0"), True, {}, []),
    "whole": ("1", Decimal("1.0"), True, {}, []),
    "number": ("1", True, 1.5, {}, []),
    "flag": ("true", 0, Decimal(1), {}, []),
    "object": ("x", 1, False, []),
    "list": ("x", 1, False, {}),
}


@pytest.mark.parametrize(("kind", "path"), [(kind, path) for kind in PATHS for path in PATHS[kind]])
def test_a_field_takes_its_own_type_only(kind: str, path: str) -> None:
    for value in STRANGERS[kind]:
        assert faults(placed(path, value)) == [(1002, path)], value


CODE, SPLIT = "ConsultantSplits[0].ConsultantRef", "ConsultantSplits[0].Split"


@pytest.mark.parametrize(
    ("path", "good", "bad", "fault"),
    [
        (CODE, ["C", "CONS 2", "1" * 10, "\u00dc-/"], ["jmb", "A*", "A?", "(A", "A)"], 1004),
        (CODE, [], ["1" * 11, "CONSULTANTe", "\ud800"], 1004),
        (SPLIT, [0, 100, Decimal("0.0"), Decimal("100.00"), Decimal("33.3333")], [-1, 101], 1008),
        (SPLIT, [], [Decimal("-0.01"), Decimal("100.0001"), 10**40], 1008),
        ("Rates[0].PayRate", [0, -5, Decimal("10.123456")], [10**40], 1008),
        ("Rates[0].SequenceNumber", [-1, 2**31 - 1], [2**31], 1008),
        ("Rates[0].RateEffectiveDate", ["2024-02-29"], ["2023-02-29"], 1006),
        ("AssignmentRef", [" 007 ", "x" * 60], ["x" * 61], 1003),
        ("PersonnelRef", [" 007 ", "x" * 60], ["x" * 61], 1003),
        ("ClientRef", ["x" * 61], [], 1003),
        ("StartDate", ["1899-12-31"], ["31.12.1999"], 1006),
        ("DeliveryAddressNumber", [2**31 - 1], [2**31], 1008),
    ],
)
def test_forms_and_limits(path: str, good: list[Any], bad: list[Any], fault: int) -> None:
    for value in good:
        assert faults(placed(path, value)) == [], value
    for value in bad:
        assert faults(placed(path, value)) == [(fault, path)], value


@pytest.mark.parametrize(
    ("name", "limit"), [("ConsultantSplits", MAX_SPLITS), ("Rates", MAX_RATES)]
)
def test_lists_have_an_end(name: str, limit: int) -> None:
    element = ELEMENTS[name]
    assert faults(an_assignment(**{name: [element] * limit})) == []
    assert faults(an_assignment(**{name: [element] * (limit + 1)})) == [(1003, name)]


def test_every_fault_of_a_row_is_said() -> None:
    row = without(an_assignment(), "ClientRef", "ActualEndDate") | {
        "StartDate": "soon",
        "OnlineOptions": {"STiTimesheetType": "1"},
        "ConsultantSplits": [{"ConsultantRef": "a", "Split": 101}],
        "Rates": [{"RateCode": "A"}, {"PayRate": "1"}, None],
    }
    assert faults(row) == [
        (1001, "ClientRef"),
        (1006, "StartDate"),
        (1001, "ActualEndDate"),
        (1002, "OnlineOptions.STiTimesheetType"),
        (1004, "ConsultantSplits[0].ConsultantRef"),
        (1008, "ConsultantSplits[0].Split"),
        (1001, "Rates[1].RateCode"),
        (1002, "Rates[1].PayRate"),
        (1001, "Rates[2]"),
    ]


def test_the_schema_tells_required_from_nullable() -> None:
    schema = RULES.json_schema()
    assert schema["title"] == "Assignments v1"
    assert set(schema["required"]) == {*NOT_NULL, *IN_EVERY_ROW}
    nullable = {name for name, item in schema["properties"].items() if "null" in str(item)}
    assert nullable == set(Assignment.model_fields) - {*NOT_NULL}
    rates = dict(schema["properties"]["Rates"])
    assert rates.pop("description")
    assert rates == {
        "type": ["array", "null"],
        "items": {"$ref": "#/$defs/Rate"},
        "maxItems": MAX_RATES,
    }
    split = schema["$defs"]["ConsultantSplit"]
    assert split["required"] == ["ConsultantRef", "Split"]
    assert split["properties"]["ConsultantRef"]["pattern"] == "^([^(*?a-z)]{1,10})$"
    assert split["properties"]["Split"].items() >= {
        ("type", "number"), ("minimum", 0), ("maximum", 100),
    }  # fmt: skip
