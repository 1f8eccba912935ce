"""A row with several faults names all of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.assignments.model import Assignment
from shared.imports.import_type import Document, ImportType, OnExisting, Options, ReadRow
from shared.imports.licenses.actions import LicenseAction
from shared.imports.merge_rules import evaluate_without_key, merge_rows
from shared.imports.messages import Message
from shared.imports.model import Record, shape_of
from shared.imports.results import Outcome, RowResult
from shared.imports.workers.definition import WORKERS
from shared.imports.workers.model import Worker
from tests.unit.imports.builders import a_worker, an_assignment, objects_of, without
from tests.unit.imports.licenses.company import FAILED, KEYS, Company, of_employee, of_key

# A row with several faults names all of them at once; with all of them mended it is taken.

Row = dict[str, Any]
ReportedMessages = set[tuple[int, str | None]]
UNLISTED = frozenset(("NOWHERE", "999999"))
"""Values that the reference lists of these tests do not have."""


@dataclass(frozen=True)
class Fault:
    """A fault of a row, and the id and the field of the message that it must bring."""

    message: tuple[int, str]
    fields: Mapping[str, Any]
    absent: str = ""


def missing_by(
    kind: ImportType, _row: ReadRow, document: Document, _before: Document | None
) -> tuple[Message, ...]:
    """Only worker P1 is stored, and each list lacks some values."""
    return (
        *(
            Message(2001, reference.field)
            for reference in kind.references_of(document)
            if reference.reference != "P1"
        ),
        *(
            Message(2001, value.field)
            for value in kind.record_rules.listed(document)
            if value.value in UNLISTED
        ),
    )


def result_of(
    kind: ImportType,
    row: Row,
    stored: Document | None = None,
    on_existing: OnExisting = OnExisting.UPDATE,
) -> RowResult:
    rules = kind.record_rules
    read = rules.read(0, row)
    missing = partial(missing_by, kind)
    if rules.identify({name.lower(): value for name, value in row.items()}) is None:
        return evaluate_without_key(rules, read, Options(), missing)
    return merge_rows(rules, [read], stored, Options(on_existing), missing).results[0]


def errors_of(result: RowResult) -> ReportedMessages:
    errors = [(each.id, each.field) for each in result.messages if each.is_error]
    assert len(set(errors)) == len(errors), "a fault is reported twice"
    return set(errors)


def warnings_of(result: RowResult) -> ReportedMessages:
    return {(each.id, each.field) for each in result.messages if each.id in (2002, 2003)}


A_RATE: Mapping[str, Any] = {"RateCode": "R", "RateType": "PayAndBill"}

WORKER_FAULTS = (
    Fault((1001, "Surname"), {}, absent="Surname"),
    Fault((1002, "Gender"), {"Gender": "male"}),
    Fault((1006, "DateOfBirth"), {"DateOfBirth": "yesterday"}),
    Fault((1003, "ExternalWorkerRef"), {"ExternalWorkerRef": "x" * 61}),
    Fault((1002, "IsStudent"), {"IsStudent": "yes"}),
    Fault((2001, "DivisionRef"), {"DivisionRef": "NOWHERE"}),
    Fault((2001, "CurrencyRef"), {"CurrencyRef": "NOWHERE"}),
    Fault((1002, "WorkerAddress.Postcode"), {"WorkerAddress": {"Postcode": 5, "Country": "UK"}}),
    Fault((1002, "UKPayrollDetails.PAYEMethod"), {"UKPayrollDetails": {"PAYEMethod": "1"}}),
    Fault(
        (2001, "PrimaryBankDetails.BankSortCode"),
        {"PrimaryPayMethod": "BACS", "PrimaryBankDetails": {"BankSortCode": "999999"}},
    ),
    Fault(
        (1004, "SecondaryBankDetails.BankSortCode"),
        {"SecondaryPayMethod": "BACS", "SecondaryBankDetails": {"BankSortCode": "12"}},
    ),
)
ASSIGNMENT_FAULTS = (
    Fault((1001, "ClientRef"), {}, absent="ClientRef"),
    Fault((1001, "ActualEndDate"), {}, absent="ActualEndDate"),
    Fault((1006, "StartDate"), {"StartDate": "2024-02-30"}),
    Fault((2001, "PersonnelRef"), {"PersonnelRef": "P9"}),
    Fault((2001, "DivisionRef"), {"DivisionRef": "NOWHERE"}),
    Fault((1002, "DepartmentRef"), {"DepartmentRef": 7}),
    Fault((1002, "HolOverrideWeeks"), {"HolOverrideWeeks": "5"}),
    Fault(
        (1001, "Rates[1].RateCode"),
        {"Rates": [A_RATE, without(dict(A_RATE), "RateCode")]},
    ),
    Fault(
        (2001, "ConsultantSplits[0].ConsultantRef"),
        {"ConsultantSplits": [{"ConsultantRef": "NOWHERE", "Split": 100}]},
    ),
)


def broken(row: Row, faults: Iterable[Fault]) -> Row:
    for fault in faults:
        row = without({**row, **fault.fields}, fault.absent)
    return row


TYPES = pytest.mark.parametrize(
    ("kind", "good", "faults"),
    [
        pytest.param(WORKERS, a_worker(), WORKER_FAULTS, id="workers"),
        pytest.param(ASSIGNMENTS, an_assignment(), ASSIGNMENT_FAULTS, id="assignments"),
    ],
)


@TYPES
def test_every_fault_is_reported_alone_and_together_with_all_others(
    kind: ImportType, good: Row, faults: tuple[Fault, ...]
) -> None:
    for fault in faults:
        assert errors_of(result_of(kind, broken(good, [fault]))) == {fault.message}
    assert errors_of(result_of(kind, broken(good, faults))) == {fault.message for fault in faults}


@TYPES
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_faults_are_reported_at_once_and_the_corrected_row_is_accepted(
    kind: ImportType, good: Row, faults: tuple[Fault, ...], data: st.DataObject
) -> None:
    chosen = data.draw(st.lists(st.sampled_from(faults), unique_by=id, min_size=1))
    result = result_of(kind, broken(good, chosen))
    assert result.outcome is Outcome.FAILED
    assert errors_of(result) == {fault.message for fault in chosen}
    mended = data.draw(st.sampled_from(chosen))
    remaining = [fault for fault in chosen if fault is not mended]
    assert errors_of(result_of(kind, broken(good, remaining))) == {
        fault.message for fault in remaining
    }
    assert result_of(kind, good).outcome is Outcome.NEW


def test_a_field_that_cannot_be_read_is_not_also_missing() -> None:
    for surname, message_id in ((5, 1002), (None, 1001), ("\ud800", 1004)):
        result = result_of(WORKERS, a_worker(Surname=surname))
        assert errors_of(result) == {(message_id, "Surname")}


def test_a_check_is_skipped_where_it_needs_a_field_that_cannot_be_read() -> None:
    stored = a_worker(StartDate="2024-05-01", PrimaryPayMethod="BACS")
    late = a_worker(LeavingDate="2024-01-01")
    assert warnings_of(result_of(WORKERS, late, stored)) == {(2002, "LeavingDate")}
    unread = late | {"StartDate": "soon", "PrimaryPayMethod": 1}
    unread |= {"PrimaryBankDetails": {"BankSortCode": "999999"}}
    result = result_of(WORKERS, unread, stored)
    assert errors_of(result) == {(1006, "StartDate"), (1002, "PrimaryPayMethod")}
    assert warnings_of(result) == set()
    splits = [{"ConsultantRef": "A", "Split": "half"}, {"ConsultantRef": "B", "Split": 50}]
    result = result_of(ASSIGNMENTS, an_assignment(ConsultantSplits=splits))
    assert errors_of(result) == {(1002, "ConsultantSplits[0].Split")}
    assert warnings_of(result) == set()


def test_stored_values_are_used_for_fields_that_a_faulty_row_does_not_send() -> None:
    stored = a_worker(PrimaryPayMethod="BACS", StartDate="2024-05-01")
    row = without(a_worker(Gender="male", LeavingDate="2024-01-01"), "Surname")
    row |= {"PrimaryBankDetails": {"BankSortCode": "999999"}}
    result = result_of(WORKERS, row, stored)
    assert errors_of(result) == {(1002, "Gender"), (2001, "PrimaryBankDetails.BankSortCode")}
    assert warnings_of(result) == {(2002, "LeavingDate")}


def test_warnings_are_reported_together_with_field_faults() -> None:
    rates = [{"RateCode": 5, "RateType": "Weekly"}, {"RateCode": "A", "RateType": "Monthly"}]
    splits = [{"ConsultantRef": "A", "Split": 50}]
    row = an_assignment(ActualEndDate="2020-01-01", Rates=rates, ConsultantSplits=splits)
    result = result_of(ASSIGNMENTS, row | {"Notes": 5})
    assert errors_of(result) == {(1002, "Notes"), (1002, "Rates[0].RateCode")}
    assert warnings_of(result) == {
        (2002, "ActualEndDate"),
        (2002, "ConsultantSplits"),
        (2003, "Rates[0].RateType"),
        (2003, "Rates[1].RateType"),
    }


def test_a_row_of_an_existing_record_has_its_other_faults_reported_too() -> None:
    row = a_worker(Gender="male", DivisionRef="NOWHERE")
    result = result_of(WORKERS, row, a_worker(), OnExisting.ERROR)
    assert errors_of(result) == {
        (10000, "PersonnelRef"),
        (1002, "Gender"),
        (2001, "DivisionRef"),
    }


def test_a_row_without_a_usable_key_has_its_other_faults_reported_too() -> None:
    row = an_assignment(AssignmentRef="x" * 61, PersonnelRef="P9", ClientRef=5)
    assert errors_of(result_of(ASSIGNMENTS, row)) == {
        (1003, "AssignmentRef"),
        (2001, "PersonnelRef"),
        (1002, "ClientRef"),
    }
    row_without_key = {"EmployerRef": "ER1", "DivisionRef": "NOWHERE", "Gender": "male"}
    assert errors_of(result_of(WORKERS, row_without_key)) == {
        (1001, "PersonnelRef"),
        (2001, "DivisionRef"),
        (1002, "Gender"),
    }
    assert result_of(ASSIGNMENTS, without(row, "EmployerRef")).key == (None, "x" * 61)


@pytest.mark.parametrize(
    ("kind", "model", "good"),
    [(WORKERS, Worker, a_worker()), (ASSIGNMENTS, Assignment, an_assignment())],
    ids=["workers", "assignments"],
)
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_no_rule_stumbles_over_a_row_of_which_only_a_part_is_readable(
    kind: ImportType, model: type[Record], good: Row, data: st.DataObject
) -> None:
    row = good | data.draw(objects_of(shape_of(model)))
    read = kind.record_rules.read(0, row)
    result = result_of(kind, row, data.draw(st.sampled_from([None, good])))
    if not read.is_readable:
        assert result.outcome is Outcome.FAILED
        assert set(read.messages) <= set(result.messages)
    missing_fields = [(each.id, each.field) for each in result.messages if each.id == 1001]
    assert len(set(missing_fields)) == len(missing_fields)


# A row of licenses names all its faults at once, as far as its license can be found.

UNREADABLE: dict[str, Any] = {
    "issuedDate": "soon",
    "reminder": {"offset": "7"},
    "documents": [{"content": "?", "name": "a.pdf"}, {"content": 5}],
}
FIELD_FAULTS = {
    (1006, "issuedDate"),
    (1002, "reminder.offset"),
    (3002, "documents[0].content"),
    (1002, "documents[1].content"),
}


@pytest.mark.parametrize(
    ("action", "row", "fault"),
    [
        ("Insert", of_employee(), (3004, None)),
        ("Insert", of_key(KEYS[0]), (3004, None)),
        ("Update", of_employee("none"), (3005, None)),
        ("Update", of_key(KEYS[4]), (3005, "licenseKey")),
        ("Override", of_employee("L2", licenseKey=KEYS[0]), (3008, None)),
        ("Merge", of_key(KEYS[0], licenseNumber="L2"), (3008, None)),
        ("Override", {"companyCode": "C1", "divisionCode": "D"}, (3003, None)),
        (
            "Merge",
            of_employee(licenseKey=KEYS[0], serializableLicenseKey=KEYS[1]),
            (3001, "licenseKey"),
        ),
    ],
)
def test_stored_values_are_compared_although_fields_are_faulty(
    action: str, row: dict[str, Any], fault: tuple[int, str | None]
) -> None:
    company = Company().holding(of_employee(licenseKey=KEYS[0]), of_employee("L2"))
    [alone] = company.send(LicenseAction(action), row)
    assert errors_of(alone) == {fault}
    [result] = company.send(LicenseAction(action), row | UNREADABLE)
    assert result.outcome is FAILED
    assert errors_of(result) == {fault} | FIELD_FAULTS
    assert result.key == alone.key
    assert len(company.licenses()) == 2
    assert company.contents == {}


def test_faults_of_the_stored_licenses_are_named_together() -> None:
    company = Company().holding(of_employee(licenseKey=KEYS[0]), of_employee("L2"))
    both = of_employee("L2", licenseKey=KEYS[0], notes="x" * 250_000)
    [result] = company.send(LicenseAction.INSERT, both)
    assert errors_of(result) == {(3004, None), (3008, None), (1003, None)}


@pytest.mark.parametrize(
    ("unreadable", "field", "fault"),
    [
        ({"licenseKey": "no guid"}, "licenseKey", 1004),
        ({"employeeNumber": 7}, "employeeNumber", 1002),
        ({"licenseTypeCode": "x" * 201}, "licenseTypeCode", 1003),
    ],
)
@pytest.mark.parametrize("action", ["Insert", "Update", "Delete"])
def test_no_license_is_looked_for_by_a_field_that_cannot_be_read(
    action: str, unreadable: dict[str, Any], field: str, fault: int
) -> None:
    company = Company().holding(of_employee())
    [result] = company.send(LicenseAction(action), of_employee() | unreadable)
    assert errors_of(result) == {(fault, field)}


def test_a_row_to_delete_names_a_missing_license_beside_its_fault() -> None:
    row = of_key(KEYS[4], employeeNumber="x" * 201)
    [result] = Company().send(LicenseAction.DELETE, row)
    assert errors_of(result) == {(1003, "employeeNumber"), (3006, "licenseKey")}


def test_a_faulty_row_of_a_replaced_employee_changes_nothing_and_names_everything() -> None:
    company = Company().holding(of_employee("L1"), of_employee("L2", "8", licenseKey=KEYS[1]))
    rows = [of_employee("L3"), of_employee("L2", "8", licenseKey=KEYS[2]) | UNREADABLE]
    good, bad = company.send(LicenseAction.REPLACE, rows[0], rows[1])
    assert (good.outcome, bad.outcome) != (FAILED, FAILED)
    assert errors_of(bad) >= FIELD_FAULTS
    assert [each["licenseNumber"] for each in company.licenses()] == ["L3", "L2"]


def test_a_row_with_all_faults_corrected_is_imported() -> None:
    company = Company().holding(of_employee())
    row = of_employee("L9", **UNREADABLE)
    assert errors_of(company.send(LicenseAction.INSERT, row)[0]) == FIELD_FAULTS
    mended = row | {"issuedDate": "2024-01-01", "reminder": {"offset": 7}, "documents": []}
    assert company.send(LicenseAction.INSERT, mended)[0].outcome is not FAILED
