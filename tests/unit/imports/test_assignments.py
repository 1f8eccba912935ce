"""Assignments: their fields, what a row changes, and its warnings (docs/contracts.md#1)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.assignments.model import MAX_RATES, Assignment, Rate
from shared.imports.assignments.rules import RULES, listed
from shared.imports.import_type import Decision, Document, Reference
from shared.imports.merge_rules import MAX_REVIEW_MESSAGES
from shared.imports.model import MergeKind, shape_of
from shared.imports.pay_and_bill.parts import MAX_SPLITS
from shared.imports.results import Outcome
from tests.unit.house.source_tree import ROOT
from tests.unit.imports import row_types
from tests.unit.imports.builders import an_assignment, decide, read_rows, without
from tests.unit.imports.row_types import NOT_NULL_IN_ASSIGNMENTS

VENDOR_SAMPLE = ROOT / "tests" / "golden" / "payandbill-assignments-v1.request.json"
IN_EVERY_ROW = ("ExpectedEndDate", "ActualEndDate")
OBJECTS = ("OnlineOptions", "CustomerDefinedFields")
LISTS = ("ConsultantSplits", "Rates")
ELEMENTS = row_types.ASSIGNMENTS.elements
A_SPLIT, A_RATE = ELEMENTS["ConsultantSplits"], ELEMENTS["Rates"]


def messages_for(row: dict[str, Any]) -> list[tuple[int, str | None]]:
    return row_types.ASSIGNMENTS.messages_of(row)


def decide_assignment(row: dict[str, Any], stored: Document | None = None) -> Decision:
    return decide(RULES, row, stored)


def stored_after(*rows: dict[str, Any]) -> Document:
    document: Document = {}
    for row in rows:
        document = decide_assignment(row, document or None).document or document
    return document


def messages_of(**fields: Any) -> list[tuple[int, str | None, str | None]]:
    decision = decide_assignment(an_assignment(**fields))
    assert decision.outcome is Outcome.NEW
    return [(message.id, message.field, message.value) for message in decision.messages]


def test_options_and_customer_fields_merge_and_lists_do_not() -> None:
    shape = shape_of(Assignment)
    assert set(shape.merging) == {*OBJECTS}
    kinds = {name: shape.nested[name].merge_kind for name in OBJECTS}
    assert kinds == dict.fromkeys(OBJECTS, MergeKind.PER_PROPERTY)
    assert {name for name, field in shape.fields.items() if field.is_list} == {*LISTS}


@pytest.mark.parametrize("name", NOT_NULL_IN_ASSIGNMENTS)
def test_a_field_in_every_row_is_needed(name: str) -> None:
    assert messages_for(without(an_assignment(), name)) == [(1001, name)]
    for blank in (None, "", " \t"):
        assert messages_for(an_assignment(**{name: blank})) == [(1001, name)]


@pytest.mark.parametrize("name", IN_EVERY_ROW)
def test_an_open_end_is_null_and_not_left_out(name: str) -> None:
    assert messages_for(without(an_assignment(), name)) == [(1001, name)]
    for blank in (None, "", " \t"):
        read_row = RULES.read(0, an_assignment(**{name: blank}))
        assert read_row.messages == ()
        assert read_row.values[name] is None
    assert RULES.read(0, an_assignment(**{name: "2025-01-01"})).values[name] == "2025-01-01"


@pytest.mark.parametrize(
    "name", sorted(set(Assignment.model_fields) - {*NOT_NULL_IN_ASSIGNMENTS, *IN_EVERY_ROW})
)
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
    assert messages_for(an_assignment(**{parent: [good, without(good, name)]})) == [(1001, path)]
    for blank in (None, "", " "):
        assert messages_for(an_assignment(**{parent: [good, good | {name: blank}]})) == [
            (1001, path)
        ]


@pytest.mark.parametrize("name", sorted(set(Rate.model_fields) - {"RateCode"}))
def test_any_other_field_of_a_rate_may_be_blank(name: str) -> None:
    for blank in (None, "", " "):
        read_row = RULES.read(0, an_assignment(Rates=[A_RATE | {name: blank}]))
        assert read_row.messages == ()
        assert read_row.values["Rates"] == [A_RATE]


@pytest.mark.parametrize(
    ("name", "limit"), [("ConsultantSplits", MAX_SPLITS), ("Rates", MAX_RATES)]
)
def test_lists_have_an_end(name: str, limit: int) -> None:
    element = ELEMENTS[name]
    assert messages_for(an_assignment(**{name: [element] * limit})) == []
    assert messages_for(an_assignment(**{name: [element] * (limit + 1)})) == [(1003, name)]


def test_every_fault_of_a_row_is_reported() -> None:
    row = without(an_assignment(), "ClientRef", "ActualEndDate") | {
        "StartDate": "soon",
        "OnlineOptions": {"STiTimesheetType": "1"},
        "ConsultantSplits": [{"ConsultantRef": "a", "Split": 101}],
        "Rates": [{"RateCode": "A"}, {"PayRate": "1"}, None],
    }
    assert messages_for(row) == [
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


def test_the_schema_distinguishes_required_from_nullable() -> None:
    schema = RULES.json_schema()
    assert schema["title"] == "Assignments v1"
    assert set(schema["required"]) == {*NOT_NULL_IN_ASSIGNMENTS, *IN_EVERY_ROW}
    nullable = {name for name, item in schema["properties"].items() if "null" in str(item)}
    assert nullable == set(Assignment.model_fields) - {*NOT_NULL_IN_ASSIGNMENTS}
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


def test_the_definition_names_table_and_rules() -> None:
    assert (ASSIGNMENTS.name, ASSIGNMENTS.version) == ("assignments", 1)
    assert ASSIGNMENTS.table == "Assignments"
    assert ASSIGNMENTS.rules.key_fields == ("EmployerRef", "AssignmentRef")
    assert ASSIGNMENTS.rules.record_id_fields == ("AssignmentRef",)


def test_the_vendors_sample_imports_without_a_message() -> None:
    (row,) = read_rows(VENDOR_SAMPLE)
    first = decide_assignment(row)
    assert (first.outcome, first.messages) == (Outcome.NEW, ())
    assert first.document is not None
    assert "BookedById" not in first.document
    assert first.document["ExpectedEndDate"] == "2021-01-01"
    assert first.document["HolOverrideWeeks"] == "3"
    assert first.document["ConsultantSplits"][1] == {"ConsultantRef": "CONS2", "Split": "50"}
    assert set(first.document) == set(row) - {"BookedById"}
    again = decide_assignment(row, first.document)
    assert again.outcome is Outcome.UNCHANGED
    assert [message.id for message in again.messages] == [1103]


def test_the_smallest_assignment_is_new_then_unchanged_then_updated() -> None:
    first = decide_assignment(an_assignment())
    smallest = {name: value for name, value in an_assignment().items() if value is not None}
    assert (first.outcome, first.document) == (Outcome.NEW, smallest)
    again = decide_assignment(an_assignment(JobTitle=None), first.document)
    assert (again.outcome, again.document) == (Outcome.UNCHANGED, None)
    assert [message.id for message in again.messages] == [1103]
    other = decide_assignment(an_assignment(IsCancelled=False), first.document)
    assert (other.outcome, other.document) == (Outcome.UPDATED, smallest | {"IsCancelled": False})


FULL: dict[str, Any] = {
    "JobTitle": "Driver",
    "ExpectedEndDate": "2025-01-01",
    "HolOverrideWeeks": Decimal("5.60"),
    "OnlineOptions": {"GroupCode": "G", "STiTimesheetType": 1},
    "CustomerDefinedFields": {"CustomerDefinedField1": "a", "CustomerDefinedField3": Decimal(3)},
    "ConsultantSplits": [{"ConsultantRef": "A", "Split": 100}],
    "Rates": [{"RateCode": "STD", "PayRate": Decimal("10.0")}, {"RateCode": "NIGHT"}],
}


@pytest.mark.parametrize(
    ("sent", "changed"),
    [
        ({"JobTitle": None}, {"JobTitle": None}),
        ({"JobTitle": " "}, {"JobTitle": None}),
        ({"ExpectedEndDate": None}, {"ExpectedEndDate": None}),
        ({"HolOverrideWeeks": Decimal("5.61")}, {"HolOverrideWeeks": "5.61"}),
        (
            {"OnlineOptions": {"groupcode": None, "IsOnlineExpenseAllowed": True}},
            {"OnlineOptions": {"STiTimesheetType": 1, "IsOnlineExpenseAllowed": True}},
        ),
        ({"OnlineOptions": None}, {"OnlineOptions": None}),
        (
            {"CustomerDefinedFields": {"CustomerDefinedField3": 4}},
            {"CustomerDefinedFields": {"CustomerDefinedField1": "a", "CustomerDefinedField3": "4"}},
        ),
        (
            {"CustomerDefinedFields": {"CustomerDefinedField1": "", "CustomerDefinedField3": None}},
            {"CustomerDefinedFields": None},
        ),
        ({"ConsultantSplits": []}, {"ConsultantSplits": None}),
        ({"ConsultantSplits": None}, {"ConsultantSplits": None}),
        (
            {"ConsultantSplits": [{"ConsultantRef": "B", "Split": 100}]},
            {"ConsultantSplits": [{"ConsultantRef": "B", "Split": "100"}]},
        ),
        ({"Rates": [{"RateCode": "NIGHT"}]}, {"Rates": [{"RateCode": "NIGHT"}]}),
        (
            {"Rates": [{"RateCode": "NIGHT"}, {"RateCode": "STD", "PayRate": 10}]},
            {"Rates": [{"RateCode": "NIGHT"}, {"RateCode": "STD", "PayRate": "10"}]},
        ),
        ({"Rates": []}, {"Rates": None}),
        ({"Rates": ""}, {"Rates": None}),
    ],
)
def test_a_row_changes_what_it_sends_and_nothing_else(
    sent: dict[str, Any], changed: dict[str, Any]
) -> None:
    stored = stored_after(an_assignment(**FULL))
    expected = {name: value for name, value in (stored | changed).items() if value is not None}
    row = an_assignment(**({"ExpectedEndDate": "2025-01-01"} | sent))
    decision = decide_assignment(row, stored)
    assert (decision.outcome, decision.document) == (Outcome.UPDATED, expected)
    assert decide_assignment(row, decision.document).outcome is Outcome.UNCHANGED


@pytest.mark.parametrize(
    "sent",
    [
        {"HolOverrideWeeks": Decimal("5.6")},
        {"ExpectedEndDate": "2025-01-01T00:00:00"},
        {"OnlineOptions": {}},
        {"CustomerDefinedFields": {"customerdefinedfield3": Decimal("3.00")}},
        {"ConsultantSplits": [{"split": Decimal("100.0"), "consultantRef": "A"}]},
        {"Rates": [{"RateCode": "STD", "PayRate": 10, "BillRate": None}, {"ratecode": "NIGHT"}]},
    ],
)
def test_a_row_with_equal_values_is_unchanged(sent: dict[str, Any]) -> None:
    row = an_assignment(**({"ExpectedEndDate": "2025-01-01"} | sent))
    assert decide_assignment(row, stored_after(an_assignment(**FULL))).outcome is Outcome.UNCHANGED


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ({"StartDate": "2024-01-02", "ActualEndDate": "2024-01-01"}, "ActualEndDate"),
        ({"StartDate": "2024-01-02", "ExpectedEndDate": "2024-01-01"}, "ExpectedEndDate"),
        ({"StartDate": "2024-01-01", "ActualEndDate": "2024-01-01T23:00:00"}, None),
        ({"ExpectedEndDate": "2025-01-01", "ActualEndDate": "2024-12-31"}, None),
    ],
)
def test_an_end_before_the_start_is_a_warning(sent: dict[str, Any], path: str | None) -> None:
    assert messages_of(**sent) == ([(2002, path, sent[path])] if path else [])


@pytest.mark.parametrize(
    ("splits", "warns"),
    [
        ([100], False),
        ([0, 100], False),
        ([Decimal("33.3"), Decimal("33.3"), Decimal("33.4")], False),
        ([Decimal("0.1")] * 10 + [99], False),
        ([], False),
        ([99], True),
        ([50, 51], True),
        ([0], True),
        ([Decimal("33.33")] * 3, True),
        ([Decimal("0.0000000000000000000000000001"), 100], True),
    ],
)
def test_splits_that_do_not_add_up_are_a_warning(splits: list[Any], warns: bool) -> None:
    sent = [{"ConsultantRef": "A", "Split": split} for split in splits]
    expected = [(2002, "ConsultantSplits", None)] if warns else []
    assert messages_of(ConsultantSplits=sent) == expected


PAY_AND_BILL = {
    "RateType": "PayAndBill",
    "RateCode": "STD",
    "PayRate": 10,
    "BillRate": 11,
    "RateFrequency": "Hourly",
    "BillingGroup": "B",
    "RateEffectiveDate": "2024-01-01",
    "RateExpiryDate": "2024-12-31",
}
ADHOC = {
    "RateType": "Adhoc",
    "RateCode": "FARE",
    "ReceiptOption": "Receipt",
    "PayAmount": 10,
    "BillAmount": 11,
    "PayrollTaxCode": "P",
}


@pytest.mark.parametrize(
    ("rate", "messages"),
    [
        (PAY_AND_BILL, []),
        (ADHOC, []),
        ({"RateCode": "STD"}, []),
        (PAY_AND_BILL | ADHOC | {"RateType": None}, []),
        (ADHOC | {"RateType": "Bonus"}, [(2003, "Rates[1].RateType", "Bonus")]),
        (ADHOC | {"RateType": "adhoc"}, [(2003, "Rates[1].RateType", "adhoc")]),
        (PAY_AND_BILL | {"PayAmount": 0}, [(2003, "Rates[1].PayAmount", "0")]),
        (
            ADHOC | {"PayRate": Decimal("1.50"), "BillingGroup": "B"},
            [(2003, "Rates[1].PayRate", "1.5"), (2003, "Rates[1].BillingGroup", "B")],
        ),
        (
            PAY_AND_BILL | {"RateExpiryDate": "2023-12-31"},
            [(2002, "Rates[1].RateExpiryDate", "2023-12-31")],
        ),
    ],
)
def test_a_rate_is_kept_whatever_its_type(
    rate: dict[str, Any], messages: list[tuple[int, str, str | None]]
) -> None:
    assert messages_of(Rates=[PAY_AND_BILL, rate]) == messages
    stored_rate = stored_after(an_assignment(Rates=[rate]))["Rates"][0]
    assert set(stored_rate) == {name for name, value in rate.items() if value is not None}


def test_a_list_of_doubtful_rates_says_how_many_more_there_are() -> None:
    doubtful = [{"RateType": "Bonus", "RateCode": "X"}] * MAX_RATES
    messages = decide_assignment(an_assignment(Rates=doubtful)).messages
    assert len(messages) == MAX_REVIEW_MESSAGES
    more = MAX_RATES - MAX_REVIEW_MESSAGES + 1
    assert messages[-1].detail == f"and {more} more messages that are left out"


def test_columns_are_what_people_search_by() -> None:
    document = stored_after(an_assignment(JobTitle="D\0" + "x" * 300, Notes="n"))
    assert RULES.columns(document) == {
        "EmployerRef": "ER1",
        "AssignmentRef": "A1",
        "PersonnelRef": "P1",
        "ClientRef": "C1",
        "JobTitle": "D " + "x" * 253,
    }
    assert RULES.lookups(document) == ()


def test_an_assignment_refers_to_the_worker_of_its_employer() -> None:
    document = stored_after(an_assignment(PersonnelRef=" 007 "))
    assert ASSIGNMENTS.references_of(document) == [
        Reference("PersonnelRef", "Workers", "ER1", "007")
    ]
    assert ASSIGNMENTS.waits_for == ("workers",)


def test_values_of_reference_lists_are_looked_up_in_their_normal_form() -> None:
    document = stored_after(
        an_assignment(
            ClientRef=" E\u0301 ",
            JobCategoryRef="J",
            ReportToClientRef="C2",
            InvoiceToClientRef="C3",
            ComparatorRef="CMP",
            ContractRefPrimaryContract="K",
            ConsultantSplits=[
                {"ConsultantRef": "A", "Split": 1},
                {"ConsultantRef": "B ", "Split": 99},
            ],
        )
    )
    assert [(item.field, item.kind, item.value) for item in listed(document)] == [
        ("ClientRef", "client", "\u00c9"),
        ("DivisionRef", "division", "DIV1"),
        ("DepartmentRef", "department", "DEPT1"),
        ("JobCategoryRef", "job-category", "J"),
        ("ReportToClientRef", "client", "C2"),
        ("InvoiceToClientRef", "client", "C3"),
        ("ComparatorRef", "comparator", "CMP"),
        ("ContractRefPrimaryContract", "contract", "K"),
        ("ConsultantSplits[0].ConsultantRef", "consultant", "A"),
        ("ConsultantSplits[1].ConsultantRef", "consultant", "B"),
    ]
    assert not any(item.is_sensitive for item in listed(document))
