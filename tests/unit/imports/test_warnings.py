"""Values that are accepted with a warning: unusual values, references, reference lists."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.imports.assignments.model import MAX_RATES, Assignment
from shared.imports.assignments.rules import LISTED_FIELDS as ASSIGNMENT_FIELDS
from shared.imports.assignments.rules import RULES as ASSIGNMENTS
from shared.imports.authdata.hashing import Hasher
from shared.imports.authdata.model import RecordReader
from shared.imports.documents.model import Upload
from shared.imports.import_type import (
    FIELDS_OF_KIND,
    KIND_OF_FIELD,
    Options,
    ReferenceKind,
    find_kind,
)
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.model import License
from shared.imports.licenses.rules import read_license
from shared.imports.merge_rules import (
    MAX_REVIEW_MESSAGES,
    _find_unusual,
    listed_form,
    unusual_values,
)
from shared.imports.messages import Message, MessageId
from shared.imports.model import (
    FieldShape,
    Record,
    Shape,
    UsualDays,
    UsualNumbers,
    normal_reference,
    shape_of,
)
from shared.imports.placements.model import Placement
from shared.imports.results import Outcome
from shared.imports.row_reader import read_row
from shared.imports.text_checks import warn_of_reference
from shared.imports.timesheets.model import Timesheet
from shared.imports.workers.model import Worker
from shared.imports.workers.rules import LISTED_FIELDS as WORKER_FIELDS
from shared.imports.workers.rules import RULES as WORKERS
from tests.builders import a_worker
from tests.unit.imports.builders import Item, an_assignment

# Values that are taken and look wrong: Warning 2003 by the marks of the models.

TODAY = "2026-03-01"


def _worker(**values: Any) -> tuple[Message, ...]:
    row = WORKERS.read(0, a_worker(**values))
    decision = WORKERS.decide(row, None, Options(accepted_on=TODAY))
    assert decision.outcome is Outcome.NEW
    return decision.messages


def _assignment(**values: Any) -> tuple[Message, ...]:
    row = ASSIGNMENTS.read(0, an_assignment(**values))
    decision = ASSIGNMENTS.decide(row, None, Options(accepted_on=TODAY))
    assert decision.outcome is Outcome.NEW
    return decision.messages


@pytest.mark.parametrize(
    ("values", "field", "problem"),
    [
        ({"DateOfBirth": "2026-03-02"}, "DateOfBirth", "it is in the future; check it"),
        ({"DateOfBirth": "2999-01-01"}, "DateOfBirth", "it is in the future"),
        ({"DateOfBirth": "1899-12-31"}, "DateOfBirth", "it is before 1900-01-01"),
        ({"DateOfBirth": "0001-01-01"}, "DateOfBirth", "it is before 1900-01-01"),
        ({"StartDate": "1026-01-01"}, "StartDate", "it is before 1900-01-01"),
        ({"LeavingDate": "9999-12-30"}, "LeavingDate", "it is after 2199-12-31"),
        ({"Surname": "x" * 50_000}, "Surname", "it has 50000 characters, at most 255 are usual"),
        ({"MaritalStatus": "x" * 256}, "MaritalStatus", "it has 256 characters"),
        ({"PersonnelNotes": "x" * 10_001}, "PersonnelNotes", "at most 10000 are usual"),
        (
            {"NextOfKinAddress": {"AddressLine1": "x" * 300}},
            "NextOfKinAddress.AddressLine1",
            "it has 300 characters",
        ),
    ],
)
def test_an_unusual_value_of_a_worker_is_warned_of(
    values: dict[str, Any], field: str, problem: str
) -> None:
    [message] = _worker(**values)
    assert (message.id, message.field) == (2003, field)
    assert problem in message.text
    assert message.value is not None


@pytest.mark.parametrize(
    "values",
    [
        {"DateOfBirth": TODAY},
        {"DateOfBirth": "1900-01-01"},
        {"DateOfBirth": None},
        {"StartDate": "2199-12-31"},
        {"LeavingDate": "9999-12-31"},
        {"Surname": "x" * 255},
        {"PersonnelNotes": "x" * 10_000},
        {"WorkerAddress": None},
    ],
)
def test_a_usual_value_of_a_worker_has_no_warning(values: dict[str, Any]) -> None:
    assert _worker(**values) == ()


def test_the_day_of_the_import_decides_what_is_the_future() -> None:
    sent = {"DateOfBirth": "2026-03-02"}
    assert [*unusual_values(sent, shape_of(Worker), "2026-03-02")] == []
    assert [*unusual_values(sent, shape_of(Worker))] == []
    assert len([*unusual_values(sent, shape_of(Worker), "2026-03-01")]) == 1


def test_a_secret_value_is_not_repeated() -> None:
    [message] = _worker(PassportNumber="P" * 300)
    assert (message.id, message.field, message.value) == (2003, "PassportNumber", None)
    assert "PPP" not in message.text


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"HolOverrideWeeks": -1}, "HolOverrideWeeks"),
        ({"AWRQualificationWeeks": 5_000}, "AWRQualificationWeeks"),
        ({"HolOverrideHourPerc": Decimal("100.01")}, "HolOverrideHourPerc"),
        ({"Rates": [{"RateCode": "A", "PayRate": -1}]}, "Rates[0].PayRate"),
        ({"Rates": [{"RateCode": "A", "BillRate": 10**9}]}, "Rates[0].BillRate"),
        ({"Rates": [{"RateCode": "A", "RateEffectiveDate": "0024-01-01"}]}, "RateEffectiveDate"),
        ({"ExpectedEndDate": "9999-12-30"}, "ExpectedEndDate"),
        ({"JobTitle": "x" * 1_000}, "JobTitle"),
        ({"OnlineOptions": {"GroupCode": "x" * 1_000}}, "OnlineOptions.GroupCode"),
    ],
)
def test_an_unusual_value_of_an_assignment_is_warned_of(values: dict[str, Any], field: str) -> None:
    [message] = _assignment(**values)
    assert message.id == 2003
    assert (message.field or "").endswith(field)


@pytest.mark.parametrize(
    "values",
    [
        {"HolOverrideWeeks": 0},
        {"HolOverrideHourPerc": 100},
        {"Rates": [{"RateCode": "A", "PayRate": Decimal("12.07"), "BillRate": 1_000_000}]},
        {"CustomerDefinedFields": {"CustomerDefinedField3": -(10**12)}},
        {"Notes": "x" * 9_000},
    ],
)
def test_a_usual_value_of_an_assignment_has_no_warning(values: dict[str, Any]) -> None:
    assert _assignment(**values) == ()


@pytest.mark.parametrize(
    ("values", "id_", "field"),
    [
        ({"expirationDate": "2200-01-01"}, 2003, "expirationDate"),
        ({"issuedDate": "0202-01-01"}, 2003, "issuedDate"),
        ({"issuedDate": "2026-01-02", "expirationDate": "2026-01-01"}, 2002, "expirationDate"),
        ({"notes": "x" * 20_000}, 2003, "notes"),
        ({"documents": [{"name": "a"}, {"name": "x" * 300}]}, 2003, "documents[1].name"),
    ],
)
def test_an_unusual_value_of_a_license_is_warned_of(
    values: dict[str, Any], id_: int, field: str
) -> None:
    row = {"companyCode": "C", "employeeNumber": "1", **values}
    [message] = read_license(0, row, LicenseAction.OVERRIDE).messages
    assert (message.id, message.field) == (id_, field)


@pytest.mark.parametrize("model", [Worker, Assignment, License])
def test_every_date_and_every_text_of_a_model_has_something_usual(model: type[Record]) -> None:
    shape = shape_of(model)
    plain = {
        name
        for name, field in shape.fields.items()
        if field.kind is str and field.nested is None and name not in shape.references
    }
    with_form = {"licenseKey", "serializableLicenseKey"}
    declared = {*shape.usual.lengths, *shape.usual.days, *shape.usual.numbers}
    assert plain - with_form <= declared


def test_a_moment_is_compared_by_its_day_and_a_list_by_its_distinct_values() -> None:
    twice = [{"Code": "A"}, {"Code": "B"}, {"Code": "A"}]
    sent = {"At": "9999-12-31T00:00:00", "Offers": twice[:2]}
    assert [*unusual_values(sent, shape_of(Item))] == []
    sent = {"At": "2200-01-01T00:00:00", "Offers": twice}
    warnings = [*unusual_values(sent, shape_of(Item))]
    assert [(each.id, each.field) for each in warnings] == [(2003, "At"), (2003, "Offers")]
    assert "two elements have the same Code" in warnings[1].text


_DAYS = ("1899-12-31", "1900-01-01", TODAY, "2026-03-02", "2199-12-31", "2200-01-01", "9999-12-31")
_LENGTHS = (1, 2, 255, 256, 10_000, 10_001)


def _values_of(shape: Shape) -> st.SearchStrategy[dict[str, Any]]:
    """Some values of a row, usual ones and others."""
    return st.fixed_dictionaries(
        {}, optional={name: _value_of(each) for name, each in shape.fields.items()}
    )


def _value_of(field: FieldShape) -> st.SearchStrategy[Any]:
    if field.nested is not None:
        nested = _values_of(field.nested)
        return st.none() | (st.lists(nested, max_size=3) if field.is_list else nested)
    if isinstance(field.usual, UsualDays):
        days = st.sampled_from(_DAYS)
        return st.none() | days | days.map(lambda day: f"{day}T00:00:00")
    if isinstance(field.usual, UsualNumbers):
        return st.sampled_from((None, "-1", "0", "3.5", "10000001"))
    return st.sampled_from(_LENGTHS).map(lambda length: "x" * length)


@pytest.mark.parametrize("model", [Item, Worker, Placement, Timesheet])
def test_no_unusual_value_is_overlooked(model: type[Record]) -> None:
    shape = shape_of(model)

    @settings(deadline=None, max_examples=100)
    @given(_values_of(shape), st.sampled_from(("", TODAY)))
    def check(sent: dict[str, Any], accepted_on: str) -> None:
        found = [*_find_unusual(sent, shape, accepted_on, "")]
        assert [*unusual_values(sent, shape, accepted_on)] == found

    check()


def test_a_list_of_unusual_values_has_a_bounded_number_of_messages() -> None:
    rates = [{"RateCode": "A", "PayRate": -1, "BillRate": -1}] * MAX_RATES
    assert len(_assignment(Rates=rates)) == MAX_REVIEW_MESSAGES


# References that look alike, and forms of spreadsheets, bring a warning in every type.

HIDDEN = [
    "A\u200b1",
    "A\u00a01",
    "A\u00001",
    "A\ufeff1",
    "A\t1",
    "A\u20601",
    "A\u202e1",
    "A\u31641",
]
SPREADSHEET = ['="007"', "'008", "1.23E+12", "1,23E+12", "4E+05", "1.5E12", "#N/A", "=A1", "#REF!"]
ENDS = [
    "\u00a0",
    "\u200b",
    "\ufeff",
    "\u2060",
    "\u200e",
    "\u3000",
    "\u00ad",
    " \u200b \u00a0\ufeff",
]


@pytest.mark.parametrize("reference", [*HIDDEN, *SPREADSHEET])
def test_an_odd_reference_is_warned_of_and_shown_so_that_it_can_be_seen(reference: str) -> None:
    warning = warn_of_reference("Ref", reference)
    assert warning is not None
    assert (warning.id, warning.field) == (MessageId.IMPLAUSIBLE_VALUE, "Ref")
    assert warning.value is not None
    assert warning.value.isprintable()
    assert (warning.value == reference) == (reference in SPREADSHEET)


@pytest.mark.parametrize(
    "reference",
    [
        "007",
        "A 1",
        "A-1/2_b.c",
        "Müller",
        "給与",
        "1E5",
        "12.50",
        "E-1",
        "3E-14",
        "a'b",
        "O=K",
        "#1",
    ],
)
def test_a_usual_reference_is_not_warned_of(reference: str) -> None:
    assert warn_of_reference("Ref", reference) is None


@pytest.mark.parametrize("mark", ENDS)
def test_blanks_and_marks_of_no_width_are_trimmed_at_the_ends(mark: str) -> None:
    assert normal_reference(f"{mark}A1{mark}") == "A1"
    assert normal_reference(mark) is None


@given(st.text(max_size=70))
def test_whatever_is_warned_of_can_be_seen(text: str) -> None:
    reference = normal_reference(text)
    warning = None if reference is None else warn_of_reference("Ref", reference)
    if warning is not None and warning.value is not None:
        assert all(mark.isprintable() for mark in warning.value if not "\ud800" <= mark <= "\udfff")


def _read_worker(reference: str) -> tuple[Message, ...]:
    row = a_worker(reference, EmployerRef=reference, ExternalWorkerRef=reference)
    return read_row(0, row, Worker, ("EmployerRef", "PersonnelRef")).messages


def _read_assignment(reference: str) -> tuple[Message, ...]:
    row = dict.fromkeys(("EmployerRef", "AssignmentRef", "PersonnelRef"), reference) | {
        "ClientRef": "C", "DivisionRef": "D", "DepartmentRef": "P", "StartDate": "2026-01-01",
        "ExpectedEndDate": None, "ActualEndDate": None,
    }  # fmt: skip
    return read_row(0, row, Assignment, ("EmployerRef", "AssignmentRef")).messages


def _read_license(reference: str) -> tuple[Message, ...]:
    names = ("companyCode", "divisionCode", "employeeNumber", "licenseTypeCode", "licenseNumber")
    row = dict.fromkeys(names, reference)
    return read_license(0, row, LicenseAction.OVERRIDE).messages


def _read_employee(reference: str) -> tuple[Message, ...]:
    reader = RecordReader(Hasher((), "t"), {}, allow_no_auth=True)
    return reader.read(0, {"employeeid": reference}).messages


def _read_document(reference: str) -> tuple[Message, ...]:
    upload = Upload(reference, reference, "a.pdf", "", 1)
    return upload.result(Outcome.FAILED, None).messages


@pytest.mark.parametrize("reference", ["A\u200b1", '="007"'])
@pytest.mark.parametrize(
    ("read", "fields"),
    [
        (_read_worker, ["EmployerRef", "PersonnelRef", "ExternalWorkerRef"]),
        (_read_assignment, ["EmployerRef", "AssignmentRef", "PersonnelRef"]),
        (
            _read_license,
            ["companyCode", "divisionCode", "employeeNumber", "licenseTypeCode", "licenseNumber"],
        ),
        (_read_employee, ["employeeId"]),
        (_read_document, ["workerexternalId", "communicationRoundCode"]),
    ],
)
def test_every_reference_of_every_type_is_looked_at(
    read: Callable[[str], tuple[Message, ...]], fields: list[str], reference: str
) -> None:
    messages = read(reference)
    assert sorted(str(message.field) for message in messages) == sorted(fields)
    assert {message.id for message in messages} == {MessageId.IMPLAUSIBLE_VALUE}
    assert read("A1") == ()


def test_a_row_that_fails_says_it_too() -> None:
    row: dict[str, Any] = a_worker("A\u200b1", Gender="x")
    row_messages = read_row(0, row, Worker, ("EmployerRef", "PersonnelRef")).messages
    assert [(message.id, message.field) for message in row_messages] == [
        (1002, "Gender"),
        (MessageId.IMPLAUSIBLE_VALUE, "PersonnelRef"),
    ]


def test_a_license_has_references_of_up_to_200_characters() -> None:
    row = {"companyCode": "C" * 200, "employeeNumber": "\u200b" + "N" * 200}
    read = read_license(0, row, LicenseAction.OVERRIDE)
    assert read.messages == ()
    assert read.values["employeeNumber"] == "N" * 200
    too_long = read_license(0, {**row, "companyCode": "C" * 201}, LicenseAction.OVERRIDE)
    [message] = too_long.messages
    assert (message.id, message.detail) == (1003, "1 to 200 characters are allowed")


# Reference lists: their kinds, and the form that values are compared in.


def test_every_kind_has_fields_and_every_field_is_looked_up() -> None:
    assert set(FIELDS_OF_KIND) == set(ReferenceKind)
    looked_up = {*WORKER_FIELDS, *ASSIGNMENT_FIELDS, "BankSortCode", "ConsultantRef"}
    assert set(KIND_OF_FIELD) == looked_up


@pytest.mark.parametrize("kind", ReferenceKind)
def test_the_text_of_the_enum_has_every_kind(kind: ReferenceKind) -> None:
    assert f"    {kind.value} " in (ReferenceKind.__doc__ or "")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("division", ReferenceKind.DIVISION),
        ("Division", ReferenceKind.DIVISION),
        ("DivisionRef", ReferenceKind.DIVISION),
        ("job-category", ReferenceKind.JOB_CATEGORY),
        ("JobCategory", ReferenceKind.JOB_CATEGORY),
        ("job_category", ReferenceKind.JOB_CATEGORY),
        ("InvoiceToClientRef", ReferenceKind.CLIENT),
        ("BankSortCode", ReferenceKind.SORT_CODE),
        ("EmployerRef", None),
        ("", None),
    ],
)
def test_a_kind_is_found_by_its_name_or_a_fields(text: str, kind: ReferenceKind | None) -> None:
    assert find_kind(text) is kind


@pytest.mark.parametrize(
    ("text", "form"),
    [(" 007 ", "007"), ("E\u0301", "\u00c9"), ("a b", "a b"), (" " + "x" * 61, "x" * 61)],
)
def test_values_are_compared_in_the_form_of_a_reference(text: str, form: str) -> None:
    assert listed_form(text) == form
