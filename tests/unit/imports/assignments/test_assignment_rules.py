"""What an assignment's row does, and what is said of it (docs/contracts.md#1)."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.assignments.model import MAX_RATES
from shared.imports.assignments.rules import RULES, listed, references
from shared.imports.import_type import Decision, Document, OnExisting, Options, Reference, RowKey
from shared.imports.merge_rules import MAX_REVIEW_MESSAGES
from shared.imports.results import Outcome
from tests.unit.imports.builders import an_assignment

ROOT = Path(__file__).parents[4]
VENDOR_SAMPLE = ROOT / "tests" / "golden" / "payandbill-assignments-v1.request.json"
SAMPLES = ROOT / "samples" / "assignments.json"


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_text("utf-8"), parse_float=Decimal)
    return rows


def decided(
    row: dict[str, Any],
    stored: Document | None = None,
    on_existing: OnExisting = OnExisting.UPDATE,
) -> Decision:
    result = RULES.read(0, row)
    assert result.is_readable, result.messages
    return RULES.decide(result, stored, Options(on_existing))


def stored_after(*rows: dict[str, Any]) -> Document:
    document: Document = {}
    for row in rows:
        document = decided(row, document or None).document or document
    return document


def messages_of(**fields: Any) -> list[tuple[int, str | None, str | None]]:
    decision = decided(an_assignment(**fields))
    assert decision.outcome is Outcome.NEW
    return [(message.id, message.field, message.value) for message in decision.messages]


def test_the_definition_names_table_and_rules() -> None:
    assert (ASSIGNMENTS.name, ASSIGNMENTS.version) == ("assignments", 1)
    assert ASSIGNMENTS.table == "Assignments"
    assert ASSIGNMENTS.rules.key_fields == ("EmployerRef", "AssignmentRef")
    assert ASSIGNMENTS.rules.record_id_fields == ("AssignmentRef",)


def test_the_vendors_sample_imports_without_a_message() -> None:
    (row,) = rows_of(VENDOR_SAMPLE)
    first = decided(row)
    assert (first.outcome, first.messages) == (Outcome.NEW, ())
    assert first.document is not None
    assert "BookedById" not in first.document
    assert first.document["ExpectedEndDate"] == "2021-01-01"
    assert first.document["HolOverrideWeeks"] == "3"
    assert first.document["ConsultantSplits"][1] == {"ConsultantRef": "CONS2", "Split": "50"}
    assert set(first.document) == set(row) - {"BookedById"}
    again = decided(row, first.document)
    assert again.outcome is Outcome.UNCHANGED
    assert [message.id for message in again.messages] == [1103]


def test_the_samples_show_every_kind_of_row() -> None:
    shown = []
    for index, row in enumerate(rows_of(SAMPLES)):
        result = RULES.read(index, row)
        outcome = Outcome.FAILED
        messages = result.messages
        if result.is_readable:
            decision = RULES.decide(result, None, Options())
            outcome, messages = decision.outcome, (*messages, *decision.messages)
        shown.append((outcome.value, sorted({message.id for message in messages})))
    assert shown == [
        ("new", []),
        ("new", []),
        ("new", [2002, 2003]),
        ("failed", [1001, 1002, 1004, 1006, 1008]),
        ("new", [1007]),
        ("new", []),
        ("new", []),
    ]


def test_the_smallest_assignment_is_new_then_unchanged_then_updated() -> None:
    first = decided(an_assignment())
    smallest = {name: value for name, value in an_assignment().items() if value is not None}
    assert (first.outcome, first.document) == (Outcome.NEW, smallest)
    again = decided(an_assignment(JobTitle=None), first.document)
    assert (again.outcome, again.document) == (Outcome.UNCHANGED, None)
    assert [message.id for message in again.messages] == [1103]
    other = decided(an_assignment(IsCancelled=False), first.document)
    assert (other.outcome, other.document) == (Outcome.UPDATED, smallest | {"IsCancelled": False})


def test_an_existing_assignment_is_an_error_where_the_integration_says_so() -> None:
    decision = decided(an_assignment(), stored_after(an_assignment()), OnExisting.ERROR)
    assert (decision.outcome, decision.document) == (Outcome.FAILED, None)
    (message,) = decision.messages
    assert (message.id, message.field, message.value) == (10001, "AssignmentRef", "A1")


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
    decision = decided(row, stored)
    assert (decision.outcome, decision.document) == (Outcome.UPDATED, expected)
    assert decided(row, decision.document).outcome is Outcome.UNCHANGED


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
def test_what_says_the_same_is_unchanged(sent: dict[str, Any]) -> None:
    row = an_assignment(**({"ExpectedEndDate": "2025-01-01"} | sent))
    assert decided(row, stored_after(an_assignment(**FULL))).outcome is Outcome.UNCHANGED


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
    ("rate", "found"),
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
    rate: dict[str, Any], found: list[tuple[int, str, str | None]]
) -> None:
    assert messages_of(Rates=[PAY_AND_BILL, rate]) == found
    kept = stored_after(an_assignment(Rates=[rate]))["Rates"][0]
    assert set(kept) == {name for name, value in rate.items() if value is not None}


def test_a_list_of_doubtful_rates_says_how_many_more_there_are() -> None:
    doubtful = [{"RateType": "Bonus", "RateCode": "X"}] * MAX_RATES
    messages = decided(an_assignment(Rates=doubtful)).messages
    assert len(messages) == MAX_REVIEW_MESSAGES
    more = MAX_RATES - MAX_REVIEW_MESSAGES + 1
    assert messages[-1].detail == f"and {more} more messages that are left out"


@pytest.mark.parametrize(
    ("row", "key"),
    [
        ({"employerref": " ER1 ", "assignmentref": "001"}, RowKey("ER1", "001")),
        ({"employerref": "e", "assignmentref": "E\u0301"}, RowKey("e", "\u00c9")),
        ({"employerref": "ER1", "personnelref": "P1"}, None),
        ({"employerref": "ER1", "assignmentref": 1}, None),
        ({"employerref": "x" * 61, "assignmentref": "A1"}, None),
    ],
)
def test_the_key_is_known_before_the_row_is_read(row: dict[str, Any], key: RowKey | None) -> None:
    assert RULES.identify(row) == key


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
    assert references(document) == (Reference("PersonnelRef", "Workers", "ER1", "007"),)


def test_what_may_be_listed_is_asked_for_in_the_form_of_a_list() -> None:
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
