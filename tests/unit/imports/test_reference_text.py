"""References that nobody can tell apart, and forms of spreadsheets, are warned of in every type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.imports.assignments.model import Assignment
from shared.imports.authdata.hashing import Hasher
from shared.imports.authdata.model import RecordReader
from shared.imports.documents.model import Upload
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.rules import read_license
from shared.imports.messages import Message, MessageId
from shared.imports.model import normal_reference
from shared.imports.reference_text import warn_of_reference
from shared.imports.results import Outcome
from shared.imports.row_reader import read_row
from shared.imports.workers.model import Worker
from tests.builders import a_worker

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


def _worker(reference: str) -> tuple[Message, ...]:
    row = a_worker(reference, EmployerRef=reference, ExternalWorkerRef=reference)
    return read_row(0, row, Worker, ("EmployerRef", "PersonnelRef")).messages


def _assignment(reference: str) -> tuple[Message, ...]:
    row = dict.fromkeys(("EmployerRef", "AssignmentRef", "PersonnelRef"), reference) | {
        "ClientRef": "C", "DivisionRef": "D", "DepartmentRef": "P", "StartDate": "2026-01-01",
        "ExpectedEndDate": None, "ActualEndDate": None,
    }  # fmt: skip
    return read_row(0, row, Assignment, ("EmployerRef", "AssignmentRef")).messages


def _license(reference: str) -> tuple[Message, ...]:
    names = ("companyCode", "divisionCode", "employeeNumber", "licenseTypeCode", "licenseNumber")
    row = dict.fromkeys(names, reference)
    return read_license(0, row, LicenseAction.OVERRIDE).messages


def _employee(reference: str) -> tuple[Message, ...]:
    reader = RecordReader(Hasher((), "t"), {}, allow_no_auth=True)
    return reader.read(0, {"employeeid": reference}).messages


def _document(reference: str) -> tuple[Message, ...]:
    upload = Upload(reference, reference, "a.pdf", "", 1)
    return upload.result(Outcome.FAILED, None).messages


@pytest.mark.parametrize("reference", ["A\u200b1", '="007"'])
@pytest.mark.parametrize(
    ("read", "fields"),
    [
        (_worker, ["EmployerRef", "PersonnelRef", "ExternalWorkerRef"]),
        (_assignment, ["EmployerRef", "AssignmentRef", "PersonnelRef"]),
        (
            _license,
            ["companyCode", "divisionCode", "employeeNumber", "licenseTypeCode", "licenseNumber"],
        ),
        (_employee, ["employeeId"]),
        (_document, ["workerexternalId", "communicationRoundCode"]),
    ],
)
def test_every_reference_of_every_type_is_looked_at(
    read: Callable[[str], tuple[Message, ...]], fields: list[str], reference: str
) -> None:
    said = read(reference)
    assert sorted(str(message.field) for message in said) == sorted(fields)
    assert {message.id for message in said} == {MessageId.IMPLAUSIBLE_VALUE}
    assert read("A1") == ()


def test_a_row_that_fails_says_it_too() -> None:
    row: dict[str, Any] = a_worker("A\u200b1", Gender="x")
    said = read_row(0, row, Worker, ("EmployerRef", "PersonnelRef")).messages
    assert [(message.id, message.field) for message in said] == [
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
